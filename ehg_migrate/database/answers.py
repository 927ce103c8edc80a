"""What comes as an answer is looked at before the driver reads it: in the process of all looks a server must not harm.

The driver believes the counts that a binary array has in itself, and ends the process where they are not true; of one
as text it makes as many lists as there are braces. Of what type a column is, and in which form it comes, a server says.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from psycopg.pq import Format
from psycopg.pq.abc import PGresult
from psycopg.rows import BaseRowFactory, RowMaker, dict_row, tuple_row

from ehg_migrate.errors import Problem, TargetError

_TEXTS = 1009  # text[], the one array that is asked for
_TEXT = 25
_TIMES_AND_NUMBERS = {16, 18, 20, 21, 23, 26, 700, 701, 1082, 1114, 1184, 1186}
_WORDS = {17, 19, _TEXT, 114, 705, 1042, 1043, 3802}  # bytea, name, text, json, unknown, bpchar, varchar, jsonb
_LONGEST = 1_000_000  # bytes of anything else
_DEEPEST = 6  # dimensions of PostgreSQL's arrays


def dict_rows(cursor: Any) -> RowMaker[dict[str, Any]]:
    """psycopg's `dict_row`. Raises TargetError where an answer is none that a server of PostgreSQL gives us."""
    return _checked(cursor, dict_row)


def tuple_rows(cursor: Any) -> RowMaker[tuple[Any, ...]]:
    """psycopg's `tuple_row`, likewise."""
    return _checked(cursor, tuple_row)


def _checked(cursor: Any, factory: BaseRowFactory[Any]) -> RowMaker[Any]:
    if cursor.pgresult is not None and not _is_harmless(cursor.pgresult):
        from ehg_migrate.database.telling import NOT_AS_MADE  # seldom

        said = "the server's answer was not understood: a column is none of what was asked for"
        raise TargetError(Problem("strange_answer", said, f"is this PostgreSQL? If it is, {NOT_AS_MADE}"))
    return factory(cursor)


def _is_harmless(result: PGresult) -> bool:
    return all(_is_harmless_column(result, column) for column in range(result.nfields))


def _is_harmless_column(result: PGresult, column: int) -> bool:
    kind, binary = result.ftype(column), result.fformat(column) == Format.BINARY
    if kind in _WORDS or kind in _TIMES_AND_NUMBERS:
        return True
    cells = (result.get_value(row, column) or b"" for row in range(result.ntuples))
    if not binary:
        return all(len(cell) <= _LONGEST for cell in cells)
    return kind == _TEXTS and all(not cell or _is_array(cell) for cell in cells)


def _is_array(data: bytes) -> bool:
    """Whether it is as long as it says, and of texts."""
    if len(data) < 12:
        return False
    dimensions, _, element = struct.unpack_from("!iiI", data)
    if dimensions == 0:
        return len(data) == 12
    at = 12 + 8 * dimensions
    if element != _TEXT or not 0 < dimensions <= _DEEPEST or len(data) < at:
        return False
    sizes = struct.unpack_from("!" + "ii" * dimensions, data, 12)[::2]
    if min(sizes) < 1 or prod(sizes) > len(data) // 4:
        return False
    for _ in range(prod(sizes)):
        if len(data) < at + 4:
            return False
        (length,) = struct.unpack_from("!i", data, at)
        at += 4 + max(length, 0)
    return bool(at == len(data))
