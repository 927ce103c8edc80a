"""Who runs what from where: what the environment says, and what is found out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ehg_migrate.database.origin import find_origin


def test_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's word on the project's folder, unless it is told; none where there is no checkout."""
    monkeypatch.delenv("EHG_COMMIT", raising=False)
    assert find_origin(tmp_path).git_commit == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    asked = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert find_origin(tmp_path).git_commit == asked.stdout.strip()
    monkeypatch.setenv("EHG_COMMIT", "0123abc")
    assert find_origin(tmp_path).git_commit == "0123abc"


def test_the_commit_of_another_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git tells its hooks where its repository is; the project's commit is not looked for there."""
    monkeypatch.delenv("EHG_COMMIT", raising=False)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "of the hook"]):
        subprocess.run([*git, *words], check=True)
    (project := tmp_path / "project").mkdir()
    (tmp_path / ".git").rename(tmp_path / "bare")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "bare"))
    assert find_origin(project).git_commit == ""


@pytest.mark.parametrize("said", [r"\377\376 abc", r"warning: slow disk\nabc", r"\000"])
def test_a_git_that_says_anything(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a wrapper's warning: that is no commit, and no reason to end a run."""
    monkeypatch.delenv("EHG_COMMIT", raising=False)
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_origin(tmp_path).git_commit == ""


@pytest.mark.parametrize("name", ["EHG_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_REQUESTEDFOR"])
def test_the_actor(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pipeline calls the person."""
    for other in ("EHG_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_REQUESTEDFOR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "ada")
    assert find_origin(tmp_path).actor == "ada"


def test_what_is_no_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in another encoding is written down with what of it can be: a run ended in the middle of its target."""
    monkeypatch.setenv("EHG_ACTOR", os.fsdecode("Ægir".encode("latin-1")))
    monkeypatch.setenv("EHG_COMMIT", os.fsdecode(b"v\xff"))
    monkeypatch.setattr("socket.gethostname", lambda: os.fsdecode(b"h\xf8st"))
    found = find_origin(tmp_path)
    assert (found.actor, found.git_commit, found.host) == ("?gir", "v?", "h?st")
