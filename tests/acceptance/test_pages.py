"""`docs`: the pages are in the wheel too, whatever a message names of them is found, and what they show can be used."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ehg_migrate.cli.app import cli
from ehg_migrate.fleet import load_fleet
from ehg_migrate.revisions.lint import RULES as FILE_RULES
from ehg_migrate.revisions.rules import EFFECT_NAMES, SQL_RULE, anchor, page_command
from ehg_migrate.settings import read_settings
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
    out.mkdir()
    # Python's own should be given a `filter`, which it has from 3.11.4 on
    subprocess.run(["tar", "-xzf", file, "-C", out], check=True)
    shutil.rmtree(tree)
    (folder,) = out.iterdir()
    return folder


TEXTS = [ROOT / "README.md", *PAGES, *sorted((ROOT / "docs" / "pipelines").iterdir())]
PROGRAM = "ehg-migrate "


def fenced(page: str, language: str) -> list[str]:
    """The texts between ```language and ```."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def indented(page: str, first: str) -> str:
    """The block of code that begins so."""
    lines = (ROOT / "docs" / page).read_text().partition(f"\n    {first}")[2].split("\n")
    rest = [line.removeprefix("    ") for line in lines[1:]]
    return "\n".join([first + lines[0], *rest[: next(n for n, line in enumerate(lines[1:]) if line[:1].strip())]])


def commands(text: str) -> list[str]:
    """What stands behind the program's name: in backticks, or in a line of code before two blanks or a redirection."""
    lines = re.findall(rf"^(?:    |\$ )(?:\S+=\S+ )*{PROGRAM}(.*)$", text, re.MULTILINE)
    return [*re.findall(rf"`{PROGRAM}([^`]+)`", text), *(re.split(r"  | [>;#|] ", line)[0] for line in lines)]


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: path.name)
def test_every_command_is_one(page: Path) -> None:
    """It has its arguments, and options that there are. A file that it reads is taken for there, `...` for more."""
    for written in commands(page.read_text()):
        words = shlex.split(re.sub(r" \.\.\.(?= |$)", "", written).replace("COMMAND", "status"))
        files = [str(page) if w == "FILE" or w.endswith((".sql", ".json", ".env")) else w for w in words]
        command: click.Command = cli
        while files and isinstance(command, click.Group) and files[0] in command.commands:
            command = command.commands[files.pop(0)]
        if not files:
            continue  # only its name
        try:
            command.make_context("", files)
        except click.UsageError as e:
            pytest.fail(f"{written}: {e.format_message()}")


def options(command: click.Command) -> Iterator[click.Option]:
    """All of a command and of those below it, but for the program's own two."""
    yield from (p for p in command.params if isinstance(p, click.Option) and not p.is_eager)
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from options(command.commands[name])


def test_every_option_says_what_it_does() -> None:
    """In `--help`."""
    assert not [option.opts for option in options(cli) if not option.help]


@pytest.mark.parametrize("words", [(), ("schema",), ("local",), ("runs",), ("locks",)], ids=" ".join)
def test_the_list_of_commands_is_not_cut(tmp_path: Path, words: tuple[str, ...]) -> None:
    """On a terminal as narrow as they come, each has one whole line."""
    said = ehg(tmp_path, *words, "--help", COLUMNS="80")
    listed = said.out.partition("\nCommands:\n")[2]
    assert re.fullmatch(r"(  [a-z]+ +[A-Z`].*\.\n)+", listed)
    assert "..." not in listed


def test_every_option_stands_somewhere() -> None:
    """By one of its spellings, in README.md or a page for users."""
    text = "\n".join(page.read_text() for page in TEXTS if page.stem not in ("decisions", "faults"))
    missing = {
        option.opts[0]
        for option in options(cli)
        if not any(re.search(rf"(?<![\w-]){s}(?![\w-])", text) for s in (*option.opts, *option.secondary_opts))
    }
    assert not missing


def test_the_commands_are_found() -> None:
    """Those of a line of code, with what stands around them, and those of a sentence."""
    text = (
        "`ehg-migrate docs lint`\n    ehg-migrate compare a b  # what\n$ EHG_X=1 ehg-migrate status --json > a.json\n"
    )
    assert commands(text) == ["docs lint", "compare a b", "status --json"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_compiles(page: Path) -> None:
    """Each block of it."""
    for block in fenced(page.name, "python"):
        compile(block, page.name, "exec")


def test_settings_can_be_set(tmp_path: Path) -> None:
    """Those of docs/lint.md, in the file that `init` writes."""
    assert ehg(tmp_path, "init", "fleet").code == 0
    ini = tmp_path / "fleet" / "alembic.ini"
    (block,) = fenced("lint.md", "ini")
    ini.write_text(ini.read_text().replace("[ehg_migrate]\n", f"[ehg_migrate]\n{block}"))
    assert dict(read_settings(tmp_path / "fleet").lint_levels) == {
        "effect:renamed": "error",
        "effect:fk_without_index": "note",
    }


def test_entries_load(tmp_path: Path) -> None:
    """Schemas as targets, waves, and a target on hold, as the pages show them."""
    (tmp_path / "versions" / "shared").mkdir(parents=True)
    (tmp_path / "targets").mkdir()
    (schemas,) = fenced("schemas.md", "yaml")
    held = indented("operations.md", "acme:").replace("\n", "\n  ")
    more = "    url: postgresql://migrator@127.0.0.1/acme\n    tags: [canary]\n    env: staging\n"
    (tmp_path / "targets" / "fleet.yaml").write_text(f"{schemas}  {held.rstrip()}\n{more}")
    (tmp_path / "targets" / "waves.yaml").write_text(indented("operations.md", "waves:"))
    fleet = load_fleet(tmp_path)
    assert [(t.name, t.schema, t.protected) for t in fleet.targets[:2]] == [
        ("dev", "dev", True),
        ("staging",) * 2 + (False,),
    ]
    assert (fleet.by_name["acme"].hold, fleet.by_name["acme"].wave) == ("closing of the books", "canary")
