"""What separates two schemas as lines of text: each object, and the very clause that differs."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from ehg_migrate.report.text import number, problem_lines, some
from ehg_migrate.schema.eras import told

if TYPE_CHECKING:
    from ehg_migrate.schema.clusters import Cluster
    from ehg_migrate.schema.comparing import Comparison, Grouping
    from ehg_migrate.schema.difference import Clause, Difference
    from ehg_migrate.schema.snapshot import Snapshot

_MOST = 40  # objects shown of one comparison in a list of several
_CONTEXT = 2  # lines around a change in a body or a query
_WIDEST = 160  # characters of a line
_BEFORE = 20  # of them before the first that differs


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Each object that differs, then the sum."""
    for d in found.differences:
        yield from _object(d)
    for note in found.notes:
        yield f"note: the columns of {note.identity} stand in another order"
    if found.former:
        yield from problem_lines(told(found.former), "note: ")
    versions = found.left_version, found.right_version
    servers = f" (PostgreSQL {versions[0]} and {versions[1]})" if all(versions) and versions[0] != versions[1] else ""
    if found.differences:
        yield ""
        yield f"from `{found.left}` to `{found.right}`: {_sum(found.differences)}{servers}"
    else:
        yield f"no difference between `{found.left}` and `{found.right}`{servers}"


def clusters_lines(found: Grouping) -> Iterator[str]:
    """Each group, the largest first, with what separates it from that one; then who could not be read, and the sum."""
    for i, cluster in enumerate(found.clusters):
        yield f"{cluster.fingerprint[:12]}  {number(len(cluster.targets), 'target')}: {some(cluster.targets)}"
        yield from _separated(cluster) if i else ()
        yield ""
    for unread in found.unread:
        yield from problem_lines(unread.problem, f"{unread.target}: ", [unread.target])
        yield ""
    yield _kinds(found)


def snapshot_lines(found: Snapshot) -> Iterator[str]:
    """Each object with its clauses, by kind and name: the same schema is the same text. The last line counts them."""
    for fact in found.catalog.facts:
        yield str(fact)
        for name, value in sorted(fact.definition.items()):
            first, *more = _text(value).strip("\n").split("\n")
            yield f"    {name}: {first}"
            yield from (f"        {line}".rstrip() for line in more)
    count = number(len(found.catalog.facts), "object")
    yield ""
    yield f"`{found.name}`: {count}, fingerprint {found.fingerprint} (PostgreSQL {found.catalog.server_version})"


def difference_lines(found: Sequence[Difference], indent: str = "  ") -> Iterator[str]:
    """Each object with the clauses that differ, indented; the first forty, and how many more there are."""
    for d in found[:_MOST]:
        yield from (f"{indent}{line}" for line in _object(d))
    if len(found) > _MOST:
        yield f"{indent}and {len(found) - _MOST} more; `--json` has all"


def _object(d: Difference) -> Iterator[str]:
    yield f"{d.change.value:<8} {d.kind} {d.identity}"
    if d.change.value == "changed":
        for clause in d.clauses:
            yield from (f"         {line}" for line in _clause(clause))


def _clause(clause: Clause) -> list[str]:
    # lines that end in another way would be shown to be equal
    left, right = (_text(value).replace("\r", "\\r") for value in (clause.left, clause.right))
    if "\n" not in left + right:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
        start = max(0, same - _BEFORE)
        return [f"{clause.name}: {_cut(left, start)} -> {_cut(right, start)}"]
    changed = difflib.unified_diff(left.splitlines(), right.splitlines(), lineterm="", n=_CONTEXT)
    lines = list(changed)[3:]  # after `---`, `+++` and the first `@@`
    return [f"{clause.name}:", *("  ..." if line.startswith("@@") else f"  {_cut(line)}".rstrip() for line in lines)]


def _cut(text: str, start: int = 0) -> str:
    """The text, or of a long one the part from `start` on."""
    if len(text) <= _WIDEST:
        return text
    before, after = "..." if start else "", "..." if start + _WIDEST < len(text) else ""
    return f"{before}{text[start : start + _WIDEST]}{after}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _separated(cluster: Cluster) -> Iterator[str]:
    if cluster.differences:
        yield f"  from the first: {_sum(cluster.differences)}"
        yield from difference_lines(cluster.differences, "    ")


def _sum(found: Sequence[Difference]) -> str:
    """`3 differences, 1 missing, 2 changed`."""
    counts = Counter(d.change.value for d in found)
    parts = [f"{counts[word]} {word}" for word in ("missing", "extra", "changed") if counts[word]]
    return ", ".join([number(len(found), "difference"), *parts])


def _kinds(found: Grouping) -> str:
    read = sum(len(c.targets) for c in found.clusters)
    unread = f", {number(len(found.unread), 'target')} not read" if found.unread else ""
    if len(found.clusters) > 1:
        outliers = [t for c in found.clusters[1:] for t in c.targets]
        targets = number(read, "target")
        return f"{len(found.clusters)} different schemas on {targets}, outliers: {some(outliers)}{unread}"
    return f"one schema on {number(read, 'target')}{unread}"
