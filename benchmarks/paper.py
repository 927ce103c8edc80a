"""All figures of docs/performance.md: measured part by part, kept as they come, shown as far as they are there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import results
from benchmarks.cases import Bench, Scale
from benchmarks.page import put
from benchmarks.peers import PEERS
from benchmarks.picture import draw
from benchmarks.suite import Table, installed, run_scale
from benchmarks.tables import across, markdown

_SLOW = tuple(name for name, kind in PEERS.items() if kind.slow)
_QUICK = tuple(name for name in PEERS if name not in _SLOW)
_BEST = ("raw", "ours", "node", "dbmate", "psql")  # ours, the limit, and the fastest of the others


@dataclass(frozen=True)
class Part:
    """What is measured together. `column` makes one table of its scales; else each scale has one of its own."""

    scales: tuple[Scale, ...]
    peers: tuple[str, ...]
    rounds: int = 1
    watched: tuple[str, ...] = ()
    title: str = ""
    column: Callable[[Scale], str] | None = None


PARTS: Mapping[str, Part] = {
    "50": Part((Scale(50),), _QUICK, 3, _QUICK),
    "200": Part((Scale(200),), _QUICK),
    "1000": Part((Scale(1000),), ("raw", "ours", "node"), watched=("ours",)),
    "delay": Part(
        tuple(Scale(24, delay=ms / 1000) for ms in (0, 20, 80)),
        _BEST,
        title="24 targets, 20 shared revisions, milliseconds added to each round trip",
        column=lambda scale: f"{scale.delay * 1000:g} ms",
    ),
    "history": Part(
        tuple(Scale(10, history=length) for length in (20, 1000)),
        ("raw", "ours", "node", "loop"),
        title="10 targets, a short and a long history",
        column=lambda scale: f"{scale.history:,} revisions",
    ),
    "50-slow": Part((Scale(50),), _SLOW, watched=_SLOW),
    "200-slow": Part((Scale(200),), _SLOW),
}
"""By name, in the order in which they are measured: what matters most first, what takes longest last."""


def measure(names: Iterable[str], bench: Bench, tools: Path, kept: Path, page: Path, small: int = 1) -> None:
    """Measures parts, `small` times fewer targets than they say; each scale is kept and shown when it is done."""
    names = tuple(names)
    peers = {name: PEERS[name](tools) for part in names for name in PARTS[part].peers}
    absent = installed(peers.values())
    for n, (name, part) in enumerate((name, PARTS[name]) for name in names):
        begun = time.monotonic()
        watched = {peers[peer].name for peer in part.watched}.__contains__
        for scale in part.scales:
            print(f"part {n + 1} of {len(names)}, `{name}`", file=sys.stderr, flush=True)
            few = replace(scale, targets=max(2, scale.targets // small))
            mine = [peers[peer] for peer in part.peers]
            table = run_scale(bench, mine, absent, few, part.rounds, watched)
            results.save(kept, _file(name, scale), table)
            show(kept, page)
        print(f"part `{name}` took {(time.monotonic() - begun) / 60:.1f} minutes", file=sys.stderr, flush=True)


def show(kept: Path, page: Path) -> bool:
    """Writes what was kept into the page, and the picture beside it. Whether no peer failed in it."""
    tables = list(_found(kept))
    picture = page.with_suffix(".svg")
    picture.write_text(draw([table for _, table in tables]))
    put(page, "figures", f"{text(tables)}\n![seconds over targets, history and delay]({picture.name})")
    return not any(row.problem.startswith("failed") for _, table in tables for row in table.rows)


def text(tables: Iterable[tuple[str, Table]]) -> str:
    """The figures of measured tables, each with the name of its part."""
    by_part: dict[str, list[Table]] = {}
    for name, table in tables:
        by_part.setdefault(name, []).append(table)
    machines = dict.fromkeys(table.machine for found in by_part.values() for table in found)
    single = [table for name, found in by_part.items() if PARTS[name].column is None for table in found]
    sections = [markdown(_merged(single))]
    for name, found in by_part.items():
        column = PARTS[name].column
        if column:
            sections.append(across(PARTS[name].title, found, column))
    return "\n".join([*(f"{machine}.\n" for machine in machines), *sections])


def _found(kept: Path) -> Iterator[tuple[str, Table]]:
    for name, part in PARTS.items():
        for scale in part.scales:
            if table := results.load(kept, _file(name, scale)):
                yield name, table


def _merged(tables: Iterable[Table]) -> list[Table]:
    """Tables of one scale as one."""
    by_scale: dict[Scale, Table] = {}
    for table in tables:
        former = by_scale.get(table.scale)
        by_scale[table.scale] = _both(former, table) if former else table
    return list(by_scale.values())


def _both(one: Table, other: Table) -> Table:
    rows = [*one.rows, *other.rows]
    return replace(one, rows=rows, rounds=max(one.rounds, other.rounds), took=one.took + other.took)


def _file(name: str, scale: Scale) -> str:
    return f"{name}-{scale.targets}-{scale.history}-{scale.delay * 1000:g}"
