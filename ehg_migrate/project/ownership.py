"""What root keeps in the project of another user becomes that user's: `sudo` once must not shut them out of `.ehg`."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

# their files belong to whoever runs those servers, and are many
_SERVERS = ("local", "scratch")


def give_back(root: Path) -> None:
    """Gives folders and files of root's in `.ehg` to the owner of `root`; what cannot be given stays.

    No link is followed, neither in a folder's name nor in a file's. A file of several names stays: one of them may be
    elsewhere.
    """
    owner, kept = root.stat(), root / ".ehg"
    if not kept.is_dir():
        return
    for folder, below, files, descriptor in os.fwalk(kept, follow_symlinks=False):
        if folder == str(kept):
            below[:] = [name for name in below if name not in _SERVERS]
        with contextlib.suppress(OSError):  # a file system that knows no owners
            if os.fstat(descriptor).st_uid == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        for name in files:
            with contextlib.suppress(OSError):  # gone meanwhile
                _give(name, descriptor, owner)


def _give(name: str, folder: int, owner: os.stat_result) -> None:
    """By its name, not opened: to close a file of SQLite's would end the locks that this process has on it."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if found.st_uid == 0 and stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)
