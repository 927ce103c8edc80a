"""Targets held against what their revisions produce, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.report.differences import difference_lines
from ehg_migrate.report.text import counted, names, number, problem_lines, table
from ehg_migrate.schema.drift import UNSEEN

if TYPE_CHECKING:
    from ehg_migrate.errors import Problem
    from ehg_migrate.schema.drift import Drift


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
    for problem, targets in _problems(found):
        yield ""
        yield from problem_lines(problem, f"{', '.join(targets)}: ", targets)
    for note, targets in _unseen(found):
        yield ""
        yield from problem_lines(note, f"note: {', '.join(targets)}: ", targets)
    yield ""
    yield counted((d.verdict.value, d.target) for d in found)


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


def _unseen(found: Iterable[Drift]) -> Iterator[tuple[Problem, list[str]]]:
    """What was left out, of targets whose other notes are not shown."""
    groups: dict[Problem, list[str]] = {}
    for d in found:
        for note in d.notes:
            if note.code == UNSEEN and not d.differences:
                groups.setdefault(note, []).append(d.target)
    return iter(groups.items())


def _count(d: Drift) -> str:
    return "?" if d.problem else str(len(d.differences))


def _major(version: str) -> str:
    return version.partition(".")[0]
