"""A schema that was seen to differ, and what comes before anybody has looked at it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehg_migrate.model import Address, Status
from ehg_migrate.project import Project
from tests.acceptance.test_drift import scratch_url
from tests.conftest import MakeProject
from tests.integration.fleets import SHARED, entries, execute, statuses
from tests.support.cli import ehg
from tests.support.postgres import Cluster


@pytest.fixture
def folder(
    make_project: MakeProject, tmp_path: Path, database: Address, pg: Cluster, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project whose only target, the schema `dev`, was changed by hand, as its last run has seen; s3 is pending."""
    monkeypatch.setenv("EHG_SCRATCH_URL", scratch_url(pg))
    execute(pg, database, "CREATE SCHEMA dev")
    made = make_project(tmp_path, entries({"dev": database}, dev={"schema": "dev"}), SHARED)
    assert statuses(Project.load(made).upgrade(to=["s1"])) == {"dev": Status.SUCCEEDED}
    execute(pg, database, "ALTER TABLE dev.s1 ADD by_hand int")
    run = Project.load(made).upgrade(to=["s2"], verify="always")
    assert statuses(run) == {"dev": Status.SCHEMA_DIFFERS}
    return made


def noted(folder: Path) -> bool:
    """Whether `status` tells of it."""
    (state,) = Project.load(folder).status()
    return "differed_before" in [n.code for n in state.notes]


def test_rows_from_a_file_are_no_look(folder: Path, database: Address, pg: Cluster) -> None:
    """They are brought, which is said, and the target is not called good for it, by no later command either."""
    (folder / "rows.sql").write_text("INSERT INTO s2 VALUES (1)")
    said = ehg(folder, "schema", "seed", "dev", "rows.sql", "--yes")
    assert (said.code, "1 schema_differs (dev)" in said.out) == (1, True)
    assert "the file was run, and is kept; but run `" in said.err
    with pg.connect(database.dbname) as c:
        assert c.execute("SELECT count(*) FROM dev.s2").fetchone() == (1,)
    assert noted(folder)
    assert statuses(Project.load(folder).upgrade(to=["s2"])) == {"dev": Status.SCHEMA_DIFFERS}

    execute(pg, database, "ALTER TABLE dev.s1 DROP by_hand")
    assert statuses(Project.load(folder).upgrade(to=["s2"], verify="always")) == {"dev": Status.UP_TO_DATE}
    (folder / "rows.sql").write_text("INSERT INTO s2 VALUES (2)")
    assert ehg(folder, "schema", "seed", "dev", "rows.sql", "--yes").code == 0
    assert not noted(folder)


def test_a_run_that_failed_is_no_look(folder: Path, database: Address, pg: Cluster) -> None:
    """`status` tells of the doubt although the last word on the target is another bad one."""
    execute(pg, database, "CREATE TABLE dev.s3 (in_the_way int)")
    assert statuses(Project.load(folder).upgrade()) == {"dev": Status.FAILED}
    assert noted(folder)
