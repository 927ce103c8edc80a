"""How many targets of one host are at work at a time, and how fast new ones begin.

Many targets share a pooler, which has only so many places, and from one source address it takes only so many logins.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from ehg_migrate.model import Target

_MANY = 1_000_000
_SILENT = 8  # attempts in a row; one target alone has fewer
_BRIEF = 2.0  # seconds of an attempt after these


class _Host:
    def __init__(self, targets: list[Target], ahead: int) -> None:
        # the least of what its targets say; 0 is no limit
        self.at_once = min((t.limits.host_parallel for t in targets if t.limits.host_parallel), default=_MANY)
        rate = min((t.limits.host_rate for t in targets if t.limits.host_rate), default=0.0)
        self.pause = 1 / rate if rate else 0.0
        self.ahead = ahead
        self.led_until = math.inf if ahead else 0.0  # by the monotonic clock; from the first on a moment
        self.busy = 0
        self.next = 0.0  # when the next one may begin, by the same clock
        self.places = asyncio.Semaphore(self.at_once)

    def opens(self) -> float:
        """When another one may begin; infinite where one must end before."""
        if self.busy >= self.at_once:
            return math.inf
        return max(self.next, self.led_until) if self.ahead and self.busy >= self.ahead else self.next


class Hosts:
    """The hosts of some targets; an entry's `host_parallel` and `host_rate` hold for its host and port.

    With `ahead`, only so many targets of a host begin until one of them has `led` or ended, or `lead` seconds are over.
    """

    def __init__(self, targets: Iterable[Target], *, ahead: int = 0, lead: float = 0.0) -> None:
        together: dict[tuple[str, int], list[Target]] = {}
        for target in targets:
            together.setdefault(place(target), []).append(target)
        self._hosts = {where: _Host(of_one, ahead) for where, of_one in together.items()}
        self._lead = lead
        self._timed: set[_Host] = set()  # those that may open by themselves

    def may_begin(self, target: Target) -> bool:
        """Whether its host has a place for it now."""
        return time.monotonic() >= self._hosts[place(target)].opens()

    def pause_left(self, most: float) -> float:
        """Seconds until another target may begin somewhere that could not until then; `most` where it is no matter of
        time.
        """
        now = time.monotonic()
        self._timed = {host for host in self._timed if max(host.next, host.led_until) > now}
        left = (host.opens() - now for host in self._timed if host.opens() > now)
        return min([most, *left])

    def begin(self, target: Target) -> None:
        """It is at work from now on, until `end`."""
        host, now = self._hosts[place(target)], time.monotonic()
        host.busy += 1
        host.next = max(host.next, now) + host.pause
        host.led_until = min(host.led_until, now + self._lead)
        self._timed.add(host)

    def end(self, target: Target) -> None:
        """Its place is free."""
        self._hosts[place(target)].busy -= 1
        self.led(target)

    def led(self, target: Target) -> None:
        """What those that went ahead were to find out is known."""
        self._hosts[place(target)].led_until = 0.0

    @asynccontextmanager
    async def turn(self, target: Target) -> AsyncIterator[None]:
        """The same for a coroutine: comes when the target may begin, and gives its place back."""
        host = self._hosts[place(target)]
        async with host.places:
            now = time.monotonic()
            begin = max(now, host.next)
            host.next = begin + host.pause
            if begin > now:
                await asyncio.sleep(begin - now)
            yield


class Places:
    """Connections that are open together, for looks at many targets.

    A host that says nothing takes a place for as long as it is waited for. Those that do have three of four places at
    most, so that the targets of the others are not held up by them.
    """

    def __init__(self, count: int) -> None:
        self._all = asyncio.Semaphore(count)
        self._patient = asyncio.Semaphore(max(count * 3 // 4, 1))
        self._halves = asyncio.Semaphore(max(count // 2, 1))  # or all places were held by who waits for a second one
        self._silent: Counter[tuple[str, int]] = Counter()  # attempts since the host last said anything

    @asynccontextmanager
    async def taken(self, target: Target) -> AsyncIterator[None]:
        """Comes when there is a place for one attempt, and gives it back."""
        while not self._silent[place(target)]:
            async with self._all:
                if not self._silent[place(target)]:  # it was found out while this one waited
                    yield
                    return
        async with self._patient, self._all:
            yield

    @asynccontextmanager
    async def two(self) -> AsyncIterator[None]:
        """Comes when there are places for two connections, and gives them back. There must be two in all."""
        async with self._halves, self._all, self._all:
            yield

    def heard(self, target: Target, *, silent: bool) -> None:
        """How an attempt ended."""
        self._silent[place(target)] = self._silent[place(target)] + 1 if silent else 0

    def patience(self, target: Target, seconds: float) -> float:
        """How many of these an attempt gets: few where its host has said nothing to anybody for a while.

        Hundreds of targets of a pooler that is down would hold up a run for minutes. No limit stays none.
        """
        return seconds if seconds == math.inf or self.worth_another(target) else min(seconds, _BRIEF)

    def worth_another(self, target: Target) -> bool:
        """Whether to try again: a host that says nothing to anybody is tried by its other targets' attempts."""
        return self._silent[place(target)] < _SILENT


def place(target: Target) -> tuple[str, int]:
    """Where connections to it go: many targets have one pooler."""
    return target.address.host, target.address.port
