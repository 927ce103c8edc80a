"""One target in one process: its plan run, every fault survived that can be, and what the target is in the end."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from ehg_migrate.database.connections import ConnectError, forget_environment
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Result, Status
from ehg_migrate.redaction import register, safe
from ehg_migrate.rollout.execution import Execution
from ehg_migrate.rollout.jobs import Event, EventKind, Job

_KEPT = 4000  # characters of a revision's output that go into the Result


def main(job: Job, pipe: Pipe, environ: dict[str, str]) -> None:
    """The worker process: answers with Events and, last, one Result. Never raises."""
    # Ctrl-C in a terminal reaches the whole process group; the parent decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()  # the fork server's is that of the moment it was started
    os.environ.update(environ)
    forget_environment()
    os.chdir(job.settings.root)
    _take_output(job.output)
    if job.password:
        register(job.password)
    teller = Teller(job, pipe)
    result = _result(job, teller)
    _flush()
    teller.finish(replace(result, output=read_output(job.output)))
    os._exit(0)  # a thread that a revision left behind would keep the process alive


class Teller:
    """The worker's side of the pipe: tells events, hears whether to stop."""

    def __init__(self, job: Job, pipe: Pipe) -> None:
        self._job = job
        self._pipe = pipe
        self._lock = threading.Lock()  # the blocker watch tells too
        self._stop = False

    def tell(self, kind: EventKind, text: str = "", step: int = 0) -> None:
        """Sends one event; a parent that has gone is not this worker's trouble."""
        self._send(Event(self._job.target.name, kind, safe(text), step, len(self._job.plan.steps)))

    def finish(self, result: Result) -> None:
        """The last word."""
        self._send(Event(self._job.target.name, EventKind.FINISHED, result=result))

    def _send(self, event: Event) -> None:
        with self._lock:
            try:
                self._pipe.send(event)
            except OSError as e:
                # the terminal is gone, the target is still ours to finish
                print(f"cannot tell the runner: {e}", file=sys.stderr)  # noqa: T201 - goes to the captured output

    def notice(self, text: str) -> None:
        """Tells in words what is being waited for."""
        self.tell(EventKind.NOTICE, text)

    def asked_to_stop(self) -> bool:
        """Whether the runner wants no further step."""
        try:
            while not self._stop and self._pipe.poll():
                self._stop = self._pipe.recv() == "stop"
        except (EOFError, OSError):
            self._stop = True  # the runner died: finish nothing that is not begun
        return self._stop


def _result(job: Job, teller: Teller) -> Result:
    try:
        teller.tell(EventKind.STARTED)
        return Execution(job, teller).run()
    except TargetError as e:
        status = Status.FAILED if isinstance(e, ConnectError) else Status.REFUSED
        return Result(job.target.name, status, job.plan.heads, job.plan.heads, (), _revisions(job), e.problem)
    except BaseException as e:  # noqa: BLE001 - whatever it is, it is this target's and must be told
        traceback.print_exc()
        problem = Problem(
            "internal", safe(f"{type(e).__name__}: {e}"), "this is a fault of ehg_migrate; its output has the traceback"
        )
        return Result(job.target.name, Status.INDETERMINATE, job.plan.heads, (), (), _revisions(job), problem)


def _revisions(job: Job) -> tuple[str, ...]:
    return tuple(s.revision for s in job.plan.steps)


def _take_output(path: str) -> None:
    """Points stdout and stderr of this process, and of whatever it starts, at a file that only we can read."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    # ours, whatever the parent's were: by lines, so that a process that dies has said what it said
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable()  # a crash in a library names the revision's line


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # whatever a revision has put in its place, or closed
            stream.flush()


def read_output(path: str) -> str:
    """The end of what a worker printed, redacted; also read by the runner when a worker has died."""
    file = Path(path)
    if not file.is_file():
        return ""
    text = file.read_bytes()[-4 * _KEPT :].decode("utf-8", "replace")
    return safe(text)[-_KEPT:]
