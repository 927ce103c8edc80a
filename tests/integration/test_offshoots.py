"""What several workers import is imported once, and each is what it would be had it done that itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from ehg_migrate.model import Address, RunStatus, Status
from ehg_migrate.project import Project
from ehg_migrate.rollout import offshoot
from ehg_migrate.rollout.offshoot import Offshoot
from ehg_migrate.rollout.stop import Stop
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, code_of, make_fleet, result_of, step

MakeFleet = Callable[..., Fleet]
NAMES = ("one", "two", "three")

# says in a file, which it does not keep open, which process has imported it
_COUNT = """
import os, pathlib
with pathlib.Path("imported").open("a") as file:
    file.write(f"{os.getpid()}\\n")
"""
_MODELS = """
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"uq": "by_models_%(table_name)s"})
"""


@pytest.fixture
def fleet(
    pg: Cluster, tmp_path: Path, make_database: Callable[[str], Address], monkeypatch: pytest.MonkeyPatch
) -> MakeFleet:
    """Three targets that each have `s1` before them, and a module `app` that counts who imports it."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)

    def make(app: str = "", code: str = "", entries: Mapping[str, Any] | None = None, **settings: str) -> Fleet:
        folder = tmp_path / "p"
        revisions = {"shared/s1": f"import app\n{step('s1', None, code, label='shared')}"}
        addresses = {name: make_database(name) for name in NAMES}
        made = make_fleet(pg, folder, addresses, revisions, entries, **settings)
        (folder / "app.py").write_text(_COUNT + app)
        return made

    return make


@dataclass
class Told:
    """The offshoots of a test."""

    offshoots: list[Offshoot]

    @property
    def processes(self) -> list[int]:
        """Their numbers."""
        return [made._process.pid or 0 for made in self.offshoots]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Fills with the offshoots that are made."""
    found = Told([])
    begin = Offshoot.__init__

    def noted(self: Offshoot, *arguments: Any) -> None:
        begin(self, *arguments)
        found.offshoots.append(self)

    monkeypatch.setattr(Offshoot, "__init__", noted)
    return found


def imported(fleet: Fleet) -> list[int]:
    """The processes that have imported `app`."""
    return [int(line) for line in (fleet.folder / "imported").read_text().split()]


def test_models_and_modules_are_imported_once(fleet: MakeFleet, told: Told) -> None:
    """And workers are forked with them: names by the models' convention, each target in a process of its own."""
    made = fleet(
        _MODELS,
        "import os, pathlib, sqlalchemy as sa\n"
        'op.create_table("named", sa.Column("n", sa.Integer), sa.UniqueConstraint("n"))\n'
        'pathlib.Path(f"worker.{os.getpid()}").touch()',
        metadata="shared = app:Base",
    )
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert [o.why for o in told.offshoots] == [""]
    assert imported(made) == told.processes
    assert len(list(made.folder.glob("worker.*"))) == len(NAMES)
    for name in NAMES:
        assert made.values(name, "SELECT conname FROM pg_constraint WHERE conrelid = 'named'::regclass") == [
            "by_models_named"
        ]
    assert not any(psutil.pid_exists(process) for process in told.processes)


def test_models_are_shared_by_who_has_more_to_import(fleet: MakeFleet, told: Told) -> None:
    """Each target has a file of its own that does something when it is loaded, and the models come before that."""
    made = fleet(_MODELS, metadata="shared = app:Base")
    for name in NAMES:
        own = f"import os\nos.environ['OF'] = {name!r}\n{step(f'o_{name}', None, label=name, depends=('s1',))}"
        made.write(f"{name}/o", own)
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert [o.why for o in told.offshoots] == [""]
    assert imported(made) == told.processes
    assert made.held() == {name: [f"o_{name}"] for name in NAMES}


def test_one_target_needs_none(fleet: MakeFleet, told: Told) -> None:
    """It would only be a process more."""
    made = fleet()
    assert made.upgrade("one").status is RunStatus.SUCCEEDED
    assert told.offshoots == []
    assert len(imported(made)) == 1


def test_what_an_import_changes_is_so_in_workers(fleet: MakeFleet, told: Told) -> None:
    """Variables and the path of modules too, which what starts a process sets anew."""
    made = fleet(
        'import sys; os.environ["SET_BY_APP"] = "yes"; sys.path.insert(0, "beside")\n'
        f'assert os.environ["{PASSWORD_VARIABLE}"]',
        'import os, late; assert os.environ["SET_BY_APP"] == "yes"; op.execute(late.SAYS)',
    )
    (made.folder / "beside").mkdir()
    (made.folder / "beside" / "late.py").write_text('SAYS = "CREATE TABLE late ()"')
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert len(imported(made)) == len(told.offshoots) == 1
    assert made.tables("one") == ["late", "s1"]


# --- where it is not known to be the same, each worker imports it for itself


@pytest.mark.parametrize(
    "app",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        'kept = open("imported")',
        # it ends with the process that imports
        "import subprocess; child = subprocess.Popen(['tail', '--pid', str(os.getpid()), '-f', '/dev/null'])",
        'print("hello")',
        'import sys; sys.stderr.write("a warning\\n")',
        'os.mkdir("elsewhere") if not os.path.exists("elsewhere") else None; os.chdir("elsewhere")',
    ],
    ids=["a thread", "a file", "a process", "it prints", "it warns", "another folder"],
)
def test_an_import_that_leaves_something(app: str, fleet: MakeFleet, told: Told) -> None:
    """Two forks would share it, or not have it; the modules of a run are not tried again and again."""
    made = fleet(app)
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert [o.ready for o in told.offshoots] == [False]
    assert len(imported(made)) == 1 + len(NAMES)
    made.check(holds=["s1"])


def test_an_import_that_asks_for_the_target(fleet: MakeFleet, told: Told) -> None:
    """It is answered in each worker for that one's own target, however it takes it where there is none."""
    made = fleet(
        "from alembic import context\n"
        'try:\n    mine = context.get_x_argument(as_dictionary=True)["mine"]\n'
        'except Exception:\n    mine = "nobody"',
        'op.execute(f"CREATE TABLE of_{app.mine} ()")',
        {name: {"x": {"mine": name}} for name in NAMES},
    )
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert [o.ready for o in told.offshoots] == [False]
    assert {name: made.tables(name) for name in NAMES} == {name: sorted([f"of_{name}", "s1"]) for name in NAMES}


def test_an_import_behind_something_else_is_not_done_beforehand(fleet: MakeFleet, told: Told) -> None:
    """What a file does before it imports may be meant for the import: another `app` would be found."""
    made = fleet("name = 'the wrong one'", 'op.execute("CREATE TABLE of_it ()" if app.name == "right" else "")')
    text = (made.folder / "versions" / "shared" / "s1.py").read_text()
    made.write("shared/s1", text.replace("import app\n", 'import sys\nsys.path.insert(0, "right")\nimport app\n', 1))
    (made.folder / "right").mkdir()
    (made.folder / "right" / "app.py").write_text("name = 'right'")
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert not (made.folder / "imported").exists()
    assert [o.why for o in told.offshoots] == [""]
    assert made.tables("one") == ["of_it", "s1"]


def test_an_env_py_of_the_projects_own(fleet: MakeFleet, told: Told) -> None:
    """It may do anything before revisions are loaded."""
    made = fleet(code="op.execute(f\"CREATE TABLE {app.os.environ['FROM_ENV']} ()\")")
    own = made.folder / "own"
    own.mkdir()
    (own / "env.py").write_text(
        "import os\nos.environ['FROM_ENV'] = 'by_env'\nfrom ehg_migrate.environment.hosting import run\nrun()\n"
    )
    (own / "script.py.mako").write_text("")
    ini = made.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "own"))
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert [o.ready for o in told.offshoots] == [False]
    assert made.tables("one") == ["by_env", "s1"]


def test_an_import_that_fails_is_told_of_each_target(fleet: MakeFleet, told: Told) -> None:
    """By its worker, with the line that raised it."""
    made = fleet("raise RuntimeError('no configuration')")
    run = made.upgrade()
    assert [(r.status, code_of(r)) for r in run.results] == [(Status.FAILED, "revision_raised")] * len(NAMES)
    for result in run.results:
        assert result.problem
        assert "no configuration" in result.problem.message
    assert [o.ready for o in told.offshoots] == [False]


# --- faults


def test_a_worker_that_dies_says_how(fleet: MakeFleet, told: Told) -> None:
    """As one of the first fork server."""
    made = fleet(
        code='import os, signal\nif op.get_bind().engine.url.database.startswith("two"):\n'
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = made.upgrade(parallel=1)
    assert [(r.target, r.status) for r in run.results if r.status is not Status.SUCCEEDED] == [("two", Status.FAILED)]
    problem = result_of(run, "two").problem
    assert problem
    assert (problem.code, "SIGKILL" in problem.message) == ("worker_killed", True)
    assert len(imported(made)) == len(told.offshoots) == 1
    made.check("one", "three", holds=["s1"])
    made.check("two", holds=[])


def test_one_that_is_killed_is_done_without(fleet: MakeFleet, told: Told, gate: Gate) -> None:
    """Nobody tells of its worker's end any more, so that one is ended too, and its target looked at."""
    made = fleet(code=gate.code)
    future = made.background(lambda: made.upgrade(parallel=1))
    worker = psutil.Process(gate.pid)
    os.kill(told.processes[0], signal.SIGKILL)
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "it goes on")
    gate.open()
    run = future.result(60)
    assert [(r.status, code_of(r)) for r in run.results] == [
        (Status.FAILED, "worker_died"),
        (Status.SUCCEEDED, ""),
        (Status.SUCCEEDED, ""),
    ]
    assert len(imported(made)) == len(NAMES)
    made.check(*(r.target for r in run.results[1:]), holds=["s1"])
    made.check(run.results[0].target, holds=[])


def test_nobody_waits_long_for_an_import(
    fleet: MakeFleet, told: Told, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may wait for something itself: then the workers import it."""
    monkeypatch.setattr(offshoot, "_PATIENCE", 0.1)
    made = fleet(f"if not os.path.exists('first'):\n    os.mkdir('first')\n{_indented(gate.code)}")
    future = made.background(made.upgrade)
    assert gate.pid == told.processes[0]
    assert future.result(60).status is RunStatus.SUCCEEDED
    assert len(imported(made)) == 1 + len(NAMES)
    wait_until(lambda: not psutil.pid_exists(told.processes[0]), "it stays")
    made.check(holds=["s1"])


def test_a_run_is_stopped_while_everybody_waits_for_an_import(fleet: MakeFleet, told: Told, gate: Gate) -> None:
    """Nothing was begun on any target."""
    made, stop = fleet(gate.code), Stop()
    future = made.background(lambda: made.upgrade(stop=stop))
    assert gate.pid == told.processes[0]
    stop.ask()
    run = future.result(30)
    assert {r.status for r in run.results} == {Status.NOT_ATTEMPTED}
    assert not psutil.pid_exists(told.processes[0])
    assert made.held() == {name: [] for name in NAMES}


def test_an_import_that_hangs_is_ended(
    fleet: MakeFleet, told: Told, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself: the runner may have gone meanwhile. Workers see here that it has."""
    monkeypatch.setattr(offshoot, "_PATIENCE", 0.1)
    monkeypatch.setattr(offshoot, "_LONGEST", 1.0)
    made = fleet(
        f"if not os.path.exists('first'):\n    os.mkdir('first')\n{_indented(gate.code)}",
        "import contextlib, psutil\nwith contextlib.suppress(psutil.NoSuchProcess):\n"
        "    psutil.Process(int(open('imported').readline())).wait(60)",
        {name: {"deadline": "60s"} for name in NAMES},
    )
    assert made.upgrade().status is RunStatus.SUCCEEDED
    assert imported(made)[0] == told.processes[0] == gate.pid
    made.check(holds=["s1"])


# --- rehearsals


def test_a_rehearsal_imports_once_for_all_its_steps(fleet: MakeFleet, told: Told) -> None:
    """Each is run forward, back and again, in three processes of its own."""
    made = fleet()
    for number in (2, 3):
        made.write(f"shared/s{number}", f"import app\n{step(f's{number}', f's{number - 1}')}")
    project = Project.load(made.folder)
    (rehearsal,) = project.rehearse()
    assert [(s.step.revision, s.good, s.reversible) for s in rehearsal.steps] == [
        (f"s{n}", True, True) for n in (1, 2, 3)
    ]
    assert [o.why for o in told.offshoots] == [""]
    assert imported(made) == told.processes
    assert not psutil.pid_exists(told.processes[0])


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())
