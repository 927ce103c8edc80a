"""Many targets asked at once: one cheap connection each, in its time, by the rules of its host; none hides another."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg

from ehg_migrate.database.addresses import addresses_async
from ehg_migrate.database.answers import dict_rows
from ehg_migrate.database.faults import ConnectError, Retry, connect_fault
from ehg_migrate.database.hosts import Hosts, Places, place
from ehg_migrate.database.logins import endless, hold_out, logging_in
from ehg_migrate.database.parameters import parameters
from ehg_migrate.database.patience import pauses
from ehg_migrate.database.sockets import received, shut
from ehg_migrate.errors import LACKING_THREADS, Problem, TargetError, lacks_threads
from ehg_migrate.model import Target
from ehg_migrate.redaction import one_line

_ATTEMPTS = 3
_MOST = 256 * 1024 * 1024  # bytes of a target's answer; libpq and we keep them several times
_GLANCE = 0.1  # seconds between two looks at how many have come

T = TypeVar("T")
Connection = psycopg.AsyncConnection[dict[str, object]]
Ask = Callable[[Connection, Target], Awaitable[object]]
Then = Callable[[Target, object], Awaitable[None] | None]
"""Gets a target and its answer; gives what else is to be done there, on two connections of its own. Must not raise."""


def ask_all(
    targets: Iterable[Target],
    passwords: Mapping[str, str | None],
    at_once: int,
    ask: Ask,
    then: Then | None = None,
) -> dict[str, object]:
    """What each target answers to `ask`, by name, or a Problem; `at_once` connections at a time.

    Returns when what `then` has given is done, too; for that `at_once` must be two or more.
    """
    targets = left = tuple(targets)
    answers: dict[str, object] = {}

    async def every() -> None:
        places, hosts = Places(at_once), Hosts(left)

        async def one(target: Target) -> None:
            answers[target.name] = await _one(target, passwords.get(target.name), places, hosts, ask, then)

        await asyncio.gather(*map(one, left))

    while held_up := hold_out(every):
        answers[held_up.name] = endless(held_up)
        left = tuple(t for t in left if t.name not in answers)
    return {t.name: answers[t.name] for t in targets}


def complete(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the coroutine returns, run to its end in an event loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as thread:  # the caller has a loop of its own in this one, as notebooks do
        return thread.submit(asyncio.run, work()).result()


async def _one(
    target: Target, password: str | None, places: Places, hosts: Hosts, ask: Ask, then: Then | None
) -> object:
    async with hosts.turn(target):
        try:
            answer = await _with_retries(target, password, places, ask)
        except TargetError as e:
            return e.problem
        except Exception as e:  # noqa: BLE001 - a server that answers nonsense must not hide the other targets
            said = f"{type(e).__name__}: {e}"
            return Problem("no_thread", said, LACKING_THREADS) if lacks_threads(e) else strange(said)
    if more := then and then(target, answer):
        async with hosts.turn(target), places.two():
            await more
    return answer


async def _with_retries(target: Target, password: str | None, places: Places, ask: Ask) -> object:
    """All attempts have one limit together, so that a server which accepts and says nothing costs it once.

    Who waits for the next attempt has no place: thousands that are refused would hold up each other, and the rest.
    """
    waits = pauses(_ATTEMPTS, within=None, longest=2, spread=0.3)
    spent = 0.0  # in attempts and pauses; not while others had the places
    while True:
        async with places.taken(target):
            begun = time.monotonic()
            try:
                return await _in_time(target, password, places, ask, spent)
            except ConnectError as e:
                spent += time.monotonic() - begun
                # an attempt that could not end in time would hide why the one before it failed
                again = e.retry is Retry.CONNECT and not 0 < target.limits.answer <= spent
                wait = next(waits, None) if again and places.worth_another(target) else None
                if wait is None:
                    raise
        await asyncio.sleep(wait)
        spent += wait


async def _in_time(target: Target, password: str | None, places: Places, ask: Ask, spent: float) -> object:
    """One attempt, in what is left of the target's time."""
    silent = False
    left = max(target.limits.look - spent, 0) if target.limits.look else math.inf
    seconds = places.patience(target, left)
    try:
        async with asyncio.timeout(seconds):
            return await _ask_once(target, password, ask)
    except TimeoutError as e:
        silent = True
        raise TargetError(_silent(target) if seconds == left else _silent_host(target, seconds)) from e
    except ConnectError as e:
        silent = e.problem.code == "connect_timeout"
        raise
    finally:
        places.heard(target, silent=silent)


async def _ask_once(target: Target, password: str | None, ask: Ask) -> object:
    try:
        connection = await connect(target, password)
        try:
            return await or_shut(ask(connection, target), connection)
        finally:
            await connection.close()
    except (psycopg.Error, OSError, UnicodeError) as e:  # the last: a host or a row that is no text
        raise ConnectError(e) from e


async def or_shut(work: Awaitable[T], *connections: Connection) -> T:
    """The result of `work`, which asks on these connections. A cancellation ends it at once: their sockets are shut.

    psycopg would ask the server to cancel too, and wait for its answer. Raises TargetError where too much comes.
    """
    asking = asyncio.ensure_future(work)
    asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, whoever waits for it or not
    try:
        # from Python 3.14 on `shield` tells on stderr how what it shields has failed
        while not (await asyncio.wait([asking], timeout=_GLANCE))[0]:
            _refuse_flood(connections)
    except (asyncio.CancelledError, TargetError):
        for connection in connections:
            with contextlib.suppress(OSError, psycopg.Error):
                shut(connection.fileno())
        await asyncio.wait([asking])
        asking.exception()
        raise
    return asking.result()


def _refuse_flood(connections: Iterable[Connection]) -> None:
    """A look is made in the process that all others are made in, and libpq keeps whatever a server sends."""
    for connection in connections:
        with contextlib.suppress(psycopg.Error):  # it has ended: so will what asks on it
            if received(connection.fileno()) > _MOST:
                raise TargetError(strange(f"it is larger than {_MOST >> 20} MB"))


async def connect(target: Target, password: str | None) -> Connection:
    """By the first address of the target that answers; see `connections`. Raises psycopg.Error."""
    values = parameters(target, password, "ehg_migrate probe")
    last: psycopg.Error | None = None
    for address in await addresses_async(target.address):
        try:
            with logging_in(target):
                return await psycopg.AsyncConnection.connect(**values | address, autocommit=True, row_factory=dict_rows)
        except psycopg.Error as e:
            last = e
            if connect_fault(e).retry is not Retry.CONNECT:
                break
    assert last is not None
    raise last


def strange(what: str) -> Problem:
    """What answered is not what was asked."""
    from ehg_migrate.database.telling import NOT_AS_MADE  # seldom

    return Problem(
        "strange_answer",
        one_line(f"the server's answer was not understood: {what}"),
        f"is this PostgreSQL? If it is, {NOT_AS_MADE}",
    )


def _silent_host(target: Target, seconds: float) -> Problem:
    host, port = place(target)
    return Problem(
        "no_answer",
        f"no answer within {seconds:g} s; others were waited for longer, and `{host}:{port}` said nothing to any",
        "the host or its pooler is down, or nothing comes through to it; `ehg-migrate doctor -t TARGET` looks closer",
    )


def _silent(target: Target) -> Problem:
    return Problem(
        "no_answer",
        f"no answer within {target.limits.look:g} s, which `connect_timeout` and `answer_timeout` are together",
        "the server is too busy, a pooler does not pass it on, or somebody has locked the version table: "
        "`ehg-migrate doctor -t TARGET` tells which; else raise `answer_timeout`, as the look at a large schema wants",
    )
