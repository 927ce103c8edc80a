"""Files that are written whole or not at all, the oldest of many that go, and whether there is one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # the last: a link that leads to itself


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """In the place of what was there, as UTF-8. A reader sees one or the other, and a full disk changes nothing.

    Raises OSError.
    """
    import secrets  # most commands write nothing, and ask only whether something is there

    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123 - `Path` takes no mode
            file.write(text)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def is_there(path: Path) -> bool:
    """Whether there is something. Raises OSError where that cannot be seen: a folder is closed to us.

    `Path.exists`, `is_file` and `is_dir` do so before Python 3.14, and then say no, as if nothing were there.
    """
    try:
        path.stat()
    except OSError as e:
        if e.errno in _NOTHING:
            return False
        raise
    return True


def keep_newest(files: Iterable[Path], most: int) -> None:
    """Removes all but so many, those first that were changed longest ago. Raises OSError."""
    for file in sorted(files, key=_changed, reverse=True)[most:]:
        file.unlink(missing_ok=True)


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0  # another process has removed it
