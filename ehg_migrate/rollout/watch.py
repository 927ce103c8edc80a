"""What looks on while a step runs: a deadline on the client's side, and who blocks whom."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

import psycopg

from ehg_migrate.database.connections import Notice
from ehg_migrate.database.session import Session

_LOOK_EVERY = 1.0  # seconds between two questions why a step takes so long
_LOOKS = 4  # questions before a lock timeout ends the waiting that they ask about
_AGAIN = 0.2  # seconds until a session is ended again whose connection did not stand yet
_GRACE = 6.0  # seconds after the deadline until a process ends itself: its runner, where that lives, does after five
_LEAVE = partial(os._exit, 1)


class Watchdog:
    """Ends work that outlives its deadline. A session is ended by closing its sockets, which frees a hung query.

    While there is no session, because the name, the connection or the first answer hangs, nothing can be closed: then
    `give_up` ends the work, in this thread, and does not return. Work that goes on without its session, as an endless
    loop in Python does, is ended by the runner, or where that has gone, `leave` ends the process.
    """

    def __init__(self, seconds: float, give_up: Callable[[], None], leave: Callable[[], None] = _LEAVE) -> None:
        self.expired = False
        self._seconds = seconds
        self._give_up = give_up
        self._leave = leave
        self._session: Session | None = None
        self._deciding = threading.Lock()  # who gives up must not see a session begin meanwhile
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="deadline", daemon=True)

    def guard(self, session: Session | None) -> None:
        """This session is the one to end; None while one is being entered."""
        with self._deciding:
            self._session = session

    def __enter__(self) -> Self:
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._deciding:
            self._over.set()

    def _wait(self) -> None:
        wait, last = self._seconds, time.monotonic() + self._seconds + _GRACE
        while not self._over.wait(wait):
            wait = _AGAIN
            self._end()
            if time.monotonic() > last:
                self._leave()

    def _end(self) -> None:
        with self._deciding:
            if self._over.is_set():
                return
            self.expired = True
            if self._session:
                self._session.abort()
            else:
                self._give_up()


class BlockerWatch:
    """Asks on the lock's connection who blocks the working one, tells it, and keeps the last answer.

    Where no thread is to be had nobody asks: a step must not fail for want of one that only looks on. Nor where the one
    connection is that which waits; so it does not wait for long (single.py).
    """

    def __init__(self, session: Session, notice: Notice) -> None:
        self.last = ""
        self._session = session
        self._notice = notice
        limit = session.target.limits.lock
        self._every = min(_LOOK_EVERY, limit / _LOOKS) if limit else _LOOK_EVERY
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="blockers", daemon=True)

    def __enter__(self) -> Self:
        if self._session.lock is not self._session.work:
            with contextlib.suppress(RuntimeError):
                self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _look(self) -> None:
        told: set[int] = set()
        while not self._over.wait(self._every):
            try:
                found = self._session.blockers()
            except psycopg.Error:
                return  # the lock's connection is gone; whoever runs the step finds out and says so
            if not found:
                continue
            self.last = "; ".join(found.values())
            if not found.keys() <= told:
                self._notice(f"blocked by {self.last}")
            told |= found.keys()
