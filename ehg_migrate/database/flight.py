"""Statements put on the wire as one and answered one behind the other: all of them together cost one wait.

The driver's pipeline sends each of them by itself as soon as it is executed, and makes a cursor for it: for the few
statements around a short step that took the client three times as long, and woke the server for each.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import generators
from psycopg.abc import PQGen, Query
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg.sql import Composable


class Sent:
    """One statement. What became of it is known when its flight is over."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._result: PGresult | None = None

    def hear(self, result: PGresult) -> None:
        """It was done."""
        self._result = result

    @property
    def status(self) -> str | None:
        """What the server says that it has done (`COMMIT`); None where it did not."""
        return (self._result.command_status or b"").decode() if self._result else None

    @property
    def rows(self) -> list[TupleRow]:
        """What came back. Raises psycopg.Error and UnicodeError for what is no answer."""
        if not self._result or not self._result.ntuples:
            return []
        reader = Transformer(self._connection)
        reader.set_pgresult(self._result)
        return reader.load_rows(0, self._result.ntuples, tuple)


class Kept:
    """What one connection is asked again and again: prepared on the server when it is asked for the second time.

    Not at the first, since most is asked only once. After a DEALLOCATE ALL, whoever says that, asking fails
    (InvalidSqlStatementName).
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._numbers = count(1)
        self._token = token_hex(4)  # a pooler may give us a session in which another's are left

    def name(self, text: str, types: tuple[int, ...]) -> tuple[bytes, bool]:
        """Its name, and whether it is to be made now; an empty one where it has none yet."""
        if (name := self._names.get((text, types))) is None:
            self._names[text, types] = b""
            return b"", False
        if name:
            return name, False
        name = self._names[text, types] = f"ehg_migrate_{self._token}_{next(self._numbers)}".encode()
        return name, True

    def forget(self) -> None:
        """Some may not have been made."""
        self._names.clear()


class Flight:
    """Use as a context manager; leaving it waits for all answers.

    Raises then the psycopg.Error of the first statement that failed, behind which the server has done none, or of the
    connection. They are sent past the driver's cursors, which would begin a transaction before them.
    """

    def __init__(self, connection: psycopg.Connection[Any], kept: Kept | None = None) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._kept = kept
        self._sent: list[Sent] = []

    def __enter__(self) -> Self:
        self._pgconn.enter_pipeline_mode()
        return self

    def send(self, text: bytes) -> Sent:
        """One statement, as it is."""
        self._pgconn.send_query_params(text, None)
        return self._new()

    def ask(self, query: Composable, values: Mapping[str, Any]) -> Sent:
        """One statement whose parameters are `%(name)s`."""
        text, names = _numbered(query.as_string(self._connection))
        writer = Transformer(self._connection)
        given = writer.dump_sequence([values[name] for name in names], [PyFormat.TEXT] * len(names))
        encoded, types = text.encode(self._connection.info.encoding), writer.types or ()
        name, new = self._kept.name(text, types) if self._kept else (b"", False)
        if new:
            self._pgconn.send_prepare(name, encoded, types)
            self._new()
        if name:
            self._pgconn.send_query_prepared(name, given)
        else:
            self._pgconn.send_query_params(encoded, given, types)
        return self._new()

    def _new(self) -> Sent:
        self._sent.append(Sent(self._connection))
        return self._sent[-1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            failed = self._connection.wait(self._answers())
        finally:
            if self._pgconn.status != ConnStatus.BAD:
                self._pgconn.exit_pipeline_mode()
        if self._kept and failed:
            self._kept.forget()
        if failed is not None and error is None:
            raise failed

    def _answers(self) -> PQGen[psycopg.Error | None]:
        """Hears all answers; the first that is an error."""
        failed: psycopg.Error | None = None
        answers = deque((yield from generators.pipeline_communicate(self._pgconn, deque([self._pgconn.pipeline_sync]))))
        for sent in self._sent:
            found = answers.popleft() if answers else (yield from generators.fetch_many(self._pgconn))
            if not found:  # the connection has ended, and mostly the answer before said why
                return failed or psycopg.OperationalError("the connection was lost")
            if found[0].status == ExecStatus.FATAL_ERROR:
                failed = failed or error_from_result(found[0], encoding=self._connection.info.encoding)
            elif found[0].status != ExecStatus.PIPELINE_ABORTED:
                sent.hear(found[0])
        if not answers:
            yield from generators.fetch_many(self._pgconn)  # the answer to the Sync
        return failed


@lru_cache(maxsize=64)
def _numbered(query: str) -> tuple[str, tuple[str, ...]]:
    """As the server takes it, `$1` for a parameter, and their names in order."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${numbers.setdefault(found[1], len(numbers) + 1)}" if found[1] else "%"

    return _PARAMETER.sub(number, query), tuple(numbers)


_PARAMETER = re.compile(r"%(?:\((\w+)\)s|%)")


def text_with(connection: psycopg.Connection[Any], query: Query, *values: Any) -> bytes:
    """The text that says what the driver's `execute` would with these arguments, with the values in it."""
    return psycopg.ClientCursor(connection).mogrify(query, *values).encode(connection.info.encoding)
