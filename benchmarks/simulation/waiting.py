"""Jobs that wait for their hosts: the runner's rules (`rollout/pool.py`, `database/hosts.py`) in simulated time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import simpy

from benchmarks.simulation.model import Site, Task

_MANY = 1_000_000


class Host:
    """A pooler as one runner sees it: so many of its targets at a time, and a pause between two that begin."""

    def __init__(self, env: simpy.Environment, site: Site) -> None:
        self._env = env
        self.at_once = site.host_parallel or _MANY
        self.pause = 1 / site.host_rate if site.host_rate else 0.0
        self.busy = 0
        self.next = 0.0
        self.places = simpy.Resource(env, self.at_once)  # of the looks

    def may_begin(self) -> bool:
        """Whether it has a place now."""
        return self.busy < self.at_once and self._env.now >= self.next

    def begin(self) -> None:
        """One is at work from now on."""
        self.busy += 1
        self.next = max(self.next, self._env.now) + self.pause

    def turn(self) -> float:
        """Seconds until the next look may begin there; the one that asks takes the turn."""
        begin = max(self._env.now, self.next)
        self.next = begin + self.pause
        return begin - self._env.now


class Waiting:
    """What `take_next` of the pool takes from its list, found without going over the list."""

    def __init__(self, tasks: Iterable[Task], hosts: Sequence[Host]) -> None:
        self._hosts = hosts
        self._queues: list[deque[tuple[int, Task]]] = [deque() for _ in hosts]
        # what is not known to be short begins first, as in `run_plans`
        for place, task in enumerate(sorted(tasks, key=lambda t: -t.took)):
            self._queues[task.host].append((place, task))
        self.left = sum(map(len, self._queues))

    def take(self) -> Task | None:
        """The first whose host has a place, no longer waiting."""
        ready = [q for q, host in zip(self._queues, self._hosts, strict=True) if q and host.may_begin()]
        if not ready:
            return None
        self.left -= 1
        return min(ready, key=lambda q: q[0][0]).popleft()[1]

    def pause_left(self, now: float) -> float | None:
        """Seconds until a host with places and something waiting may begin; None where only an end helps."""
        paused = [h.next - now for q, h in zip(self._queues, self._hosts, strict=True) if q and h.busy < h.at_once]
        return min(paused, default=None)
