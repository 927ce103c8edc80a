"""One case on its stage: databases, the project before a proxy, the run in a process of its own, and what it said."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import psutil

from ehg_migrate import json_form
from ehg_migrate.model import Address, Run, Wave
from ehg_migrate.project import Project
from ehg_migrate.schema.scratch_url import VARIABLE
from tests.faults.bench import Bench, Manner, Place, lay_out
from tests.faults.histories import History
from tests.faults.proxy import FaultProxy
from tests.faults.truth import Truth, read_truth
from tests.faults.waves import draw_waves
from tests.support.programs import LOOPBACK
from tests.support.warm import PROGRAM

_COLD = 0.1  # of the runs: started from nothing, as by a shell
_LONGEST = 60.0  # seconds until a run is taken for hung; every limit in the project is shorter


class Process(Protocol):
    """What a case needs of a program that it has started, in either way."""

    @property
    def pid(self) -> int:
        """It leads a group of its own."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""

    def send_signal(self, number: int) -> None:
        """To it alone."""


@dataclass
class Outcome:
    """What a run's process left: no `run` where it died, or never came to it."""

    code: int
    out: str
    err: str
    run: Run | None


@dataclass
class Scene:
    """Use as a context manager: leaving it ends and removes everything, in whatever state it is."""

    bench: Bench
    place: Place
    history: History
    seed: int
    ledger_place: Place | None = None  # whose server keeps the ledger; None for a file
    folder: Path = field(init=False)
    databases: dict[str, str] = field(init=False)  # target -> database
    steps: dict[str, int] = field(default_factory=dict)  # target -> how many the run should do
    waves: tuple[Wave, ...] = ()  # of the fleet
    upgrade: tuple[str, ...] = ("upgrade",)  # how one is said here
    verified: bool = False  # whether runs look at what they have made
    astray: str = ""  # the target whose schema is not what its revisions make
    process: Process | None = None
    errors: list[str] = field(default_factory=list)  # what went wrong in a fault's own action
    limit_files: int = 0  # RLIMIT_FSIZE of the run, bytes
    environment: dict[str, str] = field(default_factory=dict)  # what the run's own has besides
    prefix: tuple[str, ...] = ()  # a program that starts the run
    _started: list[Process] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        self.databases = {t: f"case_{self.seed}_{t}" for t in self.history.groups}
        self._clear()
        self.place.create_databases(self.databases.values())
        if self.ledger_place:
            self.ledger_place.create_databases([self.ledger_database])
        self.folder = self.bench.folder / f"case_{self.seed}"
        self.waves = draw_waves(self.history, self.random("waves"))
        self.lay_out()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        for process in self._started:
            _kill(process.pid)
            process.wait()
        self._clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        for place, names in ((self.place, [*self.databases.values()]), (self.ledger_place, [self.ledger_database])):
            if place:
                place.proxy.reset()
                place.drop_databases(names)

    def lay_out(self, **limits: object) -> None:
        """Writes the project, through the proxy; again with other limits."""
        port = self.place.proxy.port
        addresses = {t: Address(LOOPBACK, port, "postgres", name, "disable") for t, name in self.databases.items()}
        manner = Manner(self.ledger_url, self.waves, self.verified)
        lay_out(self.folder, self.history, addresses, manner, **limits)

    def keep(self, close: Callable[[], object]) -> None:
        """To be called when the scene is left."""
        self._stack.callback(close)

    def verify(self, astray: str) -> None:
        """From now on runs look at what they have made, and on the target `astray` it is not what it should be."""
        os.environ[VARIABLE] = self.bench.scratch_url
        self.keep(lambda: os.environ.pop(VARIABLE))
        self.verified, self.astray = True, astray
        self.lay_out()
        if astray:
            self._alter(astray, "ADD COLUMN astray integer")

    def mend(self) -> None:
        """What is astray is not any more."""
        if self.astray:
            self._alter(self.astray, "DROP COLUMN astray")
        self.astray = ""

    def _alter(self, target: str, change: str) -> None:
        with self.place.cluster.admin(self.databases[target]) as connection:
            connection.execute(f"ALTER TABLE lab.big {change}".encode())

    @property
    def project(self) -> Project:
        """The project as it stands now, in this process."""
        return Project.load(self.folder)

    @property
    def proxies(self) -> list[FaultProxy]:
        """Those that stand before anything of this case."""
        return [p.proxy for p in (self.place, self.ledger_place) if p]

    # --- the ledger

    @property
    def ledger(self) -> Path:
        """The ledger's file, where it is one."""
        return self.folder / ".ehg" / "ledger.sqlite"

    @property
    def ledger_database(self) -> str:
        """The ledger's database, where it is one."""
        return f"case_{self.seed}_ledger"

    @property
    def ledger_url(self) -> str:
        """For alembic.ini; a database through the proxy of its place, given up soon."""
        if self.ledger_place is None:
            return "sqlite:///.ehg/ledger.sqlite"
        port = self.ledger_place.proxy.port
        return f"postgresql://postgres@{LOOPBACK}:{port}/{self.ledger_database}?sslmode=disable&connect_timeout=2"

    def ledger_text(self) -> str:
        """All that the ledger holds, past the proxy; a file as it is."""
        if self.ledger_place is None:
            return self.ledger.read_bytes().decode(errors="replace") if self.ledger.is_file() else ""
        with self.ledger_place.cluster.admin(self.ledger_database) as connection:
            there = connection.execute("SELECT to_regclass('ehg_migrate_ledger.results') IS NOT NULL").fetchone()
            if not (there and there[0]):
                return ""
            tables = ("runs", "results")
            rows = [connection.execute(f"SELECT t::text FROM ehg_migrate_ledger.{t} t".encode()) for t in tables]
            return "\n".join(row[0] for found in rows for row in found)

    def truth(self, target: str) -> Truth:
        """What a target holds now."""
        return self.truth_of(self.databases[target])

    def truth_of(self, database: str) -> Truth:
        """What any of these databases does."""
        with self.place.cluster.admin(database) as connection:
            return read_truth(connection)

    # --- the run

    def start(self, arguments: Sequence[str], name: str = "run") -> Process:
        """Starts `ehg-migrate` in a session of its own, its output in files.

        Mostly from a process that has imported it. Not where it needs another beginning, and some anyhow: those begin
        as they do in a shell.
        """
        yes = () if arguments[0] == "plan" else ("--yes",)
        words = [*arguments, *yes, "--json", "--project", str(self.folder)]
        if self.prefix or self.environment or self.limit_files or self.random(f"cold {name}").random() < _COLD:
            return self.launch([*self.prefix, sys.executable, "-m", "ehg_migrate", *words], name)
        out, err = self.folder / f"{name}.out", self.folder / f"{name}.err"
        process = self.bench.program.python(self.folder, [PROGRAM, *words], self._environment(), out, err)
        self._started.append(process)
        return process

    def launch(self, argv: Sequence[str], name: str) -> Process:
        """Any other program in the project's folder."""
        with (self.folder / f"{name}.out").open("wb") as out, (self.folder / f"{name}.err").open("wb") as err:
            process = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=self._limit if self.limit_files else None,  # noqa: PLW1509 - only a limit is set
            )
        self._started.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        """This process's own, but the package is that of this folder, and compiled only once."""
        wanted = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        if self.limit_files:  # Python would write half of a compiled file, and leave it to whoever imports it next
            wanted["PYTHONDONTWRITEBYTECODE"] = "1"
        return {**wanted, "PYTHONPATH": str(Path.cwd()), **self.environment}

    def _limit(self) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit_files, self.limit_files))

    def finish(self, process: Process, name: str = "run") -> Outcome:
        """Waits for its end and reads what it said. Raises TimeoutError if it hangs."""
        try:
            code = process.wait(timeout=_LONGEST)
        except subprocess.TimeoutExpired as e:
            raise TimeoutError(f"the run did not end within {_LONGEST:.0f} s") from e
        out = (self.folder / f"{name}.out").read_text(errors="replace")
        err = (self.folder / f"{name}.err").read_text(errors="replace")
        return Outcome(code, out, err, _run_of(out))

    def orphans(self, seconds: float) -> list[str]:
        """Processes of the runs that outlive them by so much."""
        until = time.monotonic() + seconds
        while any(any(_members(p.pid)) for p in self._started) and time.monotonic() < until:
            time.sleep(0.02)
        return [" ".join(command)[:80] for p in self._started for command in _commands(p.pid)]

    def members(self) -> list[int]:
        """The processes of the runs, by number."""
        return [member.pid for p in self._started for member in _members(p.pid)]

    # --- processes to be hurt

    def signal_parent(self, number: signal.Signals) -> None:
        """To the run's own process; one that has ended just now needs none."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill_run(self) -> None:
        """SIGKILL to all that the run has started, and itself."""
        if self.process is not None:
            _kill(self.process.pid)

    def worker_of(self, port: int) -> int | None:
        """The process at the client's end of a connection of the proxy."""
        for c in psutil.net_connections("tcp4"):
            if c.laddr and c.laddr.port == port and c.raddr and c.raddr.port == self.place.proxy.port and c.pid:
                return int(c.pid)
        return None

    def random(self, what: str) -> random.Random:
        """A source of its own for each use, so that one more draw here changes nothing there."""
        return random.Random(f"{self.seed} {what}")


def _run_of(out: str) -> Run | None:
    try:
        document = json.loads(out)
    except ValueError:
        return None
    return json_form.load(Run, document["data"]) if document.get("kind") == "run" else None


def _members(session: int) -> Iterator[psutil.Process]:
    """The processes of this session; a run's workers and its fork server are of its session, in a group of their own.

    Not those that have ended and wait for somebody to ask how: init takes its time.
    """
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == session and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                yield process


def _commands(session: int) -> Iterator[list[str]]:
    for process in _members(session):
        with contextlib.suppress(psutil.Error):
            yield process.cmdline()


def _kill(session: int) -> None:
    for process in list(_members(session)):
        with contextlib.suppress(psutil.Error):
            process.kill()
