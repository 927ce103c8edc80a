"""A program that works with a project through Python: what it does to itself never reaches a target or the ledger."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, RunStatus, StateKind
from ehg_migrate.project import Project
from ehg_migrate.rollout.jobs import Event, EventKind
from tests.conftest import MakeProject
from tests.integration.fleets import entries
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision


@pytest.fixture
def project(tmp_path: Path, database: Address, make_project: MakeProject) -> Project:
    """One target with one revision to be made."""
    made = make_project(
        tmp_path / "p", entries({"a": database}), {"shared/1": revision("s1", up="SELECT 1", label="shared")}
    )
    return Project.load(made)


def test_a_process_that_may_start_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of `multiprocessing.Pool` is told so before anything is begun, and may look at targets."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(UsageError) as refused:
        project.upgrade()
    assert refused.value.problems[0].code == "daemonic_process"
    assert project.runs() == ()
    assert [s.kind for s in project.status()] == [StateKind.PENDING]


def test_a_listener_that_raises(project: Project) -> None:
    """The run is told of as it is, with a note."""

    def raising(text: str) -> None:
        raise ValueError("nobody is there")

    run = project.upgrade(notice=raising, verify="always", lint="off")
    assert run.status is RunStatus.SUCCEEDED
    assert "progress was not shown: ValueError: nobody is there" in [n.message for n in run.notes]
    assert [r.status for r in project.runs()] == [RunStatus.SUCCEEDED]


def test_ctrl_c_in_a_program_that_lives_on(project: Project) -> None:
    """As in a notebook: its worker has ended, the run is over, and another does what is missing."""

    def interrupted(event: Event) -> None:
        if event.kind is EventKind.STEP_STARTED:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.run(project.plan(), watch=interrupted)
    (run,) = project.runs()
    assert (run.status, run.results) == (RunStatus.INTERRUPTED, ())
    assert project.run(project.plan_resume(run.id)).status is RunStatus.SUCCEEDED


def test_libpqs_variables_reach_no_step(
    project: Project, database: Address, pg: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be sent when a session begins, and no RESET takes them back."""
    asks = "CREATE TABLE zone AS SELECT current_setting('TimeZone') AS name"
    add_revision(project.settings.root, "shared/2", revision("s2", "s1", up=asks))
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    assert Project.load(project.settings.root).upgrade().status is RunStatus.SUCCEEDED
    monkeypatch.delenv("PGTZ")
    with pg.connect(database.dbname) as c:
        assert c.execute("SELECT name FROM zone").fetchall() == c.execute("SHOW TimeZone").fetchall()


PROGRAM = """
import os, sys
from pathlib import Path
from ehg_migrate.project import Project

if __name__ == "__main__":
    project = Project.load(Path(sys.argv[1]))
    os.environ["EHG_TEST_LEFT"] = "there"
    project.run(project.plan((), ("s1",)))
    del os.environ["EHG_TEST_LEFT"]
    print(project.upgrade().results[0].output)
"""


def test_a_variable_that_a_program_has_taken_away(project: Project, tmp_path: Path) -> None:
    """It is not there for revisions either, although what workers are forked from has begun with it."""
    says = "import os\nprint(os.environ.get('EHG_TEST_LEFT', 'gone'))"
    add_revision(project.settings.root, "shared/2", revision("s2", "s1", up_code=says))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program, project.settings.root], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "gone"), done.stderr
