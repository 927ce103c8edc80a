"""The figures as Markdown: medians, ratios to the limit, and every peer that did not run with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from benchmarks.cases import CASES, Sample, Samples
from benchmarks.peers.raw import Raw
from benchmarks.suite import Row, Table, describe

_TITLES = {"full": "full from empty", "nothing": "nothing to do", "one": "one new revision"}
_REASON = 200  # characters of a reason


def markdown(tables: Iterable[Table]) -> str:
    """All tables, each under its scale, and the reasons under them."""
    return "\n".join(_one(table) for table in tables)


def middle(samples: Samples, case: str, value: Callable[[Sample], float]) -> float | None:
    """The median; None where there is no sample."""
    found = [value(s) for s in samples.get(case, [])]
    return median(found) if found else None


def wall(sample: Sample) -> float:
    """Its seconds."""
    return sample.wall


def limit(table: Table, case: str) -> float | None:
    """The seconds of the raw limit at this scale."""
    return next((middle(row.timed, case, wall) for row in table.rows if isinstance(row.peer, Raw)), None)


def _one(table: Table) -> str:
    titles = [f"{_TITLES[case]}, s" for case in CASES]
    head = ["tool", *titles, "CPU s", "server CPU s", "round trips", "memory MB", "parent / worker MB", "connections"]
    lines = [f"### {describe(table.scale)}", "", _line(head), _line(["---"] * len(head))]
    lines += [_line(_cells(table, row)) for row in table.rows]
    reasons = [f"- {row.peer.name}: {_reason(row.problem)}" for row in table.rows if row.problem]
    return "\n".join([*lines, "", *reasons, ""])


def _reason(problem: str) -> str:
    """In one line; of a long one the end, where programs say what it was."""
    words = " ".join(problem.split())
    return words if len(words) <= _REASON else f"{problem.partition(':')[0]}: ... {words[-_REASON:]}"


def _cells(table: Table, row: Row) -> list[str]:
    if row.problem:
        return [row.peer.name, row.problem.partition(":")[0], *[""] * 8]
    return [
        row.peer.name,
        *(_timed(table, row, case) for case in CASES),
        _each(row.timed, lambda s: s.cpu, "{:.2f}"),
        _each(row.timed, lambda s: s.server, "{:.2f}"),
        _each(row.watched, lambda s: s.round_trips, "{:.0f}"),
        _each(row.watched, lambda s: s.memory / 1e6, "{:.0f}"),
        _most(row, lambda s: s.first / 1e6) + " / " + _most(row, lambda s: s.worker / 1e6),
        _most(row, lambda s: s.connections),
    ]


def _timed(table: Table, row: Row, case: str) -> str:
    seconds, least = middle(row.timed, case, wall), limit(table, case)
    if seconds is None:
        return ""
    return f"{seconds:.2f} (x{seconds / least:.1f})" if least else f"{seconds:.2f}"


def _each(samples: Samples, value: Callable[[Sample], float], form: str) -> str:
    found = [middle(samples, case, value) for case in CASES]
    return " / ".join(form.format(v) if v is not None else "?" for v in found)


def _most(row: Row, value: Callable[[Sample], float]) -> str:
    return f"{max((value(s) for samples in row.watched.values() for s in samples), default=0):.0f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
