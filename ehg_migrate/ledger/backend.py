"""What SQLite and PostgreSQL have in common as keepers of the ledger: named statements, transactions, their errors."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import psycopg

from ehg_migrate.database.statements import named_parts
from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.model import Status
from ehg_migrate.redaction import one_line

UNREAD = (Status.FAILED, Status.REFUSED, Status.SKIPPED, Status.NOT_ATTEMPTED)
"""With one of these, and with no heads and no steps, it may be that nobody has read the target."""
_UNREAD = (
    f"(status IN {tuple(s.value for s in UNREAD)} AND cast(heads_before AS text) = '[]'"
    " AND cast(heads_after AS text) = '[]' AND cast(steps AS text) = '[]')"
)

Row = Mapping[str, Any]
"""One row by column: JSON as Python values, moments as aware datetimes."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one of the two databases says what they do not say alike."""

    words: Mapping[str, str]  # what stands in braces in the files of SQL
    parameter: str  # how `:name` is written, with `\1` for the name
    write: Callable[[Any], Any]  # a value as the driver takes it
    read: Callable[[str, Any], Any]  # what the driver gives for a column as a value

    def statement(self, name: str) -> str:
        """The one of this name in `queries.sql`."""
        return re.sub(r":(\w+)", self.parameter, _queries()[name].format(**self.words, unread=_UNREAD))


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open one; `driver` is the connection of the database's own driver."""

    driver: Any
    dialect: Dialect

    def execute(self, name: str, **values: object) -> list[Row]:
        """Executes a named statement; its rows, if it gives any."""
        given = {key: self.dialect.write(value) for key, value in (values | {"now": datetime.now(UTC)}).items()}
        cursor = self.driver.execute(self.dialect.statement(name), given)
        columns = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchall() if columns else []
        return [{c: self.dialect.read(c, v) for c, v in zip(columns, row, strict=True)} for row in rows]


@dataclass(frozen=True, slots=True)
class Backend:
    """One database that keeps a ledger. `place` names it to people, without a password."""

    place: str
    dialect: Dialect
    begin: Callable[[bool, bool], AbstractContextManager[Any]]  # a driver's connection in one; to write? is it long?
    explain: Callable[[BaseException], Problem]
    before_migrating: tuple[str, ...] = ()  # statements of its own, in the transaction that migrates
    after_migrating: tuple[str, ...] = ()

    @contextmanager
    def transaction(self, *, write: bool, long: bool = False) -> Iterator[Transaction]:
        """A transaction on a connection of its own, committed at the end. Raises LedgerError for the database's errors.

        Safe from several threads and processes at once; a writer waits for another one. A `long` one goes through all
        that the ledger has, which may be years.
        """
        try:
            with self.begin(write, long) as driver:
                yield Transaction(driver, self.dialect)
        # a host `a..b`, which nobody can look up; JSON in JSON in JSON, ten thousand times
        except (sqlite3.Error, psycopg.Error, UnicodeError, RecursionError) as e:
            raise LedgerError(self.explain(e)) from e


def first_line(error: BaseException) -> str:
    """What a driver said, in one line without secrets and control characters."""
    lines = str(error).strip().splitlines()
    return one_line(lines[0]) if lines else type(error).__name__


@cache
def _queries() -> dict[str, str]:
    text = resources.files(__package__).joinpath("queries.sql").read_text(encoding="utf-8")
    return {name: without_comments(body) for name, body in named_parts(text).items()}


def without_comments(script: str) -> str:
    """SQL without what stands behind `--`; no text of ours holds two dashes."""
    return "\n".join(line.partition("--")[0].rstrip() for line in script.splitlines()).strip()
