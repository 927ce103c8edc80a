"""The wish to stop a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Enough:
    """Why no other target of a run begins."""

    why: str
    in_spite: str  # the options with which it would; none for a saved plan, which has its waves
    of_wave: bool = False


class Stop:
    """The wish to stop: asked once, running steps end and nothing new begins; asked twice, workers are killed.

    Without anybody's wish there can be `enough`, which says why: what is at work ends its whole plan then.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.enough: Enough | None = None
        self.heard_by: list[Callable[[], None]] = []

    @property
    def over(self) -> bool:
        """Whether no other target shall begin."""
        return bool(self.asked or self.enough)

    def ask(self) -> None:
        """One more time. From a signal handler or any thread; when it returns, the workers have been told."""
        self.asked += 1
        for hear in self.heard_by:
            hear()
