"""An address that leads to another database in the middle of a run: after a failover, or where a pooler was turned."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehg_migrate.model import Address, Status
from ehg_migrate.project import Project
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Gate, code_of, make_fleet, result_of, step
from tests.support.wire import CountingProxy


@pytest.fixture
def there(pg: Cluster, pg_second: Cluster, database: Address) -> Address:
    """The database of the same name on another server."""
    return pg_second.create_database(database.dbname)


@pytest.mark.parametrize("state", ["empty", "of the same heads"])
def test_nothing_more_is_done_where_nothing_of_the_run_is(
    state: str,
    pg: Cluster,
    pg_second: Cluster,
    database: Address,
    there: Address,
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It went on there from what it found: all steps again, or the rest of them, and the target was said to be good."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    steps = {
        "shared/1": step("s1", label="shared"),
        "shared/2": step("s2", "s1", gate.code),
        "shared/3": step("s3", "s2"),
    }
    with CountingProxy(pg.host, pg.port) as proxy:
        address = Address(proxy.host, proxy.port, database.user, database.dbname, "disable")
        fleet = make_fleet(pg, tmp_path / "project", {"acme": address}, steps)
        if state != "empty":
            proxy.upstream = (pg_second.host, pg_second.port)
            Project.load(tmp_path / "project").upgrade(to=["s1"])
            proxy.upstream = (pg.host, pg.port)
        future = fleet.background(lambda: fleet.upgrade("acme"))
        assert gate.pid
        proxy.upstream = (pg_second.host, pg_second.port)
        _end_all(pg, database)
        gate.open()
        result = result_of(future.result(60), "acme")
    assert (result.status, code_of(result)) == (Status.INDETERMINATE, "another_database")
    assert ([s.revision for s in result.steps], result.not_done) == (["s1"], ("s2", "s3"))
    with pg_second.connect(there.dbname) as c:
        made = c.execute("SELECT relname::text FROM pg_class WHERE relname IN ('s1', 's2', 's3', 'migration_journal')")
        assert {row[0] for row in made} == (set() if state == "empty" else {"s1", "migration_journal"})


def _end_all(pg: Cluster, database: Address) -> None:
    with pg.admin(database.dbname) as c:
        c.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_server_that_comes_back_is_gone_on_with(
    pg: Cluster, database: Address, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run has committed is in its journal: it is the same database."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    steps = {"shared/1": step("s1", label="shared"), "shared/2": step("s2", "s1", gate.code)}
    fleet = make_fleet(pg, tmp_path / "project", {"acme": database}, steps)
    future = fleet.background(lambda: fleet.upgrade("acme"))
    assert gate.pid
    _end_all(pg, database)
    gate.open()
    result = result_of(future.result(60), "acme")
    assert (result.status, [s.revision for s in result.steps]) == (Status.SUCCEEDED, ["s1", "s2"])
    fleet.check("acme", holds=["s1", "s2"])
