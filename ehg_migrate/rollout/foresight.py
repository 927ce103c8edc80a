"""What is seen to be needed while targets still answer: workers, and endpoints whose mode is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache

from ehg_migrate.database.hosts import place
from ehg_migrate.database.probe import Reading, probe
from ehg_migrate.errors import Problem
from ehg_migrate.model import Direction, Target
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.specs import Releases, resolve_all


class Foresight:
    """For targets that are to be upgraded at once. `work` is called once, when the first is seen to need it.

    `proven` grows by each endpoint (host and port) that is seen to be in session mode: one target of each is asked for
    that, beside the looks at the others, so that no worker has to.
    """

    def __init__(self, history: History, releases: Releases, work: Callable[[], None]) -> None:
        self.proven: set[tuple[str, int]] = set()
        self._history = history
        self._goal = cache(lambda branches, specs: set(resolve_all(history.graph(branches), specs, releases)))
        self._is_plain = cache(self._has_plain_steps)
        self._work = work
        self._called = False
        self._asked: set[tuple[str, int]] = set()

    def probe(
        self, targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int
    ) -> dict[str, Reading | Problem]:
        """What `database.probe.probe` does; `at_once` must be two."""

        def then(target: Target, reading: object) -> Awaitable[None] | None:
            assert isinstance(reading, Reading)
            if self._is_ready(target, reading):
                return None
            if not self._called:
                self._called = True
                self._work()
            return self._prove(target, passwords.get(target.name)) if self._is_asked(target, reading) else None

        return probe(targets, passwords, at_once, then)

    def _is_ready(self, target: Target, reading: Reading) -> bool:
        """Whether it holds what `upgrade` brings it to."""
        return set(reading.heads) == self._goal(target.branches, target.upgrade_to)

    def _is_asked(self, target: Target, reading: Reading) -> bool:
        """Whether this target is the one of its endpoint. Who needs two connections in any case looks for himself."""
        if target.schema or reading.read_only or reading.foreign_heads or place(target) in self._asked:
            return False
        if not self._is_plain(target.branches, target.upgrade_to, reading.heads):
            return False
        self._asked.add(place(target))
        return True

    def _has_plain_steps(self, branches: tuple[str, ...], specs: tuple[str, ...], heads: tuple[str, ...]) -> bool:
        """Whether nothing else is loaded and run on the way from these heads."""
        graph = self._history.graph(branches)
        if not all(r.is_silent for r in graph.revisions) or not all(h in graph for h in heads):
            return False
        ahead = graph.closure(self._goal(branches, specs)) & ~graph.closure(heads)
        return all(Direction.UP.function in graph[r].plain for r in graph.ids(ahead))

    async def _prove(self, target: Target, password: str | None) -> None:
        from ehg_migrate.database.proof import is_in_session_mode

        if await is_in_session_mode(target, password):
            self.proven.add(place(target))
