"""What all processes of one test session share: made by whichever needs it first, removed when the session is over."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ehg_migrate.local.place import SYSTEM_FOLDER

FOLDER = "EHG_TEST_SESSION"
"""The variable that names the folder to the processes that the first one starts."""


@cache
def session_folder() -> Path:
    """Made by the first process that asks, which removes it at its end."""
    if FOLDER not in os.environ:
        made = Path(tempfile.mkdtemp(prefix="ehg-tests-"))
        made.chmod(0o755)
        os.environ[FOLDER] = str(made)
        atexit.register(_remove, made, os.getpid())
    return Path(os.environ[FOLDER])


def forget_servers(folder: Path) -> None:
    """Removes what embedded servers of projects in this folder have elsewhere."""
    for home in SYSTEM_FOLDER.glob("*/home"):
        if Path(home.read_text(encoding="utf-8", errors="surrogateescape").strip()).is_relative_to(folder):
            shutil.rmtree(home.parent)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a fork of it
        forget_servers(folder)
        shutil.rmtree(folder, ignore_errors=True)


def first_in_session(what: str) -> bool:
    """Whether nobody has asked for this before, in whichever process."""
    try:
        (session_folder() / f"first-{hashlib.sha256(what.encode()).hexdigest()[:16]}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A file or folder that `make` has made, in whichever process; the others wait for it."""
    done = session_folder() / name
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            new = done.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)  # of a process that was killed in the middle
            make(new)
            new.rename(done)
    return done
