"""The ledger in a SQLite file: its folder, its permissions, its transactions and its errors.

The file stays in SQLite's rollback-journal mode and every operation has a connection of its own: one file to copy, no
helper files left behind, no trouble on network disks, and about a millisecond for a row. WAL would be faster, but two
processes that switch a new file to WAL at the same moment get `database is locked` at once, whatever the busy timeout.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger.backend import Backend, Dialect, first_line
from ehg_migrate.ledger.rows import JSONS, MOMENTS

PREFIX = "sqlite:///"

BUSY_SECONDS = 30.0
"""How long one writer waits for the others."""


def open_sqlite(url: str) -> Backend:
    """The backend for `sqlite:////absolute/path`; makes the file (0600) and its folder (0700) where they are missing.

    Raises LedgerError: not an absolute path, or a folder or file that cannot be written.
    """
    path = Path(url.removeprefix(PREFIX))
    if not path.is_absolute() or path == Path("/"):
        raise LedgerError(
            Problem("ledger_url", f"`{url}` names no absolute path", "write `sqlite:////absolute/path/ledger.sqlite`")
        )
    try:
        _prepare(path)
    except OSError as e:
        raise LedgerError(_os_problem(path, e)) from e
    return Backend(f"`{path}`", _DIALECT, partial(_begin, path), partial(_explain, path))


def _prepare(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # by hand, because SQLite would create it with whatever the umask leaves; not exclusive: two may open a new ledger
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if not os.access(path.parent, os.W_OK | os.X_OK):  # SQLite's rollback journal stands beside the file
        raise PermissionError(errno.EACCES, "the folder cannot be written", str(path.parent))


@contextmanager
def _begin(path: Path, write: bool, _: bool) -> Iterator[sqlite3.Connection]:
    """A transaction on a connection of its own; none is ended for being long."""
    with closing(connect(path)) as connection:
        # IMMEDIATE waits for the other writer here; a transaction that reads first and then writes would fail instead
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield connection
        connection.execute("COMMIT")  # closing rolls back what was not committed


def connect(path: Path) -> sqlite3.Connection:
    """One connection to the file, in autocommit."""
    # mode=rw: a file that was deleted meanwhile is an error, not a new empty ledger with the umask's permissions
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _write(value: Any) -> Any:
    """Moments as text of one width, so that its order is that of time; JSON as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return json.dumps(value) if isinstance(value, list | dict) else value


def _read(column: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        if isinstance(value, bytes):
            raise TypeError("it is no text")
        if column in MOMENTS:
            return datetime.fromisoformat(value)
        return json.loads(value) if column in JSONS else value
    except (ValueError, TypeError) as e:  # the file's types keep nothing out
        raise sqlite3.DataError(f"what stands in `{column}` is not ours: {e}") from e


_DIALECT = Dialect(
    words={
        "schema": "",
        "json": "text",
        "time": "text",
        "now": ":now",
        "lock": "",
        "elements": "json_each",
        "tables": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    },
    parameter=r":\1",
    write=_write,
    read=_read,
)


def _os_problem(path: Path, error: OSError) -> Problem:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(path)
    if error.errno == errno.EISDIR:
        return Problem("ledger_not_sqlite", f"the ledger `{path}` is a folder", "name a file in `ledger`")
    if os.access(path, os.F_OK) and not os.access(path, os.W_OK):
        return _read_only(path)
    return Problem(
        "ledger_folder",
        f"the ledger's folder `{path.parent}` cannot be used: {os.strerror(error.errno or 0).lower()}",
        "let this user write there, or name another place in `ledger`",
    )


def _disk_full(path: Path) -> Problem:
    return Problem(
        "ledger_disk_full",
        f"the disk under the ledger `{path}` is full",
        "free some space; the targets themselves are not affected",
    )


def _read_only(path: Path) -> Problem:
    return Problem(
        "ledger_read_only",
        f"the ledger `{path}` is read-only",
        f"run `chmod u+w {shlex.quote(str(path))}` as its owner, or name another file in `ledger`",
    )


# https://www.sqlite.org/rescode.html; the low byte is the class of an extended code
_EXPLANATIONS: dict[int, tuple[str, str, str]] = {
    sqlite3.SQLITE_NOTADB: (
        "ledger_not_sqlite",
        "the ledger `{path}` is not a SQLite database",
        "move the file away or name another one in `ledger`; a new ledger is made by itself",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "ledger_damaged",
        "the ledger `{path}` is damaged",
        "say `mv {file} {away}` to start a new one; `sqlite3 {away} .recover | sqlite3 {file}` brings back into that "
        "what can still be read; the targets are not affected",
    ),
    sqlite3.SQLITE_BUSY: (
        "ledger_busy",
        "the ledger `{path}` was locked by another process for more than {seconds:g} s",
        "find who holds it with `lsof {file}`, then run the command again",
    ),
    sqlite3.SQLITE_IOERR: (
        "ledger_io",
        "the disk under the ledger `{path}` failed: {text}",
        "look at the disk and its free space; the targets themselves are not affected",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "ledger_gone",
        "the ledger `{path}` cannot be opened",
        "see whether the file and its folder are still there and can be read by this user",
    ),
}
_OTHER = (
    "ledger_error",
    "the ledger `{path}` cannot be used: {text}",
    "move the file away to start a new ledger; the targets themselves are not affected",
)


def _explain(path: Path, error: BaseException) -> Problem:
    code: Any = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return _disk_full(path)
    if code & 0xFF == sqlite3.SQLITE_READONLY:
        return _read_only(path)
    name, message, hint = _EXPLANATIONS.get(code & 0xFF, _OTHER)
    file, away = (shlex.quote(f"{path}{end}") for end in ("", ".damaged"))
    words = {"path": path, "file": file, "away": away, "seconds": BUSY_SECONDS, "text": first_line(error)}
    return Problem(name, message.format(**words), hint.format(**words))
