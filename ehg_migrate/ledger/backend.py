"""What SQLite and PostgreSQL have in common as keepers of the ledger: an engine, a name, and words for their errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from sqlalchemy import ColumnElement, Connection, Engine, func, literal
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger.schema import UtcTime
from ehg_migrate.redaction import safe


@dataclass(frozen=True, slots=True)
class Backend:
    """One database that keeps a ledger. `place` names it to people, without a password."""

    place: str
    engine: Engine
    explain: Callable[[BaseException], Problem]

    @property
    def is_postgres(self) -> bool:
        """Whether it is PostgreSQL rather than SQLite."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """A transaction on a connection of its own, committed at the end. Raises LedgerError for the database's errors.

        Safe from several threads and processes at once; a writer waits for another one.
        """
        try:
            with self.engine.execution_options(ehg_write=write).begin() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as e:
            original = e.orig if isinstance(e, DBAPIError) and e.orig is not None else e
            raise LedgerError(self.explain(original)) from e

    def clock(self) -> ColumnElement[datetime]:
        """Now, by the clock that all users of this ledger share: the server's; with a file, our own."""
        if self.is_postgres:
            return func.clock_timestamp(type_=UtcTime())
        return literal(datetime.now(UTC), UtcTime())


def first_line(error: BaseException) -> str:
    """What a driver said, in one line without secrets and control characters."""
    lines = safe(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
