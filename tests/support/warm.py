"""The command line from a process that has imported it already: a command starts in milliseconds, not in half a second.

`python -m tests.support.warm` reads one request a line and forks for each; the program runs as it would by itself, and
so do the helpers that multiprocessing starts for it: processes of their own, forked from it and not begun anew.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import multiprocessing.util
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.support.programs import wait_until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Command:
    """A command that was started, and may be hurt as a `Popen`; what it writes goes to the file `said`."""

    said: Path

    @property
    def pid(self) -> int:
        """Of its process, which leads a group of its own."""
        return int(_when_written(self.said.with_suffix(".pid")))

    def end(self) -> tuple[int, str]:
        """Its exit code (negative: the signal that ended it) and what it said, once it has ended."""
        return self.wait(90), self.said.read_text()

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        file = self.said.with_suffix(".code")
        return int(file.read_text()) if file.exists() else None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.said), timeout or 0)
            time.sleep(0.005)  # it is a child of another process: its end can be seen here, and not be waited for
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class WarmProgram:
    """Starts commands until it is closed."""

    def __init__(self) -> None:
        arguments = [sys.executable, "-m", "tests.support.warm"]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, text=True, cwd=ROOT)

    def start(
        self,
        folder: Path,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        said: Path,
        beside: Path | None = None,
        memory: int = 0,
    ) -> Command:
        """`ehg-migrate` with these arguments in `folder`, and with so many bytes of address space, if any are said.

        Its output goes to the file `said`, which must be new, what it says beside it too if there is no file for that.
        """
        request = {
            "folder": str(folder),
            "arguments": list(arguments),
            "variables": dict(variables),
            "said": str(said),
            "beside": str(beside or said),
            "memory": memory,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Command(said)

    def close(self) -> None:
        """Starts no more; those that were started go on."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _when_written(file: Path, seconds: float = 20) -> str:
    wait_until(file.exists, f"no {file.name}", seconds)
    return file.read_text()


# --- on the other side


def _serve() -> None:
    _import_everything()
    gc.collect()
    gc.freeze()  # or each fork's first collection would copy every page
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
    if request["memory"]:
        resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    for descriptor, name in ((0, os.devnull), (1, request["said"]), (2, request["beside"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - as Python opens them
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    multiprocessing.util.spawnv_passfds = _fork_helper  # what starts its helpers
    sys.argv = ["ehg-migrate", *request["arguments"]]
    from ehg_migrate.cli import main

    code: Any = 1
    try:
        main()
    except SystemExit as e:
        code = e.code
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)


def _fork_helper(program: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """In place of `python -c TEXT`: a fork that runs the text with these descriptors, and has no others."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _be_alone({0, 1, 2, *descriptors})
        exec(arguments[-1], {})  # noqa: S102 - multiprocessing's own text
    except Exception:  # noqa: BLE001 - a new program would say it, too
        traceback.print_exc()
    finally:
        os._exit(0)


def _be_alone(kept: set[int]) -> None:
    """What a new program would not have: others' descriptors, handlers of signals.

    The descriptors stay taken: an object of the parent's that goes later closes its number, whoever has it then.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in sorted(int(file.name) for file in Path("/dev/fd").iterdir()):
        if number not in {nowhere, *kept}:
            os.dup2(nowhere, number, inheritable=False)
    signal.set_wakeup_fd(-1)
    for wish in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(wish) is not signal.SIG_IGN:
            signal.signal(wish, signal.SIG_DFL)


if __name__ == "__main__":
    _serve()
