"""How busy what may limit a run was: seconds in use by name, over the seconds of a phase."""

from __future__ import annotations

from collections import defaultdict

THREAD = "one core of the runner"
CORES = "the runner's cores"
LEDGER = "the ledger"
LOOKS = "`parallel` in alembic.ini"
PARALLEL = "`--parallel`"
HOST_PARALLEL = "`host_parallel`"
HOST_RATE = "`host_rate`"


class Phase:
    """A part of a run: the looks, or the work. `use` of what there are several of says how many."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.ended = begun
        self._used: defaultdict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended - self.begun

    def use(self, name: str, seconds: float, of: float = 1.0) -> None:
        """One of `of` was in use for so long."""
        self._used[name] += seconds / of

    def busy(self) -> dict[str, float]:
        """From 0 to 1 by name."""
        return {name: min(1.0, used / self.seconds) for name, used in self._used.items()} if self.seconds else {}
