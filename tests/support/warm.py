"""Programs from a process that has imported them already: they start in milliseconds, not in half a second.

`forking.py` reads one request a line and forks for each; the program runs as it would by itself, and so do the helpers
that multiprocessing starts for it: processes of their own, forked from it and not begun anew.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from tests.support.programs import holds_within, wait_until

SCRIPTS = Path(sysconfig.get_path("scripts"))
PROGRAM = str(SCRIPTS / "ehg-migrate")
ROOT = Path(__file__).parents[2]
_OTHER_SIDE = Path(__file__).with_name("forking.py")

_AT_FIRST = dict(os.environ)
_AT_START = ("PYTHON", "DASK")  # variables that are read while a program begins, by their first letters

Kind = Literal["ours", "stock", "dask", "pytest"]
"""What a program is forked from; `forking.py` says what each has imported."""


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
        if not holds_within(lambda: self.poll() is not None, math.inf if timeout is None else timeout):
            raise subprocess.TimeoutExpired(str(self.said), timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """It ends at once, if it has not ended."""
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)

    def abort(self) -> None:
        """It and what it has started end at once; each of them that is Python's writes first where it stands."""
        group = self.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGSTOP)  # or one may go on by the end of another
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getpgid(pid) == group:
                    os.kill(pid, signal.SIGABRT)
                    os.kill(pid, signal.SIGCONT)
                    process = psutil.Process(pid)
                    # before the next, or the texts of two would be one
                    holds_within(lambda process=process: process.status() == psutil.STATUS_ZOMBIE, 5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


class WarmProgram:
    """Starts programs until it is closed."""

    def __init__(self, kind: Kind = "ours") -> None:
        arguments = [sys.executable, str(_OTHER_SIDE), kind]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, text=True, cwd=ROOT, env=_AT_FIRST)

    def python(
        self,
        folder: Path,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        said: Path,
        beside: Path | None = None,
        memory: int = 0,
    ) -> Command:
        """What `python` does with these arguments: `-m MODULE ...`, or a program's file and its own.

        In `folder`, and with so many bytes of address space, if any are said. Its output goes to the file `said`, which
        must be new, what it says beside it too if there is no file for that.
        """
        request = {
            "folder": str(folder),
            "python": list(arguments),
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
        with contextlib.suppress(subprocess.TimeoutExpired):  # it stays while they go on, to write down how they end
            self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def begins_alike(variables: Mapping[str, str]) -> bool:
    """Whether these say nothing else of how a program begins than those that a `WarmProgram` begins with."""
    names = (name for name in {*variables, *_AT_FIRST} if name.startswith(_AT_START))
    return all(variables.get(name) == _AT_FIRST.get(name) for name in names)


def _when_written(file: Path, seconds: float = 20) -> str:
    wait_until(file.exists, f"no {file.name}", seconds)
    return file.read_text()
