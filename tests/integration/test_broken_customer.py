"""One customer's database stands in a step's way, as the others do not: what is said of it leads out of the trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ehg_migrate.model import Address, Result, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.integration.fleets import entries, execute, rows
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision

MakeDatabase = Callable[[str], Address]

FIRST = revision(
    "s1",
    up="CREATE TABLE users (id int PRIMARY KEY, email text, ref int); CREATE TYPE mood AS ENUM ('ok')",
    label="shared",
)


@dataclass(frozen=True)
class Way:
    """What stands in the way of a step, and what takes it away."""

    hand: str
    step: str
    code: str
    hint: str
    mend: str = ""


WAYS = {
    "rows_without_a_value": Way(
        "INSERT INTO users VALUES (1, NULL)",
        "ALTER TABLE users ALTER email SET NOT NULL",
        "statement_failed",
        "rows of this target are in the way: correct them",
        "DELETE FROM users",
    ),
    "rows_twice": Way(
        "INSERT INTO users VALUES (1, 'x'), (2, 'x')",
        "CREATE UNIQUE INDEX ON users (email)",
        "statement_failed",
        "rows of this target are in the way: correct them",
        "DELETE FROM users WHERE id = 2",
    ),
    "rows_that_refer_to_nothing": Way(
        "INSERT INTO users VALUES (1, 'x', 7)",
        "ALTER TABLE users ADD FOREIGN KEY (ref) REFERENCES users",
        "statement_failed",
        "rows of this target are in the way: correct them",
        "UPDATE users SET ref = 1",
    ),
    "rows_against_a_check": Way(
        "INSERT INTO users VALUES (1, 'x', -7)",
        "ALTER TABLE users ADD CHECK (ref > 0)",
        "statement_failed",
        "rows of this target are in the way: correct them",
        "UPDATE users SET ref = 1",
    ),
    "gone": Way(
        "ALTER TABLE users DROP ref",
        "CREATE INDEX ON users (ref)",
        "statement_failed",
        "was it taken away here by hand",
        "ALTER TABLE users ADD ref int",
    ),
    "depended_on": Way(
        "CREATE VIEW own AS SELECT ref FROM users",
        "ALTER TABLE users DROP ref",
        "statement_failed",
        "made by hand (`ehg-migrate drift -t TARGET` tells)? take that away here",
        "DROP VIEW own",
    ),
    "column": Way("ALTER TABLE users ADD b int", "ALTER TABLE users ADD b int", "exists_already", "stamp s2`"),
    "value": Way("ALTER TYPE mood ADD VALUE 'b'", "ALTER TYPE mood ADD VALUE 'b'", "exists_already", "stamp s2`"),
    "schema": Way("CREATE SCHEMA more", "CREATE SCHEMA more", "exists_already", "stamp s2`"),
    "function": Way(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
        "exists_already",
        "stamp s2`",
    ),
}


@pytest.fixture
def project(make_project: MakeProject, database: Address, tmp_path: Path) -> Project:
    """One target, `one`, that holds s1."""
    project = Project.load(make_project(tmp_path, entries({"one": database}), {"shared/1": FIRST}))
    project.upgrade()
    return project


def upgraded(project: Project) -> Result:
    """By the files as they are now."""
    (result,) = Project.load(project.settings.root).upgrade().results
    return result


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_stands_in_the_way_is_named_and_not_laid_to_the_file(
    way: Way, project: Project, pg: Cluster, database: Address
) -> None:
    """Others have applied that file, and edited it is another; the hint is followed, and the next run is good."""
    execute(pg, database, way.hand)
    add_revision(project.settings.root, "shared/2", revision("s2", "s1", up=way.step))
    failed = upgraded(project)
    assert failed.problem is not None
    assert (failed.status, failed.problem.code, failed.heads_after) == (Status.FAILED, way.code, ("s1",))
    assert way.hint in failed.problem.hint
    assert "drop it" not in failed.problem.hint
    if way.mend:
        execute(pg, database, way.mend)
        assert upgraded(project).status is Status.SUCCEEDED
    else:
        compare, stamp = (p.replace("TARGET", "one").split()[1:] for p in failed.problem.hint.split("`")[3::2])
        assert ehg(project.settings.root, *compare, "--exit-code").code == 0
        assert ehg(project.settings.root, *stamp, program=ALEMBIC).code == 0
        assert upgraded(project).status is Status.UP_TO_DATE
    assert rows(pg, database) == {"s2"}
