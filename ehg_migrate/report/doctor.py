"""What `doctor` found, as text: a block for each target, a hint under each finding that needs one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ehg_migrate.database.doctor import Finding, Level
from ehg_migrate.errors import named_in, together
from ehg_migrate.report.text import FEW, counted, number, some

_MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.ERROR: "ERROR", Level.SKIPPED: "skipped"}


def doctor_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """All findings, grouped by target, and the sum; of many targets what is not well, once for all that have it."""
    by_target: dict[str, list[Finding]] = defaultdict(list)
    for f in findings:
        by_target[f.target].append(f)
    yield from _ill(by_target) if len(by_target) > FEW else _all(by_target)
    yield ""
    yield counted((_verdict({f.level for f in found}), target) for target, found in by_target.items())


def _all(by_target: Mapping[str, Sequence[Finding]]) -> Iterator[str]:
    for target, found in by_target.items():
        yield target
        for f in found:
            yield from _lines(f, (target,))


def _ill(by_target: Mapping[str, Sequence[Finding]]) -> Iterator[str]:
    ill = (f for found in by_target.values() for f in found if f.level is not Level.OK)
    alike = together((replace(f, target="", seconds=0.0), f.target) for f in ill)
    for f, targets in alike.items():
        yield some(targets)
        yield from _lines(f, targets)
    yield from ("",) if alike else ()
    many = number(len(by_target), "target")
    yield f"what is in order on {many} is not shown; of one or a few it is: `ehg-migrate doctor -t NAME`"


def _lines(f: Finding, of: Sequence[str]) -> Iterator[str]:
    yield f"  {_MARKS[f.level]:<8} {f.check:<18} {f.message}"
    if f.hint and f.level is not Level.OK:
        yield f"{'':<30}hint: {named_in(f.hint, of[0]) if len(of) == 1 else f.hint}"


def _verdict(levels: Collection[Level]) -> str:
    return "ill" if Level.ERROR in levels else "warned" if Level.WARNING in levels else "well"
