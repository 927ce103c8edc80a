"""The steps of one session, one after the other through Alembic, each tried again where that is safe."""

from __future__ import annotations

import contextlib
import random
import time
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ehg_migrate.database.faults import GONE, THERE, Fault, Retry, is_lost, run_fault
from ehg_migrate.database.session import Session
from ehg_migrate.database.single import NeedsPair, SingleSession
from ehg_migrate.environment.guards import drop_hint, leftovers
from ehg_migrate.environment.hosting import run_steps, untouched
from ehg_migrate.environment.naming import Past
from ehg_migrate.environment.pipelining import NotAsAssumed
from ehg_migrate.environment.recording import Known, Recorder
from ehg_migrate.environment.resending import learn_steps, send_steps
from ehg_migrate.errors import EhgMigrateError, Problem, TargetError, described
from ehg_migrate.model import Direction, Status, Step, StepResult, Verb
from ehg_migrate.redaction import one_line
from ehg_migrate.revisions.loading import line_of, raised_by
from ehg_migrate.rollout.jobs import EventKind, Job
from ehg_migrate.rollout.reasons import is_gone, is_there
from ehg_migrate.rollout.watch import BlockerWatch

_LONGEST_WAIT = 30.0  # seconds between two attempts of a step
_BACK = (Verb.ROLLBACK, Direction.DOWN)
_OTHER_FILE = (
    "a corrected revision is another file, which a rollback refuses: it names what to say then, `ehg-migrate downgrade "
    "TARGET --to REV`"
)
_NO_MEMORY = "there is no more memory, or `worker_memory` in alembic.ini allows no more: work in parts, or in SQL"
WORKER_LOST = Fault(Problem("worker_lost", "the worker that did this step was lost", "run again"), Retry.LOOK)
_TICK = 0.2  # seconds between two looks, while waiting, whether it is still worth it


class Tells(Protocol):
    """Who hears of progress, and knows whether to stop."""

    def tell(self, kind: EventKind, text: str = "", step: int = 0) -> None:
        """Something happened."""

    def notice(self, text: str) -> None:
        """Something is being waited for."""

    def share(self) -> None:
        """What the work needs to know is known, some of it newly."""

    def asked_to_stop(self) -> bool:
        """Whether no further step shall begin."""

    def end_copies(self) -> None:
        """Does not come back in a process that a revision forked and let go on."""


class StepFailed(Exception):
    """A step did not end. `atomic` says whether all it did was in the transaction that is gone."""

    def __init__(self, step: Step, fault: Fault, invalid_before: tuple[str, ...] | None) -> None:
        self.step = step
        self.fault = fault
        self.atomic = invalid_before is None
        self.invalid_before = invalid_before or ()
        super().__init__(fault.problem.message)


def after_failure(session: Session, failure: StepFailed) -> tuple[Status, Problem]:
    """What became of the target by it, and what is said of that. Raises psycopg.Error."""
    problem = failure.fault.problem
    if failure.atomic:
        return Status.FAILED, problem
    left = leftovers(session, failure.invalid_before)
    found = f"; INVALID indexes: {', '.join(left)}" if left else ""
    first = drop_hint(left) if left else "look what the step has done, and correct it"
    then = problem.hint  # or it would fail again, and leave the same
    if failure.step.direction is Direction.DOWN:
        then = "`ehg-migrate status -t TARGET` names what shows the rest of it, and what finishes it"
    return Status.INDETERMINATE, replace(
        problem,
        message=f"{problem.message}; the step had left its transaction, so a part of it may be done{found}",
        hint=f"{first}; then: {then}",
    )


class Stepper:
    """Runs steps on one session; `done` grows by each one that is committed."""

    def __init__(
        self,
        job: Job,
        teller: Tells,
        session: Session,
        connection: Connection | None,
        done: list[StepResult],
        past: Past,
        attempt: int = 1,
    ) -> None:
        self.done = done
        self._job = job
        self._teller = teller
        self._session = session
        self._past = past  # of sessions before, too
        self._connection = connection  # of SQLAlchemy, over the session's; none where steps are sent as wholes
        self._open: Step | None = None
        self._next: Step | None = None  # the last that was to begin, whether or not it did
        self._since = time.monotonic()
        self._attempt = attempt  # of the first step
        self._sends_ahead = not job.trace  # what is watched is waited for

    def run(self, steps: tuple[Step, ...]) -> StepFailed | None:
        """Everything that can be done of `steps`; the failure that ended it, None where nothing failed.

        A failure with Retry.LOOK means that the connection is gone.
        """
        retries = self._job.target.limits.retries
        while True:
            done_before = len(self.done)
            failure = self._try(steps)
            steps = steps[len(self.done) - done_before :]
            if failure is None or not failure.atomic or failure.fault.retry is not Retry.STEP:
                return failure
            if self._attempt > retries or isinstance(self._session, SingleSession):
                return failure
            self._back_off(failure, retries)

    def _try(self, steps: tuple[Step, ...]) -> StepFailed | None:
        known, done_before = self._job.known, len(self.done)
        recorder = Recorder(
            self._session,
            lambda r: Known(*known.get(r, ("", ""))),
            steps[0].heads_before,
            undoes=self._job.plan.undoes,
        )
        blockers = BlockerWatch(self._session, self._teller.notice)
        try:
            with blockers:
                self._run(recorder, steps)
        except NotAsAssumed:
            self._roll_back()
            self._open, self._sends_ahead = None, False
            return self._try(steps[len(self.done) - done_before :])
        except NeedsPair:
            self._roll_back()
            raise
        except BaseException as e:  # noqa: BLE001 - a revision may raise anything, SystemExit too
            self._teller.end_copies()
            if isinstance(e, MemoryError):
                traceback.clear_frames(e.__traceback__)  # what fills the memory is held there
            return self._failed(e, self._next or steps[0], recorder, blockers.last)
        self._teller.end_copies()
        self._close_step()
        return None

    def _run(self, recorder: Recorder, steps: tuple[Step, ...]) -> None:
        """Raises whatever a revision raises."""
        job, session, before = self._job, self._session, partial(self._before, recorder)
        if isinstance(session, SingleSession):
            if learn_steps(job.settings, session, steps):
                self._teller.share()
            send_steps(job.settings, session, recorder, steps, before, self._past)
            return
        assert self._connection is not None
        run_steps(
            job.settings,
            job.target,
            self._connection,
            recorder,
            steps,
            before,
            [job.settings.root / file for file in job.files],
            past=self._past,
            sends_ahead=self._sends_ahead,
            trace=Path(job.trace) if job.trace else None,
        )

    def _before(self, recorder: Recorder, step: Step) -> bool:
        """Called between two transactions: the step before this one is committed; may this one begin?"""
        self._close_step()
        recorder.step_over()
        self._next = step
        if self._teller.asked_to_stop():
            return False
        if not self._session.still_locked():
            raise psycopg.OperationalError("the connection that holds the lock was lost")
        self._open, self._since = step, time.monotonic()
        self._teller.tell(EventKind.STEP_STARTED, str(step), len(self.done) + 1)
        self._session.prepare_work(untouched=untouched(self._job.settings, step))
        return True

    def _close_step(self) -> None:
        step = self._open
        if step is None:
            return
        seconds = time.monotonic() - self._since
        self.done.append(StepResult(step.revision, step.direction, step.branch, seconds, self._attempt))
        self._open, self._attempt = None, 1
        self._teller.tell(EventKind.STEP_DONE, str(step), len(self.done))

    def _failed(self, error: BaseException, step: Step, recorder: Recorder, blockers: str) -> StepFailed:
        self._open = None
        fault = self._fault(error, step, blockers)
        if fault.retry is not Retry.LOOK:
            try:
                self._roll_back()
                recorder.failed(step.revision, step.direction, fault.problem.message)
            except (psycopg.Error, DBAPIError):  # lost just now: its reason stays, what it left must be looked at
                fault = Fault(fault.problem, Retry.LOOK)
        return StepFailed(step, fault, None if recorder.atomic else recorder.invalid_before)

    def _roll_back(self) -> None:
        """The driver's transaction too: it may have begun where SQLAlchemy knows of none."""
        if self._connection and not self._connection.closed:  # a revision may have closed it
            self._connection.rollback()
        if not is_lost(self._session.work):
            self._session.work.rollback()

    def _fault(self, error: BaseException, step: Step, blockers: str) -> Fault:
        lost = is_lost(self._session.work) or not self._session.still_locked()
        lost = lost or bool(getattr(error, "connection_invalidated", False))
        # a lost connection makes whoever cleans up after it fail in their own ways: its own words are further down
        told = _of_database(error, deep=lost)
        if told is not None:
            fault = run_fault(told, lost=lost)
        elif isinstance(error, TargetError):
            fault = Fault(error.problem, Retry.NEVER)
        elif isinstance(error, EhgMigrateError):  # the project's models cannot be imported
            fault = Fault(error.problems[0], Retry.NEVER)
        else:
            print_trace(error)
            settings = self._job.settings
            beside = "" if line_of(error, settings.versions) else raised_by(error, settings.root)  # such as env.py
            hint = f"correct {'that file' if beside else 'the revision'} and run again"
            hint = _NO_MEMORY if isinstance(error, MemoryError) else hint
            problem = Problem("revision_raised", one_line(described(error)), hint, beside)
            fault = Fault(problem, Retry.LOOK if lost else Retry.NEVER)
        problem = fault.problem
        problem = replace(problem, where=line_of(error, self._job.settings.versions) or problem.where or step.path)
        if problem.hint == THERE and step.direction is Direction.UP:
            problem = replace(problem, hint=is_there(step, self._job.plan.notes))
        if problem.hint == GONE and step.direction is Direction.DOWN:
            problem = replace(problem, hint=is_gone(step))
        if "correct the revision" in problem.hint and (self._job.plan.verb, step.direction) == _BACK:
            problem = replace(problem, hint=f"{problem.hint}; {_OTHER_FILE}")
        if blockers and problem.code in ("lock_timeout", "statement_timeout"):
            problem = replace(problem, message=f"{problem.message}; blocked by {blockers}")
        return Fault(problem, fault.retry)

    def _back_off(self, failure: StepFailed, retries: int) -> None:
        wait = min(_LONGEST_WAIT, 0.5 * 2 ** (self._attempt - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - only jitter
        self._teller.notice(
            f"step {failure.step.revision}: {failure.fault.problem.message}; attempt {self._attempt} of {retries + 1}, "
            f"again in {wait:.1f} s"
        )
        self._attempt += 1
        until = time.monotonic() + wait
        # the other session must get its time; there is nothing to wait on
        while time.monotonic() < until and not self._teller.asked_to_stop() and self._session.still_locked():
            time.sleep(_TICK)  # a short look at a time, so that a wish to stop is heard


def print_trace(error: BaseException) -> None:
    """For the author of a revision, among what it printed; unless it has closed or replaced the stream."""
    with contextlib.suppress(Exception):
        traceback.print_exception(error)


def _of_database(error: BaseException, *, deep: bool) -> BaseException | None:
    """The error if the driver raised it, or else, if `deep`, the nearest below it that the driver raised."""
    found: BaseException | None = error
    while found is not None and not (isinstance(found, psycopg.Error) or hasattr(found, "orig")):
        found = (found.__cause__ or found.__context__) if deep else None
    return found
