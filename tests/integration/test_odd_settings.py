"""Settings that somebody gave a role or a database: what is said of the target, and done there, stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ehg_migrate.database.doctor import Level, examine
from ehg_migrate.database.session import lock_key
from ehg_migrate.model import Address, StateKind, Status
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
        c.execute(f"ALTER ROLE {database.user} IN DATABASE {database.dbname} SET {setting}".encode())


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


# --- where what is made lands


@pytest.mark.parametrize("code", ["", "import time"], ids=["one session", "two sessions"])
def test_nothing_is_made_that_goes_with_the_session(
    code: str, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """A path with `pg_temp` in front makes tables temporary: every step was done, and nothing of it was left."""
    entry = target_entry(database)
    steps = {"shared/1": revision("s1", up="CREATE TABLE s1 (n int)", up_code=code, label="shared")}
    folder = make_project(tmp_path, {"acme": entry}, steps)
    set_in(pg, database, "search_path = pg_temp, public")
    (target,) = Project.load(folder).fleet.targets
    (finding,) = [f for f in examine(target, CANARY) if f.check == "privileges"]
    assert finding.level is Level.ERROR
    assert "temporary" in finding.message
    (result,) = Project.load(folder).upgrade().results
    assert result.problem is not None
    assert (result.status, result.problem.code, result.heads_after) == (Status.REFUSED, "temporary", ())
    set_in(pg, database, "search_path = public, pg_temp")
    (result,) = Project.load(folder).upgrade().results
    assert result.status is Status.SUCCEEDED, result.problem
    with pg.connect(database.dbname) as c:
        assert c.execute("SELECT to_regclass('public.s1') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize("code", ["", "import time"], ids=["one session", "two sessions"])
def test_nothing_is_made_among_our_own_tables(
    code: str, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """Who wants to read the journal may put our schema first; what revisions made there, no drift would ever tell."""
    steps = {"shared/1": revision("s1", up="CREATE TABLE s1 (n int)", up_code=code, label="shared")}
    folder = make_project(tmp_path, {"acme": target_entry(database)}, steps)
    set_in(pg, database, "search_path = ehg_migrate, public")
    (result,) = Project.load(folder).upgrade().results
    assert result.problem is not None
    assert (result.status, result.problem.code, result.heads_after) == (Status.REFUSED, "home_is_ours", ())
    with pg.connect(database.dbname) as c:
        c.execute("CREATE SCHEMA IF NOT EXISTS ehg_migrate")
    (target,) = Project.load(folder).fleet.targets
    (finding,) = [f for f in examine(target, CANARY) if f.check == "privileges"]
    assert (finding.level, "lands in ours" in finding.message) == (Level.ERROR, True)
    set_in(pg, database, "search_path = public, ehg_migrate")
    (result,) = Project.load(folder).upgrade().results
    assert result.status is Status.SUCCEEDED, result.problem
    with pg.connect(database.dbname) as c:
        assert c.execute("SELECT to_regclass('public.s1') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize("path", ["''", '"$user"', "gone"])
def test_a_path_that_leads_nowhere_is_named(path: str, pg: Cluster, database: Address, folder: Path) -> None:
    """Else somebody would look for what is missing, or correct the revision."""
    set_in(pg, database, f"search_path = {path}")
    (result,) = Project.load(folder).upgrade().results
    assert result.problem is not None
    assert (result.status, result.problem.sqlstate) == (Status.FAILED, "3F000")
    assert "`search_path` of this role or database" in result.problem.hint


# --- what ends a session


def test_a_session_that_an_error_ends_tells_why(pg: Cluster, database: Address, folder: Path) -> None:
    """A database without our tables answers with an error, which is expected; with `exit_on_error` it is the last."""
    set_in(pg, database, "exit_on_error = on")
    (state,) = Project.load(folder).status()
    assert state.problem is not None
    assert (state.kind, "exit_on_error" in state.problem.hint) == (StateKind.UNREACHABLE, True)
    (drift,) = ehg(folder, "drift", "--json").json["data"]
    assert "exit_on_error" in drift["problem"]["hint"]
    set_in(pg, database, "exit_on_error = off")
    assert ehg(folder, "drift").code == 0, "nothing of ours is there, which is no error"
    (result,) = Project.load(folder).upgrade().results
    assert result.status is Status.SUCCEEDED, result.problem


# --- what a commit is worth


@pytest.mark.parametrize("code", ["", "import time"], ids=["one session", "two sessions"])
@pytest.mark.parametrize(("given", "has"), [("off", "local"), ("remote_apply", "remote_apply")])
def test_a_step_that_is_done_is_on_disk(
    code: str, given: str, has: str, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """With `off` a server that crashes forgets what it has said to be committed; what standbys must have is theirs."""
    asked = "CREATE TABLE {} AS SELECT current_setting('synchronous_commit') AS value"
    steps = {"shared/1": revision("s1", up=asked.format("s1"), up_code=code, label="shared")}
    steps["shared/2"] = revision("s2", "s1", up=asked.format("s2"), up_code=code)
    folder = make_project(tmp_path, {"acme": target_entry(database)}, steps)
    set_in(pg, database, f"synchronous_commit = {given}")
    (result,) = Project.load(folder).upgrade().results
    assert result.status is Status.SUCCEEDED, result.problem
    with pg.connect(database.dbname) as c:
        assert c.execute("TABLE s1 UNION ALL TABLE s2").fetchall() == [(has,)] * 2
