"""The wish to stop a run."""

from __future__ import annotations

from collections.abc import Callable


class Stop:
    """The wish to stop: asked once, running steps end and nothing new begins; asked twice, workers are killed."""

    def __init__(self) -> None:
        self.asked = 0
        self.heard_by: list[Callable[[], None]] = []

    def ask(self) -> None:
        """One more time. From a signal handler or any thread; when it returns, the workers have been told."""
        self.asked += 1
        for hear in self.heard_by:
            hear()
