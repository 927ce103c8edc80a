"""What no worker does, over a line that breaks: what was committed is done, what nobody knows is not called failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.database.origin import find_origin
from ehg_migrate.database.statements import layout
from ehg_migrate.model import Address, Result, Status, Target
from ehg_migrate.project import Project
from ehg_migrate.rollout.amending import Amendment, Place, amend
from tests.conftest import MakeProject
from tests.faults.proxy import Act, Door, FaultProxy, Rule
from tests.integration.fleets import SHARED, column, entries, execute, journal, rows
from tests.support.postgres import Cluster
from tests.support.programs import wait_until

MakeDatabase = Callable[[str], Address]


@pytest.fixture
def proxy(pg: Cluster) -> Iterator[FaultProxy]:
    """Before the server."""
    with FaultProxy(pg.host, pg.port) as opened:
        yield opened


@pytest.fixture
def database(pg: Cluster, make_database: MakeDatabase) -> Address:
    """Stock Alembic has brought it to `s2`."""
    made = make_database("old")
    execute(
        pg,
        made,
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('s2')",
    )
    return made


@pytest.fixture
def adopt(proxy: FaultProxy, database: Address, make_project: MakeProject, tmp_path: Path) -> Callable[[Rule], Result]:
    """Adopts it through the proxy, to which this happens on the way."""
    address = replace(database, host=proxy.host, port=proxy.port)
    project = Project.load(make_project(tmp_path, entries({"one": address}), SHARED))

    def run(rule: Rule) -> Result:
        plan = project.plan_adoption("one")
        proxy.rules.append(rule)
        (result,) = project.run(plan).results
        assert rule.applied == 1
        return result

    return run


@pytest.mark.parametrize("act", [Act.CUT, Act.LOSE_ANSWER, Act.CUT_IN_FLIGHT])
@pytest.mark.parametrize("before", ["INSERT INTO .*migration_journal", "^COMMIT$", "pg_advisory_unlock_all"])
def test_a_line_that_breaks_once(
    act: Act, before: str, adopt: Callable[[Rule], Result], pg: Cluster, database: Address
) -> None:
    """A second look sees what was committed, and does what is missing, once."""
    result = adopt(Rule(act, match=before))
    assert (result.status, result.heads_after) == (Status.SUCCEEDED, ("s2",)), result
    assert rows(pg, database) == {"s2"}
    assert [event for event, *_ in journal(pg, database)] == ["adopted"] * 2


def test_a_line_that_stays_down(adopt: Callable[[Rule], Result], pg: Cluster, database: Address) -> None:
    """It may be done, and here it is: nobody says that it failed."""
    result = adopt(Rule(Act.LOSE_ANSWER, match="^COMMIT$", door=Door.RESET))
    assert (result.status, result.heads_after) == (Status.INDETERMINATE, ()), result
    assert rows(pg, database) == {"s2"}


@pytest.mark.parametrize(
    ("refused", "status", "held"),
    [
        ("INSERT ON ehg_migrate.migration_journal", Status.FAILED, set()),
        ("DELETE ON ehg_migrate.migration_lease", Status.INDETERMINATE, {"s2"}),
    ],
)
def test_what_fails_before_and_behind_the_commit(
    refused: str,
    status: Status,
    held: set[str],
    pg: Cluster,
    database: Address,
    make_project: MakeProject,
    tmp_path: Path,
) -> None:
    """Before it nothing is done, and the reason is told; behind it nobody says that the target holds nothing."""
    project = Project.load(make_project(tmp_path, entries({"one": database}), SHARED))
    execute(
        pg,
        database,
        layout(project.targets()[0]).as_string(None),
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not here'; END $$",
        f"CREATE TRIGGER no BEFORE {refused} FOR EACH ROW EXECUTE FUNCTION no()",
    )
    (result,) = project.adopt("one", ["s2"]).results
    assert (result.status, result.heads_after) == (status, ()), result
    assert result.problem
    assert (result.problem.code, result.problem.message) == ("statement_failed", "not here")
    assert rows(pg, database) == held


def test_whom_somebody_has_ended_does_not_come_back(
    database: Address, make_project: MakeProject, tmp_path: Path, pg: Cluster
) -> None:
    """`locks break` ends an adoption as it does any run: nothing is declared after it."""
    root = make_project(tmp_path, entries({"one": database}, one={"lock_timeout": "60s"}), SHARED)
    project = Project.load(root)
    plan = project.plan_adoption("one")
    execute(pg, database, layout(project.fleet.by_name["one"]).as_string())
    with ThreadPoolExecutor(1) as pool, pg.connect(database.dbname, autocommit=False) as other:
        other.execute("LOCK TABLE ehg_migrate.migration_journal IN EXCLUSIVE MODE")
        adopting = pool.submit(project.run, plan)
        waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'ehg_migrate.migration_journal'::regclass"
        wait_until(lambda: other.execute(waiting).fetchall(), "the adoption does not come to its entries", 60)
        Project.load(root).break_lock(Project.load(root).lock("one"))
        other.rollback()
        (result,) = adopting.result().results
    assert (result.status, result.problem and result.problem.code) == (Status.FAILED, "lock_broken")
    assert rows(pg, database) == set()


@pytest.mark.parametrize(
    ("rule", "status", "kept"),
    [
        (Rule(Act.CUT, match="INSERT INTO .*migration_journal"), Status.FAILED, False),
        (Rule(Act.LOSE_ANSWER, nth=2, match="^COMMIT$"), Status.SUCCEEDED, True),
        (Rule(Act.LOSE_ANSWER, match="pg_advisory_unlock_all"), Status.SUCCEEDED, True),
    ],
    ids=["before", "its end", "behind it"],
)
def test_rows_that_are_brought(
    rule: Rule, status: Status, kept: bool, proxy: FaultProxy, pg: Cluster, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Nobody is told to bring them again who has them: they would be there twice."""
    made = make_database("seeded")
    execute(pg, made, "CREATE SCHEMA one", "CREATE TABLE one.notes (n int)")
    address = replace(made, host=proxy.host, port=proxy.port)
    target = Target("one", address, (), schema="one", version_table_schema="ehg_migrate_one")
    place = Place(target, pg.password, "run", find_origin(tmp_path), lambda _: None)
    proxy.rules.append(replace(rule, seen={}))
    result = amend(place, Amendment("seeded", ["INSERT INTO notes VALUES (1)"], (), "rows.sql"))
    assert (proxy.rules[0].applied, result.status) == (1, status), result
    assert column(pg, made, "SELECT n FROM one.notes") == ({1} if kept else set())
