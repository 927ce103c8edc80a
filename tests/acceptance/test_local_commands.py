"""`local` and `--local`: the embedded PostgreSQL as a user has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ehg_migrate.local.place import find_place
from ehg_migrate.local.programs import MAJOR
from ehg_migrate.schema.scratch import embedded_servers
from tests.support.cli import ehg


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A laid out project; its server is wiped at the end."""
    folder = tmp_path_factory.mktemp("local")
    assert ehg(folder, "init", "fleet").code == 0
    yield folder / "fleet"
    ehg(folder / "fleet", "local", "wipe", "--yes")


def state(fleet: Path) -> str:
    """What `local state` says."""
    return ehg(fleet, "local", "state").out


def test_its_life(fleet: Path) -> None:
    """It is not there, started, seen, stopped; starting and stopping twice is as well as once."""
    assert state(fleet) == "not running\n"
    for _ in range(2):
        assert re.fullmatch(r"PostgreSQL \d+\.\d+ at postgres@/\S+:5432/postgres\n", ehg(fleet, "local", "start").out)
        assert state(fleet) == "running\n"
    for _ in range(2):
        assert ehg(fleet, "local", "stop").out == "stopped\n"
        assert state(fleet) == "not running\n"


def test_a_command_brings_it_and_takes_it_away(fleet: Path) -> None:
    """`--local` needs no password and no `start`; each target has its own database; nothing stays."""
    assert ehg(fleet, "upgrade", "--local", "--yes").code == 0
    assert state(fleet) == "not running\n"
    assert "example  up_to_date  0001_notes  0" in ehg(fleet, "status", "--local").out


def test_the_local_ledger_is_apart(fleet: Path) -> None:
    """A rehearsal does not stand among the real runs."""
    done = ehg(fleet, "upgrade", "--local", "--yes")
    assert done.code == 0
    assert len(ehg(fleet, "runs", "--local").out.splitlines()) >= 2
    assert ehg(fleet, "runs").err == "the ledger has no run\n"
    said = ehg(fleet, "runs", "--target", "renamed")
    assert (said.code, said.out) == (0, "")
    assert "hint: it knows targets by their names of that time; `ehg-migrate history renamed` knows" in said.err
    run = done.out.splitlines()[-1].split()[1].rstrip(":")
    assert ehg(fleet, "show", run, "--local").code == 0
    for verb in ("show", "resume", "retry", "rollback"):
        said = ehg(fleet, verb, run)
        assert (said.code, said.err.splitlines()[-1]) == (2, "  hint: it is a run of `--local`: say that again")


def test_a_temporary_folder_of_a_long_name(tmp_path: Path) -> None:
    """No socket fits into it, so no worker can be started: that is what the target's result says."""
    folder = tmp_path / ("x" * 110)
    folder.mkdir()
    assert ehg(tmp_path, "init", "fleet").code == 0
    said = ehg(tmp_path / "fleet", "upgrade", "--local", "--yes", TMPDIR=str(folder))
    assert (said.code, said.out.splitlines()[-1].split(": ")[1]) == (1, "1 failed (example)")
    assert "AF_UNIX path too long" in said.err
    assert "`TMPDIR`" in said.err


def test_psql(fleet: Path) -> None:
    """Its arguments, its output, its exit code; options before the name are ours. PG* of the shell lead nowhere."""
    said = ehg(fleet, "local", "psql", "example", "--", "-XAtc", "SELECT current_database(), 40 + 2")
    assert (said.code, said.out) == (0, "example|42\n")
    said = ehg(fleet, "local", "psql", "example", "--", "-X", "-v", "ON_ERROR_STOP=1", "-c", "SELECT 1 / 0")
    assert (said.code, said.out) == (1, "")
    assert "division by zero" in said.err
    assert ehg(fleet, "local", "psql", "example", typed="SELECT 'from ' || 'stdin';\n").out.count("from stdin") == 1
    outer = {"PGHOSTADDR": "127.0.0.9", "PGOPTIONS": "-c default_transaction_read_only=on"}
    said = ehg(fleet, "local", "psql", "example", "--", "-XAtc", "SHOW default_transaction_read_only", **outer)
    assert (said.code, said.out) == (0, "off\n"), said


def test_default_privileges_on_large_objects(fleet: Path) -> None:
    """PostgreSQL has them since 18; they are a part of the ground that a reference stands on."""
    assert ehg(fleet, "upgrade", "--local", "--yes").code == 0
    grant = "ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO anon"
    assert ehg(fleet, "local", "psql", "example", "--", "-XAtc", grant).code == 0
    said = ehg(fleet, "drift", "--local")
    assert (said.code, "1 matches (example)" in said.out) == (0, True), said


def test_what_it_tells_to_run_is_for_local_databases(tmp_path: Path) -> None:
    """Whoever pastes a command of a hint must not find himself at work on the target; what has no `--local` says so."""
    assert ehg(tmp_path, "init", ".").code == 0
    table = ("local", "psql", "example", "--", "-Xqc", "CREATE TABLE notes (n int)")
    assert ehg(tmp_path, *table).code == 0
    said = ehg(tmp_path, "upgrade", "--local", "--yes", "--junit", "junit.xml", "--html", "run.html")
    shown = ehg(tmp_path, "show", said.out.split()[-4].rstrip(":"), "--local", "--json")
    ehg(tmp_path, "local", "wipe", "--yes")
    assert (said.code, shown.code) == (1, 0)
    hint = shown.json["data"]["results"][0]["problem"]["hint"]
    reports = [(tmp_path / name).read_text() for name in ("junit.xml", "run.html")]
    for text in (said.err, hint, *reports):
        commands = [c for c in re.findall("`(ehg-migrate [^`]+)`", " ".join(text.split())) if "local wipe" not in c]
        assert len(commands) >= 2, text
        assert [c for c in commands if " --local" not in c] == [], text
        assert "`alembic` means the target itself" in text
        assert "alembic -x" not in text


def test_wiping(fleet: Path) -> None:
    """All databases are gone, those of rehearsals too, and the record of their runs; the next command begins anew."""
    assert ehg(fleet, "upgrade", "--local", "--yes").code == 0
    assert ehg(fleet, "rehearse", "--all-branches", EHG_SCRATCH_URL=None).code == 0
    places = [find_place(server.home, MAJOR).root for server in embedded_servers(fleet / ".ehg" / "scratch")]
    assert any(place.exists() for place in places)
    said = ehg(fleet, "local", "wipe", "--yes")
    assert (said.code, said.out) == (0, "deleted\n")
    assert not (fleet / ".ehg" / "local").exists()
    assert not any(place.exists() for place in places)
    assert ehg(fleet, "runs", "--local").err == "the ledger has no run\n"
    (state,) = ehg(fleet, "status", "--local", "--json").json["data"]
    assert (state["heads"], state["notes"]) == ([], [])
