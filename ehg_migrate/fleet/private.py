"""Reading a file that only its owner may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from ehg_migrate.fleet.problems import Refused

LARGEST = 64 * 1024
_OTHERS = 0o077


def read_private(path: Path, shown: str) -> str:
    """The text of a small regular file that neither group nor others may touch. Raises Refused.

    `shown` is the path as the user wrote it.
    """
    try:
        data = read_bytes(path, LARGEST, lambda mode: check_private(mode, shown))
    except (OSError, ValueError) as e:
        if isinstance(e, Refused):
            raise
        reason = e.strerror if isinstance(e, OSError) else "the path cannot be one"
        raise Refused(
            "secret_file", f"the file `{shown}` cannot be read: {reason}", "create it, or correct the path"
        ) from e
    if len(data) > LARGEST:
        raise Refused("secret_file", f"the file `{shown}` is larger than 64 KiB", "put nothing else into it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # the cause would quote the content
        raise Refused("secret_file", f"the file `{shown}` is not UTF-8", "save it as UTF-8") from None


def read_bytes(path: Path, limit: int, check: Callable[[int], None]) -> bytes:
    """The file's bytes, one more than `limit` at most. What `check` looks at is what is read: it is opened once.

    `check` gets the file's mode before anything is read. Raises OSError, and what `check` raises.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe must not hold us up
    try:
        check(os.fstat(descriptor).st_mode)
        data = bytearray()
        while len(data) <= limit and (part := os.read(descriptor, limit + 1 - len(data))):
            data += part
        return bytes(data)
    finally:
        os.close(descriptor)


def check_private(mode: int, shown: str) -> None:
    """Raises Refused unless it is the mode of a regular file without a bit for group and others."""
    if not stat.S_ISREG(mode):
        raise Refused("secret_file", f"`{shown}` is not a regular file", "name a file")
    if mode & _OTHERS:
        raise Refused(
            "secret_file_mode",
            f"others than its owner may use the file `{shown}`: its mode is {stat.S_IMODE(mode):04o}",
            f"run `chmod 600 {shown}`",
        )
