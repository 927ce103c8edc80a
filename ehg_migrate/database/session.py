"""The two connections of one runner on one target: one holds the lock, the other works.

The lock is a session advisory lock on a connection of its own, so that a revision which runs DISCARD ALL, COMMIT or
CONCURRENTLY cannot lose it or wait for it. The working connection has a second lock while steps run: when the client
dies, the server goes on with a statement for a while after the first lock is free, and nobody may look at the target
before it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import psycopg

from ehg_migrate.database.claim import Claim, together
from ehg_migrate.database.connections import (
    Notice,
    Pair,
    connect_pair,
    with_retries,
)
from ehg_migrate.database.faults import TAKES_NO_WRITES, ConnectError, is_lost, run_fault
from ehg_migrate.database.hosts import place
from ehg_migrate.database.journal import Journal
from ehg_migrate.database.leaving import let_go, letting_go
from ehg_migrate.database.neighbours import Neighbours
from ehg_migrate.database.parameters import LONGEST_NAME
from ehg_migrate.database.preparing import Preparing
from ehg_migrate.database.records import Canonical
from ehg_migrate.database.sockets import shut
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem
from ehg_migrate.model import Origin, Target
from ehg_migrate.redaction import one_line


class Session:
    """A target that is ours: proven to be in session mode, locked, with our tables in place.

    Use as a context manager; leaving it gives the lock back. Raises on entering: ConnectError where the server cannot
    be reached or fails, other TargetErrors for what must not be touched: a transaction pooler, another runner at work,
    no privilege to make our schema. With `canonical` also a database without a record of ours, where by another tool's
    revisions of the target are applied. Where its run has `done` steps here before, our tables are not made: a database
    without them is another one. Where it has `begun` some, it is entered although it takes no writes: without our name.
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
        canonical: Canonical | None = None,
        done: Sequence[str] = (),
        begun: bool = False,
    ) -> None:
        self.target = target
        self.journal = Journal(target, run, origin)
        self.transaction: str | None = None  # the number of the one that the last `prepare_work` began, once known
        self.broken_by = ""  # who ended the session that this run had here before
        self.noticed: list[Problem] = []  # what steps did that is worth a note of the result
        self._password = password
        self._notice = notice
        self._adopting = adopting
        self._canonical = canonical
        self._done = done
        self._begun_before = begun
        self._key = lock_key(target)
        self._application = application_name(run, origin.host)

    def __enter__(self) -> Self:
        # all of it may be done again: nothing of a step has been sent
        return with_retries(self._enter, self._notice)

    def _enter(self) -> Self:
        pair = connect_pair(self.target, self._password, self._application)
        self.lock, self.work, self._work_pid = pair.lock, pair.work, pair.work_pid
        self._preparing = Preparing(self.work, self.target, self._application, self._key + 1)
        try:
            self.neighbours = self._neighbours(pair)
            self.found = Claim(
                self.lock,
                self.journal,
                self._key,
                self._tell,
                adopting=self._adopting,
                canonical=self._canonical,
                done=self._done,
                begun=self._begun_before,
            ).make()
            self.broken_by = self.broken_by or self.found.broken_by
        except psycopg.Error as e:
            self._close()
            raise ConnectError(e) from e
        except BaseException:
            self._close()
            raise
        trust(self.target)
        return self

    def _neighbours(self, pair: Pair) -> Neighbours | None:
        return Neighbours(self.target, pair.lock, pair.work, pair.work_pid) if self.target.schema else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not is_lost(self.lock):
                self._give_back()
        except psycopg.Error as e:
            # the server gives the lock back by itself when the connection ends, which is now
            self._tell(f"the lock connection was lost: {run_fault(e).problem.message}")
        finally:
            self._close()

    def leave(self) -> tuple[str, ...]:
        """The version rows at the very end: the lock is given back with the question. Raises psycopg.Error."""
        if is_lost(self.lock):  # then nothing can be asked on it
            raise psycopg.OperationalError("the connection that held the lock was lost")
        rows = self._give_back("version_heads")["version_heads"]
        self.lock.close()
        return tuple(row[0] for row in rows)

    def _give_back(self, *asked: str) -> dict[str, list[tuple[Any, ...]]]:
        with letting_go(self.work):  # first, or the next runner finds the one lock free and must wait for the other
            values, back = {"key": self._key}, (*asked, "RESET ALL", "unlock")
            try:  # the name first, while `lock_timeout` holds: somebody may have locked that table
                return together(self.lock, self.target, ("drop_lease", *back), values)
            except (*TAKES_NO_WRITES, psycopg.errors.LockNotAvailable):
                # it stays behind, until the next runner puts his there
                return together(self.lock, self.target, back, values)

    def heads(self) -> tuple[str, ...]:
        """The version rows now, read on the lock's connection, which no revision can have left in a transaction."""
        with self.beside() as connection:
            rows = connection.execute(query("version_heads", self.target)).fetchall()
        return tuple(row[0] for row in rows)

    def became(self, transaction: str | None) -> str | None:
        """What became of the one with this number: in progress, committed, aborted; None where there is no number."""
        row = self.lock.execute(query("became"), {"transaction": transaction}).fetchone()
        return row[0] if row else None

    def beside(self) -> AbstractContextManager[psycopg.Connection]:
        """A connection in autocommit, for what is not to be in the transaction of a step."""
        return nullcontext(self.lock)

    def prepare_work(self, *, untouched: bool = False) -> None:
        """The working connection ready for a step, as `Preparing.prepare` says. Raises psycopg.Error."""
        self.transaction = self._preparing.prepare(untouched=untouched)

    def prepare_with_commit(self) -> None:
        """Lets the next commit of the working connection take the next `prepare_work` along."""
        self._preparing.with_commit()

    def number_transaction(self) -> None:
        """The number of the working connection's transaction, begun if it has not yet. Raises psycopg.Error."""
        row = psycopg.Cursor(self.work).execute(query("number")).fetchone()
        self.transaction = row[0] if row else None

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
                    shut(connection.fileno())

    def invalid_indexes(self) -> tuple[str, ...]:
        """Indexes that a CONCURRENTLY left behind unfinished."""
        asked = query("invalid_indexes"), {"own": self.target.schema}
        with self.beside() as connection:
            return tuple(r[0] for r in connection.execute(*asked).fetchall())

    def blockers(self) -> dict[int, str]:
        """Who keeps the working connection waiting: pid -> who, for how long, with what. Raises psycopg.Error.

        A prepared transaction has no pid: its own number stands there, below zero.
        """
        asked = {"pid": self._work_pid}
        sessions = self.lock.execute(query("blockers"), asked, binary=True).fetchall()
        prepared = self.lock.execute(query("prepared_blockers"), asked, binary=True).fetchall()
        return {row[0]: _blocker(*row) for row in sessions} | {-number: _prepared(*row) for number, *row in prepared}

    def _tell(self, text: str) -> None:
        if self._notice:
            self._notice(text)

    def _close(self) -> None:
        for name in ("work", "lock"):
            connection: psycopg.Connection | None = getattr(self, name, None)
            if connection is not None:
                let_go(connection)


def application_name(run: str, host: str) -> str:
    """How a run calls its connections."""
    return f"ehg_migrate {run}@{host}"[:LONGEST_NAME]


def named_run(application: str) -> tuple[str, str]:
    """The run and its host by the name of a connection; empty where it is no run's."""
    found = _RUN.fullmatch(application)
    return (found[1], found[2]) if found else ("", "")


_RUN = re.compile(r"ehg_migrate (\d{8}-\d{6}-[0-9a-f]{4})@(.*)")
_proven: set[tuple[str, int]] = set()


def is_proven(target: Target) -> bool:
    """Whether its endpoint was seen to be in session mode, by this process or by another worker of its run."""
    return place(target) in _proven


def trust(target: Target) -> None:
    """Takes its endpoint to be in session mode, since another process of the same run has seen it."""
    _proven.add(place(target))


def lock_key(target: Target) -> int:
    """The advisory lock of a target, the same for every runner; locks are per database, so it need not name that.

    Schemas of one database have a lock each: what one of them does is no reason for another to wait.
    """
    place = target.meta_schema if target.schema else target.version_table_schema
    digest = hashlib.sha256(f"ehg_migrate {place}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # bigint is signed


def _prepared(name: str, role: str, age: timedelta) -> str:
    who = f"prepared transaction {one_line(name)} ({one_line(role)}, for {age.total_seconds():.1f} s)"
    return f"{who}, which has no session: its owner ends it with COMMIT PREPARED or ROLLBACK PREPARED"


def _blocker(pid: int, role: str | None, application: str | None, age: timedelta | None, state: str | None,
             statement: str | None) -> str:  # fmt: skip
    who = ", ".join(filter(None, (role, application)))
    since = f", {state} for {age.total_seconds():.1f} s" if state and age is not None else ""
    # shortened here, not by the server: what is masked must be seen whole
    return f"pid {pid} ({one_line(who)}{since}): {one_line(statement or '', 200)}"
