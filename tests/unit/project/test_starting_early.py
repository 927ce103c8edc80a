"""When workers begin to start before any target has answered."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ehg_migrate import Project
from ehg_migrate.model import StateKind
from ehg_migrate.project import base
from ehg_migrate.revisions import kept
from tests.support.project import add_revision, revision, write_project


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose one target never answers, and whose files a command has read."""
    monkeypatch.setattr(kept, "_TICK", -(10**15))  # the clock of its files tells any two apart
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://u@127.0.0.1:{nobody.getsockname()[1]}/db"
    targets = {"acme": {"url": url, "sslmode": "disable", "retries": 0}}
    root = write_project(tmp_path / "p", targets, {"shared/1": revision("s1", label="shared")})
    Project.load(root)
    return root


def started(folder: Path, monkeypatch: pytest.MonkeyPatch, *, soon: bool) -> int:
    """How often workers began to start in a look at the target that does not answer."""
    times: list[None] = []
    monkeypatch.setattr(base, "_start_workers", lambda: times.append(None))
    (state,) = Project.load(folder).plan(soon=soon).blocked
    assert state.kind is StateKind.UNREACHABLE
    return len(times)


def test_with_new_revisions_they_start_before_anybody_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There will be work."""
    add_revision(folder, "shared/2", revision("s2", "s1"))
    assert started(folder, monkeypatch, soon=True) == 1
    assert started(folder, monkeypatch, soon=True) == 0


def test_who_only_looks_starts_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan is no work, whatever is new."""
    add_revision(folder, "shared/2", revision("s2", "s1"))
    assert started(folder, monkeypatch, soon=False) == 0
