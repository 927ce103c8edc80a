"""A command that nobody watches, on a machine that is not as it should be: what it says, and what it leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.model import Address
from tests.support.cli import PROGRAM, environment
from tests.support.postgres import CANARY
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry, write_project


@pytest.fixture
def project(make_database: Callable[[str], Address], tmp_path: Path) -> Path:
    """One target, and one revision to be made."""
    return write_project(
        tmp_path / "project", {"a": target_entry(make_database("machines"))}, {"shared/s1": revision("s1")}
    )


@pytest.mark.parametrize("name", ["queue", "random", "types", "select", "struct"])
def test_modules_of_the_present_folder_are_not_pythons(name: str, project: Path) -> None:
    """A file there that has the name of one of Python's own is imported by no process of a run.

    Begun by itself: what is forked for other tests does not import anew.
    """
    (project / f"{name}.py").write_text("raise ImportError('of the present folder')\n")
    done = subprocess.run(
        [PROGRAM, "upgrade", "--yes"],
        cwd=project,
        env=environment({PASSWORD_VARIABLE: CANARY}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "of the present folder" in done.stderr) == (0, False)
