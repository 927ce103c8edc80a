"""What looks on while a step runs: a deadline on the client's side, and who blocks whom."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psycopg

from ehg_migrate.database.connections import Notice
from ehg_migrate.database.session import Session

_FIRST_LOOK = 1.0  # seconds a step may run before anybody asks why
_LOOK_EVERY = 1.0


class Watchdog:
    """Ends a session that outlives its deadline by closing its sockets: the only thing that frees a hung query."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._session: Session | None = None
        self._timer = threading.Timer(seconds, self._expire) if seconds else None

    def guard(self, session: Session) -> None:
        """This session is the one to end."""
        self._session = session

    def __enter__(self) -> Self:
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        if self._session:
            self._session.abort()


class BlockerWatch:
    """Asks on the lock's connection who blocks the working one, tells it, and keeps the last answer."""

    def __init__(self, session: Session, notice: Notice) -> None:
        self.last = ""
        self._session = session
        self._notice = notice
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="blockers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        wait = _FIRST_LOOK
        while not self._over.wait(wait):
            wait = _LOOK_EVERY
            try:
                found = self._session.blockers()
            except psycopg.Error:
                return  # the lock's connection is gone; whoever runs the step finds out and says so
            if found and found != self.last:
                self._notice(f"blocked by {found}")
            self.last = found or self.last
