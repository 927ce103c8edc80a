"""Every mutation of a schema with all kinds of objects is seen, on each major version, in the same words."""

from __future__ import annotations

import os
import re

import psycopg
import pytest

from ehg_migrate.schema.catalog import read_catalog, read_fingerprint, read_token
from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.proof import correct
from ehg_migrate.schema.scope import Scope
from tests.integration.schema.mutations import (
    TABLE,
    Mutation,
    base,
    found,
    mutations,
    rows_of,
    table,
    table_in_docs,
    write_docs,
)
from tests.support.bare import BareServer, majors

SCOPE = Scope(owners=True)


def test_every_mutation_is_seen_and_named_as_the_documentation_says(bare: BareServer) -> None:
    """Facts, fingerprint and token differ after each; the table in docs/schema.md says what is seen, and is true.

    The server's own fingerprint is read after each on one of the versions: it takes as long as reading the facts.
    """
    with bare.connect("base") as connection:
        extension = _extension(connection)
        before = read_catalog(connection, SCOPE)
        twice = bare.major == min(majors())
        token = read_token(connection)
        seen = {m: _after(connection, m, before, token, twice) for m in mutations(extension, bare.major)}
        assert [str(m) for m, difference in seen.items() if not difference] == []
        assert read_catalog(connection, SCOPE) == before, "a mutation was not taken back"
        assert read_token(connection) == token, "what was rolled back leaves no trace in a token"
    rows = table({m: found(difference, extension) for m, difference in seen.items()})
    if os.environ.get("EHG_WRITE_DOCS"):
        write_docs(TABLE, rows)
    expected = rows_of(table_in_docs(TABLE), seen)
    if bare.major < 15:  # its base schema has a publication less, which goes with its schema
        rows, expected = (re.sub(r" and \d more", "", text) for text in (rows, expected))
    assert rows == expected, "run this test once with EHG_WRITE_DOCS=1 and read what it writes"
    assert len(seen) >= 150


def _after(
    connection: psycopg.Connection, mutation: Mutation, before: Catalog, token: str, twice: bool
) -> tuple[Difference, ...]:
    with connection.transaction(force_rollback=True):
        try:
            connection.execute(mutation.sql.encode())
        except psycopg.Error as e:
            pytest.fail(f"{mutation}: {e}")
        after = read_catalog(connection, SCOPE)
        fingerprint = read_fingerprint(connection, SCOPE) if twice else after.fingerprint
        assert read_token(connection) != token, mutation
    assert fingerprint == after.fingerprint, mutation
    assert fingerprint != before.fingerprint, mutation
    return differences(before, after)


def _extension(connection: psycopg.Connection) -> str:
    """One that this server has at hand: Debian's contrib modules, or the only one of the wheel."""
    there = {name for (name,) in connection.execute("SELECT name FROM pg_available_extensions")}
    return "citext" if "citext" in there else "vector"


NEWEST = {
    "ALTER TABLE app.orders ADD CONSTRAINT made_once NOT NULL made NOT VALID": ["column app.orders.made: not null"],
    "ALTER TABLE app.orders ADD CONSTRAINT made_once NOT NULL made": ["column app.orders.made: not null"],
    "ALTER TABLE app.orders ADD CONSTRAINT made_once NOT NULL made NO INHERIT": ["column app.orders.made: not null"],
    "ALTER TABLE app.customers RENAME CONSTRAINT customers_name_not_null TO named": [],
    "ALTER TABLE app.orders ALTER CONSTRAINT orders_customer NOT ENFORCED": [
        "constraint orders_customer on app.orders: definition, validated"
    ],
    "ALTER TABLE app.orders ADD COLUMN twice numeric GENERATED ALWAYS AS (total * 2)": [
        "column app.orders.twice: generated, type"
    ],
}


def test_a_trigger_that_is_switched_off_on_a_partition_of_a_partition(bare: BareServer) -> None:
    """It is seen on 14 too, which calls triggers of partitions internal; those of foreign keys are not."""
    with bare.connect("base") as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "CREATE TABLE app.deep (id integer REFERENCES app.customers, day date) PARTITION BY LIST (id)"
        )
        connection.execute("CREATE TABLE app.deep_1 PARTITION OF app.deep FOR VALUES IN (1) PARTITION BY LIST (day)")
        connection.execute("CREATE TABLE app.deep_2 PARTITION OF app.deep_1 DEFAULT")
        connection.execute("CREATE TRIGGER t AFTER INSERT ON app.deep FOR EACH ROW EXECUTE FUNCTION app.log_row()")
        before = read_catalog(connection, SCOPE)
        connection.execute("ALTER TABLE app.deep_2 DISABLE TRIGGER ALL")
        seen = differences(before, read_catalog(connection, SCOPE))
    assert [str(d) for d in seen if d.kind == "trigger"] == ["extra trigger t on app.deep_2"]


RARE = """
    CREATE TABLE app.keys (id integer PRIMARY KEY, up integer CONSTRAINT up REFERENCES app.keys) PARTITION BY LIST (id);
    CREATE TABLE app.keys_1 PARTITION OF app.keys FOR VALUES IN (1);
    CREATE FUNCTION app.plus(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
    CREATE FUNCTION app.minus(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
    CREATE AGGREGATE app.moving(integer) (sfunc = app.plus, stype = integer, msfunc = app.plus, minvfunc = app.minus,
                                          mstype = integer, mfinalfunc = int4abs);
    CREATE TEXT SEARCH TEMPLATE app.plain (LEXIZE = dsimple_lexize);
    CREATE TEXT SEARCH PARSER app.parts (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
                                         LEXTYPES = prsd_lextype);
    CREATE TABLE app.late (id integer CONSTRAINT late_id UNIQUE DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE app.guest (of bigint CONSTRAINT guest_of REFERENCES app.customers)
"""
"""What the base schema has no example of."""

_MOVING = """CREATE OR REPLACE AGGREGATE app.moving(integer) (sfunc = app.plus, stype = integer, msfunc = app.plus,
             minvfunc = app.minus, mstype = integer, mfinalfunc = int4abs, """
_WITH_HEADLINE = """DROP TEXT SEARCH PARSER app.parts;
    CREATE TEXT SEARCH PARSER app.parts (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
                                         LEXTYPES = prsd_lextype, HEADLINE = prsd_headline)"""
_ONLY_IN_A_REPLICA = """DO $$ DECLARE own name; BEGIN
    FOR own IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'app.guest'::regclass LOOP
        EXECUTE format('ALTER TABLE app.guest ENABLE REPLICA TRIGGER %I', own);
    END LOOP;
END $$"""
CHANGES_OF_RARE = {
    "ALTER INDEX app.keys_1_pkey SET (fillfactor = 50)": "extra constraint keys_1_pkey on app.keys_1",
    "ALTER TABLE app.keys_1 CLUSTER ON keys_1_pkey": "extra constraint keys_1_pkey on app.keys_1",
    "COMMENT ON CONSTRAINT keys_1_pkey ON app.keys_1 IS 'own'": "extra constraint keys_1_pkey on app.keys_1",
    "COMMENT ON CONSTRAINT up ON app.keys_1 IS 'own'": "extra constraint up on app.keys_1",
    f"{_MOVING} mfinalfunc_modify = read_write)": "changed aggregate app.moving(integer)",
    f"{_MOVING} msspace = 100)": "changed aggregate app.moving(integer)",
    "COMMENT ON TEXT SEARCH TEMPLATE app.plain IS 'so'": "changed text search template app.plain",
    "COMMENT ON TEXT SEARCH PARSER app.parts IS 'so'": "changed text search parser app.parts",
    _WITH_HEADLINE: "changed text search parser app.parts",
    "ALTER TABLE app.late DISABLE TRIGGER ALL": "changed constraint late_id on app.late",
    _ONLY_IN_A_REPLICA: "changed constraint guest_of on app.guest",
}


def test_what_is_rarely_used_is_seen_and_corrected_too(bare: BareServer) -> None:
    """What a partition has of its own of a constraint that comes with the partitioned table, and the like.

    Templates and parsers are a superuser's, and nothing corrects them.
    """
    with bare.connect("base") as connection, connection.transaction(force_rollback=True):
        connection.execute(RARE.encode())
        before = read_catalog(connection, SCOPE)
        for statement, expected in CHANGES_OF_RARE.items():
            with connection.transaction(force_rollback=True):
                connection.execute(statement.encode())
                after = read_catalog(connection, SCOPE)
                assert read_fingerprint(connection, SCOPE) == after.fingerprint
                assert [str(d) for d in differences(before, after)] == [expected], statement
                assert correct(connection, before, SCOPE).proven is ("text search" not in expected), statement
            assert correct(connection, after, SCOPE).proven is ("text search" not in expected), statement


def test_what_only_version_18_has() -> None:
    """Constraints of NOT NULL count by what they do and not by name; what is not validated or enforced is seen."""
    with BareServer(majors()[18]) as server:
        server.create("base")
        with server.connect("base") as connection:
            connection.execute(base(18).encode())
            before = read_catalog(connection, SCOPE)
            for statement, expected in NEWEST.items():
                with connection.transaction(force_rollback=True):
                    connection.execute(statement.encode())
                    seen = differences(before, read_catalog(connection, SCOPE))
                said = [f"{d.kind} {d.identity}: {', '.join(c.name for c in d.clauses)}" for d in seen]
                assert said == expected, statement
