"""The command line as its users have it: the installed program in a process of its own, and what it said."""

from __future__ import annotations

import atexit
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.session import first_in_session, session_folder
from tests.support.warm import PROGRAM, SCRIPTS, Kind, WarmProgram, begins_alike

ALEMBIC = str(SCRIPTS / "alembic")
REPORTS = ("--junit", "junit.xml", "--summary", "summary.md", "--html", "page.html")
"""All that a run can write, beside the project."""

_LONGEST = 120  # seconds of any command

# of whoever runs the tests; they would change what is said
_NOT_OURS = ("EHG_PROJECT", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")

_VARIABLE = (
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{4}\b"), "RUN"),
    (re.compile(r"\bplan [0-9a-f]{12}\b"), "plan DIGEST"),
    (re.compile(r"\b\d+\.\d\d s\b"), "SECONDS s"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\b\d{14}_"), "MOMENT_"),  # new files' names begin with it
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{12}\b"), "REVISION"),
    (re.compile(r"^Generating .*\n", re.MULTILINE), ""),  # Alembic's own line, with a path of this machine
)


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote where."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)

    @property
    def completed(self) -> subprocess.CompletedProcess[str]:
        """The same as `subprocess` tells it."""
        return subprocess.CompletedProcess((), self.code, self.out, self.err)

    @property
    def everything(self) -> str:
        """Both streams, to look for what must be in neither."""
        return self.out + self.err


def environment(more: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's variables, without those that change what is said, and some more; None takes one away."""
    found = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    path = f"{SCRIPTS}{os.pathsep}{found.get('PATH', '')}"
    return {name: value for name, value in {**found, "PATH": path, **(more or {})}.items() if value is not None}


def ehg(
    folder: Path,
    *arguments: str,
    program: str = PROGRAM,
    typed: str = "",
    memory: int = 0,
    **variables: str | None,
) -> Said:
    """Runs `ehg-migrate` in `folder`, without a terminal; `typed` is its standard input, `memory` bytes are its most.

    It begins as `run_python` says.
    """
    if program in (PROGRAM, ALEMBIC) and not typed:
        return run_python(folder, [program, *arguments], environment(variables), memory=memory)
    return _begun(folder, [program, *arguments], environment(variables), memory, typed)


def run_python(
    folder: Path, command: Sequence[str], variables: Mapping[str, str], *, kind: Kind = "ours", memory: int = 0
) -> Said:
    """What a program of this kind says: a file that is Python's, or `-m MODULE`, and its arguments.

    The first command of each name is started as from a shell, so that whatever it imports is imported then; those after
    it from a process that has it all, unless a variable has Python begin otherwise.
    """
    if not begins_alike(variables) or first_in_session(f"{kind} {_name(command)}"):
        return _begun(folder, [sys.executable, *command] if command[0] == "-m" else command, variables, memory)
    with tempfile.TemporaryDirectory(dir=session_folder()) as beside:
        out, err = Path(beside, "out"), Path(beside, "err")
        begun = warm_program(kind).python(folder, command, variables, out, err, memory)
        try:
            code = begun.wait(_LONGEST)
        except subprocess.TimeoutExpired:
            servers = _at_work()
            begun.abort()
            pytest.fail(f"after {_LONGEST} s it had said:\n{out.read_text()}{err.read_text()}{servers}", pytrace=False)
        return Said(code, out.read_text(), err.read_text())


def _at_work() -> str:
    """What the servers of this machine do: a command that hangs often waits for one."""
    titles = ("".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return "\n".join(sorted(t for t in titles if t.startswith("postgres: ") and not t.endswith("idle")))


def _name(command: Sequence[str]) -> str:
    """`-m alembic upgrade` of `-m alembic -x target=a upgrade heads`."""
    program, words = (command[:2], command[2:]) if command[0] == "-m" else (command[:1], command[1:])
    while len(words) > 2 and words[0] in ("-x", "-c"):
        words = words[2:]
    return " ".join([*program, *words[:1]])


def _begun(folder: Path, argv: Sequence[str], variables: Mapping[str, str], memory: int, typed: str = "") -> Said:
    done = subprocess.run(
        argv,
        cwd=folder,
        env=variables,
        input=typed,
        capture_output=True,
        text=True,
        timeout=_LONGEST,
        check=False,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, (memory, memory)) if memory else None,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@cache
def warm_program(kind: Kind) -> WarmProgram:
    """The one of this process."""
    program = WarmProgram(kind)
    atexit.register(program.close)
    return program


def normalised(text: str) -> str:
    """`text` with a word in place of what differs from run to run.

    Run ids, plan digests, generated revision ids, seconds, times and the moment in new files' names; Alembic's own line
    about a file that it generates goes.
    """
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return text
