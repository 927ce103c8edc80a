"""The catalogue of a database, read in one message; its fingerprint made on the server. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.database.answers import tuple_rows
from ehg_migrate.schema.facts import NOTES, Catalog, Fact
from ehg_migrate.schema.scope import Scope

_PARTS = ("relations", "rules", "routines", "types", "operators", "searching", "whole")
"""Files of `sql/` with the branches of the query, each named `-- name: KIND`, `-- name: KIND since 15`, ..."""


_SCRATCH = 900.0  # seconds that a reading may take where no target is asked, which has its own limit


def read_catalog(connection: psycopg.Connection[Any], scope: Scope) -> Catalog:
    """All facts in scope. One round trip in autocommit; inside an open transaction its own view is read, unchanged.

    Needs no privilege. Raises psycopg.Error: `LockNotAvailable` where a view's table is locked for five seconds.
    """
    return _catalog(_rows(connection, "facts", scope), connection)


def read_fingerprint(connection: psycopg.Connection[Any], scope: Scope) -> str:
    """`Catalog.fingerprint` of what `read_catalog` would read, made on the server: 64 bytes come back."""
    return str(_rows(connection, "fingerprint", scope)[0][0])


def read_token(connection: psycopg.Connection[Any]) -> str:
    """64 hexadecimal digits that are others after every change of what any fingerprint of this database is made of."""
    return str(_rows(connection, "token", Scope())[0][0])


async def read_catalog_async(connection: psycopg.AsyncConnection[Any], scope: Scope, longest: float) -> Catalog:
    """`read_catalog` for many targets at once, in `database.asking.ask_all`, of which `longest` is `limits.look`."""
    return _catalog(await _rows_async(connection, "facts", scope, longest), connection)


async def read_fingerprint_async(connection: psycopg.AsyncConnection[Any], scope: Scope, longest: float) -> str:
    """`read_fingerprint`, likewise."""
    return str((await _rows_async(connection, "fingerprint", scope, longest))[0][0])


def message(
    answers: Sequence[str],
    connection: psycopg.BaseConnection[Any],
    scope: Scope,
    longest: float = _SCRATCH,
    *,
    behind: bool = False,
) -> sql.Composed:
    """The whole text of several statements that is sent at once; answers are `facts`, `fingerprint`, `token`.

    Each may take `longest` seconds, 0 being no limit. It may be put `behind` other questions in a message. Outside a
    transaction it is one of its own, so it passes a transaction pooler too.
    """
    major = connection.info.server_version // 10000
    names = _frame(major)
    first = "go on" if behind else "begin"
    before, after = (first, "commit") if _idle(connection) else ("savepoint", "release")
    settings = [names[name] for name in ("settings", "limits") if name in names]
    text = ";\n".join([names[before], *settings, *(_query(major, answer) for answer in answers), names[after]])
    return sql.SQL(text).format(longest=sql.Literal(f"{longest * 1000:.0f}ms"), **_literals(scope))


def _rows(connection: psycopg.Connection[Any], answer: str, scope: Scope) -> list[tuple[Any, ...]]:
    ours = _idle(connection)
    with connection.cursor(row_factory=tuple_rows) as cursor:
        try:
            cursor.execute(message((answer,), connection, scope), prepare=False)
        except psycopg.Error:
            if ours and not connection.closed:
                connection.rollback()
            raise
        _to_answer(cursor)
        return cursor.fetchall()


async def _rows_async(
    connection: psycopg.AsyncConnection[Any], answer: str, scope: Scope, longest: float
) -> list[tuple[Any, ...]]:
    ours = _idle(connection)
    async with connection.cursor(row_factory=tuple_rows) as cursor:
        try:
            await cursor.execute(message((answer,), connection, scope, longest), prepare=False)
        except psycopg.Error:
            if ours and not connection.closed:
                await connection.rollback()
            raise
        _to_answer(cursor)
        return await cursor.fetchall()


def _idle(connection: psycopg.BaseConnection[Any]) -> bool:
    """Whether the message is a transaction of its own. Without autocommit psycopg begins one before it."""
    return connection.autocommit and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@cache
def _frame(major: int) -> dict[str, str]:
    return {branch.name: branch.text for branch in _branches("catalog", major)}


@cache
def _query(major: int, answer: str) -> str:
    """The query for a server of this major version: its base, a branch for each kind of facts, its answer."""
    if answer == "token":
        return _token(major)
    frame = _frame(major)
    left_out = NOTES if answer == "fingerprint" else ()
    branches = [b.text for part in _PARTS for b in _branches(part, major) if b.name not in left_out]
    base = frame["base"].replace("-- queries", frame["queries"])
    return base.replace("-- branches", "\n\nUNION ALL\n\n".join(branches)) + "\n" + frame[answer]


def _token(major: int) -> str:
    token, *versions = _branches("token", major)
    return token.text.replace("-- versions", "\nUNION ALL\n".join(v.text for v in versions))


@dataclass(frozen=True, slots=True)
class _Branch:
    """A named piece of SQL."""

    name: str
    text: str


_NAME = re.compile(r"^-- name: (?P<name>[a-z_ ]+?)(?: since (?P<first>\d+))?(?: until (?P<last>\d+))?\n", re.MULTILINE)


def _branches(part: str, major: int) -> Iterable[_Branch]:
    text = resources.files(__package__).joinpath("sql", f"{part}.sql").read_text(encoding="utf-8")
    found = list(_NAME.finditer(text))
    ends = [m.start() for m in found[1:]] + [len(text)]
    for match, end in zip(found, ends, strict=True):
        first, last = int(match["first"] or 0), int(match["last"] or 9999)
        if first <= major <= last:
            yield _Branch(match["name"], text[match.end() : end].strip())


def _literals(scope: Scope) -> dict[str, sql.Composable]:
    lists = {
        "only": scope.only,
        "without_schemas": scope.without_schemas,
        "without_roles": scope.without_roles,
        "without_extensions": scope.without_extensions,
        "without_publications": scope.without_publications,
        "without_tables": scope.without_tables,
        "watched": scope.watched,
    }
    switches = {
        "whole": not scope.only,
        "owners": scope.owners,
        "migrator": scope.migrator,
        "extension_versions": scope.extension_versions,
    }
    return {
        **{name: sql.Literal(list(values)) + sql.SQL("::text[]") for name, values in lists.items()},
        **{name: sql.SQL("true" if value else "false") for name, value in switches.items()},
        "alias": sql.Literal(scope.only[0] if scope.alias else "") + sql.SQL("::text"),
    }


def _to_answer(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """To the one result that has rows; the others are those of BEGIN, SET and COMMIT."""
    while cursor.description is None and cursor.nextset():
        pass


def _catalog(rows: Iterable[tuple[str, str, dict[str, Any]]], connection: psycopg.BaseConnection[Any]) -> Catalog:
    version = connection.info.parameter_status("server_version") or ""
    return Catalog.of((Fact(*row) for row in rows), version.split(" ")[0])
