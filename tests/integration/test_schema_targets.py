"""What looks at targets and writes for them, where those are schemas of one database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ehg_migrate.errors import TargetError, UsageError
from ehg_migrate.model import Address, StateKind, Status
from ehg_migrate.project import Project
from tests.acceptance.test_drift import scratch_url
from tests.integration.fleets import column, execute, statuses
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import Cluster
from tests.support.project import revision, target_entry, write_project
from tests.support.running import code_of, result_of

UP = """
CREATE TABLE notes (id int PRIMARY KEY, body text);
CREATE FUNCTION count_notes() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM notes';
ALTER FUNCTION count_notes() SET search_path FROM CURRENT;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO anon', current_schema()); END $$;
"""
BACK = """
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM anon', current_schema()); END $$;
DROP FUNCTION count_notes(); DROP TABLE notes;
"""


BY_HAND = """
ALTER TABLE "Odd One".notes ADD title text;
CREATE VIEW "Odd One".titles AS SELECT title FROM "Odd One".notes;
CREATE FUNCTION "Odd One".f() RETURNS int LANGUAGE sql SET search_path = "Odd One" AS 'SELECT 1';
GRANT USAGE ON SCHEMA "Odd One" TO pg_monitor;
"""


@dataclass(frozen=True)
class World:
    """Three schemas at the same heads; `Odd One` has been changed by hand."""

    folder: Path
    address: Address

    def load(self) -> Project:
        """The project as its files are now."""
        return Project.load(self.folder)


@pytest.fixture(scope="module")
def world(
    make_module_database: Callable[[str], Address], pg: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """As it says."""
    address = make_module_database("looking")
    schemas = {"dev": "dev", "odd": "Odd One", "main": "public"}
    targets = {name: target_entry(address, schema=schema, protected=name == "main") for name, schema in schemas.items()}
    revisions = {"shared/s1": revision("s1", up=UP, down_sql=BACK, label="shared")}
    world = World(write_project(tmp_path_factory.mktemp("looking"), targets, revisions), address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EHG_TEST_PASSWORD", pg.password)
        patch.setenv("EHG_SCRATCH_URL", scratch_url(pg))
        execute(pg, address, "CREATE SCHEMA dev", 'CREATE SCHEMA "Odd One"')
        run = world.load().upgrade(confirmed=["main"])
        assert set(statuses(run).values()) == {Status.SUCCEEDED}
        execute(pg, address, BY_HAND)
        yield world


def test_looking(world: World) -> None:
    """Drift, clusters, snapshots and dumps are about the one schema; its name makes no difference between two."""
    project = world.load()
    found = {d.target: {f"{x.change.value} {x.kind} {x.identity}" for x in d.differences} for d in project.drift()}
    assert found["dev"] == found["main"] == set()
    assert found["odd"] == {
        "extra column $schema.notes.title",
        "extra column $schema.titles.title",
        "extra view $schema.titles",
        "extra function $schema.f()",
        "changed schema $schema",
    }
    assert [f for f in project.doctor(["odd"]) if f.level == "error"] == []
    names = [c.targets for c in project.clusters(["dev", "odd"]).clusters]
    assert sorted(names) == [("dev",), ("odd",)]
    snapshot = project.snapshot("odd")
    assert snapshot.scope.only == ("Odd One",)
    assert ("view", "$schema.titles") in snapshot.catalog.by_name
    assert 'CREATE VIEW "Odd One".titles' in project.dump("odd")
    assert "dev" not in project.dump("odd")
    assert {d.identity for d in project.compare("dev", "odd").differences} == {i.split(" ", 2)[2] for i in found["odd"]}


def test_a_revision_from_the_drift_of_a_schema(world: World, pg: Cluster) -> None:
    """It names no schema, is proven in that form, and makes in another schema what was changed by hand in the first."""
    path, carried = world.load().new_revision_from_drift("odd", "shared", "titles")
    try:
        assert carried.proven
        text = path.read_text()
        assert "Odd One" not in text
        assert statuses(world.load().upgrade(["dev"])) == {"dev": Status.SUCCEEDED}
        assert world.load().compare("dev", "odd").differences == ()
        (case,) = world.load().rehearse(["main"])
        assert case.good
        assert statuses(world.load().downgrade("dev", ["s1"])) == {"dev": Status.SUCCEEDED}
        (drift,) = world.load().drift(["dev"])
        assert drift.differences == ()
    finally:
        path.unlink()


def test_a_script(world: World) -> None:
    """Each schema has one of its own, which begins with its path."""
    path = world.folder / "versions" / "shared" / "s2.py"
    path.write_text(revision("s2", "s1", up="CREATE TABLE more (n int)"))
    try:
        project = world.load()
        scripts = list(project.sql(project.plan()))
    finally:
        path.unlink()
    paths = [
        'SET search_path = "dev", "extensions";',
        'SET search_path = "Odd One", "extensions";',
        'SET search_path = "public", "extensions";',
    ]
    assert [next(line for line in s.splitlines() if line.startswith("SET")) for s in scripts] == paths


def test_protected(world: World, pg: Cluster) -> None:
    """Nothing changes it unless its name is confirmed: not Python, not stock Alembic; the others go on."""
    path = world.folder / "versions" / "shared" / "s2.py"
    path.write_text(revision("s2", "s1", up="CREATE TABLE more (n int)", down_sql="DROP TABLE more"))
    try:
        project = world.load()
        plan = project.plan(["dev", "main"])
        assert project.protected(plan) == ("main",)
        run = project.run(plan)
        assert {r.target: code_of(r) for r in run.results} == {"dev": "", "main": "protected"}
        done = ehg(world.folder, "-x", "target=dev,main", "upgrade", "heads", program=ALEMBIC)
        assert done.code == 255
        assert "main: failed" in done.err
        assert "`main` is protected" in done.err
        unasked = ehg(world.folder, "upgrade", "-t", "main")
        assert unasked.code == 4, unasked.err
        assert "`main` is protected: nothing changes it but a person" in unasked.err
        assert "--yes" not in unasked.err.replace("`--yes` does not answer that", "")
        near = project.run(project.plan("main"), confirmed="remain")  # a word is not what it has in it
        assert statuses(near) == {"main": Status.REFUSED}
        (world.folder / "rows.sql").write_text("SELECT 1")
        near = project.seed("main", world.folder / "rows.sql", confirmed="remain")
        assert code_of(result_of(near, "main")) == "protected"
        again = project.run(project.plan("main"), confirmed="main")
        assert statuses(again) == {"main": Status.SUCCEEDED}
        back = ehg(world.folder, "-x", "target=dev", "downgrade", "s1", program=ALEMBIC)
        assert back.code == 0, back.err
        assert column(pg, world.address, "SELECT schemaname FROM pg_tables WHERE tablename = 'more'") == {"public"}
        refused = result_of(project.downgrade("main", ["s1"]), "main")
        assert (refused.status, code_of(refused), refused.heads_after) == (Status.REFUSED, "protected", ("s2",))
        assert statuses(project.downgrade("main", ["s1"], confirmed=["main"])) == {"main": Status.SUCCEEDED}
    finally:
        path.unlink()


def test_what_is_no_pair(world: World) -> None:
    """A schema is not brought to itself, and a run of the schema manager is not resumed."""
    project = world.load()
    with pytest.raises(UsageError, match="is itself"):
        project.plan_sync("dev", "dev")
    run = project.create_schema("dev")
    assert code_of(run.results[0]) == "schema_exists"
    with pytest.raises(UsageError, match="one of `schema create`"):
        project.plan_resume(run.id)


def test_locally(world: World) -> None:
    """Schemas of one database are made in one local database, and nothing is protected there."""
    with Project.load(world.folder, local=True) as project:
        assert set(statuses(project.upgrade()).values()) == {Status.SUCCEEDED}
        assert len({project.local_address(n).dbname for n in ("dev", "odd", "main")}) == 1
        assert {s.kind for s in project.status()} == {StateKind.UP_TO_DATE}


def test_what_separates_two_schemas_behind_their_revisions(
    make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run has moved one of both since: its revision is not brought as SQL, which no version row would tell."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    address = make_database("moving")
    execute(pg, address, "CREATE SCHEMA dev", "CREATE SCHEMA qa")
    targets = {name: target_entry(address, schema=name) for name in ("dev", "qa")}
    project = Project.load(
        write_project(tmp_path, targets, {"shared/s1": revision("s1", up="CREATE TABLE s1 (n int)", label="shared")})
    )
    assert statuses(project.upgrade(["dev"])) == {"dev": Status.SUCCEEDED}
    for source, target in (("dev", "qa"), ("qa", "dev")):
        with pytest.raises(TargetError, match="`s1` separates them") as raised:
            project.amends(source, target)
        assert raised.value.problem.code == "moved"
