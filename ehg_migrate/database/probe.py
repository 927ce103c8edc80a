"""What many targets hold, read at once: one cheap connection and one query each, without Alembic or SQLAlchemy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg.sql import SQL, Composed

from ehg_migrate.database.asking import Connection, Then, ask_all, strange
from ehg_migrate.database.faults import NOTHING_OF_OURS, ends_session
from ehg_migrate.database.journal import read_entry
from ehg_migrate.database.statements import foreign_name, query, version_name
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import JournalEntry, Target
from ehg_migrate.redaction import one_line

if TYPE_CHECKING:
    from ehg_migrate.database.records import Record

_LONGEST = 1000  # characters of a row that is a name
_MOST = 10_000  # such rows
_MOST_APPLIED = 100_000  # revisions that a journal may know
_MOST_NAMED = 100_000  # characters of the version rows that an entry names


@dataclass(frozen=True, slots=True)
class Reading:
    """The facts that one probe brings home."""

    heads: tuple[str, ...] = ()
    checksums: str | None = None  # md5 over `revision checksum` of all applied revisions; None without a journal
    unfinished: tuple[str, ...] = ()  # `up s1`: steps that began outside a transaction and did not end
    foreign_heads: tuple[str, ...] = ()  # rows of an `alembic_version` of another's, read where ours does not exist
    elsewhere: str = ""  # another version table of somebody's, which nothing says the rows of
    records: tuple[Record, ...] = ()  # where nothing of all that is, what other tools have written down
    server_version: str = ""
    read_only: bool = False
    seconds: float = 0.0
    has_schema: bool = True  # False where the target is one schema, which is not there
    lacks_table: bool = False  # our journal is there, and the version table is not
    mixed: bool = False  # checksums and unfinished steps are of all names in the journal, which has others than its own
    written_as: str = ""  # whom the newest entry of the journal names; empty where there is none


@dataclass(frozen=True, slots=True)
class Applied:
    """What the journal says of an applied revision."""

    checksum: str
    run: str
    git_commit: str
    heads_before: tuple[str, ...] = ()  # the version rows that it found
    heads_after: tuple[str, ...] = ()  # and left


def probe(
    targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int, then: Then | None = None
) -> dict[str, Reading | Problem]:
    """A Reading or a Problem for each target, by name. `then` hears each Reading when it comes.

    Reads only; never raises for a target.
    """
    return ask_all(targets, passwords, at_once, read, then)  # type: ignore[return-value]  # read gives a Reading


def probe_exactly(
    targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int
) -> dict[str, Reading | Problem]:
    """The same where a first reading was `mixed`: by the target's own names in the journal, which costs more to ask."""
    return ask_all(targets, passwords, at_once, partial(read, exactly=True))  # type: ignore[return-value]  # as above


def journals(
    targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int, limit: int | None = None
) -> dict[str, tuple[JournalEntry, ...] | Problem]:
    """The journal of each target, or its newest entries, oldest first; empty where there is none."""
    ask = partial(_journal, limit=limit)
    return ask_all(targets, passwords, at_once, ask)  # type: ignore[return-value]  # _journal gives entries


def applied(
    targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int
) -> dict[str, dict[str, Applied] | Problem]:
    """For each target: applied revision -> how it was applied."""
    return ask_all(targets, passwords, at_once, _applied)  # type: ignore[return-value]  # _applied gives a dict


async def read(connection: Connection, target: Target, *, exactly: bool = False) -> Reading:
    start = time.monotonic()
    try:
        asked = _question("probe", target, {"target": target.name}, anyone=not exactly)
        cursor = await connection.execute(*asked)
    except NOTHING_OF_OURS as e:
        if ends_session(e):
            raise
        return await _read_fresh(connection, target, start)
    except psycopg.errors.InsufficientPrivilege as e:
        raise TargetError(_not_ours(e, target)) from e
    row = await cursor.fetchone() or {}
    if row["others"] is None and not exactly:
        await _refuse_hidden(connection, target)
    return Reading(
        heads=_believable(row["heads"], target),  # type: ignore[arg-type]  # text[]
        checksums=row["checksums"],  # type: ignore[arg-type]  # text or NULL
        unfinished=_believable(row["unfinished"] or (), target),  # type: ignore[arg-type]  # text[]; NULL for none
        server_version=one_line(str(row["server_version"]), _LONGEST),
        read_only=row["read_only"] == "on",
        seconds=time.monotonic() - start,
        has_schema=bool(row.get("has_schema", True)),
        mixed=bool(row["others"]) and not exactly,
        written_as=one_line(str(row["written_as"] or ""), _LONGEST),
    )


async def _read_fresh(connection: Connection, target: Target, start: float) -> Reading:
    cursor = await connection.execute(*_question("probe_fresh", target, {"version": version_name(target)}))
    row = await cursor.fetchone() or {}
    heads: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    if row["has_version"]:  # a version table that the user keeps where it was, and no journal yet
        heads = await _column(connection, "version_heads", target)
        if not heads:
            await _refuse_hidden(connection, target, "guarded_version")
    elif row["has_foreign"]:
        foreign = await _column(connection, "foreign_heads", target)
        if not foreign:
            await _refuse_hidden(connection, target, "guarded_foreign")
    found = heads or foreign or row["has_journal"] or row["elsewhere"]
    return Reading(
        heads=heads,
        foreign_heads=foreign,
        elsewhere="" if heads or foreign or row["has_version"] else one_line(str(row["elsewhere"] or ""), _LONGEST),
        records=() if found else await _records(connection, row["records"]),  # type: ignore[arg-type]  # text[]
        lacks_table=bool(row["has_journal"] and not row["has_version"]),
        server_version=one_line(str(row["server_version"]), _LONGEST),
        read_only=row["read_only"] == "on",
        seconds=time.monotonic() - start,
        has_schema=bool(row.get("has_schema", True)),
    )


async def _records(connection: Connection, places: Iterable[Sequence[str]]) -> tuple[Record, ...]:
    if not places:
        return ()
    from ehg_migrate.database.records import believable, rows_of  # seldom

    records = []
    for schema, table, column in places:
        rows = await (await connection.execute(rows_of(schema, table, column))).fetchall()
        records.append(believable(schema, table, [r["id"] for r in rows]))
    return tuple(records)


def _question(
    name: str, target: Target, values: dict[str, str], *, anyone: bool = False
) -> tuple[SQL | Composed, dict[str, str]]:
    """The statement of this name; it says one thing more where the target is one schema."""
    asked = query(name, target, anyone=anyone)
    if not target.schema:
        return asked, values
    both = SQL("SELECT probed.*, {} FROM ({}) AS probed").format(query("probe_schema"), asked)
    return both, {**values, "own": target.schema}


async def _column(connection: Connection, name: str, target: Target) -> tuple[str, ...]:
    cursor = await connection.execute(query(name, target))
    return _believable([next(iter(row.values())) for row in await cursor.fetchall()], target)


def _believable(names: Iterable[object], target: Target) -> tuple[str, ...]:
    """In order. A row that nobody can have written as a revision is not carried on: it would be shown everywhere."""
    names = tuple(names)
    if None in names:
        raise TargetError(_null_row(target))
    found = tuple(sorted(map(str, names)))
    if len(found) > _MOST or any(len(name) > _LONGEST for name in found):
        raise TargetError(strange(f"{len(found)} version rows, the longest of {max(map(len, found))} characters"))
    return found


async def _journal(connection: Connection, target: Target, *, limit: int | None) -> tuple[JournalEntry, ...]:
    values = {"target": target.name, "limit": limit}
    try:
        cursor = await connection.execute(query("journal", target), values, binary=True)
    except NOTHING_OF_OURS:
        return ()
    rows = await cursor.fetchall()
    if not rows:
        await _refuse_hidden(connection, target)
        if (await (await connection.execute(query("oversized", target))).fetchone() or {})["oversized"]:
            raise TargetError(strange("its journal is larger than 100 MB"))
    return tuple(read_entry(row) for row in reversed(rows))


async def _applied(connection: Connection, target: Target) -> dict[str, Applied]:
    try:
        cursor = await connection.execute(query("applied_checksums", target), {"target": target.name})
    except NOTHING_OF_OURS:
        return {}
    rows = await cursor.fetchall()
    if len(rows) > _MOST_APPLIED:
        raise TargetError(strange(f"by its journal more than {_MOST_APPLIED} revisions are applied"))
    return {str(r["revision"]): _as_applied(r) for r in rows}


def _as_applied(row: Mapping[str, object]) -> Applied:
    texts = [str(row[name]) for name in ("rows_before", "rows_after")]
    if max(map(len, texts)) > _MOST_NAMED:  # of a list that was cut nothing could be said
        raise TargetError(strange(f"its journal names version rows of more than {_MOST_NAMED:,} characters"))
    found, left = (tuple(filter(None, text.split("\n"))) for text in texts)
    return Applied(str(row["checksum"]), str(row["run"]), str(row["git_commit"]), found, left)


async def _refuse_hidden(connection: Connection, target: Target, asked: str = "guarded") -> None:
    """Where no entry or row is seen. Raises TargetError if some may be there and not be shown to us."""
    if (await (await connection.execute(query(asked, target))).fetchone() or {})["guarded"]:
        raise TargetError(hidden(target, asked))


def hidden(target: Target, asked: str = "guarded") -> Problem:
    """Nothing is seen, and row-level security decides what is, by the answer to this question."""
    ours = (version_name(target), *(f"{target.meta_schema}.migration_{name}" for name in ("journal", "lease")))
    tables = {"guarded_version": ours[:1], "guarded_foreign": (foreign_name(target),)}.get(asked, ours)
    off = "; ".join(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY" for table in tables)
    return Problem(
        "no_privilege",
        "row-level security may hide from the role of this target what is applied here: not one row is seen",
        f"let their owner say `{off}`; or use a role with BYPASSRLS",
    )


def _null_row(target: Target) -> Problem:
    """Somebody took the primary key away, which forbids it."""
    table = version_name(target)
    hint = f"take it out with `DELETE FROM {table} WHERE version_num IS NULL`; "  # noqa: S608 - somebody runs it by hand
    hint += "then, where `ehg-migrate status -t TARGET` finds no row twice, "
    hint += f"`ALTER TABLE {table} ADD PRIMARY KEY (version_num)`"
    return replace(strange("a version row is NULL, so its table has no primary key any more"), hint=hint)


def _not_ours(error: psycopg.Error, target: Target) -> Problem:
    return Problem(
        "no_privilege",
        f"the role of this target may not read the version table: {error.diag.message_primary}",
        "use the role that migrates this target, or grant it USAGE on schema "
        f"`{target.meta_schema}` and SELECT on its tables",
        sqlstate=error.sqlstate,
    )
