"""libpq's password file. libpq reads it by itself; here its passwords are only registered, so that they are masked."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ehg_migrate.fleet.private import MANY, read_private
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.redaction import register

# host:port:database:user:password, where a backslash takes its meaning from `:` and `\`; what a further `:` begins is
# none of it
_LINE = re.compile(r"(?:(?:[^:\\]|\\.)*:){4}(?P<password>(?:[^:\\]|\\.|\\$)+)")


def register_passwords(path: Path) -> None:
    """All passwords of the file; none where libpq would not read it either."""
    with contextlib.suppress(Refused):
        for line in read_private(path, str(path), MANY).replace("\r\n", "\n").split("\n"):
            if match := _LINE.match(line):
                register(re.sub(r"\\(.)", r"\1", match["password"]))


def default() -> Path:
    """The file that libpq looks into where nothing names another."""
    named = os.environ.get("PGPASSFILE")
    return Path(named) if named else Path(os.path.expanduser("~/.pgpass"))  # noqa: PTH111 - raises without a home
