"""Extensions that a Supabase project is given: on a scratch database the server's own, or stand-ins of the same names.

Revisions begin with `CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA extensions`, which does nothing on a
project: it has that already. The embedded PostgreSQL has no files of it, so there a stand-in is entered as that
extension.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.database.statements import named_parts

BROUGHT = {
    "pg_graphql": ("pg_graphql", "graphql"),
    "pg_stat_statements": ("pg_stat_statements", "extensions"),
    "pgcrypto": ("pgcrypto", "extensions"),
    "pgjwt": ("pgjwt", "extensions"),
    "supabase_vault": ("supabase_vault", "vault"),
    "uuid_ossp": ("uuid-ossp", "extensions"),
}
"""Part of `platform.sql` -> the extension that it stands for, and the schema where projects have that.

None is a fact of a target that is held against its revisions, so none that it has of somebody else's is hidden by it.
"""

FORMER = "pg_graphql"
"""The part that projects were given until the spring of 2026."""

_PARTS = {extension: part for part, extension in BROUGHT.items()}
_UNKNOWN = "0"  # a version that is asked for nowhere
_ENTER = """
    INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    SELECT pg_nextoid('pg_extension', 'oid', 'pg_extension_oid_index'), %s, r.oid, %s::regnamespace, true, %s
      FROM pg_roles r WHERE r.rolname = current_user"""
_NOBODYS = """
    SELECT a.type || ' ' || a.identity
      FROM (SELECT 'pg_proc'::regclass AS catalog, oid FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace
            UNION ALL SELECT 'pg_class', oid FROM pg_class
                       WHERE relnamespace = %(schema)s::regnamespace AND relkind IN ('r', 'v')
           ) AS made, pg_identify_object(made.catalog, made.oid, 0) AS a
     WHERE NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = made.catalog AND d.objid = made.oid AND d.deptype = 'e')"""


def pairs() -> sql.Composed:
    """Name and schema of each, for `IN`."""
    return sql.SQL(", ").join(sql.SQL("({}, {})").format(*map(sql.Literal, pair)) for pair in BROUGHT.values())


def bring(connection: psycopg.Connection[Any], part: str) -> None:
    """Makes a part of the platform be there. Raises psycopg.Error.

    Where the server has no files of an extension and its role may not enter a stand-in, there are its objects only.
    """
    if part not in BROUGHT:
        connection.execute(parts()[part].encode())
        return
    name, schema = BROUGHT[part]
    names = {"name": sql.Identifier(name), "schema": sql.Identifier(schema)}
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {schema}").format(**names))
    if _offered(connection, name):
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(sql.SQL("CREATE EXTENSION {name} SCHEMA {schema}").format(**names))
            return
    connection.execute(parts()[part].encode())
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {schema} TO PUBLIC").format(**names))
    if connection.info.parameter_status("is_superuser") == "on":
        _enter(connection, name, schema)


def bring_former(connection: psycopg.Connection[Any]) -> None:
    """Makes `FORMER` be there below a project that lacks it, if this server cannot make it. Raises psycopg.Error.

    Histories of before begin with it, and it is no fact; whoever is a customer since has it when they are through.
    """
    if not _offered(connection, BROUGHT[FORMER][0]):
        bring(connection, FORMER)


def stand_in(connection: psycopg.Connection[Any], name: str, schema: str, version: str | None) -> bool:
    """Whether a target's extension is there as a stand-in now, of that target's version. Raises psycopg.Error.

    The server's own is none: it may be of another version, which is told.
    """
    part = _PARTS.get((name, schema))
    if part is None or _offered(connection, name):
        return False
    if connection.execute("SELECT FROM pg_extension WHERE extname = %s", (name,)).fetchone() is None:
        bring(connection, part)
    _catalog(connection, "UPDATE pg_extension SET extversion = %s WHERE extname = %s", version or _UNKNOWN, name)
    return True


def _enter(connection: psycopg.Connection[Any], name: str, schema: str) -> None:
    _catalog(connection, _ENTER, name, schema, _UNKNOWN)
    for (made,) in connection.execute(_NOBODYS, {"schema": schema}).fetchall():
        connection.execute(sql.SQL("ALTER EXTENSION {} ADD {}").format(sql.Identifier(name), sql.SQL(made)))


def _catalog(connection: psycopg.Connection[Any], statement: str, *values: str) -> None:
    """Writes to a catalogue of PostgreSQL itself, as a superuser may who says so."""
    with connection.transaction():
        connection.execute("SET LOCAL allow_system_table_mods = on")
        connection.execute(statement.encode(), values)


def _offered(connection: psycopg.Connection[Any], name: str) -> bool:
    return connection.execute("SELECT FROM pg_available_extensions WHERE name = %s", (name,)).fetchone() is not None


def text() -> str:
    """All of `platform.sql`."""
    return resources.files(__package__).joinpath("platform.sql").read_text(encoding="utf-8")


@cache
def parts() -> dict[str, str]:
    """What stands in for the platform, part by part."""
    return named_parts(text())
