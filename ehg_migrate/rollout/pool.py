"""Worker processes: one for each target, at most N alive, each with its own pipe, each killable alone.

`alembic.op` is a module global, so two targets in one process would write into each other's database. A fork server
with everything imported starts a worker in about ten milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import types
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess

from ehg_migrate.errors import Problem
from ehg_migrate.model import Result, Status
from ehg_migrate.rollout.jobs import Event, EventKind, Job, Watch
from ehg_migrate.rollout.worker import main, read_output

_TICK = 0.2  # seconds between two looks at deadlines and at a wish to stop
_GRACE = 20.0  # seconds after its deadline that a worker gets to say what it found


class Stop:
    """The wish to stop: asked once, running steps end and nothing new begins; asked twice, workers are killed."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self) -> None:
        """One more time."""
        self.asked += 1


@dataclass
class _Running:
    job: Job
    process: ForkServerProcess
    pipe: Pipe
    kill_at: float | None
    told_to_stop: bool = False
    overdue: bool = False


class Pool:
    """Runs jobs in processes. Never raises for a target: a worker that dies is looked after by another."""

    def __init__(self, parallel: int, watch: Watch, stop: Stop) -> None:
        self._parallel = parallel
        self._watch = watch
        self._stop = stop
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["ehg_migrate.rollout.preload"])
        self._running: dict[Pipe, _Running] = {}
        self._dead: dict[str, Problem] = {}  # target -> why the worker died that another looks after

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """One Result for each job, as they end."""
        waiting = deque(jobs)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._parallel and not self._stop.asked:
                    self._start(waiting.popleft())
                if self._stop.asked:
                    yield from (_not_begun(job) for job in waiting)
                    waiting.clear()
                yield from self._listen()
        finally:
            for running in list(self._running.values()):
                running.process.kill()

    def _start(self, job: Job) -> None:
        ours, theirs = multiprocessing.Pipe()
        with _without_main():
            process = self._context.Process(target=main, args=(job, theirs, dict(os.environ)), daemon=False)
            process.start()
        theirs.close()
        limit = job.target.limits.deadline
        self._running[ours] = _Running(job, process, ours, time.monotonic() + limit + _GRACE if limit else None)

    def _listen(self) -> Iterator[Result]:
        for pipe in wait(list(self._running), timeout=_TICK):
            running = self._running[pipe]  # type: ignore[index]  # wait() gives back what it was given
            result = self._hear(running)
            if result is None and running.pipe not in self._running:
                result = self._after_death(running)
            if result is not None:
                yield result
        self._enforce()

    def _hear(self, running: _Running) -> Result | None:
        """The Result if there is one. After None the worker is alive, or dead and no longer among the running."""
        try:
            event: Event = running.pipe.recv()
        except (EOFError, OSError):
            self._end(running)
            return None
        if event.kind is not EventKind.FINISHED:
            self._watch(event)
            return None
        self._end(running)
        result = event.result
        assert result is not None
        if running.job.look:
            result = self._explained(result)
        self._watch(replace(event, result=result))
        return result

    def _end(self, running: _Running) -> None:
        del self._running[running.pipe]
        running.pipe.close()
        running.process.join(timeout=5)
        if running.process.is_alive():
            running.process.kill()
            running.process.join()

    def _after_death(self, running: _Running) -> Result | None:
        """A worker ended without a word: another one looks what the target holds."""
        job, name = running.job, running.job.target.name
        problem = _death(running)
        if not job.look:
            self._dead[name] = problem
            self._watch(Event(name, EventKind.NOTICE, f"{problem.message}; looking what the target holds"))
            if self._stop.asked < 2:  # asked twice: nobody will wait
                self._start(replace(job, look=True))
                return None
        result = Result(
            name, Status.INDETERMINATE, job.plan.heads, (), (), tuple(s.revision for s in job.plan.steps), problem
        )
        result = replace(result, output=read_output(job.output))
        self._watch(Event(name, EventKind.FINISHED, result=result))
        return result

    def _explained(self, result: Result) -> Result:
        """What a look found, with the reason for the look."""
        problem = self._dead.pop(result.target)
        if result.status is Status.SUCCEEDED:
            return replace(result, notes=(*result.notes, problem))
        if result.problem:  # the look failed too
            message = f"{problem.message}; the target cannot be read since: {result.problem.message}"
            return replace(result, status=Status.INDETERMINATE, problem=replace(problem, message=message))
        return replace(result, problem=problem)

    def _enforce(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if self._stop.asked and not running.told_to_stop:
                running.told_to_stop = True
                _send_stop(running.pipe)
            if self._stop.asked > 1 or (running.kill_at is not None and now > running.kill_at):
                running.overdue = self._stop.asked < 2
                running.process.kill()


def _send_stop(pipe: Pipe) -> None:
    try:
        pipe.send("stop")
    except OSError:
        return  # it has just ended, which is what we want


def _not_begun(job: Job) -> Result:
    return Result(
        job.target.name,
        Status.NOT_ATTEMPTED,
        job.plan.heads,
        job.plan.heads,
        (),
        tuple(s.revision for s in job.plan.steps),
        Problem("not_attempted", "the run was stopped before this target began", "run again"),
    )


def _death(running: _Running) -> Problem:
    code = running.process.exitcode
    if running.overdue:
        return Problem(
            "deadline",
            f"the worker did not end {_GRACE:.0f} s after its deadline of {running.job.target.limits.deadline:g} s and "
            "was killed",
            "a revision hangs outside the database; look at its code, or raise `deadline`",
        )
    if code is not None and code < 0:
        return Problem(
            "worker_killed",
            f"the worker was ended by {signal.Signals(-code).name}",
            "killed by hand, out of memory, or a crash in a revision's library; see its output",
        )
    return Problem(
        "worker_died",
        f"the worker ended by itself with exit code {code}",
        "a revision ended the process (`os._exit`); see its output",
    )


@contextmanager
def _without_main() -> Iterator[None]:
    """A started process imports the parent's main script again, which is slow, and wrong where that has no guard."""
    main_module = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main_module
