"""One connection to a target, for steps that are whole transactions each: nothing of ours is in the session.

Both locks and all settings belong to the transaction of the step, so they end with it, whatever a pooler does with the
server's connection, and nothing has to be proven of that before. What a revision's own functions leave in the session
is taken back behind the last step. What needs a session, or somebody who looks on, needs the two connections of
`Session`: then `NeedsPair` is raised while nothing of it has been done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Self

import psycopg
from psycopg.errors import InvalidSqlStatementName
from psycopg.pq import TransactionStatus

from ehg_migrate.database.claim import Facts, Found, id_length, refuse_home, together
from ehg_migrate.database.connections import Notice, check_settings, connect_bare
from ehg_migrate.database.faults import TAKES_NO_WRITES, ConnectError, is_lost
from ehg_migrate.database.flight import Flight, Sent
from ehg_migrate.database.leaving import RESET, let_go
from ehg_migrate.database.preparing import PREPARE_ALONE, RESET_AND_BEGIN, LockLost, Preparing, preparation
from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import layout, query, version_name
from ehg_migrate.model import Origin, Target

_BEGIN = tuple(statement.decode() for statement in RESET_AND_BEGIN)
_RESET = _BEGIN[: len(RESET)]
_HELD = ("id_length", "facts", "version_heads", "unfinished", "numbers")
_LONGEST_WAIT = 1.0  # seconds for a lock: with two connections it can be told who has it


class NeedsPair(Exception):
    """The target, or what is to be done on it, wants the two connections of a `Session`."""


class SingleSession(Session):
    """What `Session` is, on one connection, for a target that is all of its database. `fresh` says that it is expected
    to hold nothing of ours yet.

    Raises on entering: ConnectError where the server cannot be reached; NeedsPair in every other case but the usual:
    somebody else has a lock, a step is unfinished, a query fails.
    """

    def __init__(
        self,
        target: Target,
        password: str | None,
        run: str,
        origin: Origin,
        notice: Notice | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        limits = target.limits
        wait = min(limits.lock or _LONGEST_WAIT, _LONGEST_WAIT)
        super().__init__(replace(target, limits=replace(limits, lock=wait)), password, run, origin, notice)
        self._fresh = fresh
        self._unmade = False  # our tables were made in the transaction of the first step, which has not ended
        self._begun: str | None = None  # the number of the transaction that entering has begun for the first step
        self._left: tuple[str, ...] | None = None  # the version rows that came with the last commit

    def _enter(self) -> Self:
        self.lock = self.work = connect_bare(self.target, self._password, self._application)
        self.neighbours = None
        try:
            self._look()
        except psycopg.Error as e:
            lost = is_lost(self.work)
            self._close()
            raise (ConnectError(e) if lost else NeedsPair) from e
        except BaseException:
            self._close()
            raise
        return self

    def beside(self) -> AbstractContextManager[psycopg.Connection]:
        """The one connection, in no transaction; one that was begun for a step is ended, and our tables stay.

        They are made again where they went with the step: what is to be said of it stands in them.
        """
        if self._begun:
            self.work.commit()
        elif self.work.info.transaction_status is not TransactionStatus.IDLE:
            self.work.rollback()
        if self._unmade and not self._begun:
            self.work.execute(layout(self.target))
        self._begun, self._unmade = None, False
        return nullcontext(self.work)

    def heads(self) -> tuple[str, ...]:
        """As of a `Session`; none where our tables went with the step, and cannot be made again."""
        try:
            return super().heads()
        except TAKES_NO_WRITES:
            return ()

    # --- what it holds

    def _look(self) -> None:
        """What it holds, in the transaction of the first step."""
        begin = (*_BEGIN, PREPARE_ALONE)
        answers = self._ask(*begin, "layout") if self._fresh else self._ask(*begin, *_HELD)
        number, *found, ours = answers["prepare"][0]
        check_settings(found, self.target)
        if not ours:
            raise NeedsPair
        if self._fresh:
            self._lay_out(*answers["layout"][0])
            answers = self._ask(*_RESET, PREPARE_ALONE, *_HELD)  # event triggers may have set something
        facts = Facts.of(answers["facts"][0])
        refuse_home(facts.default_schema, self.target)
        # in any other mode what was read may be older than the locks
        if answers["unfinished"] or facts.isolation_level != "read committed":
            raise NeedsPair
        heads = tuple(row[0] for row in answers["version_heads"])
        self.found = Found(heads, frozenset(), id_length(answers), "", facts)
        self._begun = number
        numbers, last, behind = answers["numbers"][0]
        if behind:
            raise NeedsPair
        alone = {"key": self._key, "numbers": numbers, "last": last}
        self._preparing = Preparing(self.work, self.target, self._application, self._key + 1, alone)

    def _lay_out(self, journal: bool, version: bool, foreign: bool, elsewhere: str | None, lease: bool) -> None:
        if (foreign or elsewhere) and not version:
            raise NeedsPair
        if not (journal and version and lease):
            self.work.execute(layout(self.target))
            self._unmade = True

    def _ask(self, *names: str) -> dict[str, list[tuple[Any, ...]]]:
        values = {
            **preparation(self.target, self._application),
            "within": True,
            "step": True,
            "key": self._key,
            "work_key": self._key + 1,
            "numbers": None,
            "last": None,
            "version": version_name(self.target),
            "target": self.target.name,
        }
        return together(self.work, self.target, names, values)

    # --- the steps

    def prepare_work(self, *, untouched: bool = False) -> None:
        """As of a `Session`; NeedsPair where it is to be left untouched, or somebody else is or has been here."""
        self._left = None
        if untouched:
            raise NeedsPair
        self.transaction, self._begun = self._begun, None
        if self.transaction:
            return
        try:
            super().prepare_work()
        except (LockLost, InvalidSqlStatementName) as e:  # a step's function may have said DEALLOCATE ALL
            raise NeedsPair from e

    def do(self, send: Callable[[Flight], None], *, last: bool) -> None:
        """A whole step in one flight: what `send` puts into it, an entry with it, COMMIT, and what comes after.

        After the `last` one these are the version rows, else the next `prepare_work`. Raises psycopg.Error where the
        server has not said that it was committed.
        """
        commit: Sent | None = None
        try:
            with self._preparing.flight() as flight:
                send(flight)
                self._preparing.count_entry()
                commit = flight.send(b"COMMIT")
                behind = self._send_look(flight) if last else self._preparing.send(flight)
        except psycopg.Error as e:
            if commit is None or commit.status != "COMMIT":
                raise
            self._unmade = False
            self._preparing.hear(e)
            return
        self._unmade = False
        if last:
            self._left = tuple(row[0] for row in behind.rows)
        else:
            self._preparing.hear(behind.rows[0])

    def _send_look(self, flight: Flight) -> Sent:
        self._preparing.send_leave(flight)
        return flight.ask(query("version_heads", self.target), {})

    def leave(self) -> tuple[str, ...]:
        """The version rows at the very end, as they were read after the last commit. Raises psycopg.Error."""
        if self._left is None:
            rows = self.heads()
            let_go(self.work)
            return rows
        self.work.close()
        return self._left

    def _give_back(self, *asked: str) -> dict[str, list[tuple[Any, ...]]]:
        """Nothing: locks and settings ended with the last transaction, or end when the connection does."""
        return {}
