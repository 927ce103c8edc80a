"""A prepared transaction that nobody ended holds its locks without a session: who waits for it is told its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ehg_migrate.database.doctor import Finding, Level, examine
from ehg_migrate.model import Address, Status, Target
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.support.postgres import Cluster
from tests.support.project import revision, target_entry

STEPS = {
    "shared/1": revision("s1", up="CREATE TABLE s1 (n int); INSERT INTO s1 VALUES (1)", label="shared"),
    # a function that is more than its statements, so that the run has two connections
    "shared/2": revision("s2", "s1", up="UPDATE s1 SET n = 2", up_code="import time"),
}


@pytest.fixture
def database(pg_own: Cluster) -> Address:
    """Of a server that has prepared transactions, as few have by default."""
    with pg_own.admin() as c:
        c.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    pg_own.restart()
    return pg_own.create_database("acme")


@pytest.fixture
def project(make_project: MakeProject, database: Address, tmp_path: Path) -> Project:
    entry = target_entry(database, lock_timeout="300ms", retries=0)
    project = Project.load(make_project(tmp_path, {"acme": entry}, STEPS))
    project.upgrade(to=["s1"])
    return project


@pytest.fixture(params=["LOCK TABLE s1", "SELECT FROM s1 FOR UPDATE"], ids=["of_a_table", "of_a_row"])
def stuck(request: pytest.FixtureRequest, pg_own: Cluster, database: Address, project: Project) -> Iterator[str]:
    """The name of a prepared transaction that has such a lock."""
    with pg_own.connect(database.dbname) as c:
        for statement in ("BEGIN", request.param, "PREPARE TRANSACTION 'left by the shop'"):
            c.execute(statement.encode())
        yield "left by the shop"


def test_a_step_that_waits_for_it_names_it(project: Project, pg_own: Cluster, database: Address, stuck: str) -> None:
    """With what ends it: there is no pid that could be ended. Ended so, the next run is good."""
    (result,) = project.upgrade().results
    assert result.problem is not None
    assert (result.status, result.problem.code) == (Status.FAILED, "lock_timeout")
    assert f"blocked by prepared transaction {stuck} (postgres, for " in result.problem.message
    assert "its owner ends it with COMMIT PREPARED or ROLLBACK PREPARED" in result.problem.message
    with pg_own.connect(database.dbname) as c:
        c.execute(f"ROLLBACK PREPARED '{stuck}'".encode())
    (result,) = project.upgrade().results
    assert result.status is Status.SUCCEEDED


def test_doctor_names_it(pg_own: Cluster, database: Address, stuck: str) -> None:
    """As any transaction that stays open; another database's is none of this target's."""
    target = Target("acme", database, ("shared",))

    def look() -> Finding:
        findings = {f.check: f for f in examine(target, pg_own.password, long_transaction=0.0)}
        return findings["long_transactions"]

    found = look()
    assert found.level is Level.WARNING
    assert found.message.startswith(f"prepared transaction {stuck} of `postgres`: for ")
    assert "COMMIT PREPARED or ROLLBACK PREPARED" in found.hint
    assert "pg_terminate_backend" not in found.hint
    elsewhere = pg_own.create_database("beta")
    target = Target("beta", elsewhere, ("shared",))
    assert look().level is Level.OK
