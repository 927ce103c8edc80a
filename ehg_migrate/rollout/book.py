"""A run written into the ledger as it goes. A ledger that fails never stops a run: it becomes a note of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ehg_migrate.errors import EhgMigrateError, Problem
from ehg_migrate.ledger import Ledger
from ehg_migrate.model import Result, Run, RunStatus

_HEARTBEAT = 15.0  # seconds


class Book:
    """Starts, records and finishes one run; `notes` says what could not be written."""

    def __init__(self, opener: Callable[[], Ledger], run: Run) -> None:
        self.notes: list[Problem] = []
        self._opener = opener
        self._run = run
        self._ledger: Ledger | None = None
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._try(self._begin)
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._beating.join()
        if self._ledger:
            self._ledger.close()

    def record(self, result: Result) -> None:
        """One target is done."""
        ledger = self._ledger
        if ledger:
            self._try(lambda: ledger.record(self._run.id, result))

    def finish(self, status: RunStatus) -> None:
        """The run is over."""
        ledger = self._ledger
        if ledger:
            self._try(lambda: ledger.finish(self._run.id, status, self.notes))

    def _begin(self) -> None:
        ledger = self._opener()
        try:
            ledger.start(self._run)
        except EhgMigrateError:
            ledger.close()
            raise
        self._ledger = ledger

    def _beat(self) -> None:
        while not self._over.wait(_HEARTBEAT):
            self._try(self._alive)

    def _alive(self) -> None:
        if self._ledger:
            self._ledger.heartbeat(self._run.id)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except EhgMigrateError as e:
            self.notes += [p for p in e.problems if p not in self.notes]
