"""The cores of a machine in simulated time: whoever wants them has an equal share, and never more than one."""

from __future__ import annotations

import heapq
from collections.abc import Generator
from itertools import count
from typing import Any

import simpy

Doing = Generator[simpy.Event, Any, None]
"""What a process of the simulation is made of."""
Asking = Generator[simpy.Event, Any, bool]
"""One that tells whether it went well."""


class Cores:
    """`use` takes CPU seconds. Who uses it is served at the speed min(1, cores / users), as a fair kernel does.

    All users have the same speed at any moment, so one clock serves them all: it goes on at that speed, and a user is
    done when it has gone on by what he wants.
    """

    def __init__(self, env: simpy.Environment, number: float) -> None:
        self._env = env
        self._number = number
        self._clock = 0.0
        self._seen = 0.0  # the simulated time for which `_clock` holds
        self._users: list[tuple[float, int, simpy.Event]] = []  # by the clock at which they are done
        self._order = count()
        self._plan = 0

    def use(self, seconds: float) -> simpy.Event:
        """Happens when so many CPU seconds have been had."""
        self._go_on()
        done = self._env.event()
        heapq.heappush(self._users, (self._clock + seconds, next(self._order), done))
        self._wait_for_first()
        return done

    @property
    def _speed(self) -> float:
        return min(1.0, self._number / len(self._users))

    def _go_on(self) -> None:
        if self._users:
            self._clock += (self._env.now - self._seen) * self._speed
        self._seen = self._env.now

    def _wait_for_first(self) -> None:
        self._plan += 1
        if not self._users:
            return
        plan, first = self._plan, self._users[0][0]
        due = self._env.timeout(max(0.0, first - self._clock) / self._speed)
        assert due.callbacks is not None
        due.callbacks.append(lambda _: self._due(plan, first))

    def _due(self, plan: int, first: float) -> None:
        if plan != self._plan:  # somebody came or went meanwhile
            return
        self._go_on()
        self._clock = max(self._clock, first)  # not short of it by a rounding
        while self._users and self._users[0][0] <= self._clock:
            heapq.heappop(self._users)[2].succeed()
        self._wait_for_first()
