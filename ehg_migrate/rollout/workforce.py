"""The worker processes of a run: forked from a server with everything imported, which takes about ten milliseconds."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkServerProcess

from ehg_migrate.redaction import known
from ehg_migrate.rollout.forkserver import context, start_server, without_main
from ehg_migrate.rollout.jobs import Job, Learned
from ehg_migrate.rollout.offshoot import Offshoot, Offshoots, forking_from
from ehg_migrate.rollout.sharing import Shared
from ehg_migrate.rollout.worker import main
from ehg_migrate.turns import PROCESS

_ENDING = 0.1  # seconds between two looks whether a fork server on its way out has ended
_LOOKS = 10


@dataclass(frozen=True, slots=True)
class Worker:
    """One process, with our end of its pipe."""

    process: ForkServerProcess
    pipe: Pipe
    known: set[bytes] = field(default_factory=set)  # what it was told, or has told, of steps

    @property
    def waited_for(self) -> tuple[Pipe, int]:
        """What becomes ready when it says something or has ended."""
        return self.pipe, self.process.sentinel

    def end(self) -> None:
        """Tells it that there is no other job, and waits until it has ended."""
        self.pipe.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Workforce:
    """Workers for these jobs, each told what others have found out."""

    def __init__(self, jobs: Sequence[Job], offshoots: Offshoots | None = None) -> None:
        self._context = context()
        self._shared = Shared.of(jobs)
        self._lent = offshoots is not None
        self._offshoots = offshoots or Offshoots(jobs)
        self._free: list[Worker] = []  # those that wait for another job

    def waited_for(self, job: Job) -> bool:
        """Whether the job had better begin later: what it imports is being imported, for all that do."""
        return self._offshoots.waited_for(job)

    @property
    def importing(self) -> bool:
        """Whether anything is."""
        return self._offshoots.importing

    def send(self, job: Job, room: int) -> Worker:
        """A worker that has begun this job; where none is free a new one, beside at most `room` that are.

        Raises OSError, EOFError where none can be had: no memory, no processes left, or the fork server was killed.
        """
        return self._hired(job) or self._started(job, room)

    def learn(self, worker: Worker, job: Job, learned: Learned) -> None:
        """What it has found out by this job, for the next ones."""
        self._shared.take(job, learned)
        worker.known.update(pickled for _, pickled in learned.statements)

    def take_back(self, worker: Worker) -> None:
        """It waits for another job."""
        self._free.append(worker)

    def dismiss(self, kept: int = 0) -> None:
        """Ends those that wait, but for a few."""
        while len(self._free) > kept:
            self._free.pop().end()

    def end(self) -> None:
        """Ends those that wait, and what only they were forked of."""
        self.dismiss()
        if not self._lent:
            self._offshoots.end()

    def _hired(self, job: Job) -> Worker | None:
        """One that has done another job, if this one is such a job too."""
        while job.clean and self._free:
            worker = self._free.pop()
            with contextlib.suppress(OSError):  # it has ended
                if worker.process.is_alive():
                    worker.pipe.send((self._shared.give(job, worker.known), known()))
                    return worker
            worker.end()
        return None

    def _started(self, job: Job, room: int) -> Worker:
        self.dismiss(room)
        if offshoot := self._offshoots.ready(job):
            try:
                return self._forked(job, offshoot)
            except (OSError, EOFError):  # it was killed, perhaps
                self._offshoots.lose(job)
        for _ in range(_LOOKS):
            with contextlib.suppress(ConnectionRefusedError):  # the fork server ends; only when it has, another is made
                return self._forked_again(job)
            time.sleep(_ENDING)  # its end cannot be waited for: multiprocessing keeps to itself which process it is
        return self._forked(job)

    def _forked_again(self, job: Job) -> Worker:
        """Also where the fork server ends while it makes the worker. One that it has made all the same begins no step,
        for its pipe is closed.
        """
        try:
            return self._forked(job)
        except ConnectionRefusedError:
            raise
        except (ConnectionError, EOFError):
            return self._forked(job)

    def _forked(self, job: Job, offshoot: Offshoot | None = None) -> Worker:
        ours, theirs = multiprocessing.Pipe()
        told: set[bytes] = set()
        with PROCESS:
            environ = dict(os.environ)
        arguments = self._shared.give(job, told), theirs, None if offshoot else environ, known()
        process = self._context.Process(target=main, args=arguments, daemon=False)
        try:
            start_server()
            with without_main(), forking_from(offshoot) if offshoot else contextlib.nullcontext():
                process.start()
        except (OSError, EOFError):
            ours.close()
            raise
        finally:
            theirs.close()
        return Worker(process, ours, told)
