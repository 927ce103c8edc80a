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
_NAMED = 8  # results that are named before the rest is counted


class Book:
    """Starts, records and finishes one run; `notes` says what could not be written."""

    def __init__(self, opener: Callable[[], Ledger], run: Run) -> None:
        self.notes: list[Problem] = []
        self._opener = opener
        self._run = run
        self._ledger: Ledger | None = None
        self._missing: list[str] = []
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
        self._write(lambda ledger: ledger.record(self._run.id, result), f"the result of `{result.target}`")

    def finish(self, status: RunStatus) -> None:
        """The run is over; what could not be written until now is said once, by name."""
        if self._missing:
            more = f" and {len(self._missing) - _NAMED} more" if len(self._missing) > _NAMED else ""
            self.notes.append(
                Problem(
                    "ledger_incomplete",
                    f"the ledger lacks {', '.join(self._missing[:_NAMED])}{more}",
                    "the targets have what this run reports; `history TARGET` shows it",
                )
            )
        self._write(lambda ledger: ledger.finish(self._run.id, status, self.notes), "the end of the run")

    def _begin(self) -> None:
        ledger = self._opener()
        try:
            ledger.start(self._run)
            self.notes += _died(ledger.runs(2), self._run)
        except EhgMigrateError:
            ledger.close()
            raise
        self._ledger = ledger

    def _beat(self) -> None:
        while not self._over.wait(_HEARTBEAT):
            self._write(lambda ledger: ledger.heartbeat(self._run.id), "")

    def _write(self, action: Callable[[Ledger], None], what: str) -> None:
        ledger = self._ledger
        if ledger is None or not self._try(lambda: action(ledger)):
            self._missing += [what] if what else []

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except EhgMigrateError as e:
            self.notes += [p for p in e.problems if p not in self.notes]
            return False
        return True


def _died(newest: tuple[Run, ...], run: Run) -> list[Problem]:
    """The run before this one, if its process is gone and this one does not complete it already."""
    return [
        Problem(
            "died_run",
            f"run `{r.id}` of {r.origin.actor} on {r.origin.host} died: it has results for {len(r.results)} of "
            f"{len(r.targets)} targets",
            f"`resume {r.id}` completes it; `show {r.id}` tells how far it came",
        )
        for r in newest
        if r.status is RunStatus.DIED and r.id not in (run.id, run.resumes)
    ]
