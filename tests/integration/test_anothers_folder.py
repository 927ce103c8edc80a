"""A `.ehg` that another user has closed, as `sudo` leaves it: what can do without does, the rest says what to mend."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from ehg_migrate import Project
from ehg_migrate.cli.options import in_a_folder
from ehg_migrate.errors import EhgMigrateError, LocalServerError, UsageError
from ehg_migrate.local import LocalServer
from ehg_migrate.model import Address, RunStatus, StateKind
from ehg_migrate.schema.comparing import side
from ehg_migrate.starter import lay_out
from tests.conftest import MakeProject
from tests.support.cli import ehg
from tests.support.programs import as_anybody, needs_root
from tests.support.project import revision, target_entry, write_project

COMMAND = click.Context(click.Command("upgrade"))


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """The folder is there, and this process may not enter it; root becomes somebody else for it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    root = os.geteuid() == 0
    if root:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    else:
        folder.chmod(0)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        else:
            folder.chmod(0o700)


def test_targets_are_read_planned_and_run(
    make_database: Callable[[str], Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """The ledger's part is missing, and said to be; nothing else is."""
    steps = {"shared/s1": revision("s1", label="shared", up="CREATE TABLE one (n int)")}
    folder = make_project(tmp_path / "project", {"acme": target_entry(make_database("another"))}, steps)
    with Project.load(folder) as project:
        plan = project.plan_with_known(project.plan())
        project.status()  # once before, so that all is imported
        with closed(folder / ".ehg"):
            assert project.plan_with_known(project.plan()) == plan
        assert project.run(plan).status is RunStatus.SUCCEEDED
        with closed(folder / ".ehg"):
            (state,) = project.status()
            run = project.run(project.plan())  # without steps, so without workers
    assert (state.kind, run.status) == (StateKind.UP_TO_DATE, RunStatus.SUCCEEDED)
    assert [note.code for note in run.notes] == ["ledger_unread", "ledger_folder", "ledger_incomplete"]


def test_the_embedded_server_says_what_to_mend(tmp_path: Path) -> None:
    """As a problem with a hint, not as a fault of ours."""
    with closed(tmp_path / ".ehg"), pytest.raises(LocalServerError) as raised:
        LocalServer(tmp_path / ".ehg" / "local")
    (problem,) = raised.value.problems
    assert problem.code == "local_folder"
    assert "`.ehg`" in problem.hint
    assert "`EHG_SCRATCH_URL`" in problem.hint


@pytest.mark.parametrize(
    ("shut", "mode", "where"),
    [
        ("", 0o600, ""),
        ("versions", 0o600, "versions"),
        ("certificates", 0, "targets/t.yaml: targets.acme.sslrootcert"),
    ],
)
def test_what_cannot_be_looked_for_is_not_called_missing(shut: str, mode: int, where: str, tmp_path: Path) -> None:
    """A folder of the project is closed: it is said so, and it is not planned without what stands there."""

    def laid_out(folder: Path) -> Path:
        entry = {"url": "postgresql://u@db.example.com/d?sslmode=verify-full", "sslrootcert": "certificates/ca.pem"}
        (folder / "certificates").mkdir()
        (folder / "certificates" / "ca.pem").touch()
        return write_project(folder, {"acme": entry}, {"shared/s1": revision("s1", label="shared")})

    laid_out(tmp_path)
    for _ in range(2):  # what is kept is read the second time; so that all is imported
        Project.load(tmp_path)
    with tempfile.TemporaryDirectory() as place, as_anybody(Path(place)):
        folder = laid_out(Path(place))
        Project.load(folder)
        (folder / shut).chmod(mode)
        try:
            with pytest.raises(EhgMigrateError) as raised:
                Project.load(folder)
        finally:
            (folder / shut).chmod(0o700)
    (problem,) = raised.value.problems
    assert (problem.where, problem.message.rpartition(": ")[2]) == (where, "Permission denied")


@pytest.mark.parametrize(
    ("use", "refusal"),
    [
        (lambda folder: side(f"{folder}/snapshot"), UsageError),
        (lambda folder: lay_out(folder / "project"), UsageError),
        (lambda folder: in_a_folder(COMMAND, click.Option(["--junit"]), folder / "junit.xml"), click.BadParameter),
        (lambda folder: in_a_folder(COMMAND, click.Option(["--html"]), folder / "in" / "page"), click.BadParameter),
    ],
    ids=["a snapshot", "a new project", "a report", "a report in a folder"],
)
def test_what_is_named_in_a_closed_folder(use: Callable[[Path], object], refusal: type[Exception]) -> None:
    """It is refused with the reason, before anything is done; it is no fault of ours."""
    with tempfile.TemporaryDirectory() as place, as_anybody(Path(place)):
        Path(place).chmod(0)
        try:
            with pytest.raises(refusal, match="Permission denied"):
                use(Path(place))
        finally:
            Path(place).chmod(0o700)


def test_status_says_what_is_not_known(
    make_database: Callable[[str], Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """What the targets hold is shown; that the ledger may have seen more is said beside it."""
    folder = make_project(tmp_path, {"acme": target_entry(make_database("unread"))}, {"shared/s1": revision("s1")})
    (folder / ".ehg").mkdir(exist_ok=True)
    (folder / ".ehg" / "ledger.sqlite").write_text("no database")
    said = ehg(folder, "status", EHG_TEST_PASSWORD=os.environ["EHG_TEST_PASSWORD"])
    assert said.code == 0
    assert "acme" in said.out
    assert "what the ledger last saw of these targets is not known" in said.err


@needs_root
def test_what_root_keeps_becomes_the_owners(
    make_database: Callable[[str], Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """All of `.ehg`, through no link, and no file that has another name elsewhere."""
    folder = make_project(
        tmp_path / "project", {"acme": target_entry(make_database("given"))}, {"shared/s1": revision("s1")}
    )
    nobody, outside = pwd.getpwnam("nobody"), tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    (folder / ".ehg").mkdir(mode=0o700)
    (folder / ".ehg" / "folder").symlink_to(outside)
    (folder / ".ehg" / "file").symlink_to(outside / "file")
    (folder / ".ehg" / "same").hardlink_to(outside / "file")
    said = ehg(folder, "upgrade", "--yes", EHG_TEST_PASSWORD=os.environ["EHG_TEST_PASSWORD"])
    assert said.code == 0, said
    left = {p.name for p in (folder / ".ehg").rglob("*") if p.lstat().st_uid == 0}
    assert (folder / ".ehg").stat().st_uid == nobody.pw_uid
    assert (folder / ".ehg" / "ledger.sqlite").stat().st_uid == nobody.pw_uid
    assert left == {"folder", "file", "same"}
    assert {outside.stat().st_uid, (outside / "file").stat().st_uid} == {0}
    (folder / ".ehg" / "targets.json").unlink()
    (folder / "versions" / "shared" / "s1.py").touch()
    with Project.load(folder) as project:
        assert (folder / ".ehg" / "targets.json").stat().st_uid == nobody.pw_uid
        (folder / ".ehg" / "ledger.sqlite").unlink()
        assert project.upgrade().status is RunStatus.SUCCEEDED
    assert {p.name for p in (folder / ".ehg").rglob("*") if p.lstat().st_uid == 0} == left
    (folder / ".ehg" / "targets.json").unlink()
    assert ehg(folder, "local", "psql", "nowhere").code == 2
    assert (folder / ".ehg" / "targets.json").stat().st_uid == nobody.pw_uid


def test_a_project_that_is_taken_away_under_a_command(tmp_path: Path) -> None:
    """A deployment has put another in its place; root's command ends as anybody's, in Python too."""
    entry = target_entry(Address("127.0.0.1", 1, "u", "d", "disable"))
    folder = write_project(tmp_path / "project", {"acme": entry}, {"shared/s1": revision("s1", label="shared")})
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    with Project.load(folder) as project:
        shutil.rmtree(folder)
        assert [t.name for t in project.targets()] == ["acme"]
