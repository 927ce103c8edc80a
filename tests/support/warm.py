"""The command line from a process that has imported it already: a command starts in milliseconds, not in half a second.

`python -m tests.support.warm` reads one request a line and forks for each; the program runs as it would by itself.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.support.programs import wait_until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Command:
    """A command that was started; what it writes to both streams goes to one file, in its order."""

    said: Path

    @property
    def pid(self) -> int:
        """Of its process, which leads a group of its own."""
        return int(_when_written(self.said.with_suffix(".pid")))

    def end(self) -> tuple[int, str]:
        """Its exit code (negative: the signal that ended it) and what it said, once it has ended."""
        code = int(_when_written(self.said.with_suffix(".code"), 90))
        return code, self.said.read_text()


class WarmProgram:
    """Starts commands until it is closed."""

    def __init__(self) -> None:
        arguments = [sys.executable, "-m", "tests.support.warm"]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, text=True, cwd=ROOT)

    def start(self, folder: Path, arguments: list[str], variables: Mapping[str, str], said: Path) -> Command:
        """`ehg-migrate` with these arguments in `folder`; its output goes to the file `said`, which must be new."""
        request = {"folder": str(folder), "arguments": arguments, "variables": dict(variables), "said": str(said)}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Command(said)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


def _when_written(file: Path, seconds: float = 20) -> str:
    wait_until(file.exists, f"no {file.name}", seconds)
    return file.read_text()


# --- on the other side


def _serve() -> None:
    _import_everything()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
    for line in sys.stdin:
        if os.fork() == 0:
            _attend(json.loads(line))


def _import_everything() -> None:
    """What takes the time: a command imports only what it needs, which here is done once for all of them."""
    import ehg_migrate

    for module in pkgutil.walk_packages(ehg_migrate.__path__, "ehg_migrate."):
        if not module.name.endswith((".env", ".__main__")):  # these two do something
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)


def _attend(request: dict[str, Any]) -> NoReturn:
    """Starts the program, and writes down how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said = Path(request["said"])
    pid = os.fork()
    if pid == 0:
        _be_the_program(request)
    _write(said.with_suffix(".pid"), pid)
    _, status = os.waitpid(pid, 0)
    _write(said.with_suffix(".code"), os.waitstatus_to_exitcode(status))
    os._exit(0)


def _write(file: Path, number: int) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_text(str(number))
    new.rename(file)


def _be_the_program(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    for descriptor, name in ((0, os.devnull), (1, request["said"]), (2, request["said"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - as Python opens them
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["ehg-migrate", *request["arguments"]]
    from ehg_migrate.cli import main

    code: Any = 1
    try:
        main()
    except SystemExit as e:
        code = e.code
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _serve()
