"""On a terminal of 80 columns: questions, live lines, colours, and an end that can be read."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest

from ehg_migrate.model import Address
from tests.support.cli import PROGRAM, ehg, environment
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project

WAIT = 30
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SLEEP = "SELECT pg_sleep(0.4)"


@dataclass(frozen=True)
class Terminal:
    """A project, and commands in it on a terminal."""

    folder: Path
    password: str
    addresses: dict[str, Address]
    cluster: Cluster

    def spawn(self, *arguments: str, **variables: str) -> pexpect.spawn[str]:
        """The program on a terminal of 80 columns."""
        more = {PASSWORD_VARIABLE: self.password, "TERM": "xterm-256color", **variables}
        return pexpect.spawn(
            PROGRAM,
            list(arguments),
            cwd=str(self.folder),
            env=environment(more),
            encoding="utf-8",
            timeout=WAIT,
            dimensions=(24, 80),
        )

    def upgrade(self) -> str:
        """Brings everything up without asking; the run's id."""
        said = ehg(self.folder, "upgrade", "--yes", "--json", **{PASSWORD_VARIABLE: self.password})
        assert said.code == 0, said.err
        return str(said.json["data"]["id"])

    def heads(self, target: str) -> list[str]:
        """What a target holds; nothing where the tool has never been."""
        with self.cluster.open(self.addresses[target]) as c:
            if not c.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'ehg_migrate'").fetchone():
                return []
            return [row[0] for row in c.execute("SELECT version_num FROM ehg_migrate.alembic_version")]


@pytest.fixture
def terminal(make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path) -> Terminal:
    """A project of two targets and two revisions, the second of which takes its time."""
    addresses = {"acme": make_database("terminal"), "beta": make_database("terminal")}
    entries = {name: target_entry(address) for name, address in addresses.items()}
    revisions = {
        "shared/s1": revision("s1", label="shared", doc="the first of two"),
        "shared/s2": revision("s2", "s1", up=_SLEEP, doc="a revision whose description alone is as wide as a terminal"),
    }
    return Terminal(write_project(tmp_path / "project", entries, revisions), pg.password, addresses, pg)


def ended(child: pexpect.spawn[str]) -> tuple[int, str]:
    """Waits for the end; the exit code, and what came since the last match, without escapes."""
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus or 0), _ESCAPES.sub("", child.before or "")


@pytest.mark.parametrize("answer", ["no\n", "\n", "YES\n", "y\n", "\x04"], ids=["no", "nothing", "YES", "y", "ctrl-d"])
def test_an_upgrade_that_is_not_confirmed(terminal: Terminal, answer: str) -> None:
    """The plan is shown; anything but `yes` is exit 4, and nothing was done."""
    child = terminal.spawn("upgrade")
    child.expect("upgrade: 4 steps on 2 targets")
    child.expect_exact("type `yes` to go on: ")
    child.send(answer)
    code, text = ended(child)
    assert (code, "not confirmed; nothing was done" in text) == (4, True)
    assert (terminal.heads("acme"), terminal.heads("beta")) == ([], [])


def test_an_upgrade_that_is_confirmed(terminal: Terminal) -> None:
    """Live lines with step, progress and time while it runs; at the end what happened, and no remains of them."""
    child = terminal.spawn("upgrade")
    child.expect_exact("type `yes` to go on: ")
    child.sendline("yes")
    child.expect(r"acme .{0,120} 1/2 .{0,20}0:00:0\d.{0,20} up s2 \(shared\) a revision whose descr")
    child.expect("beta: succeeded in [0-9.]+ s, 2 steps|acme: succeeded in [0-9.]+ s, 2 steps")
    code, text = ended(child)
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    assert code == 0
    assert re.fullmatch(r"run \S+: 2 succeeded \(acme, beta\)", lines[-1])
    assert all(len(line) <= 80 for line in lines)
    assert (terminal.heads("acme"), terminal.heads("beta")) == (["s2"], ["s2"])


def test_a_dumb_terminal_gets_plain_lines(terminal: Terminal) -> None:
    """Where lines cannot move there are no escapes at all."""
    child = terminal.spawn("upgrade", "--yes", TERM="dumb")
    child.expect(pexpect.EOF)
    assert "\x1b" not in (child.before or "")
    assert "acme: step 2 of 2: up s2" in (child.before or "")


def test_a_downgrade_asks_for_the_name(terminal: Terminal) -> None:
    """`yes` is not enough; the name is."""
    terminal.upgrade()
    child = terminal.spawn("downgrade", "acme", "--to", "s1")
    child.expect_exact("type the target's name, `acme`, to go on: ")
    child.sendline("yes")
    assert ended(child)[0] == 4
    assert terminal.heads("acme") == ["s2"]
    child = terminal.spawn("downgrade", "acme", "--to", "s1")
    child.expect_exact("to go on: ")
    child.sendline("acme")
    assert ended(child)[0] == 0
    assert (terminal.heads("acme"), terminal.heads("beta")) == (["s1"], ["s2"])


def test_a_rollback_asks_for_the_name(terminal: Terminal) -> None:
    """Of the one target that it is about, else of the run."""
    run = terminal.upgrade()
    child = terminal.spawn("rollback", run[:-1], "-t", "acme")
    child.expect_exact("type the target's name, `acme`, to go on: ")
    child.sendline("acme")
    assert ended(child)[0] == 0
    assert (terminal.heads("acme"), terminal.heads("beta")) == ([], ["s2"])


def test_a_rollback_of_several_asks_for_the_run(terminal: Terminal) -> None:
    """The id as it was shown; a target's name is not enough."""
    run = terminal.upgrade()
    child = terminal.spawn("rollback", run)
    child.expect_exact(f"type the run, `{run}`, to go on: ")
    child.sendline("acme")
    assert ended(child)[0] == 4
    assert (terminal.heads("acme"), terminal.heads("beta")) == (["s2"], ["s2"])


def test_wiping_asks(terminal: Terminal) -> None:
    """Before the local databases go."""
    child = terminal.spawn("local", "wipe")
    child.expect_exact("this deletes every local and every scratch database of this project")
    child.expect_exact("type `yes` to go on: ")
    child.sendline("no")
    assert ended(child)[0] == 4


def test_only_our_own_colours(terminal: Terminal) -> None:
    """The word `error` is red; escapes in a text, and passwords, do not pass beside it."""
    child = terminal.spawn("targets", "-t", "\x1b[2Jx password=hunter2")
    child.expect(pexpect.EOF)
    said = child.before or ""
    assert "\x1b[31m\x1b[1merror\x1b[0m: no target matches `x password=***" in said
    assert "\x1b[2J" not in said
    assert "hunter2" not in said


def test_no_color(terminal: Terminal) -> None:
    """NO_COLOR is honoured; an empty one is none, as its standard says."""
    child = terminal.spawn("targets", "-t", "nope", NO_COLOR="1")
    child.expect(pexpect.EOF)
    assert (child.before or "").startswith("error: no target matches `nope`")
    child = terminal.spawn("upgrade", "--yes", NO_COLOR="1")
    child.expect(pexpect.EOF)
    assert not re.search(r"\x1b\[[0-9;]*m", (child.before or "").replace("\x1b[0m", ""))
    child = terminal.spawn("targets", "-t", "nope", NO_COLOR="")
    child.expect_exact("\x1b[31m")
    child.close()


def test_breaking_a_lock_asks_for_the_name(terminal: Terminal) -> None:
    """Who is at work is shown first; another answer ends nobody, the name ends the sessions and their run."""
    add_revision(terminal.folder, "shared/s3", revision("s3", "s2", up="SELECT pg_sleep(60)"))
    variables = {PASSWORD_VARIABLE: terminal.password}
    runner = subprocess.Popen(
        [PROGRAM, "upgrade", "--yes", "-t", "acme"],
        cwd=terminal.folder,
        env=environment(variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def holder() -> dict[str, Any]:
        found: dict[str, Any] = ehg(terminal.folder, "locks", "-t", "acme", "--json", **variables).json["data"][0]
        return found

    try:
        wait_until(lambda: "pg_sleep(60)" in holder()["doing"], "the runner is in its last step", 30)
        pids = holder()["pids"]
        for answer, code in (("yes", 4), ("acme", 0)):
            child = terminal.spawn("locks", "break", "acme")
            child.expect(r"acme: run \S+ of \S+ on \S+ \(process \d+\)")
            child.expect_exact("type the target's name, `acme`, to end them: ")
            child.sendline(answer)
            found, text = ended(child)
            assert found == code
        assert f"acme: ended backends {', '.join(map(str, pids))}; look with `ehg-migrate status -t acme`" in text
        said = runner.communicate(timeout=30)[1]
        assert runner.returncode == 1
        assert "ended the session of this run with `locks break`; its open step was rolled back" in said
        assert holder()["pids"] == []
    finally:
        runner.kill()
        runner.wait()
