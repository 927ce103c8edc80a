"""A target whose entry got another `schema`, or whose schema another name: where its record is, and where it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ehg_migrate.model import Address, StateKind, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.integration.fleets import SHARED, column, entries, execute, statuses
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import Cluster

TABLES = "SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
TABLES += "WHERE relname IN ('s1', 's2', 's3') AND relkind = 'r'"


@pytest.mark.parametrize(
    ("before", "after", "by_hand"),
    [
        ("", "public", ()),
        ("public", "", ()),
        ("dev", "stage", ("ALTER SCHEMA dev RENAME TO stage",)),
    ],
)
def test_what_is_applied_there_is_not_done_again(
    before: str,
    after: str,
    by_hand: tuple[str, ...],
    make_project: MakeProject,
    tmp_path: Path,
    database: Address,
    pg: Cluster,
) -> None:
    """The record is found, and the statement of the hint takes it along, so that the run before can be taken back."""
    execute(pg, database, "CREATE SCHEMA dev")
    run = called(make_project, tmp_path, database, before).upgrade()
    assert statuses(run) == {"acme": Status.SUCCEEDED}
    execute(pg, database, *by_hand)
    there = column(pg, database, TABLES)

    project = called(make_project, tmp_path, database, after)
    (state,) = project.status()
    assert state.problem is not None
    assert (state.kind, state.problem.code) == (StateKind.NOT_ADOPTED, "not_adopted")
    assert "`s3` and what is below is applied" in state.problem.message
    assert statuses(project.upgrade()) == {"acme": Status.REFUSED}
    stock = ehg(tmp_path, "-x", "target=acme", "upgrade", "heads", program=ALEMBIC)
    assert (stock.code, "what is below is applied" in stock.everything) == (255, True)
    assert column(pg, database, TABLES) == there

    moving = re.search(r"ALTER SCHEMA \S+ RENAME TO [^;]+", state.problem.hint)
    assert moving is not None
    execute(pg, database, moving[0])
    assert project.status()[0].kind is StateKind.UP_TO_DATE
    assert statuses(project.rollback(run.id)) == {"acme": Status.SUCCEEDED}
    assert column(pg, database, TABLES) == set()


def test_a_record_that_is_not_the_targets(
    make_project: MakeProject, tmp_path: Path, database: Address, pg: Cluster
) -> None:
    """Whoever says so, as the hint has it, begins anew."""
    called(make_project, tmp_path, database, "").upgrade()
    project = called(make_project, tmp_path, database, "public")
    assert statuses(project.adopt("acme", ["base"])) == {"acme": Status.SUCCEEDED}
    assert (project.status()[0].kind, project.status()[0].heads) == (StateKind.PENDING, ())


@pytest.mark.parametrize("neighbour", ["dev", "Odd One"])
def test_a_neighbours_record_says_nothing_of_another_schema(
    neighbour: str, make_project: MakeProject, tmp_path: Path, database: Address, pg: Cluster
) -> None:
    """Nor does that of a schema which was dropped, where the target's own is empty."""
    execute(pg, database, f'CREATE SCHEMA "{neighbour}"', "CREATE SCHEMA qa", "CREATE TABLE qa.other (id int)")
    called(make_project, tmp_path, database, neighbour).upgrade()
    assert called(make_project, tmp_path, database, "qa").status()[0].kind is StateKind.PENDING
    execute(pg, database, f'DROP SCHEMA "{neighbour}" CASCADE', "DROP TABLE qa.other")
    project = called(make_project, tmp_path, database, "qa")
    assert project.status()[0].kind is StateKind.PENDING
    assert statuses(project.upgrade()) == {"acme": Status.SUCCEEDED}


def called(make_project: MakeProject, root: Path, database: Address, schema: str) -> Project:
    """The project whose only target is this schema of its database from now on, or all of it."""
    more = {"schema": schema} if schema else {}
    return Project.load(make_project(root, entries({"acme": database}, acme=more), SHARED))
