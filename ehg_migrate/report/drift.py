"""Targets held against what their revisions produce, as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.report.text import counted, names, number, problem_lines, table

if TYPE_CHECKING:
    from ehg_migrate.errors import Problem
    from ehg_migrate.schema.difference import Clause, Difference
    from ehg_migrate.schema.drift import Drift

_WIDEST = 100  # characters of a clause that are shown
_MOST = 40  # differences of one target that are shown


def drift_lines(found: Sequence[Drift]) -> Iterator[str]:
    """A line for each target, then what differs where, then the sum."""
    rows = [(d.target, d.verdict.value, names(d.heads), _count(d), f"{d.seconds:.2f}") for d in found]
    yield from table(("TARGET", "SCHEMA", "HEADS", "DIFFERENCES", "SECONDS"), rows)
    for d in found:
        if d.differences:
            yield ""
            yield f"{d.target}: {_title(d)}"
            yield from difference_lines(d.differences)
            for note in d.notes:
                yield from problem_lines(note, "  note: ")
    for problem, targets in _problems(found):
        yield ""
        yield from problem_lines(problem, f"{', '.join(targets)}: ")
    yield ""
    yield counted((d.verdict.value, d.target) for d in found)


def difference_lines(found: Sequence[Difference], indent: str = "  ") -> Iterator[str]:
    """One line for each object, with the clauses that changed below it: `wanted -> found`."""
    for d in found[:_MOST]:
        yield f"{indent}{d.change.value:<8} {d.kind} {d.identity}"
        if d.change.value == "changed":
            yield from (f"{indent}         {_clause(c)}" for c in d.clauses)
    if len(found) > _MOST:
        yield f"{indent}and {len(found) - _MOST} more; `--json` has all"


def _title(d: Drift) -> str:
    other = "" if _major(d.server_version) == _major(d.reference_version) else f", replayed on {d.reference_version}"
    count = number(len(d.differences), "difference")
    return f"{count} from what its revisions produce (PostgreSQL {d.server_version}{other})"


def _problems(found: Iterable[Drift]) -> Iterator[tuple[Problem, list[str]]]:
    """Each problem once, with the targets that have it."""
    groups: dict[Problem, list[str]] = {}
    for d in found:
        if d.problem:
            groups.setdefault(d.problem, []).append(d.target)
    return iter(groups.items())


def _count(d: Drift) -> str:
    return "?" if d.problem else str(len(d.differences))


def _clause(clause: Clause) -> str:
    return f"{clause.name}: {_value(clause.left)} -> {_value(clause.right)}"


def _value(value: object) -> str:
    if value is None:
        return "-"
    text = " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _major(version: str) -> str:
    return version.partition(".")[0]
