"""Fleets whose revisions misbehave, the gates in them, and what must hold of every target whatever has happened."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from ehg_migrate.model import Address, FleetPlan, Result, Run
from ehg_migrate.project import Project
from ehg_migrate.rollout.jobs import Event, EventKind
from tests.support.cli import run_python
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import add_revision, revision, target_entry, write_project

CANARY_PARTS = ("battery:staple", "battery%3Astaple", "Correct horse", "Correct%20horse")
"""What no output may hold: pieces of the canary, as it is and as a URL has it."""

_APPLIED = """
SELECT revision FROM (SELECT DISTINCT ON (revision) revision, direction FROM ehg_migrate.migration_journal
                       WHERE event IN ('done', 'stamped', 'adopted') ORDER BY revision, seq DESC) AS latest
 WHERE direction = 'up' ORDER BY 1
"""

_OURS = "application_name LIKE '%%ehg_migrate 2%%'"  # a run's sessions: `ehg_migrate 2026...`, not a probe's


def step(id_: str, down: str | None = None, code: str = "", **more: Any) -> str:
    """A revision that makes a table of its own name, then runs `code`, so that tables tell what was applied."""
    return revision(id_, down, up=f"CREATE TABLE {id_} (n int)", up_code=code, down_sql=f"DROP TABLE {id_}", **more)


class Gate:
    """A place in a revision: it stops there until the test lets it on. `pid` is the worker that came there last."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._reached, self._open = folder / "reached", folder / "open"

    @property
    def code(self) -> str:
        """For `upgrade()`: says that it is there, and waits. A worker whose test has gone does not wait on."""
        return (
            "import os, pathlib, time\n"
            f"mark, door = pathlib.Path({str(self._reached)!r}), pathlib.Path({str(self._open)!r})\n"
            "new = mark.with_suffix(f'.{os.getpid()}')  # several may come at once\n"
            "new.write_text(str(os.getpid())); new.rename(mark)\n"
            "while mark.exists() and not door.exists():\n"
            "    time.sleep(0.005)"
        )

    @property
    def pid(self) -> int:
        """Waits until somebody is there."""
        wait_until(self._reached.exists, "nobody came to the gate", 60)
        return int(self._reached.read_text())

    def open(self) -> None:
        """For whoever is there, and whoever comes."""
        self._open.touch()


@dataclass
class Fleet:
    """A project over databases of one cluster: what was told about its runs, and the truth about its targets."""

    pg: Cluster
    folder: Path
    addresses: Mapping[str, Address]
    events: list[Event] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # by every run and command so far

    # --- doing

    def load(self) -> Project:
        """The project as its files are now."""
        return Project.load(self.folder)

    def plan(self, *selectors: str) -> FleetPlan:
        """What an upgrade would do now."""
        return self.load().plan(selectors)

    def upgrade(self, *selectors: str, **how: Any) -> Run:
        """Plans and runs here; the events of the run are in `events`."""
        return self.run(self.plan(*selectors), **how)

    def run(self, plan: FleetPlan, **how: Any) -> Run:
        """Runs a plan here."""
        self.events.clear()
        run = self.load().run(plan, watch=self.events.append, **how)
        self.said += [repr(run), *map(repr, self.events)]
        return run

    def background(self, action: Callable[[], Run]) -> Future[Run]:
        """The same beside the test."""
        future: Future[Run] = Future()

        def work() -> None:
            try:
                future.set_result(action())
            except BaseException as e:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(e)

        threading.Thread(target=work, daemon=True).start()
        return future

    def cli(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        done = run_python(Path.cwd(), ["-m", "ehg_migrate", *arguments], self._variables(variables))
        self.said += [done.out, done.err]
        return done.completed

    def _variables(self, more: dict[str, str]) -> dict[str, str]:
        """With the project among them: given as an option it would stand in every hint."""
        return {**os.environ, "EHG_PROJECT": str(self.folder), **more}

    @contextmanager
    def command(self, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """A command while it runs, in a process group of its own, as a terminal would have it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "ehg_migrate", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._variables(variables),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for child in _tree(process.pid):
                child.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()

    def end(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """What a command said until its end."""
        out, err = process.communicate(timeout=60)
        self.said += [out, err]
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def write(self, path: str, text: str) -> None:
        """One revision, new or in place of another."""
        add_revision(self.folder, path, text)

    # --- what was told

    def notices(self, target: str) -> list[str]:
        """In the last run here."""
        return [e.text for e in self.events if e.target == target and e.kind is EventKind.NOTICE]

    # --- the truth

    def connect(self, target: str) -> psycopg.Connection:
        """A session of the role that migrates."""
        return self.pg.connect(self.addresses[target].dbname)

    def admin(self, target: str) -> psycopg.Connection:
        """A superuser's."""
        return self.pg.admin(self.addresses[target].dbname)

    def limit_role(self) -> str:
        """Lets targets be reached as a role that owns nothing of ours, and may use all but sequences; its name."""
        role = f"limited_{next(iter(self.addresses.values())).dbname}"
        with self.pg.admin() as c:
            c.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), self.pg.password))
        for target in self.addresses:
            with self.admin(target) as c:
                c.execute(f"GRANT ALL ON SCHEMA public TO {role}; GRANT USAGE ON SCHEMA ehg_migrate TO {role};"
                          f" GRANT ALL ON ALL TABLES IN SCHEMA ehg_migrate TO {role}".encode())  # fmt: skip
        entries = self.folder / "targets" / "t.yaml"
        entries.write_text(entries.read_text().replace("postgresql://postgres@", f"postgresql://{role}@"))
        return role

    def values(self, target: str, statement: str) -> list[Any]:
        """The first column, seen by a superuser."""
        with self.admin(target) as c:
            return [row[0] for row in c.execute(statement.encode()).fetchall()]

    def heads(self, target: str) -> list[str]:
        """The version rows; none where there is no table yet."""
        try:
            return self.values(target, "SELECT version_num FROM ehg_migrate.alembic_version ORDER BY 1")
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return []

    def held(self) -> dict[str, list[str]]:
        """The same of each target."""
        return {name: self.heads(name) for name in self.addresses}

    def tables(self, target: str) -> list[str]:
        """Those that revisions made."""
        return self.values(target, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")

    def journal(self, target: str) -> list[tuple[str, str]]:
        """(event, revision), oldest first."""
        return [(e.event, e.revision) for e in self.load().history(target)]

    def runs_of(self, target: str) -> list[tuple[str, str]]:
        """(revision, run) of what the journal says was done."""
        return [(e.revision, e.run) for e in self.load().history(target) if e.event == "done"]

    def backends(self, target: str) -> dict[int, str]:
        """The sessions of runs: pid -> state."""
        with self.admin(target) as c:
            where = f"datname = current_database() AND {_OURS}"
            return dict(c.execute(f"SELECT pid, state FROM pg_stat_activity WHERE {where}").fetchall())

    def lock_holders(self, target: str) -> list[int]:
        """Backends with an advisory lock."""
        return self.values(
            target,
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY pid",
        )

    def working(self, target: str) -> int:
        """The backend in which a step is."""
        wait_until(lambda: self._in_step(target) != [], "no step runs")
        return self._in_step(target)[0]

    def _in_step(self, target: str) -> list[int]:
        return [pid for pid, state in self.backends(target).items() if state == "idle in transaction"]

    def locking(self, target: str) -> int:
        """The backend that holds a runner's lock and does nothing else."""
        (pid,) = [pid for pid in self.lock_holders(target) if pid != self.working(target)]
        return pid

    def terminate(self, target: str, pid: int) -> None:
        """Ends a backend, and returns when it has gone."""
        with self.admin(target) as c:
            c.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    # --- what must hold

    def check(self, *targets: str, holds: list[str] | None = None) -> None:
        """Version rows, journal and tables of each target say the same, and nothing of any run is left in it."""
        for target in targets or self.addresses:
            self._check(target, holds)

    def _check(self, target: str, holds: list[str] | None) -> None:
        graph = self.load().revisions.graph(self.load().fleet.by_name[target].branches)
        applied = sorted(graph.ids(graph.closure(self.heads(target))))
        assert self.tables(target) == applied, f"{target}: tables and version rows"
        if self.heads(target):
            journalled = self.values(target, _APPLIED)
            assert journalled == applied, f"{target}: journal and version rows"
        if holds is not None:
            assert applied == sorted(holds)
        self.check_no_lock(target)

    def check_no_lock(self, *targets: str) -> None:
        """No advisory lock outlives a run by more than a moment."""
        for target in targets or self.addresses:
            wait_until(lambda: self.lock_holders(target) == [], f"{target}: an advisory lock is left", 2)  # noqa: B023

    def check_no_lease(self, *targets: str) -> None:
        """Nobody is said to be at work."""
        for target in targets or self.addresses:
            assert self.values(target, "SELECT run FROM ehg_migrate.migration_lease") == []

    def check_secrets(self) -> None:
        """The canary is in nothing that was said, and in no file of the project, the ledger's among them."""
        for text in self.said:
            assert not [part for part in CANARY_PARTS if part in text]
        for file in (p for p in self.folder.rglob("*") if p.is_file()):
            content = file.read_bytes()
            assert not [part for part in CANARY_PARTS if part.encode() in content], file


@dataclass
class Workers:
    """The processes in which steps began."""

    seen: dict[str, set[int]]

    def __call__(self, event: Event) -> None:
        """Notes them for the target whose step begins."""
        if event.kind is EventKind.STEP_STARTED:
            self.seen[event.target] = self.alive()

    @staticmethod
    def alive() -> set[int]:
        """The children of the fork server, which is one of ours."""
        servers = [p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline())]
        return {child.pid for server in servers for child in server.children()}


def make_fleet(
    pg: Cluster,
    folder: Path,
    addresses: Mapping[str, Address],
    revisions: Mapping[str, str],
    entries: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: str,
) -> Fleet:
    """A fleet of these targets; `entries` are further fields of theirs, `settings` lines of alembic.ini."""
    more = entries or {}
    targets = {name: target_entry(address, **more.get(name, {})) for name, address in addresses.items()}
    return Fleet(pg, write_project(folder, targets, revisions, settings=settings), addresses)


def result_of(run: Run, target: str) -> Result:
    """The Result of one target."""
    (found,) = [r for r in run.results if r.target == target]
    return found


def code_of(result: Result) -> str:
    """The code of its problem."""
    return result.problem.code if result.problem else ""


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C in a terminal: to the whole process group."""
    os.killpg(process.pid, signal.SIGINT)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Reads the command's stderr up to the line with these words."""
    assert process.stderr
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"ended without `{words}`: {''.join(lines)}")


def exposed(process: subprocess.Popen[str], *, below: bool = False) -> str:
    """What any user sees of a command and of all its workers in the list of processes, and their environments.

    `below` leaves out the command itself, which has the environment that its user gave it.
    """
    parts = []
    for child in _tree(process.pid)[: -1 if below else None]:
        folder = Path(f"/proc/{child.pid}")
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has ended since it was listed
            parts += [(folder / name).read_text(errors="replace") for name in ("cmdline", "environ")]
    return "\n".join(parts)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return []
