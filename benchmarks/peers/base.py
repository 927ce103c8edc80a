"""What the suite asks of each tool: can it run here, write your project, and which command brings all targets up."""

from __future__ import annotations

import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.history import History

USER = "postgres"
PASSWORD = "benchmark"  # noqa: S105 - of a server that lives for minutes
"""Plain, since some tools know no way to be told a password but in a URL on their command line."""
ONE_DATABASE = "tenants"
"""Of a peer whose targets are schemas."""
PROGRAMS = Path(__file__).with_name("programs")
BIN = Path(sys.executable).parent
"""The programs of our own virtual environment."""


class Absent(Exception):
    """A peer that cannot run on this machine; the text says why."""


@dataclass(frozen=True)
class Work:
    """What is to be done, and where: a target is the database of its name at host:port, reached as USER without TLS."""

    folder: Path
    host: str
    port: int
    targets: tuple[str, ...]
    history: History
    parallel: int

    def put(self, path: str, text: str) -> None:
        """Writes a file of the peer's project; one that says the same already keeps its times."""
        file = self.folder / path
        if file.exists() and file.read_text() == text:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def put_targets(self) -> None:
        """`targets`, a name a line: what xargs reads."""
        self.put("targets", "".join(f"{name}\n" for name in self.targets))

    def xargs(self, command: str) -> list[str]:
        """`command` (a line of shell) for each target, `parallel` at a time; `$1` is the target."""
        return ["xargs", "-a", "targets", "-P", str(self.parallel), "-I{}", "sh", "-c", command, "sh", "{}"]


@dataclass(frozen=True)
class Command:
    """A whole process. The password is in PGPASSWORD and in BENCHMARK_PASSWORD."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class Peer(ABC):
    """One tool in one way of use. `tools` (below the suite's work folder) is where `install` puts what it needs."""

    name: str
    one_database = False  # its targets are schemas of one database instead
    slow = False  # starts something heavy for each target: minutes where others take seconds, so measured less often
    own_tables: tuple[str, ...] = ()  # its records, in the schema that it migrates

    def __init__(self, tools: Path) -> None:
        self.tools = tools

    def install(self) -> None:
        """Puts what it needs below `tools`. Raises Absent."""
        return

    def set_up(self, work: Work) -> None:
        """Once for new databases, not measured."""
        return

    @abstractmethod
    def write(self, work: Work) -> None:
        """The project on disk, for the first time or with a longer history."""

    @abstractmethod
    def command(self, work: Work) -> Command:
        """Brings all targets to the end of the history; a failure of any is a non-zero exit code."""


def found(program: str) -> bool:
    """Whether PATH has it."""
    return shutil.which(program) is not None


def install_from_npm(folder: Path, *packages: str) -> None:
    """Puts packages and what they need into `folder`, once. Raises Absent."""
    if (folder / "node_modules").exists():
        return
    if not found("npm"):
        raise Absent("`npm` is not on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text("{}")
    run_installer(["npm", "install", "--no-audit", "--no-fund", "--silent", *packages], folder)


def run_installer(argv: Sequence[str], folder: Path) -> None:
    """Raises Absent with the last line of what a failing installer says."""
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder)
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Absent(f"`{argv[0]}` ended with {done.returncode}: {said[-1] if said else 'it said nothing'}")
