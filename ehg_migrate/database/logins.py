"""Logins that never end: the server says how long libpq computes for one.

A password is kept with the number of iterations that SCRAM takes for it, and a server's owner may have made those two
thousand million: libpq then computes for hours, in one call that hears neither a time limit nor a signal. Its thread
can only be left behind; it goes with the process. An event loop is left with it, and what it had still to do is begun
anew in another: a thread for each login would cost each of them as much again.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg

from ehg_migrate.database.faults import ConnectError, Retry
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Target

_MARGIN = 3.0  # seconds after which a login that has a time limit of its own should have heard of it
_BEAT = 0.25  # seconds between two signs of life of an event loop
_GOODBYE = 5.0  # seconds for what is cancelled to close its connections

C = TypeVar("C", bound=psycopg.Connection[Any])

_made_by: dict[asyncio.Task[Any], Target] = {}
"""Whose login each task makes that makes one."""


class EndlessLogin(ConnectError):
    """A login that does not end in the target's time to connect."""

    def __init__(self, target: Target) -> None:
        TargetError.__init__(self, endless(target))  # no error of the driver's says it
        self.retry = Retry.NEVER


@contextmanager
def logging_in(target: Target) -> Iterator[None]:
    """Around a login that an event loop makes."""
    task = asyncio.current_task()
    assert task is not None
    _made_by[task] = target
    try:
        yield
    finally:
        del _made_by[task]


def hold_out(work: Callable[[], Coroutine[Any, Any, None]]) -> Target | None:
    """Runs it to its end in an event loop of its own; the target whose login has stopped that for good, else None.

    Raises what the work raises.
    """
    running = _Running(work)
    _start(threading.Thread(target=running.run, name="looks", daemon=True))
    return running.wait()


class _Running:
    """Work in an event loop that another thread waits for."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._beats = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        """In the thread of the loop."""
        try:
            asyncio.run(self._main())
        except BaseException as e:  # noqa: BLE001 - raised where it is waited for
            self._error = e
        finally:
            self._ended.set()

    def wait(self) -> Target | None:
        """See `hold_out`."""
        try:
            held_up = self._until_stopped()
        except BaseException:  # Ctrl-C
            if self._loop and self._task:
                with suppress(RuntimeError):  # the loop was closed a moment ago
                    self._loop.call_soon_threadsafe(self._task.cancel)
                self._ended.wait(_GOODBYE)
            raise
        if held_up is None and self._error:
            raise self._error
        return held_up

    def _until_stopped(self) -> Target | None:
        beats, without = 0, 0.0
        while not self._ended.wait(_BEAT):
            without = without + _BEAT if self._beats == beats else 0.0  # not by the clock: the machine may have slept
            beats = self._beats
            target = self._logging_in()
            if target and without > (_patience(target) or math.inf):
                return target
        return None

    def _logging_in(self) -> Target | None:
        task = asyncio.current_task(self._loop) if self._loop else None
        return _made_by.get(task) if task else None

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._beat()
        await self._work()

    def _beat(self) -> None:
        assert self._loop is not None
        self._beats += 1
        self._loop.call_later(_BEAT, self._beat)


def login(connect: Callable[[], C], target: Target) -> C:
    """What `connect` returns or raises. Raises EndlessLogin where it does not end in the target's time to connect."""
    made: Future[C] = Future()
    # no pool's thread, for which Python would wait at its end
    _start(threading.Thread(target=_log_in, args=(connect, made), name="login", daemon=True))
    try:
        return made.result(_patience(target))
    except TimeoutError:
        if made.done():  # one of its own
            raise
        raise EndlessLogin(target) from None
    finally:
        made.cancel()


def _log_in(connect: Callable[[], C], made: Future[C]) -> None:
    try:
        connection = connect()
    except BaseException as e:  # noqa: BLE001 - raised where it is waited for
        if made.set_running_or_notify_cancel():
            made.set_exception(e)
        return
    if made.set_running_or_notify_cancel():
        made.set_result(connection)
    else:
        connection.close()  # nobody waits for it any more


def _start(thread: threading.Thread) -> None:
    """Where there can be no more threads, what it would do is done in this one: few servers compute for hours."""
    try:
        thread.start()
    except RuntimeError:
        thread.run()


def _patience(target: Target) -> float | None:
    """psycopg itself waits for two seconds at least."""
    return max(2.0, target.limits.connect) + _MARGIN if target.limits.connect else None


def endless(target: Target) -> Problem:
    """What is said of a target whose login does not end."""
    return Problem(
        "endless_login",
        f"the login was still being computed after {_patience(target):g} s; its server decides how much that is",
        "`rolpassword` in `pg_authid` says how many iterations a password takes (`SCRAM-SHA-256$ITERATIONS:...`, 4096 "
        "as a rule): set that of the role anew, and look who has set this one",
    )
