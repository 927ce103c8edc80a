"""Who holds the lock of a target, and the end of a holder that will not end by itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.sql import SQL

from ehg_migrate.database.answers import dict_rows
from ehg_migrate.database.asking import ask_all
from ehg_migrate.database.connections import apply_settings, connect
from ehg_migrate.database.faults import NOTHING_OF_OURS, is_lost, no_step, run_fault
from ehg_migrate.database.session import lock_key, named_run
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Target
from ehg_migrate.redaction import one_line

_ENDS_WITHIN = 10.0  # seconds for a terminated backend to roll back
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds one target's lock. `pids` are backends; empty where nobody does. What is not known is empty."""

    target: str
    pids: tuple[int, ...] = ()
    application: str = ""
    address: str = ""
    since: datetime | None = None
    state: str = ""
    doing: str = ""  # the last statement of the working session
    run: str = ""
    actor: str = ""
    host: str = ""
    process: int | None = None
    problem: Problem | None = None


def held(targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int) -> tuple[Held, ...]:
    """For each target who holds its lock, or why that cannot be known. Reads only."""
    targets = tuple(targets)
    found = ask_all(targets, passwords, at_once, _ask)
    return tuple(_held(t.name, found[t.name]) for t in targets)


def _held(name: str, answer: object) -> Held:
    if isinstance(answer, Held):
        return answer
    assert isinstance(answer, Problem)
    return Held(name, problem=answer)


_NOBODY = Problem("nobody", "nobody holds the lock of this target", "there is nothing to break")


def break_lock(target: Target, password: str | None, seen: Held, actor: str) -> Held:
    """Ends the sessions that were `seen` to hold the lock; returns when they are gone. Their run does not come back.

    The server rolls their open step back. Raises TargetError: unreachable, nobody holds the lock or somebody else does
    by now, not allowed, or a session does not end.
    """
    with _open(target, password) as connection:
        with _in_limits(connection, target):
            holder = _same_holder(connection, target, seen)
            if holder.run:
                _mark(connection, target, holder, actor)
        try:
            with suppress(psycopg.OperationalError):  # our own session was one of them
                connection.execute(query("end_holders"), {"pids": list(holder.pids)})
        except psycopg.errors.InsufficientPrivilege as e:
            with suppress(*NOTHING_OF_OURS):
                connection.execute(query("unbreak_lease", target), _broken(target, holder, actor))
            raise TargetError(_not_ours_to_end(e, holder)) from e
    with _open(target, password) as connection:
        _wait_until_gone(connection, target, holder)
    return holder


def _mark(connection: psycopg.Connection, target: Target, holder: Held, actor: str) -> None:
    """Notes for its run who has ended it; not where there is no lease table, in which that would not find it either."""
    with suppress(*NOTHING_OF_OURS), connection.transaction():
        connection.execute(query("break_lease", target), _broken(target, holder, actor))


@contextmanager
def _in_limits(connection: psycopg.Connection, target: Target) -> Iterator[None]:
    """A transaction with the target's limits. Nobody has proven a session here: what were set for one would stay."""
    with connection.transaction():
        apply_settings(connection, target, within=True)
        yield


@contextmanager
def _open(target: Target, password: str | None) -> Iterator[psycopg.Connection]:
    """What the server says, as a TargetError."""
    with closing(connect(target, password, "ehg_migrate locks break", lasting=False)) as connection:
        try:
            yield connection
        except NOTHING_OF_OURS as e:
            raise TargetError(_NOBODY) from e
        except psycopg.Error as e:
            raise TargetError(no_step(run_fault(e, lost=is_lost(connection)).problem)) from e


def _not_ours_to_end(error: psycopg.Error, holder: Held) -> Problem:
    ends = " ".join(f"SELECT pg_terminate_backend({pid});" for pid in holder.pids)
    return Problem(
        "no_privilege",
        str(error.diag.message_primary),
        f"let its own role, or a superuser, say `{ends}`; GRANT pg_signal_backend lets the role of this target "
        "end the sessions of others, but not a superuser's",
        sqlstate=error.sqlstate,
    )


def _same_holder(connection: psycopg.Connection, target: Target, seen: Held) -> Held:
    holder = _of(target, _holders(connection, target))
    if not holder.pids:
        raise TargetError(_NOBODY)
    if holder.pids != seen.pids:
        hint = "look again: `ehg-migrate locks`"
        raise TargetError(Problem("other_holder", "somebody else holds the lock by now", hint))
    return holder


def _broken(target: Target, holder: Held, actor: str) -> dict[str, object]:
    return {
        "key": lock_key(target),
        "run": holder.run,
        "host": holder.host,
        "pid": holder.pids[0],
        "pids": list(holder.pids),
        "actor": actor,
    }


def _wait_until_gone(connection: psycopg.Connection, target: Target, holder: Held) -> None:
    deadline = time.monotonic() + _ENDS_WITHIN
    while set(holder.pids) & _holding(connection, target):
        if time.monotonic() > deadline:
            raise TargetError(
                Problem(
                    "will_not_end",
                    f"backends {', '.join(map(str, holder.pids))} were told to end and have not after "
                    f"{_ENDS_WITHIN:.0f} s",
                    "look at the server; a long rollback ends by itself",
                )
            )
        time.sleep(_POLL)  # a backend's end cannot be waited for in SQL


def _holding(connection: psycopg.Connection, target: Target) -> set[int]:
    with _in_limits(connection, target):
        return {int(row["pid"]) for row in _holders(connection, target)}


def _holders(connection: psycopg.Connection, target: Target) -> list[dict[str, Any]]:
    """In a transaction, which goes on where there is no lease table."""
    cursor = connection.cursor(row_factory=dict_rows)
    try:
        with connection.transaction():
            return cursor.execute(*_question(target), binary=True).fetchall()
    except NOTHING_OF_OURS:
        return cursor.execute(*_question(target, "holders_alone"), binary=True).fetchall()


def _question(target: Target, name: str = "holders") -> tuple[SQL, dict[str, list[int]]]:
    key = lock_key(target)
    return query(name, target), {"keys": [key, key + 1]}


async def _ask(connection: psycopg.AsyncConnection[dict[str, object]], target: Target) -> Held:
    try:
        cursor = await connection.execute(*_question(target), binary=True)
    except NOTHING_OF_OURS:
        cursor = await connection.execute(*_question(target, "holders_alone"), binary=True)
    return _of(target, await cursor.fetchall())


def _of(target: Target, rows: list[dict[str, object]]) -> Held:
    """The rows of both connections of a runner, in one."""
    if not rows:
        return Held(target.name)
    first = next((r for r in rows if r["run"]), rows[0])
    run, host = named_run(_text(first["application_name"]))
    working = max(rows, key=lambda r: (r["state"] == "active", str(r["state"]).startswith("idle in")))
    return Held(
        target=target.name,
        pids=tuple(sorted({int(str(r["pid"])) for r in rows})),
        application=_text(first["application_name"]),
        address=_text(first["client_addr"]),
        since=first["since"] if isinstance(first["since"], datetime) else None,
        state=_text(working["state"]),
        doing=_text(working["query"]),
        run=_text(first["run"]) or run,
        actor=_text(first["actor"]),
        host=_text(first["host"]) or host,
        process=int(str(first["process"])) if first["process"] is not None else None,
    )


def _text(value: object) -> str:
    return one_line(str(value), 200) if value is not None else ""
