"""Targets in worker processes: at most N at a time, each heard by its own pipe, each killable alone.

`alembic.op` is a module global, so two targets in one process would write into each other's database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from ehg_migrate.database.hosts import Hosts
from ehg_migrate.errors import Problem
from ehg_migrate.model import Result, Status
from ehg_migrate.rollout.jobs import Event, EventKind, Job, Watch
from ehg_migrate.rollout.offshoot import Offshoots
from ehg_migrate.rollout.reasons import worker_ended, worker_overdue
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.rollout.worker import read_output
from ehg_migrate.rollout.workforce import Worker, Workforce

_AHEAD = os.cpu_count() or 1  # workers of a host that find out what the others are told
# seconds that these take where a server is near, and where it is proven; where it is far, they are little
_LEAD, _LEAD_PROVEN, _LEAD_PER_STEP = 0.2, 0.05, 0.02
_TICK = 0.2  # seconds between two looks at deadlines and at a wish to stop
_SHORT_TICK = 0.02  # while what several import is imported, whose end wakes nobody
_NO_WORKER = (
    "is there memory, are there too many processes (`ulimit -u`) or open files (`ulimit -n`), has `TMPDIR` more than "
    "70 characters? then run again, perhaps with a lower `parallel` in alembic.ini"
)
_GRACE = 5.0  # seconds after its deadline that a worker gets to say what it found


@dataclass
class _Running:
    job: Job
    worker: Worker
    kill_at: float | None
    told_to_stop: bool = False
    overdue: bool = False

    @property
    def death(self) -> Problem:
        """Why its process ended without a word."""
        if self.overdue or (self.kill_at is not None and time.monotonic() > self.kill_at):  # it may have been faster
            return worker_overdue(_GRACE, self.job.deadline)
        return worker_ended(self.worker.process.exitcode or 0)


class Pool:
    """Runs jobs in processes. Never raises for a target: a worker that dies is looked after by another."""

    def __init__(self, parallel: int, watch: Watch, stop: Stop, offshoots: Offshoots | None = None) -> None:
        """`offshoots` that outlive its run are ended by who has made them."""
        self._offshoots = offshoots
        self._parallel = parallel  # less where the machine has not had enough for as many
        self._watch = watch
        self._stop = stop
        self._running: dict[Pipe, _Running] = {}
        self._heard = DefaultSelector()  # of all that run; made once, since a run may have thousands of events
        self._waiting: list[Job] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """One Result for each job, as they end."""
        self._waiting = waiting = list(jobs)
        self._hosts = self._hosts_of(waiting)
        self._workers = Workforce(waiting, self._offshoots)
        self._stop.heard_by.append(self._tell_to_stop)
        try:
            while waiting or self._running:
                if over := self._stop.over:
                    yield from self._given_up()
                while len(self._running) < self._parallel and self._stop.over == over:
                    job = take_next(waiting, self._hosts, self._workers.waited_for)
                    if job is None:
                        break
                    yield from self._start(job)
                if not waiting:
                    self._workers.dismiss()
                yield from self._listen(self._pause())
        finally:
            self._stop.heard_by.remove(self._tell_to_stop)
            for running in list(self._running.values()):
                running.worker.process.kill()
            self._workers.end()
            self._heard.close()

    def _pause(self) -> float:
        """Seconds until something else may begin than what is heard of."""
        if not self._waiting:
            return _TICK
        return self._hosts.pause_left(_SHORT_TICK if self._workers.importing else _TICK)

    def _given_up(self) -> list[Result]:
        """Those that will not begin; a look at what a worker has left begins unless nobody waits for it."""
        looks = [job for job in self._waiting if job.look and self._stop.asked < 2]
        others = [not_begun(job, self._stop) for job in self._waiting if job not in looks]
        self._waiting[:] = looks
        return others

    @staticmethod
    def _hosts_of(jobs: list[Job]) -> Hosts:
        steps = max((len(job.plan.steps) for job in jobs if job.clean), default=0)
        lead = _LEAD_PROVEN if all(job.learned.proven for job in jobs) else _LEAD
        lead += steps * _LEAD_PER_STEP
        return Hosts((job.target for job in jobs), ahead=_AHEAD if steps else 0, lead=lead)

    def _start(self, job: Job) -> Iterator[Result]:
        """Nothing, or at once the Result of a target whose worker could not be started.

        While others run, what they hold may be what is lacking: the target waits for them then, and from now on there
        are no more at a time than could be had.
        """
        try:
            worker = self._workers.send(job, self._parallel - len(self._running) - 1)
        except (OSError, EOFError) as e:
            why = f"no worker could be started: {type(e).__name__}: {e}"
            if self._running:
                self._parallel = len(self._running)
                self._waiting.insert(0, job)
                self._watch(Event(job.target.name, EventKind.NOTICE, f"{why}; waiting until another target is done"))
                return
            problem = Problem("worker_not_started", why, _NO_WORKER)
            yield self._ended(job, Status.INDETERMINATE if job.unsure else Status.FAILED, problem)
            return
        limit = job.deadline
        self._hosts.begin(job.target)
        self._running[worker.pipe] = _Running(job, worker, time.monotonic() + limit + _GRACE if limit else None)
        for end in worker.waited_for:
            self._heard.register(end, EVENT_READ, worker.pipe)

    def _listen(self, longest: float) -> Iterator[Result]:
        # a process that a revision forked holds the pipe open when the worker is gone: so its end is waited for too
        for running in [self._running[p] for p in {key.data for key, _ in self._heard.select(longest)}]:
            result = self._hear(running)
            if result is not None:
                yield result
            elif running.worker.pipe not in self._running:
                yield from self._after_death(running)
        self._enforce()

    def _hear(self, running: _Running) -> Result | None:
        """The Result if there is one. After None the worker is alive, or dead and no longer among the running."""
        try:
            if not running.worker.pipe.poll():
                raise EOFError  # it has ended and left nothing unread
            events: list[Event] = running.worker.pipe.recv()
        except (EOFError, OSError):
            # it may live: without its pipe, or without the fork server that told of its end
            running.worker.process.kill()
            self._end(running, free=False)
            return None
        for event in events:
            if event.kind is EventKind.FINISHED:
                return self._finished(running, event)
            if event.kind is EventKind.LEARNED:
                self._learn(running, event)
                continue
            self._watch(event)
        return None

    def _finished(self, running: _Running, event: Event) -> Result:
        self._learn(running, event)
        self._end(running, free=event.free)
        result = event.result
        assert result is not None
        if running.job.look:
            result = _explained(result, running.job.look)
        _drop_output(running.job)
        self._watch(event._replace(result=result))
        return result

    def _learn(self, running: _Running, event: Event) -> None:
        if event.learned:
            self._workers.learn(running.worker, running.job, event.learned)
            self._hosts.led(running.job.target)

    def _end(self, running: _Running, *, free: bool) -> None:
        del self._running[running.worker.pipe]
        for end in running.worker.waited_for:
            self._heard.unregister(end)
        self._hosts.end(running.job.target)
        if free:
            self._workers.take_back(running.worker)
        else:
            running.worker.end()

    def _after_death(self, running: _Running) -> Iterator[Result]:
        """A worker ended without a word: another one looks what the target holds."""
        job, name = running.job, running.job.target.name
        problem = job.look or (_stopped(job) if self._stop.asked > 1 else running.death)
        if job.look or self._stop.asked > 1:  # asked twice: nobody will wait
            yield self._ended(job, Status.INDETERMINATE, problem)
            return
        self._watch(Event(name, EventKind.NOTICE, f"{problem.message}; looking what the target holds"))
        yield from self._start(replace(job, look=problem))

    def _ended(self, job: Job, status: Status, problem: Problem) -> Result:
        """What is to be said of a target whose worker cannot say it."""
        plan, output = job.plan, read_output(job.output)
        _drop_output(job)
        after = plan.heads if status is Status.FAILED else ()
        result = Result(job.target.name, status, plan.heads, after, (), plan.revisions, problem, output=output)
        self._watch(Event(job.target.name, EventKind.FINISHED, result=result))
        return result

    def _tell_to_stop(self) -> None:
        for running in list(self._running.values()):
            if not running.told_to_stop:
                running.told_to_stop = True
                _send_stop(running.worker.pipe)

    def _enforce(self) -> None:
        now = time.monotonic()
        if self._stop.asked:
            self._tell_to_stop()
        for running in self._running.values():
            if self._stop.asked > 1 or (running.kill_at is not None and now > running.kill_at):
                running.overdue = self._stop.asked < 2
                running.worker.process.kill()


def take_next(waiting: list[Job], hosts: Hosts, waited_for: Callable[[Job], bool] = lambda _: False) -> Job | None:
    """The first job whose host has a place, no longer waiting; a full host does not hold up the others."""
    for i, job in enumerate(waiting):
        if hosts.may_begin(job.target) and not waited_for(job):
            return waiting.pop(i)
    return None


def _drop_output(job: Job) -> None:
    """Its end is in the Result. What thousands of targets have printed would fill the disk, or memory, under TMPDIR."""
    with suppress(OSError):
        Path(job.output).unlink()


def _send_stop(pipe: Pipe) -> None:
    try:
        pipe.send("stop")
    except OSError:
        return  # it has just ended, which is what we want


def not_begun(job: Job, stop: Stop) -> Result:
    """What is to be said of a target that a stopped run did not come to."""
    name, plan = job.target.name, job.plan
    if job.unsure:
        return Result(name, Status.INDETERMINATE, plan.heads, (), (), plan.revisions, job.look or _stopped(job))
    again = f"{job.completed_by} goes on"
    if enough := stop.enough:
        hint = f"when that is mended, {again}"
        if enough.in_spite:
            hint += f"; with `{enough.in_spite}` in spite of it"
        problem = Problem("not_attempted", enough.why, hint)
    else:
        problem = Problem("not_attempted", "the run was stopped before this target began", again)
    return Result(name, Status.NOT_ATTEMPTED, plan.heads, plan.heads, (), plan.revisions, problem)


def _stopped(job: Job) -> Problem:
    hint = f"{job.completed_by} looks what it holds, and goes on"
    return Problem("stopped", "it was stopped twice, in the middle of its work", hint)


def _explained(result: Result, problem: Problem) -> Result:
    """What a look found, with the reason for the look."""
    if result.status is Status.SUCCEEDED:
        return replace(result, notes=(*result.notes, problem))
    if result.problem:  # the look failed too
        message = f"{problem.message}; the look at the target ended so: {result.problem.message}"
        return replace(result, status=Status.INDETERMINATE, problem=replace(problem, message=message))
    return replace(result, problem=problem)
