"""What a command costs that finds nothing to do: what it imports, and how often it goes to a target."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.model import Address, Status
from ehg_migrate.project import Project
from tests.acceptance.test_drift import scratch_url
from tests.faults.proxy import FaultProxy
from tests.support.cli import environment
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project

HEAVY = {"alembic", "sqlalchemy", "mako", "rich", "jinja2", "distributed", "psutil", "keyring"}
HEAVY |= {"pydantic", "yaml", "xml", "multiprocessing", "tornado", "pickle", "logging.handlers", "html", "curses"}

OURS = {"status": 78, "upgrade": 92}
"""How many of our own modules a command may need: each costs about a millisecond. Raise it with a reason.

78: `files.py` tells what is not there from what cannot be seen; `answers.py` and `logins.py` keep a server from ending
or stopping the process that looks at all of them; what a rollback plans has a room of its own, and is a part of the
project as every verb is. 92: git is asked for the commit, and `children.py` keeps our secrets from it.
"""

STRICT = {"lint": "always", "verify": "always"}
"""Settings under which every run with steps looks at them before and after."""

# the program itself, and at its end the names of what it has imported
COMMAND = """\
import atexit, sys
atexit.register(lambda: print("imported:", *sorted(sys.modules), file=sys.stderr))
from ehg_migrate.cli import main
sys.argv[0] = "ehg-migrate"
main()
"""


@pytest.fixture
def folder(tmp_path: Path, make_database: Callable[[str], Address], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two targets at their heads, with a ledger that says so."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    targets = {name: target_entry(make_database(name)) for name in ("acme", "beta")}
    revisions = {"shared/s1": revision("s1", label="shared")}
    root = write_project(tmp_path / "p", targets, revisions, settings=STRICT)
    assert {r.status for r in Project.load(root).upgrade(lint="off", verify="never").results} == {Status.SUCCEEDED}
    assert (root / ".ehg" / "ledger.sqlite").exists()
    return root


def command(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, "--project", str(folder)],
        env=environment({PASSWORD_VARIABLE: CANARY, **variables}),
        capture_output=True,
        text=True,
        check=True,
    )


def imports(said: subprocess.CompletedProcess[str]) -> set[str]:
    """The names of all modules that the program had imported when it ended, packages among them."""
    return set(said.stderr.rpartition("imported:")[2].split())


def test_who_only_asks_for_the_program_waits_for_no_driver(folder: Path) -> None:
    """`--version` and `--help` import neither psycopg nor what reads a project."""
    for arguments in (("--version",), ("--help",)):
        said = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True, cwd=folder
        )
        assert imports(said) & (HEAVY | {"psycopg", "tenacity", "sqlite3", "asyncio", "multiprocessing"}) == set()


@pytest.mark.parametrize(
    "arguments", [("status",), ("status", "--json"), ("plan",), ("upgrade",), ("upgrade", "--json")]
)
def test_neither_alembic_nor_sqlalchemy_is_imported(folder: Path, arguments: tuple[str, ...]) -> None:
    """Nor anything else that is heavy; the ledger is read, and the run without work is written into it."""
    before = len(Project.load(folder).runs())
    said = command(folder, *arguments)
    imported = imports(said)
    assert "psycopg" in imported
    assert {"ehg_migrate.schema", "ehg_migrate.local"} & imported == set()
    assert imported & HEAVY == set()
    assert sum(name.startswith("ehg_migrate") for name in imported) <= OURS.get(arguments[0], 90)
    runs = Project.load(folder).runs()
    assert len(runs) - before == (1 if arguments[0] == "upgrade" else 0)
    assert {r.status for r in runs[0].results} == {Status.UP_TO_DATE if arguments[0] == "upgrade" else Status.SUCCEEDED}


def test_with_steps_to_rehearse_and_to_verify_alembic_is_left_to_the_workers(folder: Path, pg: Cluster) -> None:
    """Importing both takes longer than looking at a fleet."""
    add_revision(folder, "shared/s2", revision("s2", "s1", up="CREATE SCHEMA a"))
    said = command(folder, "upgrade", "--yes", EHG_SCRATCH_URL=scratch_url(pg))
    assert "looked at in a rehearsal" in said.stderr
    assert "held against the revisions" in said.stderr
    assert imports(said) & {"alembic", "sqlalchemy", "mako"} == set()


@pytest.mark.parametrize("verb", ["status", "upgrade"])
def test_one_connection_and_one_query_for_each_target(folder: Path, pg: Cluster, verb: str) -> None:
    """As the proxy before the server sees it."""
    targets = Project.load(folder).targets()
    with FaultProxy(pg.host, pg.port) as proxy:
        behind = {t.name: target_entry(replace(t.address, host=proxy.host, port=proxy.port)) for t in targets}
        write_project(folder, behind, {}, settings=STRICT)
        command(folder, verb)
        assert sum("connects to" in line for line in proxy.log) == len(targets)
        asked = [line for line in proxy.log if " SELECT " in line]
        assert len(asked) == len(targets)


def test_one_transaction_in_the_ledger(folder: Path) -> None:
    """A run without work is written whole, at its end; a look writes nothing."""
    writes = changes(folder)
    command(folder, "status")
    assert changes(folder) == writes
    command(folder, "upgrade")
    assert changes(folder) == writes + 1


def changes(folder: Path) -> int:
    """How many transactions have changed the ledger, by SQLite's own counter in the head of the file."""
    return int.from_bytes((folder / ".ehg" / "ledger.sqlite").read_bytes()[24:28])
