"""What Alembic does on a target, written into the target's journal while it does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from alembic.runtime.migration import MigrationContext, MigrationInfo
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, event

from ehg_migrate.database.session import Session
from ehg_migrate.model import Direction


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal says of a revision besides its id."""

    branch: str
    checksum: str


Between = Callable[[tuple[str, ...], tuple[str, ...]], Iterable[tuple[str, Direction]]]
"""Which revisions come and go where version rows change without being run: a stamp."""


class Recorder:
    """Journals every step of one session: `done` inside the step's transaction, `started` beside it where it leaves it.

    `atomic` tells of the current step whether everything it did is still in one transaction.
    """

    def __init__(
        self, session: Session, known: Callable[[str], Known], heads: tuple[str, ...], between: Between | None = None
    ) -> None:
        self.session = session
        self.atomic = True
        self.invalid_before: tuple[str, ...] = ()
        self._known = known
        self._between = between
        self._heads = heads
        self._step: tuple[str, Direction] | None = None
        self._started = datetime.now(UTC)

    @property
    def current(self) -> tuple[str, Direction] | None:
        """The step that has begun and is not yet done."""
        return self._step

    def begin(self, revision: str, direction: Direction) -> None:
        """The next step is this one."""
        self._step = (revision, direction)
        self._started = datetime.now(UTC)
        self.atomic = True

    def step_over(self) -> None:
        """The step before is committed, and no other has begun: what it did is no reason for doubt any more."""
        self._step = None
        self.atomic = True
        self.invalid_before = ()

    def watch(self, context: MigrationContext, connection: Connection) -> None:
        """From now on it is noticed when a step of this context leaves its transaction."""
        original = context.autocommit_block

        @contextmanager
        def autocommit_block() -> Iterator[None]:
            self._left_transaction()
            inner: AbstractContextManager[None] = original()
            with inner:
                yield

        context.autocommit_block = autocommit_block  # type: ignore[method-assign]  # there is no hook for this
        event.listen(connection, "after_cursor_execute", self._after_statement)
        # after the version row is written no step is open, so the commit of a whole step is not meant
        event.listen(connection, "commit", lambda _: self._left_transaction())

    def applied(
        self, ctx: MigrationContext, step: MigrationInfo, heads: Collection[str], run_args: Mapping[str, Any]
    ) -> None:
        """Alembic's `on_version_apply`: the version row is written and the transaction still open."""
        connection = driver_connection(ctx.connection)
        now = tuple(sorted(heads))
        for revision, direction in self._changes(step, now):
            known = self._known(revision)
            self.session.journal.record(
                connection,
                "stamped" if step.is_stamp else "done",
                revision=revision,
                direction=direction,
                branch=known.branch,
                checksum=known.checksum,
                heads_before=self._heads,
                heads_after=now,
                started_at=self._started,
            )
        self._heads = now
        self._step = None
        self._started = datetime.now(UTC)  # for stock commands, which do not announce the next step

    def _changes(self, step: MigrationInfo, now: tuple[str, ...]) -> Iterable[tuple[str, Direction]]:
        if step.is_stamp and self._between:
            return self._between(self._heads, now)
        return [(r, Direction.UP if step.is_upgrade else Direction.DOWN) for r in step.up_revision_ids]

    def settle(self, heads: tuple[str, ...]) -> None:
        """Journals what changed the version rows unheard, as `stamp --purge` does. Raises psycopg.Error."""
        if self._between and set(heads) != set(self._heads):
            for revision, direction in self._between(self._heads, heads):
                self._beside("stamped", revision, direction, "", heads)
            self._heads = heads

    def failed(self, revision: str, direction: Direction, detail: str) -> None:
        """Writes the failure beside the transaction that was rolled back. Raises psycopg.Error."""
        self._step = None  # another recorder may watch this connection from now on
        self._beside("failed", revision, direction, detail)

    def _left_transaction(self) -> None:
        if self.atomic and self._step:
            self.atomic = False
            self.invalid_before = self.session.invalid_indexes()
            self._beside("started", *self._step, json.dumps({"invalid_indexes": self.invalid_before}))

    def _beside(
        self, kind: str, revision: str, direction: Direction, detail: str, after: tuple[str, ...] | None = None
    ) -> None:
        known = self._known(revision)
        self.session.journal.record(
            self.session.lock,
            kind,
            revision=revision,
            direction=direction,
            branch=known.branch,
            checksum=known.checksum,
            heads_before=self._heads,
            heads_after=self._heads if after is None else after,
            started_at=self._started,
            detail=detail,
        )

    def _after_statement(self, connection: Connection, cursor: Any, *_: object) -> None:
        """A revision that says COMMIT by itself leaves the driver idle where a transaction should be open."""
        driver = driver_connection(connection)
        if not driver.autocommit and driver.info.transaction_status is TransactionStatus.IDLE:
            self._left_transaction()


def driver_connection(connection: Connection | None) -> psycopg.Connection:
    """The psycopg connection under SQLAlchemy's."""
    driver = connection.connection.driver_connection if connection is not None else None
    assert isinstance(driver, psycopg.Connection)
    return driver
