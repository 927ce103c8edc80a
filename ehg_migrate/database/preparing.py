"""The working connection made ready for a step: as it was when it was opened, with our settings, in a transaction."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from ehg_migrate.database.connections import check_settings, search_path, settings
from ehg_migrate.database.flight import Flight, Kept, Sent
from ehg_migrate.database.leaving import LEAVE, RESET, TargetConnection
from ehg_migrate.database.statements import joined
from ehg_migrate.model import Target

# What a step has set may begin the next one's transaction (`default_transaction_read_only`), so RESET comes before it.
# What was reset holds for what begins after it, so the first two end the transaction of the RESETs. A Sync would, too.
# But where a client dies with more behind a Sync, a pooler may take the server for idle at the answer to it, fail to
# clean the transaction that the rest has begun, and keep it with its lock for good; pgbouncer 1.18 does.
RESET_AND_BEGIN = (*RESET, b"BEGIN", b"COMMIT", b"BEGIN")

# The statement that does the rest, in its parts. Its locks are the session's, or the transaction's where there is one
# connection alone, which a target that is one schema never has.
_PREPARE = "prepare prepare_path prepare_locked"
_PREPARE_SCHEMA = "prepare prepare_home prepare_locked"
PREPARE_ALONE = "prepare prepare_path prepare_alone"


def preparation(target: Target, application: str) -> dict[str, object]:
    """The values of `prepare` that are the same for every step on a target."""
    place = {"path": list(search_path(target))} if target.schema else {"schema": target.version_table_schema}
    return {**settings(target), **place, "application": application}


class LockLost(psycopg.OperationalError):
    """Somebody else has the lock that the working connection should have."""


class Preparing:
    """Makes one working connection ready, step after step.

    The settings and its lock, `work_key`, are the session's. With `alone` (values of `prepare_alone`) they, and both
    locks, are the transaction's, and nothing of them is left when that has ended.
    """

    def __init__(
        self,
        work: TargetConnection,
        target: Target,
        application: str,
        work_key: int,
        alone: Mapping[str, int | None] | None = None,
    ) -> None:
        self._work = work
        self._target = target
        parts = PREPARE_ALONE if alone else _PREPARE_SCHEMA if target.schema else _PREPARE
        self._statement = joined(parts, target)
        self._values = {
            **preparation(target, application),
            "work_key": work_key,
            "within": alone is not None,
            **(alone or {}),
        }
        self._last: int | None = alone["last"] if alone else None
        self._kept = Kept() if alone else None  # with two connections a step may say what it likes, DISCARD ALL too
        self._ready: TupleRow | psycopg.Error | None = None  # what came of what was sent with a commit
        self._begins = False  # whether steps have transactions that the driver begins

    def prepare(self, *, untouched: bool = False) -> str | None:
        """The number of the transaction that has begun; None in autocommit, and where it is to be `untouched`.

        Then it begins with the next statement, which may still say how it is to be. Raises psycopg.Error: LockLost
        where somebody else has the lock now.
        """
        ready, self._ready = self._ready, None
        if ready is None:
            ready = self._untouched() if untouched else self._begun()
        if isinstance(ready, psycopg.Error):
            raise ready
        number, *found, locked = ready
        check_settings(found, self._target)
        if not locked:
            raise LockLost("the lock of the working connection was lost")
        return str(number) if number else None

    def with_commit(self) -> None:
        """Lets the next commit of the connection take the next `prepare` along."""
        self._work.commit_by = self._commit_and_begin

    def _begun(self) -> TupleRow:
        self._forget_isolation()
        return self._alone(begin=bool(self._values["within"]) or not self._work.autocommit)

    def _untouched(self) -> TupleRow:
        self._forget_isolation()
        return self._alone(begin=False)

    def _alone(self, *, begin: bool) -> TupleRow:
        with self.flight() as flight:
            prepared = self._send(flight, begin=begin)
        return prepared.rows[0]

    def _commit_and_begin(self) -> None:
        commit: Sent | None = None
        try:
            with self.flight() as flight:
                commit = flight.send(b"COMMIT")
                prepared = self.send(flight)
            self.hear(prepared.rows[0])
        except psycopg.Error as e:
            if commit is None or commit.status != "COMMIT":
                raise
            self.hear(e)

    def flight(self) -> Flight:
        """One on the working connection."""
        return Flight(self._work, self._kept)

    def send(self, flight: Flight) -> Sent:
        """What `prepare` would send, put behind a COMMIT."""
        return self._send(flight, begin=True)

    def send_leave(self, flight: Flight) -> None:
        """Leaves the session as it was found, put behind the last COMMIT."""
        for statement in LEAVE:
            flight.send(statement)

    def count_entry(self) -> None:
        """One more number of the journal is ours: an entry was sent."""
        self._last = (self._last or 0) + 1

    def hear(self, answer: TupleRow | psycopg.Error) -> None:
        """What came of that. What was committed is; whoever begins the next step hears of an error."""
        self._ready = answer

    def _forget_isolation(self) -> None:
        """What the driver would begin transactions with, which SQLAlchemy sets after an `autocommit_block`.

        A step that has put the connection into autocommit itself may leave it there: the next one would have none.
        """
        self._begins = self._begins or not self._work.autocommit
        if self._work.info.transaction_status is TransactionStatus.IDLE:
            self._work.isolation_level = self._work.read_only = self._work.deferrable = None
            if self._begins:
                self._work.autocommit = False

    def _send(self, flight: Flight, *, begin: bool) -> Sent:
        for statement in RESET_AND_BEGIN if begin else RESET:
            flight.send(statement)
        return flight.ask(self._statement, {**self._values, "step": begin, "last": self._last})
