"""A run written into the ledger as it goes. A ledger that fails never stops a run: it becomes a note of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from queue import Empty, Queue
from types import TracebackType
from typing import Self, TypeVar

from ehg_migrate.errors import EhgMigrateError, Problem, some
from ehg_migrate.ledger import Ledger, UnknownRun
from ehg_migrate.model import Result, Run, RunStatus

T = TypeVar("T")

_HEARTBEAT = 15.0  # seconds
_TOGETHER = 100  # results that are written in one transaction at the end: each is a connection to a ledger far away
_NAMED = 8  # results that are named before the rest is counted


class Book:
    """Starts, records and finishes one run; `notes` says what could not be written.

    Results are written by a thread, as many together as have come while it wrote those before: a disk, or a line to a
    ledger far away, must not keep workers waiting for their next target. A ledger that has failed is left alone until
    it takes a heartbeat again, or the run ends; then it gets all that it lacks. A run that is `short`, since no work
    on a target belongs to it, is written whole in the end, in one transaction. One that is left by an exception, as by
    Ctrl-C in a program that lives on, was interrupted: else it would count as running for as long as that does. One
    that was asleep, and that another run takes back or completes meanwhile, must not go on: `taken_over` is called
    then, once.
    A ledger that was set back meanwhile, as by a backup that was restored, gets what it has lost of the run again.
    """

    def __init__(
        self,
        opener: Callable[[], Ledger],
        run: Run,
        *,
        short: bool = False,
        taken_over: Callable[[], None] = lambda: None,
    ) -> None:
        self.notes: list[Problem] = []
        self._opener = opener
        self.run = run
        self._short = short
        self._taken_over = taken_over
        self._ledger: Ledger | None = None
        self._late: list[Result] = []  # not written yet
        self._told: dict[str, Result] = {}  # the last word on each target, written or not
        self._failed = False
        self._came: Queue[Result | None] = Queue()  # None is the last
        self._finished = False
        self._writer = ThreadPoolExecutor(1, "ledger")
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        if not self._short:
            self._try(self._begin)
            with suppress(RuntimeError):  # no thread is left: each result is written when it comes
                self._written = self._writer.submit(self._write)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._finished:
            self.finish(RunStatus.INTERRUPTED)
        self._came.put(None)
        self._writer.shutdown()
        if self._ledger:
            self._ledger.close()

    def record(self, *results: Result) -> None:
        """Targets that are done; written soon, in this order."""
        self._told |= {r.target: r for r in results}
        if not (self._short or self._written):
            self._write_down(list(results))
            return
        for result in results:
            self._came.put(result)

    def _write(self) -> None:
        """Until the last has come. Meanwhile others are told that it is alive, and it hears who has taken it over."""
        last, said = False, time.monotonic()
        while not last:
            came = self._wait()
            last = None in came
            if results := [r for r in came if r]:
                self._write_down(results)
            if not last and time.monotonic() >= said + _HEARTBEAT:
                if self._try(self._beat) and self._failed:
                    self._failed = False
                    self._catch_up()
                said = time.monotonic()

    def _beat(self) -> None:
        by = self._in(lambda ledger: ledger.heartbeat(self.run.id))
        if by and not any(n.code == "taken_over" for n in self.notes):
            self.notes.append(_by_another(by))
            self._taken_over()

    def _write_down(self, results: list[Result]) -> bool:
        """Whether they were written, and not put off until the end."""
        if not self._failed and self._try(partial(self._record, results)):
            return True
        self._late += results
        return False

    def _wait(self) -> list[Result | None]:
        """All that has come; nothing where nothing does for a while."""
        try:
            came = [self._came.get(timeout=_HEARTBEAT)]
        except Empty:
            return []
        while not self._came.empty():
            came.append(self._came.get())
        return came

    def finish(self, status: RunStatus) -> None:
        """The run is over; what could not be written is said once, by name."""
        self._finished = True
        self._come_to_end()
        if self._short and self._try(partial(self._write_whole, status)):
            return
        self._catch_up()
        self.notes += self._lacking()
        self._try(partial(self._close, status))

    def _close(self, status: RunStatus) -> None:
        """The ledger's last word, unless it lacks results that it was given: then these again, and another."""
        self._opened()
        said = len(self.notes)
        has = self._in(lambda ledger: ledger.finish(self.run.id, status, self.notes))
        late = {r.target for r in self._late}
        self._late = [r for t, r in self._told.items() if has.get(t) is not r.status and t not in late]
        self._catch_up()
        if self._late:
            self.notes += self._lacking()
            self._in(lambda ledger: ledger.finish(self.run.id, status, self.notes[said:]))

    def _lacking(self) -> list[Problem]:
        return [_incomplete(list(dict.fromkeys(r.target for r in self._late)))] if self._late else []

    def _come_to_end(self) -> None:
        self._came.put(None)
        if self._written:
            self._written.result()
        else:
            self._late += (r for r in self._wait() if r)

    def _catch_up(self) -> None:
        """Writes the results that are not written yet, until the ledger fails."""
        while self._late and self._try(partial(self._record, self._late[:_TOGETHER])):
            del self._late[:_TOGETHER]

    def _write_whole(self, status: RunStatus) -> None:
        ledger = self._opener()
        try:
            notes = (*self.notes, *self._former(ledger, 1))
            over = replace(self.run, status=status, finished_at=datetime.now(UTC), results=tuple(self._late))
            ledger.enter(replace(over, notes=notes))
        finally:
            ledger.close()
        self.notes[:] = notes

    def _record(self, results: list[Result]) -> None:
        self._in(lambda ledger: ledger.record(self.run.id, *results))

    def _in(self, action: Callable[[Ledger], T]) -> T:
        """What it gives; a ledger that has lost the run is told of it anew, and of all its results."""
        ledger = self._opened()
        try:
            return action(ledger)
        except UnknownRun:
            ledger.start(self.run)
            self._late = list(self._told.values())
            self._catch_up()
            return action(ledger)

    def _opened(self) -> Ledger:
        if self._ledger is None:
            self._begin()
        assert self._ledger is not None
        return self._ledger

    def _begin(self) -> None:
        ledger = self._opener()
        try:
            if not ledger.holds(self.run.id):  # its start may have been written, and the answer lost
                ledger.start(self.run)
        except EhgMigrateError:
            ledger.close()
            raise
        self._ledger = ledger
        self.notes += self._former(ledger, 2)

    def _former(self, ledger: Ledger, newest: int) -> list[Problem]:
        """What is to be said of the runs before this one; that they cannot be read keeps nothing of this one out."""
        try:
            return _died(ledger.died(newest), self.run)
        except EhgMigrateError as e:
            return list(e.problems)

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except EhgMigrateError as e:
            self._failed = True
            self.notes += [p for p in e.problems if p not in self.notes]
            return False
        return True


def _by_another(run: str) -> Problem:
    return Problem(
        "taken_over",
        f"run `{run}` has taken this one over, as one that has died: it gave no sign of life for too long",
        f"it was stopped, then; `ehg-migrate show {run}` tells what that one did, `ehg-migrate status` what is now",
    )


def _incomplete(targets: list[str]) -> Problem:
    results = some([f"the result of `{t}`" for t in targets], _NAMED)
    return Problem(
        "ledger_incomplete",
        f"the ledger lacks {results}",
        "the targets have what this run reports; `ehg-migrate history TARGET` shows it",
    )


def _died(dead: tuple[Run, ...], run: Run) -> list[Problem]:
    """The run before this one, if its process is gone and this one does not complete it or take it back."""
    others = [r for r in dead if r.id not in (run.id, run.resumes, run.undoes)]
    if not others:
        return []
    from ehg_migrate.rollout.reasons import died  # seldom

    return [died(r) for r in others]
