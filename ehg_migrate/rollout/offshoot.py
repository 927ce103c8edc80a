"""Fork servers that are forked of the first one, and import what several jobs import before workers are forked of them.

Without, each worker imports it for itself: models of a project take longer than a step.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection as Pipe

from ehg_migrate.redaction import known, register
from ehg_migrate.rollout.forkserver import context, start_server, without_main
from ehg_migrate.rollout.jobs import Job
from ehg_migrate.rollout.worker import begin
from ehg_migrate.turns import PROCESS

_PATIENCE = 30.0  # seconds that jobs wait for the imports; later they do them themselves
_LONGEST = 120.0  # seconds after which an import is taken for one that hangs
_MOST = 4  # at a time: each keeps what it has imported in memory
_KEY = 32  # bytes; multiprocessing's own number

Files = tuple[str, ...]
"""Those of revisions whose imports are done, behind those of the project's models."""


class Offshoot(forkserver.ForkServer):
    """One of them, on the runner's side: ready when it has imported everything, or never."""

    def __init__(self, job: Job, files: Files) -> None:
        """Starts it for this job and others, and does not wait. Raises OSError, EOFError where there can be none."""
        super().__init__()
        self._begun = time.monotonic()
        self._forkserver_authkey = os.urandom(_KEY)  # only asked for by Python 3.14 and later
        self._told, theirs = multiprocessing.Pipe(duplex=False)
        alive, self._alive = multiprocessing.Pipe(duplex=False)  # it ends when all have closed their end
        self._forkserver_alive_fd = self._alive.fileno()
        self.ready: bool | None = None
        self.why = ""  # it is never ready
        with PROCESS:
            environ = dict(os.environ)
        with socket.socket(socket.AF_UNIX) as listener, theirs, alive:
            start_server()  # which has a folder for sockets
            self._forkserver_address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
            listener.bind(self._forkserver_address)
            listener.listen()
            given = job, files, listener, alive, theirs, self._forkserver_authkey, environ, known(), _LONGEST
            self._process = context().Process(target=_serve, args=given, daemon=False)
            with without_main():
                self._process.start()

    def ensure_running(self) -> None:
        """Nothing is started again: who finds it gone does without it."""

    @property
    def waited_for(self) -> bool:
        """Whether it is still importing, and not for long. Looks whether it is ready."""
        if self.ready is None and self._told.poll():
            try:
                self.why = self._told.recv()
                self.ready = not self.why
            except (EOFError, OSError):
                self.ready = False
        return self.ready is None and time.monotonic() - self._begun < _PATIENCE

    def end(self) -> None:
        """Kills it. Its workers have ended, or go on without it."""
        self._process.kill()
        self._process.join()
        self._told.close()
        self._alive.close()


class Offshoots:
    """One for each set of files whose imports at least two of these jobs have before them."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        jobs = tuple(jobs)
        self._wanted = Counter(job.beforehand for job in jobs if job.beforehand is not None)
        # models come first, whatever a target has of its own behind them
        self._wanted[()] = sum(bool(job.settings.metadata) for job in jobs if job.beforehand is not None)
        self._made: dict[Files, Offshoot] = {}
        self._may_be = sys.platform == "linux"  # elsewhere nobody tells whether an import has left threads

    def want(self, files: Files | None) -> None:
        """These have several jobs before them that are not known yet."""
        if files is not None:
            self._wanted[files] += 2

    def waited_for(self, job: Job) -> bool:
        """Whether the job had better wait, since what it imports is being imported. Begins with that."""
        offshoot = self._of(job)
        if offshoot is None or offshoot.waited_for:
            return offshoot is not None
        self._may_be = self._may_be and offshoot.ready is not False  # what one cannot keep, no other one can
        return False

    @property
    def importing(self) -> bool:
        """Whether one of them still is, and is waited for."""
        return any(offshoot.waited_for for offshoot in self._made.values())

    def ready(self, job: Job) -> Offshoot | None:
        """One that has imported what this job imports, or the first of it."""
        offshoot = self._made.get(self._shared(job))
        return offshoot if offshoot and offshoot.ready else None

    def lose(self, job: Job) -> None:
        """Nothing more is forked of it. What was, may still be at work."""
        self._made[self._shared(job)].ready = False
        self._may_be = False

    def end(self) -> None:
        """Ends all."""
        while self._made:
            self._made.popitem()[1].end()

    def _shared(self, job: Job) -> Files:
        return job.beforehand if job.beforehand and self._wanted[job.beforehand] > 1 else ()

    def _of(self, job: Job) -> Offshoot | None:
        if job.beforehand is None or job.look:  # which loads nothing
            return None
        files = self._shared(job)
        if files not in self._made and self._may_be and self._wanted[files] > 1 and len(self._made) < _MOST:
            try:
                self._made[files] = Offshoot(job, files)
            except (OSError, EOFError):  # the workers themselves say what is lacking
                self._may_be = False
        return self._made.get(files)


@contextmanager
def forking_from(offshoot: Offshoot) -> Iterator[None]:
    """Processes are forked of this one, and not of the first."""
    with PROCESS:
        first = forkserver.connect_to_new_process
        forkserver.connect_to_new_process = offshoot.connect_to_new_process
        try:
            yield
        finally:
            forkserver.connect_to_new_process = first


def _serve(
    job: Job, files: Files, listener: socket.socket, alive: Pipe, told: Pipe, key: bytes,
    environ: dict[str, str], secrets: tuple[str, ...], longest: float,
) -> None:  # fmt: skip
    """The process: tells why it is of no use, or "", and serves then until nobody wants a worker any more."""
    for secret in secrets:
        register(secret)
    begin(job.settings, environ)
    from ehg_migrate.rollout.importing import bring  # with Alembic

    why = bring(job.settings, job.target, files, longest)
    told.send(why)
    told.close()
    if why:
        os._exit(0)
    gc.freeze()  # as in the first one
    forkserver.main(listener.detach(), alive.fileno(), [], **_authenticated(key))  # type: ignore[arg-type]


def _authenticated(key: bytes) -> dict[str, int]:
    """What is given to the server of a Python that lets both sides prove who they are."""
    if sys.version_info < (3, 14):
        return {}
    read, write = os.pipe()
    os.write(write, key)
    os.close(write)
    return {"authkey_r": read}
