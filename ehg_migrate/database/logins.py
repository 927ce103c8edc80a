"""One login to a target, made in a thread of its own: the server says how long libpq computes on it.

A password is kept with the number of iterations that SCRAM takes for it, and a server's owner may have made those two
thousand million: libpq then computes for hours, in one call that hears neither a time limit nor a signal. In the thread
of an event loop that would be the end of all looks. Such a thread is left behind; it goes with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import psycopg

from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Target

_MARGIN = 3.0  # seconds after which a login that has a time limit of its own should have heard of it

C = TypeVar("C", bound=psycopg.Connection[Any] | psycopg.AsyncConnection[Any])


def login(connect: Callable[[], C], target: Target) -> C:
    """What `connect` returns or raises. Raises TargetError where it does not end in the target's time to connect."""
    made = _beside(lambda _: connect())
    try:
        return made.result(_patience(target))
    except TimeoutError:
        if made.done():  # one of its own
            raise
        raise TargetError(_endless(target)) from None
    finally:
        made.cancel()


async def login_async(values: dict[str, Any], target: Target) -> psycopg.AsyncConnection[Any]:
    """What `psycopg.AsyncConnection.connect` gives for these values, and raises; TargetError likewise."""
    made = _beside(lambda made: asyncio.run(_connect(values, made)))
    try:
        async with asyncio.timeout(_patience(target)) as limit:
            return await asyncio.wrap_future(made)
    except TimeoutError:
        if not limit.expired():
            raise
        raise TargetError(_endless(target)) from None


async def _connect(values: dict[str, Any], made: Future[psycopg.AsyncConnection[Any]]) -> psycopg.AsyncConnection[Any]:
    """Ends when nobody waits for it any more."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def give_up(made: Future[psycopg.AsyncConnection[Any]]) -> None:
        if made.cancelled():
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(task.cancel)

    made.add_done_callback(give_up)
    return await psycopg.AsyncConnection.connect(**values)


def _beside(connect: Callable[[Future[C]], C]) -> Future[C]:
    """A connection that comes when the waiting is over is closed. No pool, for which Python would wait at its end."""
    made: Future[C] = Future()

    def work() -> None:
        try:
            connection = connect(made)
        except BaseException as e:  # noqa: BLE001 - whoever waits for it shall hear it
            if made.set_running_or_notify_cancel():
                made.set_exception(e)
            return
        if made.set_running_or_notify_cancel():
            made.set_result(connection)
        else:
            connection.pgconn.finish()

    threading.Thread(target=work, name="login", daemon=True).start()
    return made


def _patience(target: Target) -> float | None:
    """psycopg itself waits for two seconds at least."""
    return max(2.0, target.limits.connect) + _MARGIN if target.limits.connect else None


def _endless(target: Target) -> Problem:
    return Problem(
        "endless_login",
        f"the login was still being computed after {_patience(target):g} s; its server decides how much that is",
        "`rolpassword` in `pg_authid` says how many iterations a password takes (`SCRAM-SHA-256$ITERATIONS:...`, 4096 "
        "as a rule): set that of the role anew, and look who has set this one",
    )
