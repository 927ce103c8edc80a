"""Every kind of fault, how often it is chosen, and where."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from tests.faults import clocks, ledgers, network, people, platforms, processes, revisions
from tests.faults.fault import Fault
from tests.faults.scene import Scene

Make = Callable[[Scene, random.Random], Fault]


class Entry(NamedTuple):
    """How a fault is made, its weight, the place of the targets and that of the ledger.

    A ledger is a `file`, or a database at a place; `any` is mostly a file, and a database often enough.
    """

    make: Make
    weight: int
    place: str
    ledger: str = "any"

    @property
    def name(self) -> str:
        """What EHG_FAULT_KIND calls it."""
        return self.make.__name__

    @property
    def sleeps(self) -> bool:
        """Whether a run can: libfaketime 0.9.10 answers Python's `time.sleep` with EINVAL."""
        return self.make is not clocks.clock

    @property
    def edits(self) -> bool:
        """Whether it changes a revision's file, which no approval outlives."""
        return self.make.__module__ == revisions.__name__


FAULTS: tuple[Entry, ...] = (
    Entry(network.cut, 10, "steady"),
    Entry(network.cut_each, 3, "steady"),
    Entry(network.cut_in_flight, 8, "steady"),
    Entry(network.lost_answer, 8, "steady"),
    Entry(processes.kill_worker, 10, "steady"),
    Entry(processes.kill_parent, 7, "steady"),
    Entry(processes.kill_everything, 5, "steady"),
    Entry(processes.kill_backend, 10, "steady"),
    Entry(processes.stop_signal, 7, "steady"),
    Entry(revisions.bad_revision, 6, "steady"),
    Entry(people.lock_holder, 6, "steady"),
    Entry(network.half_open, 4, "steady"),
    Entry(processes.cancel_statement, 3, "steady"),
    Entry(processes.restart, 4, "fragile"),
    Entry(processes.kill_pooler, 4, "pooled"),
    Entry(people.second_runner, 3, "steady"),
    Entry(people.stock_runner, 2, "steady"),
    Entry(ledgers.ledger_file, 4, "steady", "file"),
    Entry(network.stall, 2, "steady"),
    Entry(network.freeze, 2, "steady"),
    Entry(network.server_side_cut, 1, "steady"),
    Entry(network.cut_for_long, 1, "steady"),
    Entry(network.lost_for_long, 1, "steady"),
    Entry(network.silence, 1, "steady"),
    Entry(processes.server_down, 1, "fragile"),
    Entry(network.delay, 2, "steady"),
    Entry(network.throttle, 1, "steady"),
    Entry(network.pause, 2, "steady"),
    Entry(people.nothing, 1, "steady"),
    Entry(processes.server_stopped, 1, "fragile"),
    Entry(processes.server_naps, 2, "fragile"),
    Entry(processes.pooler_stopped, 1, "pooled"),
    Entry(ledgers.ledger_cut, 4, "steady", "ledger"),
    Entry(ledgers.ledger_hangs, 1, "steady", "ledger"),
    Entry(ledgers.ledger_server, 2, "steady", "fragile"),
    Entry(clocks.clock, 4, "steady"),
    Entry(revisions.messy_revision, 1, "steady"),
    Entry(revisions.hanging_revision, 1, "steady"),
    Entry(processes.end_everything, 3, "steady"),
    Entry(platforms.read_only, 3, "fragile"),
    Entry(platforms.set_back, 3, "steady"),
    Entry(ledgers.ledger_set_back, 2, "steady", "file"),
)


def choose(rng: random.Random, kind: str = "") -> Entry:
    """A kind of fault: this one, or any by its weight. Draws once from `rng` either way."""
    (drawn,) = rng.choices(FAULTS, [e.weight for e in FAULTS])
    return next(e for e in FAULTS if e.name == kind) if kind else drawn
