"""What fleets would take that nobody has here: 10,000 and 100,000 targets, by hosts, machines and limits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from benchmarks.simulation.model import Costs, Outcome, Site, fleet
from benchmarks.simulation.runner import simulate
from benchmarks.tables import line

TYPICAL = Site(parallel=64, probes=128, cores=8, delay=0.02, hosts=4, host_parallel=64, handshakes=3)
"""A machine of 8 cores, each target's server its own, 20 ms away behind TLS (TCP, its request, its handshake)."""
_BORNE = 64  # targets at a time that a host bears, of all machines together
_CAREFUL = replace(TYPICAL, host_parallel=8, host_rate=5.0)  # for a pooler that nobody has measured


@dataclass(frozen=True, slots=True)
class Question:
    """One simulation, and what stands in the first cells of its row."""

    cells: tuple[str, ...]
    site: Site
    targets: int
    steps: int = 0
    slow: float = 0.0  # the share of targets that take a minute longer
    unknown: bool = False  # the ledger knows nothing of them

    def answer(self, costs: Costs) -> Outcome:
        """Simulates it."""
        tasks = fleet(self.targets, self.steps, self.site, costs.spread, self.slow, 60.0)
        return simulate(costs, self.site, [replace(t, took=0.0) for t in tasks] if self.unknown else tasks)


WIDE = (
    (10_000, 1, 1, 64),
    (10_000, 4, 1, 64),
    (10_000, 4, 1, 256),
    (10_000, 4, 4, 64),
    (10_000, 16, 4, 64),
    (10_000, 16, 16, 64),
    (100_000, 4, 4, 64),
    (100_000, 16, 16, 64),
)
"""Targets, hosts, machines, `--parallel` of each."""


def wide() -> Iterator[Question]:
    """Hosts that bear much, and more and more machines: nothing to do, and one new revision, for each of WIDE."""
    for targets, hosts, machines, parallel in WIDE:
        cells = (f"{targets:,}", str(hosts), str(machines), str(parallel))
        site = replace(TYPICAL, hosts=hosts, shards=machines, parallel=parallel, probes=2 * parallel)
        site = replace(site, host_parallel=max(1, _BORNE // machines))
        for steps in (0, 1):
            yield Question(cells, site, targets, steps)


def careful() -> Iterator[Question]:
    """Hosts of which nobody knows what they bear; more machines would only share the same rate."""
    for targets in (1_000, 10_000):
        for hosts in (1, 4, 16):
            for steps in (0, 1):
                yield Question((f"{targets:,}", str(hosts)), replace(_CAREFUL, hosts=hosts), targets, steps)


def changes() -> Iterator[Question]:
    """One fleet, one new revision, and one thing different each time."""
    base = Question(("as it is",), TYPICAL, 10_000, 1)
    yield base
    yield replace(base, cells=("`--parallel 8`",), site=replace(TYPICAL, parallel=8))
    yield replace(base, cells=("`parallel = 8` in alembic.ini",), site=replace(TYPICAL, probes=16))
    yield replace(base, cells=("2 cores",), site=replace(TYPICAL, cores=2))
    yield replace(base, cells=("80 ms",), site=replace(TYPICAL, delay=0.08))
    yield replace(base, cells=("`host_rate: 5`",), site=replace(TYPICAL, host_rate=5))
    yield replace(base, cells=("a ledger in PostgreSQL, 1 ms away",), site=replace(TYPICAL, ledger_delay=0.001))
    yield replace(base, cells=("a ledger in PostgreSQL, 20 ms away",), site=replace(TYPICAL, ledger_delay=0.02))
    yield replace(base, cells=("one attempt to connect in 20 fails",), site=replace(TYPICAL, failures=0.05))
    yield replace(base, cells=("one target in 100 takes a minute longer",), slow=0.01)
    yield replace(base, cells=("the same, and the ledger knows none of them",), slow=0.01, unknown=True)
    yield replace(base, cells=("22 new revisions",), steps=22)


def answered(questions: Iterable[Question], costs: Costs) -> list[tuple[Question, Outcome]]:
    """All of them, some at a time."""
    questions = list(questions)
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        return list(zip(questions, workers.map(Question.answer, questions, [costs] * len(questions)), strict=True))


def wide_table(found: Sequence[tuple[Question, Outcome]]) -> str:
    """Markdown."""
    return _pairs(("targets", "hosts", "machines", "`--parallel` of each"), found)


def careful_table(found: Sequence[tuple[Question, Outcome]]) -> str:
    """Markdown."""
    return _pairs(("targets", "hosts"), found)


def changes_table(found: Sequence[tuple[Question, Outcome]]) -> str:
    """Markdown."""
    head = ("10,000 targets, 4 hosts, one new revision", "time", "what limits", "failed")
    rows = [line([*q.cells, duration(o.seconds), o.limit, f"{o.failed:,}"]) for q, o in found]
    return "\n".join([line(head), line(["---"] * len(head)), *rows, ""])


def duration(seconds: float) -> str:
    """As people say it."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _pairs(first: Sequence[str], found: Sequence[tuple[Question, Outcome]]) -> str:
    """A row for each two questions: nothing to do, and one new revision."""
    head = (*first, "nothing to do", "what limits", "one new revision", "what limits", "connections of a host")
    rows = [
        line([*nothing.cells, duration(none.seconds), none.limit, duration(one.seconds), one.limit,
              str(max(none.connections, one.connections))])
        for (nothing, none), (_, one) in zip(found[::2], found[1::2], strict=True)
    ]  # fmt: skip
    return "\n".join([line(head), line(["---"] * len(head)), *rows, ""])


TABLES = (("wide", wide, wide_table), ("careful", careful, careful_table), ("changes", changes, changes_table))
"""The name of a part of the page, its questions, and how their answers are shown."""
