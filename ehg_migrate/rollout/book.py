"""A run written into the ledger as it goes. A ledger that fails never stops a run: it becomes a note of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

from ehg_migrate.errors import EhgMigrateError, Problem
from ehg_migrate.ledger import Ledger
from ehg_migrate.model import Result, Run, RunStatus

_HEARTBEAT = 15.0  # seconds
_NAMED = 8  # results that are named before the rest is counted


class Book:
    """Starts, records and finishes one run; `notes` says what could not be written.

    A ledger that has failed is left alone until the end of the run, when all that it lacks is tried once more. A run
    that is `short`, since no work on a target belongs to it, is written whole in the end, in one transaction.
    """

    def __init__(self, opener: Callable[[], Ledger], run: Run, *, short: bool = False) -> None:
        self.notes: list[Problem] = []
        self._opener = opener
        self._run = run
        self._short = short
        self._ledger: Ledger | None = None
        self._late: list[Result] = []  # not written yet
        self._failed = False
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        if not self._short:
            self._try(self._begin)
            self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if not self._short:
            self._beating.join()
        if self._ledger:
            self._ledger.close()

    def record(self, *results: Result) -> None:
        """Targets that are done, written together."""
        if self._short or self._failed or not self._try(lambda: self._opened().record(self._run.id, *results)):
            self._late += results

    def finish(self, status: RunStatus) -> None:
        """The run is over; what could not be written is said once, by name."""
        if self._short and self._try(partial(self._write_whole, status)):
            return
        self._catch_up()
        if self._late:
            self.notes.append(_incomplete([r.target for r in self._late]))
        self._try(lambda: self._opened().finish(self._run.id, status, self.notes))

    def _catch_up(self) -> None:
        """Writes the results that are not written yet, until the ledger fails."""
        while self._late and self._try(lambda: self._opened().record(self._run.id, self._late[0])):
            del self._late[0]

    def _write_whole(self, status: RunStatus) -> None:
        ledger = self._opener()
        try:
            notes = (*self.notes, *_died(ledger.died(1), self._run))
            over = replace(self._run, status=status, finished_at=datetime.now(UTC), results=tuple(self._late))
            ledger.enter(replace(over, notes=notes))
        finally:
            ledger.close()
        self.notes[:] = notes

    def _opened(self) -> Ledger:
        if self._ledger is None:
            self._begin()
        assert self._ledger is not None
        return self._ledger

    def _begin(self) -> None:
        ledger = self._opener()
        try:
            if not ledger.holds(self._run.id):  # its start may have been written, and the answer lost
                ledger.start(self._run)
            self.notes += _died(ledger.died(2), self._run)
        except EhgMigrateError:
            ledger.close()
            raise
        self._ledger = ledger

    def _beat(self) -> None:
        while not self._over.wait(_HEARTBEAT):
            if ledger := self._ledger:
                self._try(partial(ledger.heartbeat, self._run.id))

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except EhgMigrateError as e:
            self._failed = True
            self.notes += [p for p in e.problems if p not in self.notes]
            return False
        return True


def _incomplete(targets: list[str]) -> Problem:
    named = ", ".join(f"the result of `{t}`" for t in targets[:_NAMED])
    more = f" and {len(targets) - _NAMED} more" if len(targets) > _NAMED else ""
    return Problem(
        "ledger_incomplete",
        f"the ledger lacks {named}{more}",
        "the targets have what this run reports; `history TARGET` shows it",
    )


def _died(dead: tuple[Run, ...], run: Run) -> list[Problem]:
    """The run before this one, if its process is gone and this one does not complete it already."""
    return [
        Problem(
            "died_run",
            f"run `{r.id}` of {r.origin.actor} on {r.origin.host} died: it has results for {len(r.results)} of "
            f"{len(r.targets)} targets",
            f"`resume {r.id}` completes it; `show {r.id}` tells how far it came",
        )
        for r in dead
        if r.id not in (run.id, run.resumes)
    ]
