"""What other tools have written down in a database that has no record of ours: which of our revisions are applied.

Stock Alembic's table may be in any schema (`version_table_schema` of an env.py), and Supabase's CLI has one of its own.
Another application may have such a table too: only rows that are revisions of this very target say anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import META_SCHEMA, Target
from ehg_migrate.redaction import one_line

Canonical = Callable[[Sequence[str]], Sequence[str]]
"""The heads of the revisions that a target's branches know among these; none where they know none."""
_LONGEST, _MOST = 1000, 10_000  # characters of an id, and rows that are ids; who has written more has no revisions


@dataclass(frozen=True, slots=True)
class Record:
    """A table of this kind, and what is in it."""

    schema: str
    table: str
    rows: tuple[str, ...]


def rows_of(schema: str, table: str, column: str) -> sql.Composed:
    """Asks for what is in one of them, in a column `id`."""
    return sql.SQL("SELECT left({}::text, {}) AS id FROM {} LIMIT {}").format(
        sql.Identifier(column), sql.Literal(_LONGEST + 1), sql.Identifier(schema, table), sql.Literal(_MOST + 1)
    )


def believable(schema: str, table: str, rows: Collection[object]) -> Record:
    """With its rows, or without where they cannot be ids."""
    ids = tuple(sorted(str(r) for r in rows if r is not None))
    return Record(schema, table, () if len(ids) > _MOST or any(len(i) > _LONGEST for i in ids) else ids)


def another(heads: tuple[str, ...], elsewhere: str | None, target: Target) -> Problem | None:
    """What is said where our tables are missing and somebody else's Alembic was here; None where it was not.

    `heads` are the rows of the usual table. `elsewhere` is another one that stock Alembic would use for this role.
    """
    if heads:
        place = f"`{target.schema or 'public'}.alembic_version`"
        hint = "`ehg-migrate adopt TARGET` shows what taking over means, and does it"
        return Problem(
            "not_adopted", f"{place} holds {quoted(heads)}, and this tool has no record of its own here", hint
        )
    if not elsewhere:
        return None
    schema = elsewhere.rpartition(".")[0]
    return Problem(
        "not_adopted",
        f"stock Alembic would use `{elsewhere}` for this role, by its search_path, and this tool has no record here",
        "`ehg-migrate adopt TARGET --heads REV` with each `version_num` of that table (`--heads base` where it "
        f"is another project's); or go on in it: `alembic: {{version_table_schema: {schema}}}` in the entry",
    )


def refuse_another(lock: psycopg.Connection, target: Target, has_foreign: bool, elsewhere: str | None) -> None:
    """Raises TargetError where our tables are missing and somebody else's Alembic was here, or may have been."""
    heads = tuple(str(r[0]) for r in lock.execute(query("foreign_heads", target)).fetchall()) if has_foreign else ()
    if has_foreign and not heads and (lock.execute(query("guarded_foreign", target)).fetchone() or (True,))[0]:
        from ehg_migrate.database.probe import hidden  # seldom

        raise TargetError(hidden(target, "guarded_foreign"))
    if problem := another(heads, elsewhere, target):
        raise TargetError(problem)


def refuse_recorded(connection: psycopg.Connection, target: Target, canonical: Canonical) -> None:
    """Raises TargetError where another tool says that revisions of this target are applied; psycopg.Error."""
    found = connection.execute(query("records", target)).fetchone()
    for place in found[0] if found else ():
        rows = connection.execute(rows_of(*place)).fetchall()
        if problem := recorded([believable(place[0], place[1], [r[0] for r in rows])], target, canonical):
            raise TargetError(problem)


def recorded(records: Sequence[Record], target: Target, canonical: Canonical) -> Problem | None:
    """What is said where one of them holds revisions of this target."""
    for record in records:
        if heads := canonical(record.rows):
            return _problem(record, target, heads)
    return None


def _problem(record: Record, target: Target, heads: Sequence[str]) -> Problem:
    schema = one_line(record.schema)  # somebody else has named it
    place = f"{schema}.{record.table}"
    if record.schema.startswith(META_SCHEMA):
        return _moved(record, target, heads)
    declared = " --heads ".join(map(shlex.quote, heads))
    hint = f"`ehg-migrate adopt TARGET --heads {declared}` where that is what is applied here (`--heads base` where "
    hint += "nothing of this target is)"
    if record.table == target.version_table:
        hint += f"; or go on in it: `alembic: {{version_table_schema: {schema}}}` in the entry"
    return Problem(
        "not_adopted",
        f"by `{place}` {quoted(tuple(heads), 8)} and what is below is applied; this tool has no record of its own here",
        hint,
    )


def _moved(record: Record, target: Target, heads: Sequence[str]) -> Problem:
    """Of a record of ours: the entry had another `schema` before, or the schema another name."""
    was, now = (sql.Identifier(name).as_string(None) for name in (one_line(record.schema), target.meta_schema))
    former = record.schema[len(META_SCHEMA) + 1 :]
    whose = f"schema `{one_line(former)}`" if former else "all of the database"
    return Problem(
        "not_adopted",
        f"by `{one_line(record.schema)}.{record.table}`, the record of {whose}, {quoted(tuple(heads), 8)} and what is "
        f"below is applied; this target's own is to be in schema `{target.meta_schema}`, where none is",
        f"where it is this target's, whose entry had another `schema` or whose schema another name: ALTER SCHEMA {was} "
        f"RENAME TO {now}; else `ehg-migrate adopt TARGET --heads base` begins anew",
    )
