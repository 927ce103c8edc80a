"""The two connections of one runner on one target: one holds the lock, the other works.

The lock is a session advisory lock on a connection of its own, so that a revision which runs DISCARD ALL, COMMIT or
CONCURRENTLY cannot lose it or wait for it. It is polled, never waited for: a blocked waiter is an open transaction, and
CREATE INDEX CONCURRENTLY waits for those. The working connection has a second lock: when the client dies, the server
goes on with a statement for a while after the first lock is free, and nobody may look at the target before it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import psycopg

from ehg_migrate.database.connections import ConnectError, Notice, connect_pair, settings
from ehg_migrate.database.faults import is_lost, run_fault
from ehg_migrate.database.journal import Journal
from ehg_migrate.database.statements import layout, query, version_name
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import META_SCHEMA, Origin, Target

_POLL = 0.25  # seconds between two looks at a lock that somebody else has


class Session:
    """A target that is ours: proven to be in session mode, locked, with our tables in place.

    Use as a context manager; leaving it gives the lock back. Raises on entering: ConnectError where the server cannot
    be reached or fails, other TargetErrors for what must not be touched: a transaction pooler, another runner at work,
    no privilege to make our schema.
    """

    def __init__(
        self,
        target: Target,
        password: str | None,
        run: str,
        origin: Origin,
        notice: Notice | None = None,
        *,
        adopting: bool = False,
    ) -> None:
        self.target = target
        self.journal = Journal(target, run, origin)
        self.version_id_length = 255
        self.broken_by = ""  # who ended the session that this run had here before
        self._password = password
        self._notice = notice
        self._adopting = adopting
        self._key = lock_key(target)

    def __enter__(self) -> Self:
        application = f"ehg_migrate {self.journal.run}@{self.journal.origin.host}"
        pair = connect_pair(self.target, self._password, application, self._notice)
        self.lock, self.work, self._work_pid = pair.lock, pair.work, pair.work_pid
        try:
            self._take_lock()
            self._lay_out()
            self._write_lease()
            self.prepare_work()
        except psycopg.Error as e:
            self._close()
            raise ConnectError(e) from e
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.work.close()  # first, or the next runner finds the one lock free and must wait for the other
            if not is_lost(self.lock):
                self.lock.execute(query("drop_lease", self.target), {"key": self._key})
                self.lock.execute(query("unlock"), {"key": self._key})
        except psycopg.Error as e:
            # the server gives the lock back by itself when the connection ends, which is now
            self._tell(f"the lock connection was lost: {run_fault(e).problem.message}")
        finally:
            self._close()

    def heads(self) -> tuple[str, ...]:
        """The version rows now, read on the lock's connection, which no revision can have left in a transaction."""
        rows = self.lock.execute(query("version_heads", self.target)).fetchall()
        return tuple(row[0] for row in rows)

    def prepare_work(self) -> None:
        """Our settings on the working connection, again: a revision may have changed any of them.

        Raises psycopg.Error, also where the lock was lost and somebody else has it now.
        """
        wanted = {**settings(self.target), "schema": self.target.version_table_schema, "key": self._key + 1}
        row = self.work.execute(query("prepare"), wanted).fetchone()
        if not (row and row[-1]):
            raise psycopg.OperationalError("the lock of the working connection was lost")

    def still_locked(self) -> bool:
        """Whether the lock's connection still stands, told without a round trip."""
        with self.lock.lock:  # another thread asks on this connection who blocks us
            if is_lost(self.lock):
                return False
            try:
                for _ in range(2):  # a server that ends a connection says why first: that is input, not its end
                    self.lock.pgconn.consume_input()
            except psycopg.Error:
                return False
            return not is_lost(self.lock)

    def abort(self) -> None:
        """Called from another thread: ends whatever hangs, by taking the connections' sockets away from under it."""
        for name in ("work", "lock"):
            connection: psycopg.Connection | None = getattr(self, name, None)
            if connection is not None and not connection.closed:
                # suppressed: the other side, or the connection's own thread, may have closed it first
                with contextlib.suppress(OSError, psycopg.Error):
                    _shut(connection.fileno())

    def invalid_indexes(self) -> tuple[str, ...]:
        """Indexes that a CONCURRENTLY left behind unfinished."""
        return tuple(r[0] for r in self.lock.execute(query("invalid_indexes", self.target), {}).fetchall())

    def blockers(self) -> dict[int, str]:
        """Who keeps the working connection waiting: pid -> who, for how long, with what. Raises psycopg.Error."""
        rows = self.lock.execute(query("blockers"), {"pid": self._work_pid}).fetchall()
        return {row[0]: _blocker(*row) for row in rows}

    def _take_lock(self) -> None:
        deadline = time.monotonic() + self.target.limits.queue
        self._wait_for(self.lock, self._key, deadline)
        self._wait_for(self.work, self._key + 1, deadline)

    def _wait_for(self, connection: psycopg.Connection, key: int, deadline: float) -> None:
        told = False
        while True:
            row = connection.execute(query("try_lock"), {"key": key}).fetchone()
            if row and row[0]:
                return
            holder = self._holder(key)
            if time.monotonic() >= deadline:
                raise TargetError(_busy(holder, self.target.limits.queue))
            if holder and not told:
                self._tell(f"waiting for another runner: {holder}")
                told = True
            time.sleep(_POLL)  # there is no way to wait for an advisory lock without an open statement

    def _holder(self, key: int) -> str:
        row = self.lock.execute(query("holder"), {"key": key}).fetchone()
        if row is None:
            return ""  # it has just gone
        pid, application, address, since, _ = row
        lease = self._lease(pid)
        if lease:
            run, actor, host, process, commit, taken = lease
            origin = f"{actor} on {host} (process {process}, commit {commit[:12] or 'none'})"
            return f"run {run} of {origin} since {taken:%F %T %Z}"
        # another role's session hides when it began and where it comes from
        began = f" since {since:%F %T %Z}" if since else ""
        return f"backend {pid} `{application}` from {address or 'an unknown address'}{began}"

    def _lease(self, pid: int) -> tuple[str, str, str, int, str, datetime] | None:
        try:
            return self.lock.execute(query("lease", self.target), {"pid": pid}).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None  # the holder is just making the tables

    def _lay_out(self) -> None:
        row = self.lock.execute(query("layout", self.target), {"version": version_name(self.target)}).fetchone()
        journal, version, id_length, has_foreign = row or (False, False, None, False)
        if not version and has_foreign and not self._adopting:
            heads = tuple(r[0] for r in self.lock.execute(query("foreign_heads")).fetchall())
            if heads:
                raise TargetError(not_adopted(heads))
        if not (journal and version):
            self._make_layout()
        elif id_length:
            self.version_id_length = id_length

    def _make_layout(self) -> None:
        try:
            with self.lock.transaction():
                self.lock.execute(layout(self.target))
        except psycopg.errors.InsufficientPrivilege as e:
            role = self.target.address.user.partition(".")[0]
            raise TargetError(
                Problem(
                    "no_privilege",
                    f"schema `{META_SCHEMA}` cannot be made: {e.diag.message_primary}",
                    f'let the owner of the database run: CREATE SCHEMA {META_SCHEMA} AUTHORIZATION "{role}"',
                    sqlstate=e.sqlstate,
                )
            ) from e

    def _write_lease(self) -> None:
        origin = self.journal.origin
        former = self.lock.execute(query("clear_lease", self.target), {"key": self._key}).fetchone()
        self.broken_by = former[1] if former and former[0] == self.journal.run else ""
        self.lock.execute(
            query("take_lease", self.target),
            {
                "key": self._key,
                "run": self.journal.run,
                "actor": origin.actor,
                "host": origin.host,
                "pid": origin.pid,
                "git_commit": origin.git_commit,
            },
        )

    def _tell(self, text: str) -> None:
        if self._notice:
            self._notice(text)

    def _close(self) -> None:
        for name in ("work", "lock"):
            connection: psycopg.Connection | None = getattr(self, name, None)
            if connection is not None:
                connection.close()


def lock_key(target: Target) -> int:
    """The advisory lock of a target, the same for every runner; locks are per database, so it need not name that."""
    digest = hashlib.sha256(f"ehg_migrate {target.version_table_schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # bigint is signed


def _shut(descriptor: int) -> None:
    """Ends the connection behind a descriptor that stays its owner's to close."""
    with socket.socket(fileno=os.dup(descriptor)) as handle:
        handle.shutdown(socket.SHUT_RDWR)


def _blocker(pid: int, role: str | None, application: str | None, age: timedelta | None, state: str | None,
             statement: str | None) -> str:  # fmt: skip
    who = ", ".join(filter(None, (role, application)))
    since = f", {state} for {age.total_seconds():.1f} s" if state and age is not None else ""
    return f"pid {pid} ({who}{since}): {' '.join((statement or '').split())}"


def not_adopted(heads: tuple[str, ...]) -> Problem:
    """A database that somebody else's Alembic has migrated."""
    names = ", ".join(f"`{h}`" for h in heads)
    return Problem(
        "not_adopted",
        f"`public.alembic_version` holds {names}, and this tool has no record of its own here",
        "`ehg-migrate adopt TARGET` shows what taking over means, and does it",
    )


def _busy(holder: str, waited: float) -> Problem:
    return Problem(
        "locked",
        f"another runner is at work here, waited {waited:g} s: {holder or 'it has just gone'}",
        "let it end, or raise `queue_timeout`",
    )
