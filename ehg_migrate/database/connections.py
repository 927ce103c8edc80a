"""One connection to a target: its parameters, opened with retries where nothing has been sent, its settings proven."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import psycopg

from ehg_migrate.database.addresses import Part, addresses
from ehg_migrate.database.faults import ConnectError, Retry
from ehg_migrate.database.leaving import TargetConnection
from ehg_migrate.database.logins import login
from ehg_migrate.database.parameters import parameters
from ehg_migrate.database.patience import pauses
from ehg_migrate.database.proof import listen, prove
from ehg_migrate.database.statements import joined
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Target

_ATTEMPTS = 5
_LONGEST_WAIT = 120.0  # seconds for all attempts together

T = TypeVar("T")
Notice = Callable[[str], None]
"""Told in words that something is being waited for."""


def connect(target: Target, password: str | None, application: str, *, lasting: bool = True) -> psycopg.Connection:
    """A session in autocommit whose limits were set and read back. Raises ConnectError, after safe retries.

    Where the limits shall not be `lasting`, that was done in a transaction of its own, with which they have ended.
    """
    return with_retries(lambda: connect_once(target, password, application, lasting=lasting), None)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sessions on one target, proven to be sessions."""

    lock: TargetConnection
    work: TargetConnection
    work_pid: int  # the backend of `work`; through a pooler psycopg's own number is another


def connect_pair(target: Target, password: str | None, application: str) -> Pair:
    """Two sessions with one attempt, proven to be in session mode; nothing is set on them that a pooler would keep.

    `lock` still listens to the proof's channel. The second connection is opened only where the first one stands, so
    that a wrong password costs one attempt, but while the first begins the proof. Raises TargetError, ConnectError.
    Nobody waits for the second connection with the first in hand: such runners can fill a pool for ever.
    """
    with ExitStack() as opened:
        lock = opened.enter_context(closing(connect_bare(target, password, application)))
        try:
            with ThreadPoolExecutor(1, "listen") as beside:
                listening = beside.submit(listen, lock)
                work = opened.enter_context(closing(connect_bare(target, password, application)))
            pair = Pair(lock, work, prove(lock, listening.result(), work))
        except psycopg.Error as e:
            raise ConnectError(e) from e
        opened.pop_all()
    return pair


def with_retries(action: Callable[[], T], notice: Notice | None) -> T:
    """What the action returns; tried again, after a while, where a ConnectError allows it. Raises the last of these."""
    waits, attempt = pauses(_ATTEMPTS, within=_LONGEST_WAIT, longest=10, spread=0.5), 1
    while True:
        try:
            return action()
        except ConnectError as e:
            wait = next(waits, None) if e.retry is Retry.CONNECT else None
            if wait is None:
                raise
            if notice:
                notice(f"attempt {attempt} of {_ATTEMPTS}: {e.problem.message}; again in {wait:.1f} s")
        time.sleep(wait)  # poolers ban who tries too often, and whether one will do now the next attempt alone tells
        attempt += 1


def connect_once(target: Target, password: str | None, application: str, *, lasting: bool = True) -> psycopg.Connection:
    """What `connect` gives, with one attempt."""
    with ExitStack() as opened:
        connection = opened.enter_context(closing(connect_bare(target, password, application)))
        try:
            with nullcontext() if lasting else connection.transaction():
                apply_settings(connection, target, within=not lasting)
        except psycopg.Error as e:
            raise ConnectError(e) from e
        opened.pop_all()
    return connection


def connect_bare(target: Target, password: str | None, application: str) -> TargetConnection:
    """A connection on which nothing is set yet. Raises ConnectError.

    psycopg would try every address of a name, after a wrong password too, and poolers count those.
    """
    last: ConnectError | None = None
    for address in _resolved(target):
        values = parameters(target, password, application) | address
        try:
            connection = login(partial(TargetConnection.connect, **values, autocommit=True), target)
        except psycopg.Error as e:
            last = ConnectError(e)
            if last.retry is not Retry.CONNECT:
                break
            continue
        connection.prepare_threshold = None  # a prepared statement would be one more thing that a pooler can lose
        return connection
    assert last is not None
    raise last


def _resolved(target: Target) -> tuple[Part, ...]:
    try:
        return addresses(target.address)
    except psycopg.OperationalError as e:
        raise ConnectError(e) from e


def apply_settings(connection: psycopg.Connection, target: Target, *, within: bool = False) -> None:
    """The target's limits for this session, or `within` its transaction.

    Raises TargetError where they do not stick, psycopg.Error where refused.
    """
    statement = joined("settings prepare_home" if target.schema else "settings", target)
    values = {**settings(target), "path": list(search_path(target)), "within": within}
    check_settings(connection.execute(statement, values).fetchone() or (), target)


def search_path(target: Target) -> tuple[str, ...]:
    """The path of a target that is one schema; none where the role and the database say it.

    Extensions are looked for where Supabase keeps them, and not in `public`, which is a neighbour. Our own schema is
    not in it: a function with `SET search_path FROM CURRENT` would keep it.
    """
    return (target.schema, "extensions") if target.schema else ()


def check_settings(row: Sequence[str], target: Target) -> None:
    """Raises TargetError where what was read back (lock, statement, idle timeout) is not what was set."""
    wanted = settings(target)
    got = dict(zip(("lock", "statement", "idle"), row, strict=False))
    wrong = [k for k in got if _milliseconds(got[k]) != _milliseconds(wanted[k])]
    if wrong or len(got) < len(wanted):
        raise TargetError(
            Problem(
                "settings_lost",
                f"the session did not keep its timeouts: {', '.join(wrong)}",
                "use the session-mode port of the pooler",
            )
        )


def settings(target: Target) -> Mapping[str, str]:
    """The limits as PostgreSQL takes them."""
    limits = target.limits
    return {
        "lock": f"{round(limits.lock * 1000)}ms",
        "statement": f"{round(limits.statement * 1000)}ms",
        "idle": f"{round(limits.idle_in_transaction * 1000)}ms",
    }


def _milliseconds(value: str) -> int:
    """PostgreSQL gives `15min` back for `900000ms`."""
    units = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "": 1}
    digits = value.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits or 0) * units[value[len(digits) :]]
