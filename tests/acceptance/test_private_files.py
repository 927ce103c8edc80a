"""What the tool writes on this machine is for its user alone, whatever the umask, and nothing is left behind."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ehg_migrate.model import Address
from tests.support.cli import PROGRAM, REPORTS, environment
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry, write_project
from tests.support.running import Gate


def mode(path: Path) -> str:
    """As `ls` has it."""
    return stat.filemode(path.stat().st_mode)


def modes(folder: Path) -> dict[str, str]:
    """Of everything below a folder."""
    return {path.relative_to(folder).as_posix(): mode(path) for path in sorted(folder.rglob("*"))}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A TMPDIR: the address of a socket in it has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="ehg-") as folder:
        yield Path(folder)


def test_a_run_under_an_open_umask(
    pg: Cluster, make_database: Callable[[str], Address], gate: Gate, short_folder: Path, tmp_path: Path
) -> None:
    """Folder 0700, ledger and output 0600 while it works; then the output is gone, and no secret stays in TMPDIR.

    What a run that was killed had left there is gone, too.
    """
    folder, temporary = tmp_path / "project", short_folder
    (temporary / "ehg-run-killed").mkdir(0o700)
    (temporary / "ehg-run-killed" / "0.out").write_text(CANARY)
    leak = f"import os\nprint(os.environ[{PASSWORD_VARIABLE!r}])\n{gate.code}"
    write_project(folder, {"acme": target_entry(make_database("private"))}, {"shared/s1": revision("s1", up_code=leak)})
    with subprocess.Popen(
        [PROGRAM, "upgrade", "--yes"],
        cwd=folder,
        env=environment({PASSWORD_VARIABLE: CANARY, "TMPDIR": str(temporary)}),
        stderr=subprocess.DEVNULL,
        umask=0,
    ) as process:
        assert gate.pid
        output = list(temporary.rglob("*.out"))
        assert [mode(path) for path in output] == ["-rw-------"]
        assert {m for path, m in modes(temporary).items() if (temporary / path).is_dir()} == {"drwx------"}
        gate.open()
        assert process.wait(60) == 0
    made = modes(folder / ".ehg")
    assert made.keys() - {"revisions.json"} == {"ledger.sqlite", "targets.json"}
    assert set(made.values()) == {"-rw-------"}
    assert mode(folder / ".ehg") == "drwx------"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert list(temporary.rglob("*.out")) == []


def test_sqlites_own_files_are_as_closed_as_the_ledger(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path
) -> None:
    """The rollback journal of an open transaction, and what WAL mode would leave beside the ledger."""
    write_project(tmp_path, {"acme": target_entry(make_database("private"))}, {"shared/s1": revision("s1")})
    run = [PROGRAM, "upgrade", "--yes"]
    quiet = environment({PASSWORD_VARIABLE: CANARY})
    subprocess.run(run, cwd=tmp_path, env=quiet, capture_output=True, umask=0, check=True)
    ledger = tmp_path / ".ehg" / "ledger.sqlite"
    before = os.umask(0)
    try:
        for journal, beside in (
            ("DELETE", {"ledger.sqlite-journal"}),
            ("WAL", {"ledger.sqlite-wal", "ledger.sqlite-shm"}),
        ):
            connection = sqlite3.connect(ledger, isolation_level=None)
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE runs SET actor = 'somebody'")
            found = {name: m for name, m in modes(tmp_path / ".ehg").items() if not name.endswith(".json")}
            connection.execute("ROLLBACK")
            connection.close()
            assert found == dict.fromkeys({"ledger.sqlite", *beside}, "-rw-------")
    finally:
        os.umask(before)


def test_reports_are_ordinary_files(pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path) -> None:
    """They are for others to read, and so follow the umask; a plan holds no secret."""
    write_project(tmp_path, {"acme": target_entry(make_database("private"))}, {"shared/s1": revision("s1")})
    quiet = environment({PASSWORD_VARIABLE: CANARY})
    options = ["--yes", *REPORTS]
    subprocess.run(
        [PROGRAM, "upgrade", *options], cwd=tmp_path, env=quiet, capture_output=True, umask=0o022, check=True
    )
    assert {mode(tmp_path / name) for name in ("junit.xml", "summary.md", "page.html")} == {"-rw-r--r--"}


def test_a_command_that_gives_a_password_is_no_shells_business(pg: Cluster, tmp_path: Path) -> None:
    """What a shell would do with its arguments is not done, and nothing of it stays alive."""
    marker = tmp_path / "made-by-a-shell"
    entry = {"url": "postgresql://u@127.0.0.1:1/d", "password": {"cmd": ["echo", f"$(touch {marker}); touch {marker}"]}}
    write_project(tmp_path, {"acme": entry}, {"shared/s1": revision("s1")})
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    subprocess.run([PROGRAM, "status"], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert not marker.exists()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= children
