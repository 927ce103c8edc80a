"""README.md is true: its commands are run and say what it shows, its code runs, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ehg_migrate.cli.app import cli
from ehg_migrate.fleet import load_fleet
from tests.support.cli import ehg, environment, normalised

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
MARK = "=== next command ==="

LOOKS_AT_WRONG = "ehg-migrate status --project wrong"
WRONG = """\
targets:
  acme:
    project_ref: abcdefghijklmnopqrst
    host: aws-1-us-east-1.pooler.supabase.com
    port: 6543
    pasword: env:ACME_DB_PASSWORD
"""


def blocks(language: str) -> list[str]:
    """The texts between ```language and ```."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """Each command of a console block, and the output that is shown under it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert not parts[0], "a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


SHOWN = [pair for block in blocks("console") for pair in commands(block)]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What the commands of all console blocks say, run one after the other by one shell in an empty folder."""
    folder = tmp_path_factory.mktemp("readme")
    # the project that the second block names stands beside, until there is the folder in which it is looked for
    assert ehg(folder, "init", "wrong").code == 0
    (folder / "wrong" / "targets" / "targets.yaml").write_text(WRONG)
    steps = [f'code=$?; echo "{MARK}"; (exit $code); {command}' for command, _ in SHOWN]
    steps.insert([command for command, _ in SHOWN].index(LOOKS_AT_WRONG), "mv ../wrong .")
    try:
        done = subprocess.run(
            ["bash", "-c", "exec 2>&1\n" + "\n".join(steps)],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
        yield [part.removeprefix("\n") for part in done.stdout.split(MARK)[1:]]
    finally:
        ehg(folder / "fleet", "local", "wipe", "--yes")


@pytest.mark.parametrize("number", range(len(SHOWN)), ids=[command for command, _ in SHOWN])
def test_a_command_says_what_is_shown(said: list[str], number: int) -> None:
    """Word for word, but for ids, times and seconds."""
    assert normalised(said[number]) == normalised(SHOWN[number][1])


def test_the_target_file_loads(tmp_path: Path) -> None:
    """The example of a fleet is one, where its branches have folders."""
    (text,) = blocks("yaml")
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "fleet.yaml").write_text(text)
    for branch in ("shared", "crm"):
        (tmp_path / "versions" / branch).mkdir(parents=True)
    fleet = load_fleet(tmp_path)
    assert [t.name for t in fleet.targets] == ["ehg_engineer", "app_1"]
    assert fleet.by_name["app_1"].branches == ("shared", "crm")
    assert str(fleet.by_name["ehg_engineer"].address).startswith("postgres.abcdefghijklmnopqrst@")


def test_the_python_example_runs(tmp_path: Path) -> None:
    """In the project that the first block lays out, it prints a line for the one target."""
    (code,) = blocks("python")
    assert ehg(tmp_path, "init", "fleet").code == 0
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "example succeeded None\n"), done.stderr
    finally:
        ehg(tmp_path / "fleet", "local", "wipe", "--yes")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    """A link to a file of this repository names one that is there."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()) if "://" not in link]
    missing = [link for link in links if not (document.parent / link.partition("#")[0]).exists()]
    assert not missing


def test_the_table_has_all_commands_and_no_other() -> None:
    """Each row names commands of the program; together they name all; arguments and options in it exist."""
    rows = re.findall(r"^\| (`.*?) \|", README.partition("## Commands")[2], re.MULTILINE)
    words = [word.split() for row in rows for word in re.findall(r"`([^`]*)`", row)]
    assert {word[0] for word in words} == set(cli.commands)
    for name, *rest in words:
        command = cli.commands[name]
        if rest and isinstance(command, click.Group):
            command = command.commands[rest.pop(0)]
        known = {
            p.make_metavar(click.Context(command)).strip("[]") for p in command.params if isinstance(p, click.Argument)
        }
        known |= {option for p in command.params for option in p.opts}
        values = {p.metavar for p in command.params if isinstance(p, click.Option)}
        assert {word.strip("[]") for word in rest} <= known | values, name


def test_bash_completes(tmp_path: Path) -> None:
    """What the README says to evaluate makes it complete the beginning of a command."""
    (line,) = re.findall(r"after `(eval .*?)`", README)
    script = f"""{line}
        COMP_WORDS=(ehg-migrate upg); COMP_CWORD=1; _ehg_migrate_completion ehg-migrate; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-ec", script], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("upgrade\n", "")


@pytest.mark.parametrize(
    "option", ["--local", "--targets", "--json", "--junit", "--summary", "--html", "--yes", "--exit-code"]
)
def test_an_option_that_is_named_exists(option: str) -> None:
    """In at least one command, and the README names it."""
    assert f"`{option}" in README
    assert any(option in p.opts for command in cli.commands.values() for p in command.params)
