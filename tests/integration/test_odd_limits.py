"""Limits and modes of transactions that somebody gave a role or a database: they end nobody, and nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from ehg_migrate.database.faults import connect_fault, look_fault, run_fault
from ehg_migrate.database.sizes import read_sizes
from ehg_migrate.errors import Problem
from ehg_migrate.model import Address, Status
from ehg_migrate.project import Project
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.scope import Scope
from tests.conftest import MakeProject
from tests.integration.test_odd_settings import STEPS, set_in
from tests.support.bare import BareServer, majors
from tests.support.cli import ehg
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import wait_until
from tests.support.project import revision, target_entry, write_project


@pytest.fixture
def folder(make_project: MakeProject, database: Address, tmp_path: Path) -> Path:
    return make_project(tmp_path, {"acme": target_entry(database)}, STEPS)


def test_no_look_waits_for_who_writes(pg: Cluster, database: Address, folder: Path) -> None:
    """One that is serializable, deferrable and read-only waits until nobody does so in a serializable transaction."""
    Project.load(folder).upgrade()
    set_in(pg, database, "default_transaction_isolation = serializable")
    set_in(pg, database, "default_transaction_deferrable = on")
    (target,) = Project.load(folder).fleet.targets
    with pg.connect(database.dbname, autocommit=False) as writer, ThreadPoolExecutor(3) as beside:
        writer.execute("INSERT INTO s1 SELECT count(*) FROM s1")
        drift = beside.submit(ehg, folder, "drift", "--full", "--exit-code")
        clusters = beside.submit(ehg, folder, "clusters")
        sizes = beside.submit(read_sizes, [target], {"acme": CANARY}, 1, {"acme": ["public.s1"]})
        try:
            wait_until(lambda: all(look.done() for look in (drift, clusters, sizes)), "all have looked", 60)
        finally:
            writer.rollback()
    assert (drift.result().code, clusters.result().code) == (0, 0), (drift.result(), clusters.result())
    assert not isinstance(sizes.result()["acme"], Problem)


def test_a_session_that_was_idle_for_too_long_tells_why(pg: Cluster, database: Address) -> None:
    """Before it can put the role's limit aside; and whoever only looks at a schema has lost a connection too."""
    set_in(pg, database, "idle_session_timeout = '100ms'")
    with pg.connect(database.dbname) as c, pg.admin() as other:
        there = ("SELECT FROM pg_stat_activity WHERE pid = %s", (c.info.backend_pid,))
        wait_until(lambda: other.execute(*there).fetchone() is None, "the server ends it")
        with pytest.raises(psycopg.OperationalError) as ended:
            c.execute("SELECT 1")
    assert "idle_session_timeout" in connect_fault(ended.value).problem.hint
    assert "idle_session_timeout" in run_fault(ended.value, lost=True).problem.hint
    assert look_fault(ended.value) == run_fault(ended.value, lost=True).problem
    assert look_fault(psycopg.OperationalError("server closed the connection")).code == "connection_lost"


# the run has two connections, or one
_SLOW = "SELECT pg_sleep(0.7); ALTER TABLE s1 ADD COLUMN m int"
_ENDS = {
    "two": revision("s2", "s1", up=_SLOW, up_code="import time"),
    "one": revision("s2", "s1", up=_SLOW),
    "by itself": revision("s2", "s1", up="SET LOCAL transaction_timeout = '200ms'; " + _SLOW),
}


@pytest.fixture
def admin() -> Iterator[psycopg.Connection]:
    """Of the database `postgres` of a PostgreSQL 18: since 17 there is a `transaction_timeout`."""
    with BareServer(majors()[18]) as server, server.connect("postgres") as c:
        yield c


@pytest.mark.parametrize("sessions", ["one", "two"])
@pytest.mark.parametrize("limit", ["transaction_timeout", "idle_session_timeout"])
def test_no_limit_of_the_database_ends_a_step(
    limit: str, sessions: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """They are put aside as its `statement_timeout` is, in the transaction too that has begun with them."""
    admin.execute(f"ALTER DATABASE postgres SET {limit} = '300ms'".encode())
    (result,) = _slow(admin, _ENDS[sessions], tmp_path).upgrade().results
    assert result.status is Status.SUCCEEDED, result.problem
    assert admin.execute("SELECT event FROM ehg_migrate.migration_journal").fetchall() == [("done",)] * 2
    assert _ended(admin) == 0


def test_no_limit_of_the_database_ends_a_look(admin: psycopg.Connection) -> None:
    """A large schema takes longer to read than any statement of an application; here it waits for a view's table."""
    admin.execute("CREATE TABLE held (n int); CREATE VIEW seen AS SELECT n FROM held")
    with ThreadPoolExecutor(1) as beside, _another(admin) as holder:
        admin.execute("ALTER DATABASE postgres SET transaction_timeout = '300ms'")
        with holder.transaction():
            holder.execute("LOCK TABLE held")
            looking = beside.submit(_look, admin)
            wait_until(lambda: looking.done() or admin.execute(_WAITS).fetchone() is not None, "it waits for long")
        assert ("view", "public.seen") in looking.result().by_name


_WAITS = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND xact_start < now() - interval '0.5 s'"


def _look(admin: psycopg.Connection) -> Catalog:
    with _another(admin) as c:
        return read_catalog(c, Scope())


def _another(admin: psycopg.Connection) -> psycopg.Connection:
    return psycopg.connect(host=admin.info.host, user="postgres", dbname="postgres", options="", autocommit=True)


def test_a_limit_that_a_step_has_set_is_named_and_not_tried_again(admin: psycopg.Connection, tmp_path: Path) -> None:
    """It would end it again, and the server's log says no more."""
    (result,) = _slow(admin, _ENDS["by itself"], tmp_path).upgrade().results
    assert result.problem is not None
    assert (result.status, result.problem.code) == (Status.FAILED, "statement_timeout")
    assert "`transaction_timeout`" in result.problem.hint
    assert _ended(admin) == 1


def _ended(admin: psycopg.Connection) -> int:
    """Sessions of the database that the server has ended."""
    row = admin.execute("SELECT sessions_fatal FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return int(row[0]) if row else -1


def _slow(admin: psycopg.Connection, second: str, folder: Path) -> Project:
    entry = {"url": f"postgresql://postgres@/postgres?host={admin.info.host}"}
    return Project.load(write_project(folder, {"acme": entry}, {**STEPS, "shared/2": second}))
