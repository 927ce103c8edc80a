"""Findings as lines of text, and what other looks at revisions found in the same form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ehg_migrate.errors import Problem
from ehg_migrate.model import Finding, Level
from ehg_migrate.report.text import continued, number, some
from ehg_migrate.revisions.rules import SQL_RULE, anchor, page_command

if TYPE_CHECKING:
    from ehg_migrate.schema.squawk import SqlFinding


def finding_lines(findings: Iterable[Finding], *, notes: bool = True) -> Iterator[str]:
    """Each finding with its place and what to do about it, then how many there are of which level.

    Without `notes` those are only counted, and it is said what shows them.
    """
    findings = tuple(findings)
    for f in findings:
        if notes or f.level is not Level.NOTE:
            on = f" on {some(f.targets)}" if f.targets else ""
            yield f"{f.level} [{f.rule}] {f.revision} ({_place(f)}){on}"
            yield from f"  {continued(f.message)}".split("\n")
            yield f"  hint: {f.hint} (`{page_command(f.docs)}`)" if f.hint else f"  see `{page_command(f.docs)}`"
            if f.allowed:
                yield f"  allowed: {f.allowed}"
    more = not notes and any(f.level is Level.NOTE for f in findings)
    yield findings_summary(findings) + ("; `ehg-migrate lint --effect` shows the notes" if more else "")


def findings_summary(findings: Iterable[Finding]) -> str:
    """`2 findings: 1 error, 1 note`; those that are allowed are told apart."""
    counts = Counter("allowed" if f.allowed else f.level.value for f in findings)
    told = [number(counts[level], level) for level in ("error", "warning", "note") if counts[level]]
    told += [f"{counts['allowed']} allowed"] if counts["allowed"] else []
    return number(counts.total(), "finding") + (f": {', '.join(told)}" if told else "")


def _place(finding: Finding) -> str:
    return f"{finding.path}:{finding.line}" if finding.line else finding.path


def of_files(warnings: Iterable[Problem]) -> tuple[Finding, ...]:
    """What `lint` says of the files, as findings."""
    return tuple(_of_file(w) for w in warnings)


def _of_file(warning: Problem) -> Finding:
    """Where it names an entry (`alembic.ini: [ehg_migrate] ledger`), that goes into the message: a path is a file's."""
    path, _, entry = warning.where.partition(": ")
    message = f"{entry}: {warning.message}" if entry else warning.message
    return Finding(warning.code, Level.WARNING, message, warning.hint, anchor(warning.code), path=path)


def of_sql(found: Iterable[SqlFinding]) -> tuple[Finding, ...]:
    """What squawk says, as findings. It reads rendered SQL, so a line of the file is not known."""
    return tuple(
        Finding(
            f"{SQL_RULE}{f.rule}", Level(f.level), f.message, f.hint, anchor(SQL_RULE), f.step.revision, f.step.path
        )
        for f in found
    )
