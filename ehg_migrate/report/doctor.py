"""What `doctor` found, as text: a block for each target, a hint under each finding that needs one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ehg_migrate.database.doctor import Finding, Level
from ehg_migrate.report.text import counted, named_in

_MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.ERROR: "ERROR", Level.SKIPPED: "skipped"}


def doctor_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """All findings, grouped by target, and the sum."""
    findings = tuple(findings)
    target = ""
    for f in findings:
        if f.target != target:
            target = f.target
            yield target
        yield f"  {_MARKS[f.level]:<8} {f.check:<18} {f.message}"
        if f.hint and f.level is not Level.OK:
            yield f"{'':<30}hint: {named_in(f.hint, f.target)}"
    yield ""
    yield counted(_verdicts(findings))


def _verdicts(findings: tuple[Finding, ...]) -> Iterator[tuple[str, str]]:
    for target in dict.fromkeys(f.target for f in findings):
        levels = {f.level for f in findings if f.target == target}
        yield ("ill" if Level.ERROR in levels else "warned" if Level.WARNING in levels else "well"), target
