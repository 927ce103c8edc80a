"""Adopting over a line that breaks: what was committed is done, and what nobody knows is not called failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.model import Address, Result, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.faults.proxy import Act, Door, FaultProxy, Rule
from tests.integration.fleets import SHARED, entries, execute, journal, rows
from tests.support.postgres import Cluster

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
