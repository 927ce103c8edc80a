"""Folders with what revisions printed do not outlive their process for longer than until the next run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ehg_migrate.rollout.outputs import output_folder

_HOLDS = """
from ehg_migrate.rollout.outputs import output_folder
with output_folder() as folder:
    (folder / "0.out").write_text("printed")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR of this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def _holder() -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder, and waits."""
    process = subprocess.Popen([sys.executable, "-c", _HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_killed_process_is_tidied_up_after_and_a_living_one_is_left_alone(temporary: Path) -> None:
    """Not by age, and whatever the numbers of the processes were; at its end a process removes its own."""
    (dead, left), (alive, used) = _holder(), _holder()
    try:
        dead.kill()
        dead.wait(10)
        assert (left / "0.out").read_text() == "printed"
        with output_folder() as own:
            assert oct(own.stat().st_mode & 0o7777) == "0o700"
            assert sorted(temporary.iterdir()) == sorted((used, own))
            assert (used / "0.out").exists()
        alive.communicate("\n", timeout=10)
        assert (alive.returncode, list(temporary.iterdir())) == (0, [])
    finally:
        for process in (dead, alive):
            process.kill()
            process.communicate()


def test_what_only_looks_like_one_is_left_alone(temporary: Path) -> None:
    """No link is followed, a file stays, and so does a folder in which something else is."""
    precious, odd = temporary / "precious", temporary / "ehg-run-odd"
    for folder in (precious, odd / "below"):
        folder.mkdir(parents=True)
    (precious / "kept").touch()
    (temporary / "ehg-run-link").symlink_to(precious)
    (temporary / "ehg-run-file").touch()
    before = sorted(temporary.rglob("*"))
    with output_folder():
        pass
    assert sorted(temporary.rglob("*")) == before
