"""What Alembic does on a target, written into the target's journal while it does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationInfo
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

from ehg_migrate.database.faults import TAKES_NO_WRITES
from ehg_migrate.database.flight import Flight
from ehg_migrate.database.journal import Entry, Moment, Recorded
from ehg_migrate.database.leaving import Leave, TargetConnection
from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import UNDOES, Direction, Step


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal says of a revision besides its id."""

    branch: str
    checksum: str


class Recorder:
    """Journals every step of one session: `done` inside the step's transaction, `started` beside it where it leaves it.

    `atomic` tells of the current step whether everything it did is still in one transaction.
    """

    def __init__(
        self, session: Session, known: Callable[[str], Known], heads: tuple[str, ...], undoes: str | None = None
    ) -> None:
        self.session = session
        self.atomic = True
        self.invalid_before: tuple[str, ...] = ()
        self._known = known
        self._of_done = UNDOES + undoes if undoes else ""
        self._heads = heads
        self._step: tuple[str, Direction] | None = None
        self._last = True
        self._began = Moment.now()
        self._transaction: str | None = None  # the one that the step began in
        self._thrown_away = False  # the step has rolled back what it had done

    @property
    def current(self) -> tuple[str, Direction] | None:
        """The step that has begun and is not yet done."""
        return self._step

    def begin(self, revision: str, direction: Direction, *, last: bool = True) -> None:
        """The next step is this one, in the transaction that the session has just begun or left untouched.

        Unless it is the `last`, the next one's preparation is sent with its commit.
        """
        self._step = (revision, direction)
        self._last = last
        self._began = Moment.now()
        self._transaction = self.session.transaction
        self.session.work.on_first = None if self._transaction else self._number
        self._thrown_away = False
        self.atomic = True

    def _number(self) -> None:
        self.session.number_transaction()
        self._transaction = self.session.transaction

    def step_over(self) -> None:
        """The step before is committed, and no other has begun: what it did is no reason for doubt any more."""
        self._step = self._transaction = None
        self.atomic = True
        self.invalid_before = ()

    def watch(self, connection: Connection) -> None:
        """From now on it is noticed, before it happens, when a step leaves its transaction."""
        driver_connection(connection).on_leave = self._leaving

    def applied(
        self, ctx: MigrationContext, step: MigrationInfo, heads: Collection[str], run_args: Mapping[str, Any]
    ) -> None:
        """Alembic's `on_version_apply`: the version row is written and the transaction still open.

        Of a stamp `settle` tells, at its end: each of several rows that it writes is only a part of what it says.
        Raises TargetError where that must not be committed: the step threw its own work away, or moved version rows.
        """
        if step.is_stamp:
            return
        connection = driver_connection(ctx.connection)
        now = tuple(sorted(heads))
        direction = Direction.UP if step.is_upgrade else Direction.DOWN
        for revision in step.up_revision_ids:
            recorded = self.session.journal.record(
                connection,
                self._entry("done", revision, direction, now),
                transaction=self._transaction if self._step else None,
                rows=True,
            )
            self._check(revision, recorded, now)
            self._check_neighbours(revision)
        self._over(now)
        if not self._last:
            self.session.prepare_with_commit()

    def send_done(self, step: Step, flight: Flight) -> None:
        """The entry of a step that is sent as a whole; `sent_done` says that it was committed."""
        assert self._transaction is not None
        entry = self._entry("done", step.revision, step.direction, step.heads_after)
        self.session.journal.send(flight, entry, self._transaction)

    def sent_done(self, step: Step) -> None:
        """It was."""
        self._over(step.heads_after)

    def _over(self, heads: tuple[str, ...]) -> None:
        self._heads = heads
        self._step = None
        self._began = Moment.now()  # for stock commands, which do not announce the next step

    def _entry(
        self, event: str, revision: str, direction: Direction, heads_after: tuple[str, ...], detail: str = ""
    ) -> Entry:
        known = self._known(revision)
        return Entry(
            event,
            revision=revision,
            direction=direction,
            branch=known.branch,
            checksum=known.checksum,
            heads_before=self._heads,
            heads_after=heads_after,
            began=self._began,
            detail=self._of_done if event == "done" else detail,
        )

    def _check(self, revision: str, recorded: Recorded, heads: tuple[str, ...]) -> None:
        if self._thrown_away or recorded.transaction not in (None, "this", "committed"):
            raise TargetError(_thrown_away(revision))
        if set(recorded.rows) != set(heads):
            raise TargetError(_moved_rows(revision, recorded.rows, heads))

    def _check_neighbours(self, revision: str) -> None:
        """After what was sent ahead has been waited for."""
        neighbours = self.session.neighbours
        if neighbours:
            neighbours.refuse(f"revision `{revision}`")
            if changed := neighbours.changed_since(f"revision `{revision}`"):
                self.session.noticed.append(changed)

    def settle(
        self, heads: tuple[str, ...], changes: Iterable[tuple[str, Direction]], connection: TargetConnection
    ) -> None:
        """Journals what a stamp declares, in its transaction. Raises psycopg.Error; TargetError as the journal does."""
        for revision, direction in changes:
            self.session.journal.record(connection, self._entry("stamped", revision, direction, heads))
        self._heads = heads

    def failed(self, revision: str, direction: Direction, detail: str) -> None:
        """Writes the failure, where that can be, beside the transaction that was rolled back. Raises psycopg.Error.

        There the server says, too, whether it was: a step may have left it in a way that nobody could see.
        """
        self._step = None
        try:
            ended = self._beside("failed", revision, direction, detail).transaction
        except TAKES_NO_WRITES:  # which may be why it has failed
            ended = self.session.became(self._transaction)
        if ended not in (None, "aborted"):
            self._step = (revision, direction)
            self._left_transaction()
            self._step = None

    def _leaving(self, how: Leave) -> None:
        if self._step:
            if Leave.ROLLBACK in how and (Leave.COMMIT in how or self._has_written()):
                self._thrown_away = True
            if Leave.COMMIT in how:
                self._refuse_neighbours(self._step[0])
                self._left_transaction()

    def _refuse_neighbours(self, revision: str) -> None:
        """What is committed now cannot be taken back at the end."""
        neighbours = self.session.neighbours
        if neighbours and self.session.work.info.transaction_status is TransactionStatus.INTRANS:
            neighbours.refuse(f"revision `{revision}`", at_end=False)
        if neighbours:
            neighbours.remember()

    def _has_written(self) -> bool:
        """Whether the transaction that is now to be rolled back holds anything; SQLAlchemy ends empty ones so too."""
        if self.atomic or self.session.work.info.transaction_status is not TransactionStatus.INTRANS:
            return True
        row = self.session.work.execute(query("has_written")).fetchone()
        return row is None or bool(row[0])

    def _left_transaction(self) -> None:
        if self.atomic and self._step:
            self.atomic = False
            self.invalid_before = self.session.invalid_indexes()
            self._beside("started", *self._step, json.dumps({"invalid_indexes": self.invalid_before}))

    def _beside(self, kind: str, revision: str, direction: Direction, detail: str) -> Recorded:
        entry = self._entry(kind, revision, direction, self._heads, detail)
        with self.session.beside() as connection:
            return self.session.journal.record(connection, entry, transaction=self._transaction)


def driver_connection(connection: Connection | None) -> TargetConnection:
    """The driver's connection under SQLAlchemy's."""
    driver = connection.connection.driver_connection if connection is not None else None
    assert isinstance(driver, TargetConnection)
    return driver


def _thrown_away(revision: str) -> Problem:
    return Problem(
        "thrown_away",
        f"revision `{revision}` rolled back what it had done itself, so it does not count as applied",
        "take the ROLLBACK out; `with op.get_bind().begin_nested():` takes back a part of a step",
    )


def _moved_rows(revision: str, found: tuple[str, ...], wanted: tuple[str, ...]) -> Problem:
    return Problem(
        "moved_rows",
        f"revision `{revision}` changed the version table itself: it would hold {quoted(sorted(found))} instead of "
        f"{quoted(sorted(wanted))}",
        "take that out of the revision: the version rows of a step are written for it",
    )
