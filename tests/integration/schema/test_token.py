"""The token of a target changes with everything that its fingerprint is made of, and with nothing else."""

from __future__ import annotations

import itertools
import re
from importlib import resources

import psycopg
import pytest

from ehg_migrate.schema.catalog import read_fingerprint, read_token
from ehg_migrate.schema.scope import Scope
from tests.support.bare import BareServer, majors

SQL = resources.files("ehg_migrate.schema").joinpath("sql")
_numbers = itertools.count(1)

NOTHING = (
    "INSERT INTO app.animals VALUES (1, 'a'); UPDATE app.animals SET name = 'b'; DELETE FROM app.animals",
    "SELECT nextval('app.tickets')",
    "VACUUM",
    "ANALYZE",
    "VACUUM FREEZE",
    "CREATE TEMP TABLE passing (id serial PRIMARY KEY, note text DEFAULT 'a' CHECK (id > 0))",
    "CREATE TEMP VIEW seen AS SELECT * FROM passing; CREATE INDEX ON passing (note); COMMENT ON TABLE passing IS 'so'",
    "DROP VIEW seen; DROP TABLE passing",
    "BEGIN; ALTER TABLE app.orders ADD COLUMN undone integer; DROP VIEW app.checked; ROLLBACK",
    "SELECT pg_current_xact_id()",
)
"""What is no change of a schema: one after the other on one database."""

SOMETHING = (
    "ALTER ROLE other_owner RENAME TO another_owner",
    "ALTER DATABASE {database} OWNER TO another_owner",
    "ALTER SEQUENCE app.tickets OWNED BY NONE",
    "CREATE MATERIALIZED VIEW app.late AS SELECT 1 AS one",
    "CREATE INDEX CONCURRENTLY later ON app.animals (id)",
    "REINDEX INDEX CONCURRENTLY app.customers_size",
    "ALTER EXTENSION plpgsql ADD FUNCTION app.touch()",
    "ALTER EXTENSION plpgsql DROP FUNCTION app.touch()",
    "CREATE USER MAPPING FOR anon SERVER archive",
    "ALTER TABLE app.cache ALTER COLUMN value TYPE text USING NULL",
    "COMMENT ON COLUMN app.checked.size IS 'seen'",
    "DROP TABLE app.cats",
)
"""Changes that the mutations do not have, most of them where a transaction's number is not all that counts."""


@pytest.fixture
def copy(bare: BareServer) -> str:
    """A database like `base`, for this test alone."""
    return bare.create(f"token_{next(_numbers)}", template="base")


def test_what_is_no_change_leaves_the_token(bare: BareServer, copy: str) -> None:
    """Rows, maintenance, temporary tables, what was rolled back, and whatever other databases do."""
    with bare.connect(copy) as connection, bare.connect("postgres") as elsewhere:
        before = read_token(connection)
        elsewhere.execute("CREATE TABLE other (id int)")
        elsewhere.execute("DROP TABLE other")
        for statement in NOTHING:
            connection.execute(statement.encode())
            assert read_token(connection) == before, statement
        assert read_fingerprint(connection, Scope(owners=True))


def test_another_reader_has_another_token(bare: BareServer, copy: str) -> None:
    """A fact names the role that migrates by what it is and not by its name: each role reads its own fingerprint."""
    migrator = Scope(migrator=True)
    with bare.connect(copy) as connection:
        connection.execute("GRANT SELECT ON app.animals TO authenticated")
        seen = set()
        for role in ("anon", "authenticated"):
            connection.execute(f"SET ROLE {role}".encode())
            seen.add((read_token(connection), read_fingerprint(connection, migrator)))
            connection.execute("RESET ROLE")
    assert [len(set(column)) for column in zip(*seen, strict=True)] == [2, 2]


def test_every_change_makes_another_token(bare: BareServer, copy: str) -> None:
    """Each of them, one after the other; of roles only the names are in facts."""
    with bare.connect(copy) as connection:
        before = read_token(connection)
        for statement in SOMETHING:
            connection.execute(statement.replace("{database}", copy).encode())
            after = read_token(connection)
            assert after != before, statement
            before = after
        connection.execute("ALTER ROLE another_owner NOLOGIN")
        assert read_token(connection) == before
        connection.execute("ALTER ROLE another_owner RENAME TO other_owner")


def test_an_index_that_was_built_in_vain(bare: BareServer, copy: str) -> None:
    """It commits in pieces, and what it leaves behind is another token."""
    with bare.connect(copy) as connection:
        connection.execute("INSERT INTO app.animals VALUES (1, 'a'), (1, 'b')")
        before = read_token(connection)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY animals_id ON app.animals (id)")
        assert read_token(connection) != before


def test_another_database_and_another_start_are_another_history() -> None:
    """A copy of a database, and the same one after a restart: what was restored may have the same numbers again."""
    with BareServer(majors()[min(majors())]) as server:
        with server.connect("postgres") as connection:
            before = read_token(connection)
            assert read_token(connection) == before
        server.create("copied", template="template1")
        with server.connect("copied") as connection:
            assert read_token(connection) != before
        server.restart()
        with server.connect("postgres") as connection:
            assert read_token(connection) != before


def test_every_catalogue_of_the_facts_is_in_the_token() -> None:
    """Whatever a query of facts reads from. Two views stand for tables that few may read."""
    read = {
        name
        for file in SQL.iterdir()
        if file.name != "token.sql"
        for name in re.findall(r"\b(?:FROM|JOIN) (pg_[a-z_]+)(?!\w*\()", file.read_text())
    }
    token = SQL.joinpath("token.sql").read_text()
    counted = set(re.findall(r"count\(\*\) FROM (pg_[a-z_]+)", token))
    assert set(re.findall(r"SELECT '(pg_[a-z_]+)', xmin", token)) == counted
    assert len(read) > 35
    assert read - counted == {"pg_roles", "pg_user_mappings", "pg_database"}
