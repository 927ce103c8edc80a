"""Targets held against what their revisions produce, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.errors import together
from ehg_migrate.report.differences import difference_lines
from ehg_migrate.report.text import counted, names, number, problem_lines, table
from ehg_migrate.schema.drift import UNSEEN
from ehg_migrate.schema.eras import FORMER

if TYPE_CHECKING:
    from ehg_migrate.schema.drift import Drift


_TOLD = (UNSEEN, FORMER)
"""Codes of notes that are shown of a target that matches, too."""


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
                yield from problem_lines(note, "  note: ", [d.target])
    for problem, targets in together((d.problem, d.target) for d in found if d.problem).items():
        yield ""
        yield from problem_lines(problem, f"{', '.join(targets)}: ", targets)
    # of targets whose other notes are not shown
    told = ((note, d.target) for d in found for note in d.notes if note.code in _TOLD and not d.differences)
    for note, targets in together(told).items():
        yield ""
        yield from problem_lines(note, f"note: {', '.join(targets)}: ", targets)
    yield ""
    yield counted((d.verdict.value, d.target) for d in found)


def _title(d: Drift) -> str:
    other = "" if _major(d.server_version) == _major(d.reference_version) else f", replayed on {d.reference_version}"
    count = number(len(d.differences), "difference")
    return f"{count} from what its revisions produce (PostgreSQL {d.server_version}{other})"


def _count(d: Drift) -> str:
    return "?" if d.problem else str(len(d.differences))


def _major(version: str) -> str:
    return version.partition(".")[0]
