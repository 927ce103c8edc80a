"""A command in a container: told to end at any moment, and as a user who may little."""

from __future__ import annotations

import codecs
import json
import os
import pwd
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import indent

import psutil
import pytest

from ehg_migrate.errors import LocalServerError
from ehg_migrate.fleet.private import read_private
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.local.account import Account
from ehg_migrate.local.cluster import initialize
from ehg_migrate.local.place import Place
from ehg_migrate.local.programs import MAJOR
from ehg_migrate.model import Address
from tests.acceptance.test_drift import scratch_url
from tests.conftest import MakeProject
from tests.support.cli import PROGRAM, ehg, environment
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import find_program, needs_root, run
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry
from tests.support.running import Gate, make_fleet, read_until, step

SCRATCH = "SELECT datname FROM pg_database WHERE datname LIKE 'ehg\\_scratch\\_%'"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_before_the_run(
    pg: Cluster,
    make_database: Callable[[str], Address],
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """A rehearsal ends, with its worker and its scratch database, and no run begins after it."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    address = make_database("acme")
    fleet = make_fleet(pg, tmp_path / "project", {"acme": address}, {"shared/s1": step("s1", None, gate.code)})
    with pg.connect("postgres") as c:
        before = c.execute(SCRATCH).fetchall()
        with fleet.command("upgrade", "--yes", "--lint", "auto", EHG_SCRATCH_URL=scratch_url(pg)) as process:
            worker = psutil.Process(gate.pid)
            process.send_signal(number)
            said = fleet.end(process)
            assert (said.returncode, said.stdout) == (130, "")
            assert said.stderr.endswith("interrupted\n")
            worker.wait(10)
        assert c.execute(SCRATCH).fetchall() == before
    assert fleet.heads("acme") == []


def test_told_to_end_in_the_look_after_the_run(
    pg: Cluster, make_database: Callable[[str], Address], gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not known then is not known because of that: no revision is said to fail."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    name = "op.get_bind().exec_driver_sql('SELECT current_database()').scalar()"
    waits = f"if {name}.startswith('ehg_scratch'):\n{indent(gate.code, '    ')}"
    steps = {"shared/s1": step("s1", None, waits), "shared/s2": step("s2", "s1")}
    fleet = make_fleet(pg, tmp_path / "project", {"acme": make_database("acme")}, steps)
    with fleet.command("upgrade", "--yes", "--json", "--verify", "auto", EHG_SCRATCH_URL=scratch_url(pg)) as process:
        assert gate.pid
        process.send_signal(signal.SIGTERM)
        read_until(process, "stopping")
        gate.open()
        said = fleet.end(process)
    data = json.loads(said.stdout)["data"]
    assert (said.returncode, [r["status"] for r in data["results"]]) == (130, ["succeeded"])
    (note,) = data["notes"]
    assert note["code"] == "not_verified"
    assert "the run was stopped before they were replayed" in note["message"]
    assert note["hint"] == "`ehg-migrate drift` looks again"


def test_a_folder_that_leads_to_itself(tmp_path: Path) -> None:
    """It is a mistake with a hint: that it cannot be found, or for Python 3.13, which does not mind, has no project."""
    (tmp_path / "loop").symlink_to("loop")
    said = ehg(tmp_path, "status", "--project", "loop")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(("error: the folder `loop` cannot be found: ", "error: there is no `alembic.ini` in "))
    assert "`--project DIR`" in said.err


@pytest.mark.parametrize("scratch", [True, False], ids=["given", "embedded"])
def test_no_folder_for_temporary_files(
    pg: Cluster,
    make_database: Callable[[str], Address],
    make_project: MakeProject,
    tmp_path: Path,
    scratch: bool,
) -> None:
    """As where the root file system is read only, and nothing is mounted at /tmp: the target says it, and is as before.

    Here it is a process that may write no byte into a file.
    """
    folder = make_project(tmp_path, {"acme": target_entry(make_database("acme"))}, {"shared/s1": step("s1")})
    done = subprocess.run(
        [PROGRAM, "upgrade", "--yes", "--json", "--lint", "auto"],
        cwd=folder,
        env=environment({"EHG_SCRATCH_URL": scratch_url(pg) if scratch else None}),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    data = json.loads(done.stdout)["data"]
    (result,) = data["results"]
    assert (result["status"], result["problem"]["code"], result["heads_after"]) == ("failed", "worker_not_started", [])
    assert "`TMPDIR`" in result["problem"]["hint"]
    assert "not_linted" in [n["code"] for n in data["notes"]]


@needs_root
def test_a_root_that_can_become_nobody_else(
    make_database: Callable[[str], Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """In a container without capabilities there is no embedded server; targets are migrated, and that is said."""
    steps = {"shared/s1": step("s1")}
    folder = make_project(tmp_path, {"acme": target_entry(make_database("acme"))}, steps)
    bare = (find_program("setpriv", "util-linux"), "--bounding-set", "-all", PROGRAM)
    how = ("--yes", "--json", "--lint", "auto", "--verify", "auto")
    done = run([*bare, "upgrade", *how], cwd=folder, env=environment({"EHG_SCRATCH_URL": None}))
    data = json.loads(done)["data"]
    assert [r["status"] for r in data["results"]] == ["succeeded"]
    assert [n["code"] for n in data["notes"]] == ["not_linted", "not_verified"]
    assert all("this root cannot become" in n["message"] for n in data["notes"])


def test_a_project_that_nobody_may_write_to(
    pg: Cluster, make_database: Callable[[str], Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """As in an image: with a scratch server and a ledger elsewhere all is rehearsed, verified and recorded."""
    ledger = make_database("ledger")
    settings = {
        "ledger": f"postgresql://{ledger.user}@{ledger.host}:{ledger.port}/{ledger.dbname}",
        "ledger_password": f"env:{PASSWORD_VARIABLE}",
    }
    steps = {"shared/s1": revision("s1", up="CREATE SCHEMA s1", label="shared")}
    folder = make_project(tmp_path, {"acme": target_entry(make_database("acme"))}, steps, settings=settings)
    (folder / ".ehg").touch()  # so that root cannot make the folder either
    scratch = scratch_url(pg)
    done = ehg(folder, "upgrade", "--yes", "--json", "--lint", "always", "--verify", "always", EHG_SCRATCH_URL=scratch)
    assert done.code == 0, done.err
    assert [n["code"] for n in done.json["data"]["notes"]] == ["linted", "verified"]
    drift = ehg(folder, "drift", "--json", EHG_SCRATCH_URL=scratch)
    assert (drift.code, [d["verdict"] for d in drift.json["data"]]) == (0, ["matches"])
    assert [r["status"] for r in ehg(folder, "runs", "--json").json["data"]] == ["succeeded"]


def test_neither_a_ledger_nor_a_report(
    make_database: Callable[[str], Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """The hint of a report that cannot be written does not name a ledger that does not have the run."""
    folder = make_project(tmp_path, {"acme": target_entry(make_database("acme"))}, {"shared/s1": step("s1")})
    (folder / ".ehg").touch()
    said = ehg(folder, "upgrade", "--yes", "--junit", "/dev/full")
    assert said.code == 0
    assert "warning: `/dev/full` cannot be written: No space left on device" in said.err
    assert "hint: nor could the run be written into the ledger: `ehg-migrate history TARGET` shows" in said.err


@needs_root
def test_a_user_without_a_name() -> None:
    """As OpenShift has them: PostgreSQL's initdb wants one, and the hint says what to do, not to make room."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        home.parent.chmod(0o755)
        place = Place(home, home, Account(54321, 54321, "54321", switch=True), copied_programs=True, major=MAJOR)
        place.make()
        with pytest.raises(LocalServerError) as caught:
            initialize(place)
    (problem,) = caught.value.problems
    assert "user ID 54321" in problem.message
    assert problem.hint.startswith("PostgreSQL wants a name for this user: add one to /etc/passwd")


@contextmanager
def mounted(mode: int) -> Iterator[Path]:
    """A secret as Kubernetes mounts it, root's and behind a link; this process is of root's group, and not root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").write_text("secret\n")
        (folder / "data").chmod(mode)
        (folder / "link").symlink_to("data")
        codecs.lookup("utf-8-sig")  # imported before, since another may not be let into Python's own folder
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            yield folder / "link"
        finally:
            os.seteuid(0)


@needs_root
@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_a_secret_that_root_has_mounted(mode: int) -> None:
    """Its group may read it: there is no other way to it for who is not root."""
    with mounted(mode) as file:
        assert read_private(file, "link") == "secret\n"


@needs_root
@pytest.mark.parametrize(
    ("mode", "code"), [(0o444, "secret_file_mode"), (0o460, "secret_file_mode"), (0o400, "secret_file")]
)
def test_a_secret_that_was_mounted_wrongly(mode: int, code: str) -> None:
    """Others may use it, or this user may not; the hint names what whoever mounts it can change, and no `chmod`."""
    with mounted(mode) as file, pytest.raises(Refused) as raised:
        read_private(file, "link")
    assert raised.value.code == code
    assert "`defaultMode: 0400`" in raised.value.hint
    assert "chmod" not in raised.value.hint
