"""One target in one process: its plan run, every fault survived that can be, and what the target is in the end."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import io
import os
import resource
import select
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import count
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ehg_migrate.database.faults import ConnectError
from ehg_migrate.database.parameters import forget_environment
from ehg_migrate.errors import LACKING_THREADS, Problem, TargetError, described, lacks_threads
from ehg_migrate.model import Result, Status
from ehg_migrate.redaction import longest, one_line, register, safe
from ehg_migrate.rollout.jobs import Event, EventKind, Job, Learned
from ehg_migrate.settings import Settings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MOST = 100  # jobs of one process: whatever grows in a library ends with it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KEPT = 8000  # characters of the end of a revision's output that go into the Result: a crash's stack must fit


def main(job: Job, pipe: Pipe, environ: dict[str, str] | None, secrets: tuple[str, ...]) -> None:
    """The worker process: answers with Events and, last, one Result. Never raises. `secrets` are masked.

    It ends after its job, or serves another one where this one cannot have left anything behind. Without `environ` it
    was forked of an offshoot, which has begun so, and imported what the job imports.
    """
    if environ is None:
        _resume(job.settings)
    else:
        begin(job.settings, environ)
    for number in count(1):
        for secret in secrets:  # other targets' too: a revision may print all its variables
            register(secret)
        _serve(job, pipe, last=number == _MOST)
        job, secrets = _next(pipe)


def begin(settings: Settings, environ: dict[str, str]) -> None:
    """What every process does first that loads revisions, or what they import."""
    # Ctrl-C in a terminal reaches the whole process group; the parent decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()  # the fork server's is that of the moment it was started
    os.environ.update(environ)
    forget_environment()
    os.chdir(settings.root)
    _limit_memory(settings.worker_memory)


def _resume(settings: Settings) -> None:
    from ehg_migrate.rollout.importing import resume

    os.chdir(settings.root)
    resume()


def _serve(job: Job, pipe: Pipe, *, last: bool) -> None:
    """One job. Comes back only where the next one would find this process as it was."""
    _take_output(job.output)
    teller = Teller(job, pipe)
    teller.known = _hear(job)
    result = _result(job, teller)
    if last or not _was_clean(job, result):
        _end(job, teller, result)
    _flush()
    teller.finish(replace(result, output=read_output(job.output)), free=True)


def _hear(job: Job) -> int:
    """Takes over what other workers have found out; gives how many steps are known then."""
    from ehg_migrate.database.session import trust
    from ehg_migrate.environment import replaying

    if job.learned.proven:
        trust(job.target)
    for _, pickled in job.learned.statements:
        replaying.hear(pickled)
    return len(replaying.made)


def _was_clean(job: Job, result: Result) -> bool:
    """Whether the work was done without a fault, by files that were still those that the runner has read.

    And by no env.py but ours: another may leave anything behind.
    """
    from ehg_migrate.revisions.loading import has_our_environment, is_as_planned

    if not job.clean or result.status is not Status.SUCCEEDED or not has_our_environment(job.settings):
        return False
    return all(is_as_planned(job.settings.root / s.path, s.checksum) for s in job.plan.steps)


def _next(pipe: Pipe) -> tuple[Job, tuple[str, ...]]:
    """The next job, with the secrets that are known by now; ends the process where there is none.

    A wish to stop that came too late for the job before is not for this one, which begins although it is known.
    """
    try:
        while (heard := pipe.recv()) == "stop":
            pass
    except (EOFError, OSError):
        os._exit(0)
    job, secrets = heard
    return job, secrets


def _end(job: Job, teller: Teller, result: Result) -> NoReturn:
    _flush()
    teller.finish(replace(result, output=read_output(job.output)))
    os._exit(0)  # a thread that a revision left behind would keep the process alive


class Teller:
    """The worker's side of the pipe: tells events, hears whether to stop."""

    def __init__(self, job: Job, pipe: Pipe) -> None:
        self._job = job
        self._pipe = pipe
        self._wishes = select.poll()  # asked before each step: the pipe's own `poll` makes a selector each time
        self._wishes.register(pipe, select.POLLIN)
        self._lock = threading.Lock()  # the blocker watch tells too
        self._held: list[Event] = []  # goes with the next one
        self._stop = False
        self._process = os.getpid()
        self.known = 0  # how many steps others know of, too

    def tell(self, kind: EventKind, text: str = "", step: int = 0) -> None:
        """Sends one event; a parent that has gone is not this worker's trouble."""
        self._send(Event(self._job.target.name, kind, safe(text), step, len(self._job.plan.steps)))

    def share(self) -> None:
        """Tells the runner what the job has found out that may spare others the same."""
        self._send(Event(self._job.target.name, EventKind.LEARNED, learned=self._news()))

    def finish(self, result: Result, *, free: bool = False) -> None:
        """The last word; `free` where another job can be done, and what was found out holds for others."""
        learned = self._news() if free else None
        self._send(Event(self._job.target.name, EventKind.FINISHED, result=result, free=free, learned=learned))

    def _news(self) -> Learned:
        from ehg_migrate.database.session import is_proven
        from ehg_migrate.environment import replaying

        news = tuple(replaying.told_since(self.known))
        self.known = len(replaying.made)
        return Learned(is_proven(self._job.target), news)

    def _send(self, event: Event) -> None:
        with self._lock:
            self._held.append(event)
            if event.kind is EventKind.STEP_DONE:
                return  # the next step's begin or the result follows at once, and each message wakes the runner
            events, self._held = self._held, []
            try:
                self._pipe.send(events)
            except OSError as e:
                # the terminal is gone, the target is still ours to finish
                print(f"cannot tell the runner: {e}", file=sys.stderr)  # noqa: T201 - goes to the captured output

    def notice(self, text: str) -> None:
        """Tells in words what is being waited for."""
        self.tell(EventKind.NOTICE, text)

    def asked_to_stop(self) -> bool:
        """Whether the runner wants no further step."""
        try:
            while not self._stop and self._wishes.poll(0):
                self._stop = self._pipe.recv() == "stop"
        except (EOFError, OSError):
            self._stop = True  # the runner died: finish nothing that is not begun
        return self._stop

    def end_copies(self) -> None:
        """A process that a revision forked and let go on must not do this one's work, or tell of it."""
        if os.getpid() != self._process:
            os._exit(0)


def _result(job: Job, teller: Teller) -> Result:
    # with Alembic and SQLAlchemy, which the runner does without
    from ehg_migrate.rollout.execution import Execution
    from ehg_migrate.rollout.stepping import print_trace

    began = time.monotonic()
    try:
        teller.tell(EventKind.STARTED)
        return Execution(job, teller, partial(_end, job, teller)).run()
    except TargetError as e:
        result = _not_entered(job, e)
    except BaseException as e:  # noqa: BLE001 - whatever it is, it is this target's and must be told
        print_trace(e)
        plan = job.plan
        result = Result(plan.target, Status.INDETERMINATE, plan.heads, (), (), plan.revisions, _unexpected(e))
    return replace(result, seconds=time.monotonic() - began)


def _unexpected(error: BaseException) -> Problem:
    said = one_line(described(error))
    if lacks_threads(error):
        return Problem("worker_not_started", said, LACKING_THREADS)
    return Problem("internal", said, "this is a fault of ehg_migrate; its output has the traceback")


def _not_entered(job: Job, error: TargetError) -> Result:
    """The target is what it was, unless another worker had begun something before."""
    status, heads = Status.FAILED if isinstance(error, ConnectError) else Status.REFUSED, job.plan.heads
    if job.unsure:
        status, heads = Status.INDETERMINATE, ()
    return Result(job.target.name, status, job.plan.heads, heads, (), job.plan.revisions, error.problem)


def _take_output(path: str) -> None:
    """Points stdout and stderr of this process, and of whatever it starts, at a file that only we can read.

    What it prints is lost where there can be none: on a full disk, or when the runner has gone and its folder with it.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    # ours, whatever the parent's were: by lines, so that a process that dies has said what it said
    sys.stdout = _by_lines(1)
    sys.stderr = _by_lines(2)
    faulthandler.enable(all_threads=False)  # a crash in a library names the revision's line


def _by_lines(descriptor: int) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Output(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


class _Output(io.FileIO):
    """What has no room is lost: a full disk under TMPDIR is no reason for a step that prints something to fail."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as e:
            if e.errno not in _NO_ROOM:
                raise
            return memoryview(data).nbytes


def _limit_memory(most: int) -> None:
    """What is asked for beyond is refused to this process alone, before the machine has none left for the others."""
    if most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # whatever a revision has put in its place, or closed
            stream.flush()


def read_output(path: str) -> str:
    """The end of what a worker printed, redacted; also read by the runner when a worker has died."""
    file = Path(path)
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        cut = max(0, file.stat().st_size - 4 * _KEPT)
        stream.seek(cut)
        text = safe(stream.read().decode("utf-8", "replace"))
    # where it was cut, a piece of a secret may stand, which nothing recognises
    return text[longest() if cut else 0 :][-_KEPT:]
