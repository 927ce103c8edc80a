"""Files outside of the project that its files name, and reading one that only its owner may read."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from ehg_migrate.fleet.problems import Refused

LARGEST = 64 * 1024
"""Bytes that a file with one secret may have."""
MANY = 4 * 1024 * 1024
"""Bytes that one with a line for each target may have: 2,000 passwords are 150 KB."""
_OTHERS = 0o077
_OTHERS_OF_ROOTS = 0o037
_MOUNTED = (
    "a mounted secret has its mode from Kubernetes (`defaultMode: 0400`, and `fsGroup` where the user is not root) or "
    "Docker (`uid`, `mode: 0400`)"
)


def resolved(path: str, root: Path) -> Path:
    """A path of a target file: `~` is the user's home, and what is relative is so to the project."""
    return root / os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises where there is no home


def read_private(path: Path, shown: str, largest: int = LARGEST) -> str:
    """The text of a small regular file that neither group nor others may touch. Raises Refused.

    A file of root's that somebody else reads may be read by its group, as libpq has it for keys: so are secrets mounted
    into containers whose user is not root. `shown` is the path as the user wrote it.
    """
    try:
        data = read_bytes(path, largest, lambda found: _check_readers(found, path, shown))
    except (OSError, ValueError) as e:
        if isinstance(e, Refused):
            raise
        reason = e.strerror if isinstance(e, OSError) else "the path cannot be one"
        hint = (
            f"let this user read it; {_MOUNTED}" if isinstance(e, PermissionError) else "create it, or correct the path"
        )
        raise Refused("secret_file", f"the file `{shown}` cannot be read: {reason}", hint) from e
    if len(data) > largest:
        raise Refused(
            "secret_file", f"the file `{shown}` is larger than {largest >> 10} KiB", "put nothing else into it"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # the cause would quote the content
        raise Refused("secret_file", f"the file `{shown}` is not UTF-8", "save it as UTF-8") from None


def read_bytes(path: Path, limit: int, check: Callable[[os.stat_result], None]) -> bytes:
    """The file's bytes, one more than `limit` at most. What `check` looks at is what is read: it is opened once.

    `check` gets what the file is before anything is read. Raises OSError, and what `check` raises.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe must not hold us up
    try:
        check(os.fstat(descriptor))
        data = bytearray()
        while len(data) <= limit and (part := os.read(descriptor, limit + 1 - len(data))):
            data += part
        return bytes(data)
    finally:
        os.close(descriptor)


def check_private(found: os.stat_result, path: Path, shown: str, others: int = _OTHERS) -> None:
    """Raises Refused unless it is a regular file without a bit for group and others; `others` are these bits."""
    if not stat.S_ISREG(found.st_mode):
        raise Refused("secret_file", f"`{shown}` is not a regular file", "name a file")
    if found.st_mode & others:
        raise Refused(
            "secret_file_mode",
            f"others than its owner may use the file `{shown}`: its mode is {stat.S_IMODE(found.st_mode):04o}",
            f"run `chmod 600 {_in_a_shell(shown)}`" if _changeable(found, path) else _MOUNTED,
        )


def _in_a_shell(path: str) -> str:
    """Quoted where that must be; a `~` at its beginning stays what it is."""
    home, slash, rest = path.partition("/")
    return f"{home}/{shlex.quote(rest)}" if slash and rest and home == "~" else shlex.quote(path)


def _check_readers(found: os.stat_result, path: Path, shown: str) -> None:
    check_private(found, path, shown, _OTHERS_OF_ROOTS if found.st_uid == 0 != os.geteuid() else _OTHERS)


def _changeable(found: os.stat_result, path: Path) -> bool:
    return os.geteuid() in (0, found.st_uid) and not os.statvfs(path).f_flag & os.ST_RDONLY
