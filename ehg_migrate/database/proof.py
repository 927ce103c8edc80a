"""Is this endpoint in session mode? A positive proof that fails closed.

A transaction-mode pooler loses session locks and settings, so migrations through it corrupt each other. An idle client
gets an asynchronous message only if it is pinned to its own backend: one connection LISTENs, another NOTIFYs, and the
message must arrive while nothing is being asked. Measured: 0 of 1,160 trials through transaction-mode poolers passed,
680 of 680 in session mode did.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psycopg

from ehg_migrate.database.asking import Connection, connect, or_shut
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Target

_WAIT = 2.0  # seconds for a message that takes about a millisecond in session mode
_LONGEST = 10.0  # seconds of a proof beside looks, which wait for it


@dataclass(frozen=True, slots=True)
class Listening:
    """A connection that waits for a message, and the backend that it had when it began to."""

    channel: str
    pid: int


def prove_session_mode(listener: psycopg.Connection, notifier: psycopg.Connection) -> int:
    """The notifier's backend pid, if both connections (to one endpoint) keep theirs. Raises TargetError if unproven."""
    pid = prove(listener, listen(listener), notifier)
    listener.execute("UNLISTEN *")
    return pid


def listen(listener: psycopg.Connection) -> Listening:
    """The first half: it can be done before the other connection stands."""
    channel = _channel()
    cursor = listener.execute(query("listen", channel=channel))
    cursor.nextset()
    return Listening(channel, _number(cursor.fetchone()))


def prove(listener: psycopg.Connection, listening: Listening, notifier: psycopg.Connection) -> int:
    """The second half, which leaves the UNLISTEN to the caller's next message if all is well."""
    other = _number(notifier.execute(query("notify"), {"channel": listening.channel}).fetchone())
    reason = ""
    if other == listening.pid:
        reason = "two connections share one backend"
    elif not any(n.channel == listening.channel for n in listener.notifies(timeout=_WAIT, stop_after=1)):
        row = listener.execute("SELECT pg_backend_pid()").fetchone()
        moved = _number(row) != listening.pid
        reason = "the backend changed between two statements" if moved else "a NOTIFY did not arrive"
    if reason:
        listener.execute("UNLISTEN *")  # it may reach the backend that listens
        raise TargetError(_refusal(reason))
    return other


async def is_in_session_mode(target: Target, password: str | None) -> bool:
    """Whether the same was proven, on two connections that are opened for it. Never raises.

    False where it was not to be seen, whatever the reason: who works there proves it again, and tells why not.
    """
    with contextlib.suppress(Exception):  # a server that answers nonsense must not hide the other targets
        async with AsyncExitStack() as opened, asyncio.timeout(min(_LONGEST, target.limits.look or _LONGEST)):
            opening = (_opened(opened, target, password) for _ in range(2))
            listener, notifier = await asyncio.gather(*opening, return_exceptions=True)
            if not (isinstance(listener, BaseException) or isinstance(notifier, BaseException)):
                return await or_shut(_is_heard(listener, notifier), listener, notifier)
    return False


async def _opened(stack: AsyncExitStack, target: Target, password: str | None) -> Connection:
    connection = await connect(target, password)
    stack.push_async_callback(connection.close)
    return connection


async def _is_heard(listener: Connection, notifier: Connection) -> bool:
    channel = _channel()
    cursor = await listener.execute(query("listen", channel=channel))
    cursor.nextset()
    listens = await cursor.fetchone()
    tells = await (await notifier.execute(query("notify"), {"channel": channel})).fetchone()
    heard = False
    if listens and tells and listens["pg_backend_pid"] != tells["pg_backend_pid"]:
        heard = any([n.channel == channel async for n in listener.notifies(timeout=_WAIT, stop_after=1)])
    await listener.execute("UNLISTEN *")
    return heard


def _channel() -> str:
    return f"ehg_probe_{secrets.token_hex(8)}"


def _number(row: tuple[object, ...] | None) -> int:
    return int(str(row[0])) if row else 0


def _refusal(reason: str) -> Problem:
    return Problem(
        "transaction_pooler",
        f"this endpoint is not in session mode: {reason}",
        "use the session-mode port of the pooler (5432 at Supabase) or a direct connection; a transaction-mode pooler "
        "loses locks and settings between statements",
    )
