"""Every kind of fault, how often it is chosen, and where."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.faults import network, people, processes
from tests.faults.fault import Fault
from tests.faults.scene import Scene

Make = Callable[[Scene, random.Random], Fault]

# (how to make it, weight, where)
FAULTS: tuple[tuple[Make, int, str], ...] = (
    (network.cut, 10, "steady"),
    (network.cut_each, 3, "steady"),
    (network.cut_in_flight, 8, "steady"),
    (network.lost_answer, 8, "steady"),
    (processes.kill_worker, 10, "steady"),
    (processes.kill_parent, 7, "steady"),
    (processes.kill_everything, 5, "steady"),
    (processes.kill_backend, 10, "steady"),
    (processes.stop_signal, 7, "steady"),
    (people.bad_revision, 6, "steady"),
    (people.lock_holder, 6, "steady"),
    (network.half_open, 4, "steady"),
    (processes.cancel_statement, 3, "steady"),
    (processes.restart, 4, "fragile"),
    (processes.kill_pooler, 4, "pooled"),
    (people.second_runner, 3, "steady"),
    (people.stock_runner, 2, "steady"),
    (people.ledger, 4, "steady"),
    (network.stall, 2, "steady"),
    (network.freeze, 2, "steady"),
    (network.server_side_cut, 1, "steady"),
    (network.cut_for_long, 1, "steady"),
    (network.lost_for_long, 1, "steady"),
    (network.silence, 1, "steady"),
    (processes.server_down, 1, "fragile"),
    (network.delay, 2, "steady"),
    (network.throttle, 1, "steady"),
    (network.pause, 2, "steady"),
    (people.nothing, 1, "steady"),
)


def choose(rng: random.Random) -> tuple[Make, str]:
    """A kind of fault and its place."""
    make, _, place = rng.choices(FAULTS, [w for _, w, _ in FAULTS])[0]
    return make, place
