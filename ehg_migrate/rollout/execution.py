"""The life of one plan on one target: sessions, the checks before, the steps, and the look at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import NoReturn

import psycopg
from sqlalchemy.exc import DBAPIError

from ehg_migrate.database.claim import ANOTHER_DATABASE, another_database
from ehg_migrate.database.faults import Retry, is_lost, run_fault
from ehg_migrate.database.session import Session, is_proven
from ehg_migrate.database.single import NeedsPair, SingleSession
from ehg_migrate.environment.guards import check_files, check_journal, check_steps, half_done, leftovers, was_started
from ehg_migrate.environment.hosting import sqlalchemy_connection
from ehg_migrate.environment.naming import Past
from ehg_migrate.environment.replaying import waited
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Result, Status, Step, StepResult
from ehg_migrate.revisions.loading import has_our_environment
from ehg_migrate.rollout.edited import done_otherwise
from ehg_migrate.rollout.jobs import Job
from ehg_migrate.rollout.normalizing import normalize
from ehg_migrate.rollout.reasons import (
    BY_ANOTHER,
    by_another,
    deadline_reached,
    lock_broken,
    not_readable,
    stale_plan,
    still_true,
    undone_meanwhile,
    wrong_heads,
)
from ehg_migrate.rollout.stepping import WORKER_LOST, StepFailed, Stepper, Tells, after_failure
from ehg_migrate.rollout.watch import Watchdog

_RECONNECTS = 3  # after a connection was lost in the middle
# losses that the same step brings about again: it takes too long, or closes the connection by itself
_AGAIN_THE_SAME = ("idle_in_transaction", "statement_timeout", "revision_raised")
_READ = (ANOTHER_DATABASE, "stale_plan", "taken_back")  # what is said of a target that was read


class _Lost(Exception):
    """The connection went in the middle of a step, or between two."""

    def __init__(self, failure: StepFailed) -> None:
        self.failure = failure
        super().__init__(str(failure))


@dataclass
class Execution:
    """Runs `job.plan`. `run` gives the Result; it raises TargetError only where the target could not be entered.

    Where the deadline comes while the target is being entered, the Result goes to `end`, which ends the process.
    """

    job: Job
    teller: Tells
    end: Callable[[Result], NoReturn]
    done: list[StepResult] = field(default_factory=list)
    others: list[Step] = field(default_factory=list)  # those of `done` that another runner did meanwhile
    notes: list[Problem] = field(default_factory=list)
    lost: StepFailed | None = None  # what ended the session before
    begun: float = field(default_factory=time.monotonic)
    attempt: int = 1  # of the next session's first step

    def __post_init__(self) -> None:
        self.past = Past(self.job.plan.steps)

    def run(self) -> Result:
        """The whole work on the target."""
        with Watchdog(self.job.deadline, self._give_up) as watchdog:
            try:
                result = self._look_left(watchdog) if self.job.look else self._with_reconnects(watchdog)
            except (TargetError, psycopg.Error):
                if not watchdog.expired:
                    raise
                result = self._unread(deadline_reached(self.job.deadline))
        return replace(result, seconds=time.monotonic() - self.begun)

    def _give_up(self) -> None:
        """No session stands, so no step runs: what is known is what it was before, or nothing after a loss."""
        problem = deadline_reached(self.job.deadline, ", before the target could be entered")
        result = self._could_not_look(self.lost, problem) if self.lost else self._unread(problem)
        self.end(replace(result, seconds=time.monotonic() - self.begun))

    def _unread(self, problem: Problem) -> Result:
        """The target is what it was, unless a session or a worker before had begun something."""
        if self._begun:
            return self._result(Status.INDETERMINATE, (), problem)
        return self._result(Status.FAILED, self.job.plan.heads, problem)

    def _with_reconnects(self, watchdog: Watchdog) -> Result:
        single = self._fits_single()
        for number in range(_RECONNECTS + single):
            try:
                return self._work(watchdog, self.lost, single=single and number == 0)
            except NeedsPair:
                continue  # it has told of every step that it has committed
            except _Lost as e:
                self.lost = lost = e.failure
                if watchdog.expired or lost.fault.problem.code in _AGAIN_THE_SAME:
                    break
                self.teller.notice(f"{lost.fault.problem.message}; looking what the target holds")
            except TargetError as e:
                if self.lost:
                    return self._could_not_look(self.lost, e.problem)
                if self.done:
                    return self._left_in_between(e.problem)
                raise
        assert self.lost is not None
        return self._look_after(self.lost, watchdog)

    def _fits_single(self) -> bool:
        """Whether one connection may be tried first: for plain steps, on an endpoint that is proven.

        Not where another target of this process needed two for one of these steps. With two a step can be tried again,
        and it can be told who blocks it.
        """
        job, steps = self.job, self.job.plan.steps
        waits = any((s.checksum, s.direction) in waited for s in steps)
        usual = job.clean and not (waits or job.again or job.trace or job.target.schema)
        as_planned = usual and job.target.limits.retries > 0 and set(job.plan.heads) == set(steps[0].heads_before)
        return as_planned and is_proven(job.target) and has_our_environment(job.settings)

    def _session(self, *, single: bool = False) -> Session:
        job = self.job
        who = job.target, job.password, job.run, job.origin, self.teller.notice
        if single:
            return SingleSession(*who, fresh=not job.plan.heads)
        return Session(*who, done=[s.revision for s in self._own], begun=self._begun)

    def _work(self, watchdog: Watchdog, lost: StepFailed | None, *, single: bool) -> Result:
        """One session: everything that is still to do, from wherever the target stands."""
        watchdog.guard(None)
        with self._session(single=single) as session:
            watchdog.guard(session)
            try:
                return self._in(session, lost)
            except (psycopg.Error, DBAPIError) as e:  # in a question of our own, not in a step
                fault = run_fault(e, lost=is_lost(session.lock) or is_lost(session.work))
                step = self.job.plan.steps[min(len(self.done), len(self.job.plan.steps) - 1)]
                raise _Lost(StepFailed(step, fault, None)) from e

    def _in(self, session: Session, lost: StepFailed | None) -> Result:
        heads = session.found.heads
        try:
            steps = self._remaining(session, resuming=lost is not None or self.job.again)
            lost = lost or self._cut_before(session, steps)
            if lost and not lost.atomic and lost.step in steps:
                return self._finished(session, lost)  # a part of it may be done: not again
            if steps and session.broken_by:
                return self._result(Status.FAILED, heads, lock_broken(session.broken_by))
            check_steps(session, steps)
            check_journal(session, self.job.plan)
            check_files(self.job.settings.root, steps, self.job.beside)
        except TargetError as e:
            return self._result(Status.INDETERMINATE if self._begun else Status.REFUSED, heads, e.problem)
        normalize(session, self.job, heads)
        return self._finished(session, self._run(session, steps) if steps else None)

    def _cut_before(self, session: Session, steps: tuple[Step, ...]) -> StepFailed | None:
        """The next step, where the worker that was lost may have been in it, and it had left its transaction."""
        before = was_started(session, steps[0].revision) if self.job.again and steps else None
        return None if before is None else StepFailed(steps[0], WORKER_LOST, before)

    def _run(self, session: Session, steps: tuple[Step, ...]) -> StepFailed | None:
        attempt, self.attempt = self.attempt, 1
        with nullcontext() if isinstance(session, SingleSession) else sqlalchemy_connection(session) as connection:
            failure = Stepper(self.job, self.teller, session, connection, self.done, self.past, attempt).run(steps)
            if failure and failure.fault.retry is Retry.LOOK:
                raise _Lost(failure)
        if failure and failure.fault.retry is Retry.STEP and isinstance(session, SingleSession):
            self.attempt = 2
            self.teller.notice(f"step {failure.step.revision}: {failure.fault.problem.message}; again")
            raise NeedsPair
        return failure

    def _remaining(self, session: Session, *, resuming: bool) -> tuple[Step, ...]:
        """The steps still to do on a target as it was entered. Raises TargetError if the plan is not for its heads."""
        if not (resuming or self.job.remote):
            return self._from_heads(session, resuming=False)
        ours = self._ours(session)
        steps = self._from_heads(session, resuming=resuming)
        if back := [s.revision for s in steps if s.revision in ours]:
            raise TargetError(undone_meanwhile(back))
        return steps

    def _from_heads(self, session: Session, *, resuming: bool) -> tuple[Step, ...]:
        plan, now, number = self.job.plan, set(session.found.heads), len(self.done)
        if now == set(plan.steps[number - 1].heads_after if number else plan.heads):
            return plan.steps[number:]
        if resuming:
            for i, step in enumerate(plan.steps):
                if now == set(step.heads_before):
                    self._count(session, plan.steps[:i])
                    return plan.steps[i:]
        if now == set(plan.goal):
            if resuming:
                self._count(session, plan.steps)
            else:
                self.notes += [BY_ANOTHER, *done_otherwise(session, plan.steps)]
            return ()
        raise TargetError(stale_plan(plan.heads, session.found.heads))

    def _ours(self, session: Session) -> frozenset[str]:
        """What this run has done here by the journal. Raises TargetError where that lacks what it has committed."""
        ours, own = session.journal.done(session.lock), [s.revision for s in self._own]
        if not ours.issuperset(own):
            raise TargetError(another_database(own))
        return ours

    def _count(self, session: Session, committed: tuple[Step, ...]) -> None:
        """Steps whose rows are there were committed, although nobody told us; by whom the journal says."""
        if unheard := committed[len(self.done) :]:
            ours = session.journal.done(session.lock)
            self.others += (others := [s for s in unheard if s.revision not in ours])
            self.notes += done_otherwise(session, others)
            self.done += [StepResult(s.revision, s.direction, s.branch, 0.0) for s in unheard]

    @property
    def _begun(self) -> bool:
        """Whether something may have been done here: in a session or by a worker that was lost, or by this one."""
        return bool(self.lost or self.done or self.job.unsure)

    @property
    def _own(self) -> tuple[StepResult, ...]:
        return tuple(s for s in self.done if s.revision not in {o.revision for o in self.others})

    def _finished(self, session: Session, failure: StepFailed | None) -> Result:
        heads, plan = session.heads() if failure else session.leave(), self.job.plan
        self.notes.extend(session.noticed)
        if failure:
            status, problem = after_failure(session, failure)
        elif set(heads) == set(plan.goal):
            status, problem = (Status.SUCCEEDED if self._own else Status.UP_TO_DATE), None
        elif len(self.done) < len(plan.steps):
            hint = f"{self.job.completed_by} goes on"
            status, problem = Status.CANCELLED, Problem("cancelled", "stopped before the next step", hint)
        else:
            status, problem = Status.INDETERMINATE, wrong_heads(heads, plan.goal)
        return self._result(status, heads, problem)

    def _look_after(self, lost: StepFailed, watchdog: Watchdog) -> Result:
        """The connection was lost for good: one more session, only to read what the target holds."""
        problem = deadline_reached(self.job.deadline) if watchdog.expired else lost.fault.problem
        try:
            with self._session() as session:
                heads = session.found.heads
                left = self._remaining(session, resuming=True)
                if not left:
                    return self._result(Status.SUCCEEDED, heads, None)
                half = not lost.atomic and lost.step in left  # its COMMIT may have come through, unheard
                return self._result(Status.INDETERMINATE if half else Status.FAILED, heads, problem)
        except TargetError as e:
            return self._could_not_look(lost, e.problem)

    def _look_left(self, watchdog: Watchdog) -> Result:
        """What a worker left that died: its locks are taken first, so that its last statement has ended."""
        with self._session() as session:
            watchdog.guard(session)
            heads = session.found.heads
            try:
                left = self._remaining(session, resuming=True)
            except TargetError as e:
                return self._result(Status.INDETERMINATE, heads, e.problem)
            before = was_started(session, left[0].revision) if left else None
            if before is None:
                return self._result(Status.FAILED if left else Status.SUCCEEDED, heads, None)
            if invalid := leftovers(session, before):
                self.notes.append(half_done(left[0], invalid))
            return self._result(Status.INDETERMINATE, heads, None)

    def _could_not_look(self, lost: StepFailed, why: Problem) -> Result:
        told = why if why.code in _READ else not_readable(lost.fault.problem, lost.step, why)
        return self._result(Status.INDETERMINATE, (), told)

    def _left_in_between(self, why: Problem) -> Result:
        """One connection has done a part, and two could not be had for the rest."""
        message = f"{why.message}; {len(self.done)} of {len(self.job.plan.steps)} steps were done before"
        return self._result(Status.INDETERMINATE, (), replace(why, message=message))

    def _result(self, status: Status, heads: tuple[str, ...], problem: Problem | None) -> Result:
        plan = self.job.plan
        return Result(
            target=plan.target,
            status=status,
            heads_before=plan.heads,
            heads_after=tuple(sorted(heads)),
            steps=self._own,
            not_done=() if status.good else plan.revisions[len(self.done) :],
            problem=problem,
            notes=(*still_true(plan.notes, self.done), *self.notes, *by_another([s.revision for s in self.others])),
        )
