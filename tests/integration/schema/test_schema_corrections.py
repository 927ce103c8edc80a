"""Corrections of one schema whose name does not count: its name is put where a statement names it, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.difference import differences
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.proof import correct
from ehg_migrate.schema.scope import Scope, schema_scope
from ehg_migrate.schema.search import PREAMBLE, Form, named, portable
from tests.support.bare import BareServer

OTHER = 'Odd "one", it'
QUOTED = '"Odd ""one"", it"'
SCOPE = schema_scope(OTHER, Scope())

JSON_SCHEMA = """
CREATE TABLE {0}.documents (
    "$schema" text, body jsonb DEFAULT '{{"$schema": "https://json-schema.org/draft/2020-12/schema"}}',
    CHECK (body ? '$schema'));
COMMENT ON TABLE {0}.documents IS 'valid by their $schema. Or SCHEMA $schema';
CREATE FUNCTION {0}.kind() RETURNS text LANGUAGE sql SET search_path = {0}, public AS
$$ SELECT '"$schema.documents" $schema$. $schema' || count(*) FROM {0}.documents $$;
GRANT USAGE ON SCHEMA {0} TO anon;
ALTER DEFAULT PRIVILEGES IN SCHEMA {0} GRANT SELECT ON TABLES TO anon;
"""

DEPENDING = """
CREATE FUNCTION {0}.one() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE TABLE {0}.notes (id integer, body text, number integer DEFAULT {0}.one());
CREATE VIEW {0}.short AS SELECT body FROM {0}.notes;
CREATE POLICY reading ON {0}.notes USING (body <> '');
CREATE INDEX notes_body ON {0}.notes (body) WHERE body <> '';
"""
SHORTER = """
DROP VIEW {0}.short; DROP POLICY reading ON {0}.notes;
ALTER TABLE {0}.notes ALTER COLUMN body TYPE varchar(40), ALTER COLUMN number DROP DEFAULT;
DROP FUNCTION {0}.one();
CREATE VIEW {0}.short AS SELECT body FROM {0}.notes;
CREATE POLICY reading ON {0}.notes USING (body <> '');
"""


@pytest.fixture
def base(bare: BareServer) -> Iterator[psycopg.Connection]:
    """A session on each major version, with an empty schema that is nobody's like; what is done there is taken back."""
    with bare.connect("base") as connection, connection.transaction(force_rollback=True):
        connection.execute(f"CREATE SCHEMA {QUOTED}; SET LOCAL search_path = {QUOTED}".encode())
        yield connection


def _goal(connection: psycopg.Connection, *statements: str) -> Catalog:
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE SCHEMA dev")
        for statement in statements:
            connection.execute(statement.format("dev").encode())
        return read_catalog(connection, schema_scope("dev", Scope()))


def _corrected(connection: psycopg.Connection, goal: Catalog, form: Form = named) -> Catalog:
    """What the statements make of the other schema, run as they are given out."""
    found = correct(connection, goal, SCOPE, destructive=True, form=form)
    assert found.left == ()
    with connection.transaction(force_rollback=True):
        connection.execute(PREAMBLE.encode())
        for statement in found.statements:
            connection.execute(statement.sql.encode())
        return read_catalog(connection, SCOPE)


@pytest.mark.parametrize("form", [named, portable])
def test_what_is_called_schema_is_not_the_schema(base: psycopg.Connection, form: Callable[..., str]) -> None:
    """A key of JSON Schema stays one, in columns, constants, comments and bodies, also where a dot follows."""
    goal = _goal(base, JSON_SCHEMA)
    base.execute(f"CREATE TABLE {QUOTED}.stray (id integer)".encode())
    assert differences(_corrected(base, goal, form), goal) == ()


def test_a_name_in_a_constant_is_no_key(base: psycopg.Connection) -> None:
    """`$schema.documents` and the name of the schema before `.documents` are two texts."""
    text = "CREATE FUNCTION {{0}}.f() RETURNS text LANGUAGE sql AS 'SELECT ''see {0}.documents'''"
    one, other = _goal(base, text.format("$schema")), _goal(base, text.format("dev"))
    assert [str(d) for d in differences(one, other)] == ["changed function $schema.f()"]


@pytest.mark.parametrize("form", [named, portable])
def test_what_stands_in_the_way_is_made_anew_there_too(base: psycopg.Connection, form: Callable[..., str]) -> None:
    """Views, policies and indexes of a column whose type changes, and a default whose function goes."""
    goal = _goal(base, DEPENDING, SHORTER)
    base.execute(DEPENDING.format(QUOTED).encode())
    assert differences(_corrected(base, goal, form), goal) == ()
