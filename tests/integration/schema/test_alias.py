"""One schema read without its name: what it says of itself is alike in every schema, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.difference import differences
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.proof import correct
from ehg_migrate.schema.scope import Scope, schema_scope
from tests.support.bare import BareServer

BODIES = """
CREATE SEQUENCE {0}.numbers;
CREATE TABLE {0}.notes (id int DEFAULT nextval('{0}.numbers'), CHECK (id > {0}.least()));
CREATE FUNCTION {0}.seen() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM {0}.notes, to_regclass(''{0}.notes'')'
"""

NAMESAKES = """
CREATE TABLE {0}.dev (id int PRIMARY KEY, note text);
CREATE TABLE {0}.test (id int REFERENCES {0}.dev, CHECK (id <> {0}.least()));
CREATE VIEW {0}.seen AS SELECT dev.id, (dev.*)::text AS whole, test.id AS of
    FROM {0}.dev JOIN {0}.test ON test.id = dev.id;
CREATE POLICY mine ON {0}.dev USING (EXISTS (SELECT FROM {0}.test WHERE test.id = dev.id AND dev.id > {0}.least()));
CREATE FUNCTION {0}.first() RETURNS int LANGUAGE sql
    BEGIN ATOMIC SELECT dev.id FROM {0}.dev WHERE dev.id = {0}.least(); END
"""
"""Tables that are called like schemas."""

VARIABLES = """
CREATE TABLE {0}.notes (id int);
CREATE FUNCTION {0}.all() RETURNS SETOF int LANGUAGE plpgsql AS $$ DECLARE dev record; BEGIN
    FOR dev IN SELECT * FROM {0}.notes test WHERE test.id > 1 LOOP RETURN NEXT dev.id; END LOOP;
    EXECUTE format('TRUNCATE {0}.%I', 'notes'); END $$;
CREATE VIEW {0}.read AS SELECT test.id FROM {0}.notes test JOIN {0}.notes dev ON dev.id = test.id
    WHERE dev.id > {0}.least()
"""
"""Aliases and a variable that are."""


@pytest.fixture
def base(bare: BareServer) -> Iterator[psycopg.Connection]:
    """A session on each major version."""
    with bare.connect("base") as connection:
        yield connection


def _read(connection: psycopg.Connection, schema: str, *statements: str) -> Catalog:
    """The schema after these statements, which are taken back."""
    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        connection.execute(f"CREATE FUNCTION {schema}.least() RETURNS int LANGUAGE sql AS 'SELECT 1'".encode())
        for statement in statements:
            connection.execute(statement.format(schema).encode())
        return read_catalog(connection, schema_scope(schema.strip('"'), Scope()))


@pytest.mark.parametrize("other", ["staging", '"Odd one"'])
def test_its_own_name_is_none(base: psycopg.Connection, other: str) -> None:
    """In names, in what reads a name from a constant, and in bodies."""
    one = _read(base, "dev", BODIES)
    assert one.fingerprint == _read(base, other, BODIES).fingerprint
    assert "dev" not in str([(f.identity, f.definition) for f in one.facts])


def test_a_constant_that_begins_like_it_is_one(base: psycopg.Connection) -> None:
    """Two hosts are two hosts, and one is one."""
    table = "CREATE TABLE {{0}}.hosts (name text DEFAULT '{0}.example.org')"
    assert (
        _read(base, "dev", table.format("dev")).fingerprint == _read(base, "staging", table.format("dev")).fingerprint
    )
    assert (
        _read(base, "dev", table.format("dev")).fingerprint != _read(base, "dev", table.format("staging")).fingerprint
    )


@pytest.mark.parametrize("statements", [NAMESAKES, VARIABLES])
@pytest.mark.parametrize("other", ["staging", "test", '"Odd one"'])
def test_what_is_called_like_its_schema_keeps_its_name(base: psycopg.Connection, statements: str, other: str) -> None:
    """A column of table `dev` is none of schema `dev`; what is made of it elsewhere is what it was."""
    one, two = _read(base, "dev", statements), _read(base, other, statements)
    assert differences(one, two) == ()
    plain = other.strip('"')
    with base.transaction(force_rollback=True):
        base.execute(f"CREATE SCHEMA {other}".encode())
        found = correct(base, one, schema_scope(plain, Scope()), keep=True)
        assert found.left == ()
        found_bodies = base.execute(_BODIES, (plain,)).fetchall()
    written = statements.format(other).split("$$")[1::2]
    assert found_bodies == [(body,) for body in written]


def test_many_names_are_no_regular_expression(base: psycopg.Connection) -> None:
    """Of all that stands in a schema PostgreSQL would refuse one, where something is called like the schema."""
    statements = (
        """DO $$ BEGIN FOR i IN 1..1500 LOOP
            EXECUTE 'CREATE TYPE {0}.' || rpad('t' || i, 60, 'abcdefghij') ; END LOOP; END $$""",
        'CREATE TABLE {0}."Odd "" one" (id int)',
        'CREATE VIEW {0}.read AS SELECT "dev".id FROM {0}."Odd "" one" "dev"',
    )
    one = _read(base, "dev", *statements)
    assert '$schema."Odd "" one"' in str(one.by_name["view", "$schema.read"].definition["query"])
    assert differences(one, _read(base, "staging", *statements)) == ()


def test_an_empty_schema_says_what_it_is(base: psycopg.Connection) -> None:
    """Also where its comment has its name: without any other name its fact was lost, and no fingerprint knew it."""
    with base.transaction(force_rollback=True):
        base.execute("CREATE SCHEMA dev; COMMENT ON SCHEMA dev IS 'of dev alone'; CREATE SCHEMA staging")
        one, two = (read_catalog(base, schema_scope(name, Scope())) for name in ("dev", "staging"))
    assert one.by_name["schema", "$schema"].definition == {"comment": "of dev alone"}
    assert one.fingerprint != two.fingerprint


_BODIES = "SELECT prosrc FROM pg_proc WHERE proname = 'all' AND pronamespace = quote_ident(%s)::regnamespace"
