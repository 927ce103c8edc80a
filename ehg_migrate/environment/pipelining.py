"""The statements of a plain step sent without waiting for each, where nobody could tell the difference.

A statement of a revision is sent ahead if it is one statement, of a kind whose answer nobody needs, in a transaction,
from a function that is a plain list of operations, by nobody but Alembic and SQLAlchemy. Whatever else is sent, all
answers are waited for first. The version row and the journal entry of the step go with the statements; the COMMIT
never does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

import psycopg
from alembic import context
from psycopg.pq import TransactionStatus

from ehg_migrate.database.flight import text_with
from ehg_migrate.database.leaving import TargetConnection, TargetCursor, is_one, text_of
from ehg_migrate.environment import replaying
from ehg_migrate.environment.naming import Memo, named_in
from ehg_migrate.environment.replaying import Statement
from ehg_migrate.revisions.plain import is_plain

# Not UPDATE and DELETE: they may have been at work for long when they come to a row that somebody has locked. On one
# connection they are not let wait for that (single.py), and all of it would be done twice.
_SILENT = re.compile(r"\s*(?:CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|INSERT)\b", re.IGNORECASE)
# SQLAlchemy takes the rows of an INSERT that it has made itself
_ANSWERS = re.compile(r"\s*INSERT\b.*\bRETURNING\b", re.IGNORECASE | re.DOTALL)
_LONGEST = 100_000  # characters; longer ones are data, and not to be kept for other targets
# what it keeps is the session's, and a session of one connection waits for locks in another way (single.py)
_KEEPS_SETTINGS = re.compile(r"\bFROM\s+CURRENT\b|current_setting|pg_settings", re.IGNORECASE)
# what it makes is the session's, and where a session of one connection cannot go on, another one does
_OF_SESSION = re.compile(r"\bTEMP(?:ORARY)?\b|\bpg_temp", re.IGNORECASE)
_ROW_CHANGE = re.compile(r"\s*(?:UPDATE|DELETE)\b", re.IGNORECASE)
_OUR_INSERT = re.compile(r"\s*INSERT\b", re.IGNORECASE)
_LIBRARIES = frozenset({"alembic", "contextlib", "ehg_migrate", "psycopg", "sqlalchemy"})
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.ACTIVE)


class NotAsAssumed(Exception):
    """A version row was not as Alembic would have found it, or what was sent was not as it would have sent it: the step
    is to be run again, and waited for.
    """


class FailedAhead(Exception):
    """A statement that was sent ahead failed. Not an error of the driver's, or SQLAlchemy would wrap it into one that
    names whatever was sent last; `error` is, with the revision's line.
    """

    def __init__(self, error: psycopg.Error) -> None:
        self.error = error
        super().__init__(str(error))


@dataclass(frozen=True, slots=True)
class _Sent:
    cursor: psycopg.Cursor[Any]
    place: TracebackType | Statement | None  # where it comes from, if that is the revision
    path: Path | None  # the revision's file

    @property
    def trace(self) -> TracebackType | None:
        if isinstance(self.place, Statement):
            return self.place.place(self.path) if self.path else None
        return self.place


class Ahead:
    """Sends ahead on one connection, one step after the other; `around` is what `replaying.surroundings` gave."""

    def __init__(self, driver: TargetConnection, around: Hashable = None) -> None:
        self._driver = driver
        self._around = around
        self._plainly = driver.cursor_factory
        self._pipeline = ExitStack()
        self._sent: list[_Sent] = []
        self._error: psycopg.Error | None = None
        self._encoding = ""  # of what was sent
        self._function: CodeType | None = None  # of the revision, while it runs
        self._path: Path | None = None  # of the revision that has run last
        self._again: Statement | None = None  # the one that is sent, where the function need not run
        self._made: list[Statement] | None = None  # what the function has sent so far, if all of it was sent ahead

    def running(self, function: Callable[..., None], path: Path) -> Callable[..., None]:
        """A revision's function, to be run with its statements sent ahead; as it was, if it is not plain."""
        source = path.read_bytes()
        if not (isinstance(function, FunctionType) and is_plain(source, function.__name__)):
            return function  # it may be anything that can be called
        key = replaying.key(source, function.__name__, self._around)

        @wraps(function)
        def run(**arguments: Any) -> None:
            self._driver.cursor_factory = partial(_Cursor, self)  # type: ignore[assignment]  # called as a class is
            self._function, self._path = function.__code__, path
            try:
                self._send(function, arguments, key)
            except BaseException:
                self.wait()  # what the server said of an earlier line comes first
                raise
            self._function = self._again = None

        return run

    def _send(self, function: Callable[..., None], arguments: dict[str, Any], key: replaying.Key | None) -> None:
        """What the function would send, if that is known; else it is run, and what it sends is kept for the next."""
        impl = context.get_context().impl
        before = named_in(impl.memo)
        if found := replaying.found(key, before):
            for self._again in found.statements:
                self._driver.cursor().execute(self._again.text)
            impl.memo = Memo(found.named)  # type: ignore[assignment]  # used as the dictionary that it was
            return
        impl.memo = memo = Memo(before)  # type: ignore[assignment]
        self._made = [] if key else None
        function(**arguments)
        if key and self._made is not None:
            replaying.keep(key, self._made, before, memo)
        self._made = None

    def end(self) -> None:
        """From now on every statement is waited for."""
        self._driver.cursor_factory = self._plainly

    def execute(self, cursor: _Cursor, query: Any, arguments: tuple[Any, ...], more: dict[str, Any]) -> None:
        """Sends this statement ahead, or waits for all answers and its own. Raises what stopped an earlier one."""
        text = text_of(query, self._driver)
        execute = partial(cursor.send, query, *arguments, **more)
        place = self._place(text)
        if self._made is not None:
            self._note(place, query, arguments)
        if place is None and not self._is_ours(text):
            self.wait()
            execute()
            return
        if not self._sent:
            self._encoding = self._driver.info.encoding
            self._pipeline.enter_context(self._driver.pipeline())
        self._sent.append(_Sent(cursor, place, self._path))
        try:
            execute()
        except psycopg.Error as e:  # an earlier one's; whose is found below
            self._error = self._error or e
            self.wait()
        if place is None and _OUR_INSERT.match(text):
            self.wait()

    def _note(self, place: Any, query: Any, arguments: tuple[Any, ...]) -> None:
        if place is None or self._function is None or self._made is None or any(arguments):
            self._made = None  # its answer may have decided what came next; values may be sent as the target has them
        else:
            self._made.append(Statement(text_with(self._driver, query, *arguments), place.tb_lineno))

    def is_waited_for(self, cursor: _Cursor) -> bool:
        """Whether its answer is still to come, and is taken for one row."""
        return self._function is None and any(s.cursor is cursor for s in self._sent)

    def wait(self) -> None:
        """Until everything that was sent ahead is answered."""
        sent, self._sent = self._sent, []
        error, self._error = self._error, None
        try:
            self._pipeline.close()
        except psycopg.Error as e:
            error = error or e
        if error:
            failed = next((s for s in sent if s.cursor.statusmessage is None), None)
            raise FailedAhead(error.with_traceback(failed.trace if failed else None))
        if sent and self._driver.info.encoding != self._encoding:
            raise NotAsAssumed  # a function has set another, in which what came behind it was to be sent
        for s in sent:
            if s.place is None and s.cursor.rowcount != 1:
                raise NotAsAssumed

    def _is_ours(self, text: str) -> bool:
        """The version row and the journal's entry, which come when the revision's function is over."""
        return self._function is None and bool(_ROW_CHANGE.match(text) or _OUR_INSERT.match(text))

    def _place(self, text: str) -> TracebackType | Statement | None:
        """Which line of the revision sends this; None if it must be waited for."""
        if self._function is None or not is_silent(text):
            return None
        if self._driver.autocommit or self._driver.info.transaction_status not in _OPEN:
            return None
        return self._again or line_in(self._function, sys._getframe(3))


def line_in(function: CodeType, frame: FrameType | None) -> TracebackType | None:
    """The line of this function that has called `frame`; None where anybody is in between but the libraries."""
    while frame is not None and frame.f_code is not function:
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in _LIBRARIES:
            return None  # somebody's hook, which may want to know how it went
        frame = frame.f_back
    return TracebackType(None, frame, frame.f_lasti, frame.f_lineno) if frame else None


def is_silent(text: str) -> bool:
    """Whether it is one statement whose answer nobody waits for, and has to do with nothing of its session."""
    if len(text) > _LONGEST or not _SILENT.match(text) or _ANSWERS.match(text):
        return False
    return not (_KEEPS_SETTINGS.search(text) or _OF_SESSION.search(text)) and is_one(text)


class _Cursor(TargetCursor):
    def __init__(self, ahead: Ahead, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._ahead = ahead

    def execute(self, query: Any, *arguments: Any, **more: Any) -> Any:
        self._ahead.execute(self, query, arguments, more)
        return self

    def send(self, query: Any, *arguments: Any, **more: Any) -> None:
        """As any other cursor executes it."""
        super().execute(query, *arguments, **more)

    @property
    def rowcount(self) -> int:
        return 1 if self._ahead.is_waited_for(self) else super().rowcount
