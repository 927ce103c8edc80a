"""Folders for sockets and what revisions print: for this user alone, and gone with the process that made them.

A process that is killed removes nothing, so the next one does it. Whether a folder's process lives is told by a lock on
the folder, which the system gives back when that process has ended, however it ended and whatever its number was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ehg_migrate.errors import Problem

_NEW = "ehg-new-"
_USED = "ehg-run-"


@contextmanager
def output_folder() -> Iterator[Path]:
    """A folder (0700) of this process until the end of the block; removes those of processes that have ended.

    Raises OSError where nothing temporary can be written; `no_folder` says what then.
    """
    _remove_left()
    made = Path(tempfile.mkdtemp(prefix=_NEW))
    descriptor = _open(made)
    with contextlib.suppress(OSError):  # some network disks have no locks: then nobody ever removes it
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    folder = made.rename(made.with_name(made.name.replace(_NEW, _USED)))  # nobody sees it without its lock
    try:
        yield folder
    finally:
        _remove(folder, descriptor)
        os.close(descriptor)


def no_folder(error: OSError) -> Problem:
    """Why nothing that needs a process of its own can begin here."""
    return Problem(
        "worker_not_started",
        f"there is no folder for temporary files: {error.strerror or error}",
        "give the command one that it may write to, at /tmp (in Kubernetes an `emptyDir`) or where `TMPDIR` says",
    )


def _remove_left() -> None:
    with os.scandir(tempfile.gettempdir()) as entries:
        left = [Path(e.path) for e in entries if e.name.startswith(_USED)]
    for folder in left:
        with contextlib.suppress(OSError):  # no folder, not ours to open, gone, or in use
            _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    """If it is ours. Raises OSError where its process lives."""
    descriptor = _open(folder)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder, descriptor)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    """Raises OSError, for a symbolic link too."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _remove(folder: Path, descriptor: int) -> None:
    """The files in it, all of which are plain ones of ours, and then the folder; what is anything else stays."""
    with contextlib.suppress(OSError):
        for name in os.listdir(descriptor):
            os.unlink(name, dir_fd=descriptor)
        folder.rmdir()
