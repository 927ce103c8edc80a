"""A target's connection: it tells before its transaction is ended, and does not go along into a forked process."""

from __future__ import annotations

import contextlib
import os
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from enum import Flag, auto
from typing import Any

import psycopg
from psycopg import generators, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow


class Leave(Flag):
    """How a transaction is ended before its time. Both where statements after a ROLLBACK may be kept."""

    COMMIT = auto()
    ROLLBACK = auto()


# the first also ends a SET ROLE; the second goes back to a role that ALTER ROLE has given the session
RESET = (b"RESET SESSION AUTHORIZATION", b"RESET ROLE", b"RESET ALL")
LEAVE = (*RESET, b"SELECT pg_advisory_unlock_all()", b"DEALLOCATE ALL")
"""What a step or we may have left in a session, and a pooler hand on: settings, locks, prepared statements."""


@contextmanager
def letting_go(connection: psycopg.Connection) -> Iterator[None]:
    """Closes the connection at the end of the block; at its beginning the server is told to let go of all it holds.

    That is every lock, setting and prepared statement. Raises nothing. A pooler may hand its connection to the server
    on as it is (pgbouncer with an empty `server_reset_query`): the lock would refuse every later run, and the
    application have our limits. One in a transaction is handed on by no pooler.
    """
    sent = not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE
    with closing(connection):
        if sent:
            with contextlib.suppress(psycopg.Error):  # where it is lost, the server ends with it
                # past the driver's cursors, which would begin a transaction that others hear of, and wait
                connection.pgconn.send_query(b"; ".join(LEAVE))
        yield
        if sent:
            with contextlib.suppress(psycopg.Error):
                # a pooler that is left before it has the answer may keep what it has not seen the end of
                connection.wait(generators.execute(connection.pgconn))


def let_go(connection: psycopg.Connection) -> None:
    """The same at once."""
    with letting_go(connection):
        pass


class TargetConnection(psycopg.Connection[TupleRow]):
    """`on_leave` hears of every end of a transaction before it comes, whoever brings it about: a method of the driver,
    or a statement. Not told: what is sent past the driver's cursors, and what the server ends by itself. `on_first`
    hears once that the first statement is to be sent that does not only say how its transaction is to be.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.on_leave: Callable[[Leave], None] | None = None
        self.on_first: Callable[[], None] | None = None
        self.commit_by: Callable[[], None] | None = None  # how the next commit is sent, for what goes along with it
        self.cursor_factory = TargetCursor
        _open.add(self)

    def commit(self) -> None:
        """As the driver does it, or as `commit_by` does."""
        self._tell_first()
        self._tell(Leave.COMMIT)
        by, self.commit_by = self.commit_by, None
        if by and self.info.transaction_status is TransactionStatus.INTRANS:
            by()
        else:
            super().commit()

    def rollback(self) -> None:
        """As the driver does it."""
        self._tell(Leave.ROLLBACK)
        self.commit_by = None
        super().rollback()

    def hear(self, statement: object) -> None:
        """A statement is about to be sent."""
        if self.autocommit or not (self.on_leave or self.on_first):
            return
        text = text_of(statement, self)
        if not _SETS_TRANSACTION.match(text):
            self._tell_first()
        if self.on_leave and (how := leaves(text)):
            self.on_leave(how)

    def _tell_first(self) -> None:
        if self.on_first and not self.autocommit:
            on_first, self.on_first = self.on_first, None
            on_first()

    def _tell(self, how: Leave) -> None:
        if self.on_leave and not self.autocommit and self.info.transaction_status is not TransactionStatus.IDLE:
            self.on_leave(how)


class TargetCursor(psycopg.Cursor[TupleRow]):
    """Its connection hears of every statement before it is sent."""

    def execute(self, query: Any, *arguments: Any, **more: Any) -> Any:
        connection = self.connection
        assert isinstance(connection, TargetConnection)
        connection.hear(query)
        return super().execute(query, *arguments, **more)


_SETS_TRANSACTION = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*SET\s+(?:(?:SESSION|LOCAL)\s+)?TRANSACTION", re.IGNORECASE | re.DOTALL
)
_CONTROL = r"(?P<commit>COMMIT|END|PREPARE\s+TRANSACTION)\b|(?P<rollback>ROLLBACK|ABORT)\b(?!(?:\s+\w+)?\s+TO\b)"
_ANYWHERE = re.compile(_CONTROL, re.IGNORECASE)
_FIRST = re.compile(rf"\s*(?:{_CONTROL})", re.IGNORECASE)
_MORE = re.compile(r";|\$[0-9]")
_BODY = re.compile(r"\bBEGIN\s+ATOMIC\b", re.IGNORECASE)  # of a function in standard SQL; an END comes with it
# a name, and so a tag, may have any character that is not ASCII in it
_QUOTED = re.compile(
    r"""--[^\n\r]* | /\*.*?\*/ | \bE'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" |
        (?<![\w$\x80-\U0010ffff])\$((?![0-9])[\w\x80-\U0010ffff]*)\$.*?\$\1\$""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)


def leaves(text: str) -> Leave:
    """How a text of SQL statements ends the transaction that it is sent in; empty (false) where it does not."""
    found = Leave(0)
    if not _ANYWHERE.search(text):
        return found
    statements = [s for s in _QUOTED.sub(lambda m: " " if m[0][0] in "-/" else "x", text).split(";") if s.strip()]
    body = False
    for statement in statements:
        control = _FIRST.match(statement)
        if control and not body:
            found |= Leave.COMMIT if control["commit"] else Leave.ROLLBACK
        body = bool(_BODY.search(statement)) or (body and not control)
    return found | Leave.COMMIT if found and len(statements) > 1 else found


def is_one(text: str) -> bool:
    """Whether a text is one statement for certain, and has no parameter: a semicolon stands at its end, and others as
    well as `$1` in quotes only.
    """
    if not _MORE.search(text.rstrip().removesuffix(";")):
        return True
    if "/*" in text or "\\" in text:  # comments in comments, and escapes that a setting decides about
        return False
    bare = _QUOTED.sub(lambda m: " " if m[0][0] == "-" else "x", text)
    return not _MORE.search(bare.rstrip().removesuffix(";"))


def text_of(statement: object, connection: psycopg.Connection) -> str:
    """A statement as SQL, whatever way the driver was given it."""
    if isinstance(statement, sql.Composable):
        return statement.as_string(connection)
    return statement.decode("latin-1") if isinstance(statement, bytes) else str(statement)


# --- forked processes

_open: weakref.WeakSet[TargetConnection] = weakref.WeakSet()


def _cut_off() -> None:
    """In a forked process: every connection's descriptor leads nowhere.

    With the descriptor such a process would have the session: it could write into the other's transaction, and its
    locks would stay for as long as it lives. The number stays taken, or the driver could write into what takes it next.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for connection in list(_open):
        with contextlib.suppress(psycopg.Error, OSError):  # closed already
            os.dup2(nowhere, connection.fileno(), inheritable=False)
    os.close(nowhere)


os.register_at_fork(after_in_child=_cut_off)
