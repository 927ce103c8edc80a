"""A scratch database that has the schema of a target: made from its catalogue, and equal to it or said to be not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.schema.brought import stand_in
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.confining import unquoted
from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.ground import Ground, at_home, lay
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.scratch import Scratch
from ehg_migrate.schema.search import Search, prepare, roles_of

_HASHED = {
    "foreign data wrapper": "options",
    "server": "options",
    "foreign table": "server options",
    "column": "server options",
}
"""Kind -> the clause of which a catalogue has only hashes."""


_TABLE = """
    SELECT format('%%I.%%I', n.nspname, c.relname), pg_get_indexdef(x.indexrelid)
      FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE x.indexrelid = to_regclass(%s) AND x.indisvalid"""


def build(scratch: Scratch, ground: Ground | None, catalog: Catalog, scope: Scope) -> str:
    """The name of a new database with as much of a catalogue, read in `scope`, as can be made there.

    Raises LocalServerError, and psycopg.Error where the ground cannot be laid.
    """
    name = scratch.fresh_for_others()
    with scratch.connect(name) as connection:
        if ground:
            lay(connection, ground)
            at_home(connection, ground)
        install(connection, catalog)
    bring_to(scratch, name, catalog, scope)
    return name


def install(connection: psycopg.Connection[Any], catalog: Catalog) -> None:
    """The extensions of a catalogue that the server has; its owner may not be able to install them afterwards."""
    for fact in (f for f in catalog.facts if f.kind == "extension" and f.definition["schema"] != "pg_catalog"):
        schema, name = unquoted(fact.definition["schema"]), unquoted(fact.identity)
        if not (schema and name):
            continue
        places = sql.Identifier(schema), sql.Identifier(name)
        with suppress(psycopg.Error), connection.transaction():  # what is lacking is seen by `apart`
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(places[0]))
            if not stand_in(connection, name, schema, fact.definition.get("version")):
                connection.execute(sql.SQL("CREATE EXTENSION {1} SCHEMA {0}").format(*places))


def bring_to(scratch: Scratch, database: str, catalog: Catalog, scope: Scope) -> None:
    """Makes of a scratch database as much of a catalogue, read in `scope`, as can be made. Raises as `build`.

    The database is confined: what is in it from now on others have written.
    """
    scratch.confine(database, roles_of(catalog))
    with scratch.connect(database) as connection:
        prepare(connection, catalog)
        Search(connection, catalog, scope, destructive=True).run()
        broken = [f.identity for f in catalog.facts if f.kind == "index" and f.definition.get("valid") is False]
        if not broken or scope.alias:
            return
        with scratch.connect(database) as other:
            for index in broken:
                _break(connection, other, index)


def _break(connection: psycopg.Connection[Any], other: psycopg.Connection[Any], index: str) -> None:
    """Leaves an index as a build that failed leaves it: by a build that fails, since no statement makes one so.

    Building beside others waits for whoever uses the table; here that is `other`, and nobody waits for long.
    """
    row = connection.execute(_TABLE, (index,)).fetchone()
    if row is None:
        return
    table, definition = row
    with suppress(psycopg.errors.FeatureNotSupported):  # of a partitioned table
        connection.execute(f"DROP INDEX {index}".encode())
        with other.transaction(force_rollback=True), suppress(psycopg.errors.LockNotAvailable):
            other.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
            connection.execute("SET lock_timeout = '1ms'")
            connection.execute(definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1).encode())
    connection.execute("RESET lock_timeout")


def apart(scratch: Scratch, database: str, catalog: Catalog, scope: Scope) -> tuple[Difference, ...]:
    """What a database lacks to be a clone of what was read in `scope`: left is the database."""
    with scratch.connect(database) as connection:
        return differences(read_catalog(connection, scope), catalog)


def without_common_options(one: Catalog, other: Catalog) -> tuple[Catalog, Catalog]:
    """Both without the options of foreign objects that they have alike: a clone cannot have those, and need not."""
    alike = {
        (f.kind, f.identity, _HASHED[f.kind])
        for f in one.facts
        if f.kind in _HASHED and _same(f, other.by_name.get((f.kind, f.identity)), _HASHED[f.kind])
    }
    return _without(one, alike), _without(other, alike)


def _same(fact: Fact, other: Fact | None, clause: str) -> bool:
    return other is not None and clause in fact.definition and fact.definition[clause] == other.definition.get(clause)


def _without(catalog: Catalog, clauses: set[tuple[str, str, str]]) -> Catalog:
    facts = (
        Fact(f.kind, f.identity, {c: v for c, v in f.definition.items() if (f.kind, f.identity, c) not in clauses})
        for f in catalog.facts
    )
    return Catalog.of(facts, catalog.server_version)
