"""Settings that somebody gave a role or a database: what is said of the target, and done there, stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ehg_migrate.database.doctor import Level, examine
from ehg_migrate.database.session import lock_key
from ehg_migrate.model import Address, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.support.cli import ehg
from tests.support.postgres import CANARY, Cluster
from tests.support.project import revision, target_entry

# a function that is more than its statements, so that the run has two connections
STEPS = {
    "shared/1": revision("s1", up="CREATE TABLE s1 (n int)", label="shared"),
    "shared/2": revision("s2", "s1", up="ALTER TABLE s1 ADD COLUMN m int", up_code="import time"),
}


@pytest.fixture
def folder(make_project: MakeProject, database: Address, tmp_path: Path) -> Path:
    entry = target_entry(database, lock_timeout="300ms", queue_timeout="0s", retries=0)
    return make_project(tmp_path, {"acme": entry}, STEPS)


@contextmanager
def held(pg: Cluster, database: Address, folder: Path) -> Iterator[None]:
    """Another session has the lock of the target."""
    (target,) = Project.load(folder).fleet.targets
    with pg.connect(database.dbname) as c:
        c.execute("SELECT pg_advisory_lock(%s)", [lock_key(target)])
        yield


def set_in(pg: Cluster, database: Address, setting: str) -> None:
    """From the next session on."""
    with pg.admin() as c:
        c.execute(f"ALTER DATABASE {database.dbname} SET {setting}".encode())


# --- how moments and spans are written


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres, MDY"])
def test_dates_of_another_style_are_read(style: str, pg: Cluster, database: Address, folder: Path) -> None:
    """Though the driver reads no text but ISO: who holds the lock, and since when, and what the journal says."""
    Project.load(folder).upgrade(to=["s1"])
    set_in(pg, database, f"datestyle = '{style}'")
    with held(pg, database, folder):
        (result,) = Project.load(folder).upgrade().results
        assert result.problem is not None
        assert (result.status, result.problem.code) == (Status.REFUSED, "locked")
        (target,) = Project.load(folder).fleet.targets
        (finding,) = [f for f in examine(target, CANARY) if f.check == "lock"]
        assert finding.level is Level.WARNING
        assert "another runner is at work: backend" in finding.message
        (seen,) = ehg(folder, "locks", "--json").json["data"]
        assert seen["since"]
        broken = ehg(folder, "locks", "break", "acme", "--yes")
        assert (broken.code, f"ended backend {seen['pids'][0]}" in broken.out) == (0, True)
    (result,) = Project.load(folder).upgrade().results
    assert result.status is Status.SUCCEEDED
    history = ehg(folder, "history", "acme")
    assert [line.split()[3:6] for line in history.out.splitlines()[1:]] == [["done", "up", "s1"], ["done", "up", "s2"]]


@pytest.mark.parametrize("style", ["sql_standard", "iso_8601", "postgres_verbose"])
def test_who_is_in_the_way_is_named_whatever_spans_look_like(
    style: str, pg: Cluster, database: Address, folder: Path
) -> None:
    """With how long it has been there."""
    Project.load(folder).upgrade(to=["s1"])
    set_in(pg, database, f"intervalstyle = '{style}'")
    with pg.connect(database.dbname) as c, c.transaction():
        c.execute("LOCK TABLE s1")
        (result,) = Project.load(folder).upgrade().results
    assert result.problem is not None
    assert result.problem.code == "lock_timeout"
    assert "blocked by pid" in result.problem.message
    assert "idle in transaction for" in result.problem.message
