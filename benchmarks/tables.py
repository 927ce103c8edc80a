"""The figures as Markdown: medians, ratios to the limit, and every peer that did not run with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from benchmarks.cases import CASES, Sample, Samples, Scale
from benchmarks.peers.raw import Raw
from benchmarks.suite import Row, Table, describe

TITLES = {"full": "full from empty", "nothing": "nothing to do", "one": "one new revision"}
"""The cases in words."""
_REASON = 200  # characters of a reason


def markdown(tables: Iterable[Table]) -> str:
    """All tables, each under its scale, and the reasons under them."""
    return "\n".join(_one(table) for table in tables)


def across(title: str, tables: Sequence[Table], name: Callable[[Scale], str]) -> str:
    """One table for scales that differ in one thing, which `name` says: wall seconds of each case at each of them."""
    head = ["tool", *(f"{TITLES[case]}, {name(table.scale)}" for case in CASES for table in tables)]
    lines = [f"### {title}", "", circumstances(tables), "", line(head), line(["---"] * len(head))]
    for peer in dict.fromkeys(row.peer.name for table in tables for row in table.rows):
        rows = [next((row for row in table.rows if row.peer.name == peer), None) for table in tables]
        cells = [
            _timed(table, row, case) if row else "" for case in CASES for table, row in zip(tables, rows, strict=True)
        ]
        lines.append(line([peer, *cells]))
    return "\n".join([*lines, "", *_reasons(tables), ""])


def circumstances(tables: Sequence[Table]) -> str:
    """Under what the figures were taken, in one sentence: a figure of a busy machine must not look like another."""
    others = [s.others for table in tables for row in table.rows for found in row.timed.values() for s in found]
    rounds, took = max(table.rounds for table in tables), sum(table.took for table in tables)
    busy = f"others used {median(others):.1f} cores meanwhile" if others else "nothing was measured"
    plural = "1 round" if rounds == 1 else f"medians of {rounds} rounds"
    return f"Seconds, {plural}; {busy}; measured in {took / 60:.1f} minutes."


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


def line(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _one(table: Table) -> str:
    head = ["tool", *(TITLES[case] for case in CASES), "CPU", "server CPU"]
    watched = any(row.watched for row in table.rows)
    if watched:
        head += ["round trips", "memory MB", "parent / worker MB", "connections"]
    lines = [f"### {describe(table.scale)}", "", circumstances([table]), "", line(head), line(["---"] * len(head))]
    lines += [line([row.peer.name, *_cells(table, row, watched=watched)]) for row in table.rows]
    return "\n".join([*lines, "", *_reasons([table]), ""])


def _reasons(tables: Iterable[Table]) -> list[str]:
    found = [f"- {row.peer.name}: {_reason(row.problem)}" for table in tables for row in table.rows if row.problem]
    return list(dict.fromkeys(found))


def _reason(problem: str) -> str:
    """In one line; of a long one the end, where programs say what it was."""
    words = " ".join(problem.split())
    return words if len(words) <= _REASON else f"{problem.partition(':')[0]}: ... {words[-_REASON:]}"


def _cells(table: Table, row: Row, *, watched: bool) -> list[str]:
    cells = [
        *(_timed(table, row, case) for case in CASES),
        _each(row.timed, lambda s: s.cpu, "{:.2f}"),
        _each(row.timed, lambda s: s.server, "{:.2f}"),
    ]
    if not watched:
        return cells
    return [
        *cells,
        _each(row.watched, lambda s: s.round_trips, "{:.0f}"),
        _each(row.watched, lambda s: s.memory / 1e6, "{:.0f}"),
        " / ".join(_most(row, value) for value in (lambda s: s.first / 1e6, lambda s: s.worker / 1e6)),
        _most(row, lambda s: s.connections),
    ]


def _timed(table: Table, row: Row, case: str) -> str:
    seconds, least = middle(row.timed, case, wall), limit(table, case)
    if seconds is None:
        return row.problem.partition(":")[0]
    return f"{seconds:.2f} (x{seconds / least:.1f})" if least else f"{seconds:.2f}"


def _each(samples: Samples, value: Callable[[Sample], float], form: str) -> str:
    found = [middle(samples, case, value) for case in CASES]
    return " / ".join(form.format(v) for v in found if v is not None)


def _most(row: Row, value: Callable[[Sample], float]) -> str:
    found = [value(s) for samples in row.watched.values() for s in samples]
    return f"{max(found):.0f}" if found else ""
