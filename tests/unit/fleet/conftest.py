"""A project folder of a few branches, into which a test writes its target files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.errors import ConfigurationError, Problem
from ehg_migrate.fleet import load_fleet

CANARY = "S3cretCanary"
"""Stands wherever a password might be written by mistake; no error may contain it."""

MakeProject = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> MakeProject:
    """Makes a project with the given target files (name -> text) and some branch folders; returns its root."""

    def make(*texts: str, branches: tuple[str, ...] = ("shared", "crm", "erp", "acme", "other"), **files: str) -> Path:
        root = tmp_path / "project"
        (root / "targets").mkdir(parents=True)
        (root / "versions").mkdir()
        for branch in branches:
            (root / "versions" / branch).mkdir()
        for name, text in {**({"x": texts[0]} if texts else {}), **files}.items():
            (root / "targets" / f"{name}.yaml").write_text(text, encoding="utf-8")
        return root

    return make


@pytest.fixture
def mistakes() -> Callable[[Path], tuple[Problem, ...]]:
    """What is wrong with a project; fails if nothing is, or if the canary is in the text of it."""

    def find(root: Path) -> tuple[Problem, ...]:
        with pytest.raises(ConfigurationError) as caught:
            load_fleet(root)
        assert CANARY not in str(caught.value)
        assert CANARY not in repr(caught.value.problems)
        assert all(p.code and p.message and p.hint and p.where for p in caught.value.problems)
        return caught.value.problems

    return find
