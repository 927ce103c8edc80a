"""One schema read without its name: what it says of itself is alike in every schema, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from ehg_migrate.schema import Catalog, Scope, read_catalog
from ehg_migrate.schema.scope import schema_scope
from tests.support.bare import BareServer

BODIES = """
CREATE SEQUENCE {0}.numbers;
CREATE TABLE {0}.notes (id int DEFAULT nextval('{0}.numbers'), CHECK (id > {0}.least()));
CREATE FUNCTION {0}.seen() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM {0}.notes, to_regclass(''{0}.notes'')'
"""


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
