"""A command that nobody watches, on a machine that is not as it should be: what it says, and what it leaves."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ehg_migrate.model import Address
from tests.support.cli import PROGRAM, REPORTS, Said, ehg, environment
from tests.support.postgres import CANARY
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project
from tests.support.running import Gate


@pytest.fixture
def project(make_database: Callable[[str], Address], tmp_path: Path) -> Path:
    """One target, and one revision to be made."""
    return write_project(
        tmp_path / "project", {"a": target_entry(make_database("machines"))}, {"shared/s1": revision("s1")}
    )


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for `TMPDIR`; its name is short, for sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="ehg-") as name:
        yield Path(name)


def begun(project: Path, *arguments: str, prepare: Callable[[], None] | None = None, **variables: str | None) -> Said:
    """A command that is begun by itself: what is forked for other tests does not import anew."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        cwd=project,
        env=environment({PASSWORD_VARIABLE: CANARY, **variables}),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=prepare,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["queue", "random", "types", "select", "struct"])
def test_modules_of_the_present_folder_are_not_pythons(name: str, project: Path) -> None:
    """A file there that has the name of one of Python's own is imported by no process of a run.

    Begun by itself: what is forked for other tests does not import anew.
    """
    (project / f"{name}.py").write_text("raise ImportError('of the present folder')\n")
    said = begun(project, "upgrade", "--yes")
    assert (said.code, "of the present folder" in said.err) == (0, False)


# --- reports


def _no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def test_a_report_is_whole_or_not_there(project: Path) -> None:
    """Of one that has no room nothing stays, and what others have written into the summary is as it was."""
    (project / "summary.md").write_text("of a former step\n")
    said = begun(project, "upgrade", "--yes", *REPORTS, prepare=_no_large_files)
    assert said.code == 0
    assert said.out.endswith(": 1 succeeded (a)\n")
    for name in ("junit.xml", "summary.md", "page.html"):
        assert f"warning: `{name}` cannot be written: File too large" in said.err
    assert {file.name for file in project.glob("*.*")} == {"alembic.ini", "summary.md", ".ehg"}
    assert (project / "summary.md").read_text() == "of a former step\n"


def test_a_page_that_cannot_be_made_hides_nothing(project: Path, tmp_path: Path) -> None:
    """Whatever the reason: no memory, or a library that is not there. The run is told as ever."""
    (tmp_path / "jinja2.py").write_text("raise MemoryError('no room')\n")
    said = begun(project, "upgrade", "--yes", "--json", *REPORTS, PYTHONPATH=str(tmp_path))
    assert (said.code, said.json["data"]["status"]) == (0, "succeeded")
    assert "warning: `page.html` cannot be written: MemoryError: no room\n" in said.err
    assert (project / "junit.xml").exists()


def test_a_former_report_is_not_taken_for_this_one(project: Path) -> None:
    """It goes before anything is looked at, so that a command that cannot even start leaves none; nothing else goes."""
    assert ehg(project, "upgrade", "--yes", *REPORTS, **{PASSWORD_VARIABLE: CANARY}).code == 0
    assert ehg(project, "lint", "--sarif", "found.sarif").code == 0
    (project / "mine.xml").write_text('<testsuite name="pytest"/>')
    before = (project / "summary.md").read_text()
    assert ehg(project, "upgrade", "--yes", *REPORTS, **{PASSWORD_VARIABLE: None}).code == 2
    assert ehg(project, "upgrade", "--yes", "--junit", "mine.xml", **{PASSWORD_VARIABLE: None}).code == 2
    (project / "versions" / "shared" / "s1.py").write_text("revision = \n")
    assert ehg(project, "lint", "--sarif", "found.sarif").code == 2
    assert {file.name for file in project.glob("*.*")} == {"alembic.ini", "summary.md", "mine.xml", ".ehg"}
    assert (project / "summary.md").read_text() == before


def test_a_shell_that_completes_a_command_takes_no_report_away(project: Path) -> None:
    """It parses what was typed, and runs nothing."""
    assert ehg(project, "upgrade", "--yes", *REPORTS, **{PASSWORD_VARIABLE: CANARY}).code == 0
    typed = f"ehg-migrate upgrade {' '.join(REPORTS)} --ex"
    said = ehg(project, _EHG_MIGRATE_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1))
    assert "--executor" in said.out
    assert (project / "junit.xml").exists()


def test_a_signal_while_reports_are_written(project: Path, tmp_path: Path) -> None:
    """The second of a system that wants the command gone may come as late as this: it takes no report away."""
    (tmp_path / "jinja2.py").write_text(f"import os\nos.kill(os.getpid(), {int(signal.SIGTERM)})\nimport jinja2_real\n")
    said = begun(project, "upgrade", "--yes", "--json", *REPORTS, PYTHONPATH=str(tmp_path))
    assert "warning: `page.html` cannot be written: ModuleNotFoundError" in said.err, "it was imported"
    assert (project / "junit.xml").exists()
    assert (said.code, said.json["data"]["status"]) == (0, "succeeded")


# --- disks


def test_what_a_step_prints_may_find_no_room(project: Path) -> None:
    """It is lost, and the step is done."""
    path = project / "versions" / "shared" / "s1.py"
    path.write_text(revision("s1", up="CREATE TABLE s1 (id int)", up_code="print('x' * 300_000)"))
    said = begun(project, "upgrade", "--yes", prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5)))
    assert (said.code, said.out.partition(": ")[2]) == (0, "1 succeeded (a)\n")


_CLEAN = """
import glob, os, shutil
for file in glob.glob(os.environ["TMPDIR"] + "/ehg-run-*/*.out"):
    shutil.rmtree(os.path.dirname(file))
"""


def test_a_folder_for_output_that_somebody_has_removed(
    make_database: Callable[[str], Address], temporary: Path, tmp_path: Path
) -> None:
    """As a service that cleans /tmp does in a long run: what the next targets print is lost, and they are done."""
    targets = {name: target_entry(make_database("machines")) for name in "ab"}
    project = write_project(tmp_path / "project", targets, {"shared/s1": revision("s1", up_code=_CLEAN)})
    said = begun(project, "upgrade", "--yes", "--parallel", "1", TMPDIR=str(temporary))
    assert (said.code, said.out.partition(": ")[2]) == (0, "2 succeeded (a, b)\n")
    assert list(temporary.iterdir()) == []


def test_what_a_killed_command_has_left_the_next_run_removes(
    make_database: Callable[[str], Address], gate: Gate, temporary: Path, tmp_path: Path
) -> None:
    """Folders of output and the socket of its workers' server, of which a machine of pipelines gets thousands."""
    revisions = {"shared/s1": revision("s1", up_code=gate.code)}
    project = write_project(tmp_path / "project", {"a": target_entry(make_database("machines"))}, revisions)
    variables = environment({PASSWORD_VARIABLE: CANARY, "TMPDIR": str(temporary)})
    with subprocess.Popen([PROGRAM, "upgrade", "--yes"], cwd=project, env=variables, stderr=subprocess.PIPE) as process:
        worker = psutil.Process(gate.pid)
        process.kill()
    gate.open()
    psutil.wait_procs([worker])
    assert len(list(temporary.iterdir())) == 2
    add_revision(project, "shared/s2", revision("s2", "s1"))  # or no worker is wanted
    assert begun(project, "upgrade", "--yes", TMPDIR=str(temporary)).code == 0
    assert list(temporary.iterdir()) == []


# --- variables


def test_a_file_of_variables_is_read_before_any_is_asked_for(project: Path, tmp_path: Path) -> None:
    """The project and the rollout may stand in it, beside the passwords; what is set already wins."""
    file = tmp_path / ".env"
    file.write_text(f"EHG_PROJECT={project}\nEHG_ROLLOUT=of-the-file\nEHG_ACTOR=of-the-file\n")
    file.chmod(0o600)
    variables = {"EHG_PROJECT": None, "EHG_ROLLOUT": None, "EHG_ACTOR": "of-the-shell", PASSWORD_VARIABLE: CANARY}
    said = ehg(tmp_path, "upgrade", "--yes", "--json", "--env-file", str(file), **variables)
    assert (said.code, said.json["data"]["rollout"], said.json["data"]["origin"]["actor"]) == (
        0,
        "of-the-file",
        "of-the-shell",
    )


# --- rights


def test_a_umask_does_not_lock_us_out(project: Path, temporary: Path) -> None:
    """What takes the owner's own rights away is not heeded: others are kept out, and nothing stays in TMPDIR."""
    said = begun(
        project, "upgrade", "--yes", "--junit", "junit.xml", prepare=lambda: os.umask(0o777), TMPDIR=str(temporary)
    )
    modes = {name: stat.S_IMODE((project / name).stat().st_mode) for name in (".ehg", "junit.xml")}
    assert (said.code, modes) == (0, {".ehg": 0o700, "junit.xml": 0o600})
    assert list(temporary.iterdir()) == []
