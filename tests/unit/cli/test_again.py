"""A command that a hint names goes, when it is copied, to the project and the databases of the one that said it."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from ehg_migrate.cli import console, options
from ehg_migrate.cli.again import as_typed
from ehg_migrate.database.doctor.findings import Finding, Level
from ehg_migrate.errors import Problem
from ehg_migrate.model import State, StateKind

DRIFT = "`ehg-migrate drift -t acme` shows each clause"
STAMP = "`alembic -x target=acme stamp s2` says that it is applied"


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Projects, and a file of secrets; nothing is given any more when a test has ended."""
    monkeypatch.chdir(tmp_path)
    for name in ("fleet", "my fleet"):
        (tmp_path / name).mkdir()
    (tmp_path / ".env").touch(0o600)
    monkeypatch.setattr(console, "given", {})


@click.command()
@options.project_options
def command(**where: object) -> None:
    """Any that has a project."""
    options.remember()


def given(*words: str) -> None:
    """A command line with these options has begun."""
    command.main(words, standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "text", "typed"),
    [
        ([], DRIFT, DRIFT),
        (["--local"], DRIFT, "`ehg-migrate drift --local -t acme` shows each clause"),
        (
            ["--local", "--env-file", ".env", "--project", "my fleet"],
            DRIFT,
            "`ehg-migrate drift --project 'my fleet' --local --env-file .env -t acme` shows each clause",
        ),
        (["--local"], "`ehg-migrate locks break acme`", "`ehg-migrate locks break --local acme`"),
        (["--local"], "`ehg-migrate snapshot a --json > FILE`", "`ehg-migrate snapshot --local a --json > FILE`"),
        # who has neither option, or is no command
        (["--local"], "`ehg-migrate local wipe`", "`ehg-migrate local wipe`"),
        (["--project", "fleet"], "`ehg-migrate local wipe`", "`ehg-migrate local wipe --project fleet`"),
        (["--project", "fleet"], "`ehg-migrate init DIR`", "`ehg-migrate init DIR`"),
        (["--local"], "`ehg-migrate revision --help`", "`ehg-migrate revision --help`"),
        (["--local"], "say `--local`, or `ehg-migrate`", "say `--local`, or `ehg-migrate`"),
        (["--project", r"\1"], STAMP, STAMP.replace("alembic", r"alembic -c '\1/alembic.ini'", 1)),
        (["--project", "my fleet"], STAMP, STAMP.replace("alembic", "alembic -c 'my fleet/alembic.ini'", 1)),
        (
            ["--local"],
            STAMP,
            "`alembic ... stamp s2` says that it is applied; `alembic` means the target itself: `ehg-migrate local "
            "wipe` makes the local ones anew",
        ),
    ],
)
def test_as_it_is_typed(words: list[str], text: str, typed: str) -> None:
    """The options stand where the command takes them, before what a shell makes of the rest."""
    given(*words)
    assert as_typed(text, console.given) == typed


def test_stock_commands_for_no_target_stay_as_they_are() -> None:
    """They change files only."""
    given("--local", "--project", "fleet")
    assert as_typed("merge them with `alembic merge`", console.given) == "merge them with `alembic merge`"


def test_what_the_environment_says_it_says_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what another command was given is forgotten."""
    given("--local")
    monkeypatch.setenv("EHG_PROJECT", "fleet")
    given()
    assert as_typed(DRIFT, console.given) == DRIFT


def test_only_what_is_said_by_us(capsys: pytest.CaptureFixture[str]) -> None:
    """Hints, wherever they go, and notes; not what a target holds."""
    given("--local")
    console.data([f"    comment: {DRIFT}", f"acme:   hint: {DRIFT}"])
    console.note(f"look: {DRIFT}")
    typed = as_typed(DRIFT, console.given)
    assert capsys.readouterr() == (f"    comment: {DRIFT}\nacme:   hint: {typed}\n", f"look: {typed}\n")


def test_json_names_the_target_of_which_a_hint_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Who copies a command out of JSON sees one target at a time, whatever else is said of others alike."""
    given("--local")
    alike = Problem("x", "m", "`ehg-migrate adopt TARGET --heads s1` writes the rows again")
    states = [State(name, StateKind.REFUSED, problem=alike, notes=(alike,)) for name in ("acme", "beta")]
    console.json("status", [*states, Finding("acme", "version_table", Level.ERROR, "m", alike.hint)])
    told = json.loads(capsys.readouterr().out)["data"]
    hints = [p["hint"] for s in told for p in (s.get("problem", s), *s.get("notes", ()))]
    typed = "`ehg-migrate adopt --local {} --heads s1` writes the rows again"
    assert hints == [typed.format(name) for name in ("acme", "acme", "beta", "beta", "acme")]
