"""`docs`: the pages are in the wheel too, and whatever a message names of them is found."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ehg_migrate.revisions.lint import RULES as FILE_RULES
from ehg_migrate.revisions.rules import EFFECT_NAMES, SQL_RULE, anchor, page_command
from tests.support.cli import ehg, environment

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_the_list(tmp_path: Path) -> None:
    """Every page with its title, in a folder that is no project."""
    said = ehg(tmp_path, "docs")
    assert (said.code, said.err) == (0, "")
    for page in PAGES:
        title = page.read_text().partition("\n")[0].removeprefix("# ")
        assert re.search(rf"^{page.stem} +{re.escape(title)}$", said.out, re.MULTILINE)
    assert re.search(r"^pipelines/github-matrix.yml +Eight jobs share a fleet$", said.out, re.MULTILINE)
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["schemas", "schemas.md", "docs/schemas.md"])
def test_a_page(tmp_path: Path, name: str) -> None:
    """By its name, and as messages and other pages write it."""
    assert ehg(tmp_path, "docs", name).out == (ROOT / "docs" / "schemas.md").read_text()


def test_every_section_that_a_finding_names(tmp_path: Path) -> None:
    """The command in the hint prints that section and no other."""
    rules = [*EFFECT_NAMES, *FILE_RULES]
    for rule in rules:
        said = ehg(tmp_path, *page_command(anchor(rule)).split()[1:])
        assert (said.code, said.out.partition("\n")[0]) == (0, f"## `{rule}`")
        assert said.out.count("\n## ") == 0
    assert ehg(tmp_path, *page_command(anchor(f"{SQL_RULE}x")).split()[1:]).code == 0


def test_a_section_holds_those_below_it(tmp_path: Path) -> None:
    """And a `#` in a block of code is no heading."""
    said = ehg(tmp_path, "docs", "testing#ready-tests")
    assert said.out.startswith("## Ready tests\n")
    assert "from ehg_migrate.testing.checks import *" in said.out
    whole = ehg(tmp_path, "docs", "testing#testing-your-migrations-and-your-application")
    assert whole.out == (ROOT / "docs" / "testing.md").read_text()


@pytest.mark.parametrize("name", ["nothing", "../README.md", "lint#nothing"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    """Exit 2, and what there is; nothing outside of the pages is read."""
    said = ehg(tmp_path, "docs", name)
    assert (said.code, said.out) == (2, "")
    assert "hint: " in said.err


def test_no_message_names_a_file_of_the_repository() -> None:
    """Whoever installed a wheel has no docs/. Only anchors name it, of which `page_command` makes commands."""
    assert {f.name for f in (ROOT / "ehg_migrate").rglob("*.py") if "docs/" in texts(f)} == {"rules.py", "pages.py"}


def texts(file: Path) -> str:
    """All that stands in strings of a module, docstrings excepted."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found = (n.value for n in nodes if isinstance(n, ast.Constant) and id(n) not in docstrings)
    return "\n".join(value for value in found if isinstance(value, str))


@pytest.mark.parametrize("through_sdist", [False, True], ids=["from the tree", "from an sdist"])
def test_the_wheel_has_every_page(tmp_path: Path, through_sdist: bool) -> None:
    """Built from the tree, or as `python -m build` does it from an sdist of the tree; unpacked, and run from there."""
    tree, unpacked = tmp_path / "tree", tmp_path / "unpacked"
    unwanted = shutil.ignore_patterns("__pycache__")
    tree.mkdir()
    for name in ("ehg_migrate", "docs"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    if through_sdist:
        tree = sdist(tree)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, tree]
    subprocess.run(build, cwd=tmp_path, env=environment(), check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    shutil.rmtree(tree)
    program = [sys.executable, "-m", "ehg_migrate", "docs"]
    for page in PAGES:
        done = subprocess.run(
            [*program, page.stem], cwd=unpacked, env=environment(), capture_output=True, text=True, check=True
        )
        assert done.stdout == page.read_text()


def sdist(tree: Path) -> Path:
    """The folder that an sdist of the tree unpacks to; the tree is gone."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", "dist"]
    subprocess.run(build, cwd=tree, env=environment(), check=True, capture_output=True)
    (file,) = (tree / "dist").glob("*.tar.gz")
    out = tree.parent / "sdist"
    shutil.unpack_archive(file, out, filter="data")
    shutil.rmtree(tree)
    (folder,) = out.iterdir()
    return folder
