"""A catalogue through a transaction pooler: one message, one transaction, nothing left on the server's connection."""

from __future__ import annotations

from ehg_migrate.model import Address
from ehg_migrate.schema.catalog import read_catalog, read_fingerprint
from ehg_migrate.schema.scope import Scope
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster


def test_through_a_transaction_pooler(pg: Cluster, bouncer_transaction: PgBouncer, database: Address) -> None:
    """The same facts as by a direct connection, and the settings do not reach the pooler's next client."""
    with pg.connect(database.dbname) as direct:
        direct.execute("CREATE TABLE public.notes (id integer PRIMARY KEY, kind varchar CHECK (kind IN ('a', 'b')))")
        expected = read_catalog(direct, Scope())
    with (
        bouncer_transaction.connect(database.dbname) as pooled,
        bouncer_transaction.connect(database.dbname) as next_one,
    ):
        before = next_one.execute("SHOW search_path").fetchone()
        assert read_catalog(pooled, Scope()).facts == expected.facts
        assert read_fingerprint(pooled, Scope()) == expected.fingerprint
        assert next_one.execute("SHOW search_path").fetchone() == before


def test_one_message(pg: Cluster, database: Address) -> None:
    """The server gets all statements of a reading in one message: it logs them as one text."""
    marker = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
    with pg.connect(database.dbname) as connection, pg.connect(database.dbname) as watching:
        read_fingerprint(connection, Scope())
        seen = watching.execute(
            "SELECT query FROM pg_stat_activity WHERE pid = %s", [connection.info.backend_pid]
        ).fetchone()
    assert seen is not None
    assert seen[0].startswith(marker)
    assert "SET LOCAL search_path" in seen[0]
