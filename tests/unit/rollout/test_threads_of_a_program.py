"""A program that works with projects in several threads finds its process as it was, and each thread its secrets."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Thread

import pytest

from ehg_migrate import Project
from ehg_migrate.fleet.secrets import resolve_all
from ehg_migrate.redaction import register
from ehg_migrate.rollout import forkserver
from ehg_migrate.rollout.forkserver import without_main
from tests.support.project import revision, write_project

PATIENCE = 10.0
A_WHILE = 0.3  # for what must not come
ENTRY = {"url": "postgresql://u@127.0.0.1:1/db", "sslmode": "disable"}

# a file that has to be run to know what it is
COMPUTED = """import builtins
builtins.ehg_gate(__file__)
revision = "".join(["s1"])
down_revision = None
branch_labels = "shared"
def upgrade(): pass
def downgrade(): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one target, whose password is in a variable."""
    entry = {**ENTRY, "password": "env:EHG_TEST_OF_THREADS"}
    return write_project(tmp_path / "p", {"acme": entry}, {"shared/1": revision("s1", label="shared")})


def crossed(block: Callable[[], AbstractContextManager[object]]) -> None:
    """Two threads go into the block; the first that came leaves it first, if the second one gets in meanwhile."""
    inside, left = Event(), Event()

    def other() -> None:
        with block():
            inside.set()
            left.wait(PATIENCE)

    thread = Thread(target=other)
    with block():
        thread.start()
        inside.wait(A_WHILE)
    left.set()
    thread.join()


def test_the_main_module_is_what_it_was() -> None:
    """Pickle looks into it for whatever a script defines."""
    before = sys.modules["__main__"]
    crossed(without_main)
    assert sys.modules["__main__"] is before


def test_a_thread_finds_the_secret_that_another_one_hides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server is started without it; nobody is told meanwhile that it is not set."""
    monkeypatch.setenv("EHG_TEST_OF_THREADS", "hidden for a moment")
    register("hidden for a moment")
    targets = Project.load(folder).fleet.targets
    found: list[object] = []

    def look() -> None:
        try:
            found.append(resolve_all(targets, folder))
        except Exception as e:  # noqa: BLE001 - shown by the assertion
            found.append(e)

    thread = Thread(target=look)
    with forkserver._variables():
        thread.start()
        thread.join(A_WHILE)
    thread.join()
    assert found == [{"acme": "hidden for a moment"}]


def test_what_a_program_prints_is_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While files of two projects are loaded; what these print goes to stderr."""
    first = write_project(tmp_path / "first", {"acme": ENTRY}, {"shared/1": COMPUTED})
    second = write_project(tmp_path / "second", {"acme": ENTRY}, {"shared/1": COMPUTED})
    inside, left = Event(), Event()

    def gate(file: str) -> None:
        if Path(file).is_relative_to(second):
            inside.set()
            left.wait(PATIENCE)
        else:
            thread.start()
            inside.wait(A_WHILE)

    monkeypatch.setattr(builtins, "ehg_gate", gate, raising=False)
    thread = Thread(target=lambda: Project.load(second))
    before = sys.stdout
    Project.load(first)
    left.set()
    thread.join()
    assert sys.stdout is before
