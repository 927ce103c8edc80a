"""One history of revisions, and a stock Alembic project over the very same files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ehg_migrate.model import Address
from tests.support.cli import run_python

CLASSIC_INI = "classic.ini"


@dataclass(frozen=True)
class History:
    """One of them. Its target is called `app` and has the folders of versions/ that hold revisions."""

    name: str
    revisions: Mapping[str, str]  # by path below versions/, `shared/a.py`
    files: Mapping[str, str] = field(default_factory=dict)  # by path in the project
    ini: str = ""  # more lines of alembic.ini, its [alembic] first
    settings: Mapping[str, str] = field(default_factory=dict)  # our own, in [ehg_migrate]
    metadata: str = "None"  # the expression that a classic env.py has for it
    configure: Mapping[str, Any] = field(default_factory=dict)  # more options of context.configure
    x: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()  # statements that made what the database held before all revisions
    one_by_one: bool = (
        False  # each step of ours begins with the database's own settings, as each `alembic upgrade` does
    )
    stock_says: str = ""  # where stock Alembic itself cannot run it, a part of what it says

    @property
    def branches(self) -> tuple[str, ...]:
        """The folders, in order of application."""
        folders = dict.fromkeys(path.partition("/")[0] for path in self.revisions)
        return tuple(sorted(folders, key=lambda b: (b != "shared", b == "app", b)))


@dataclass(frozen=True)
class Stock:
    """Stock Alembic with the env.py of its own default template, in a project that is ours too."""

    folder: Path
    history: History
    address: Address
    password: str

    def alembic(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m alembic -c classic.ini ...`, whatever comes of it."""
        x = [a for key, value in self.history.x.items() for a in ("-x", f"{key}={value}")]
        variables = {**os.environ, **self.history.environment, "PGPASSWORD": self.password}
        command = ["-m", "alembic", "-c", CLASSIC_INI, *x, *arguments]
        return run_python(self.folder, command, variables, kind="stock").completed


def add_stock(folder: Path, history: History, address: Address, password: str) -> Stock:
    """Puts a classic.ini and a classic env.py beside what our project has in `folder`."""
    locations = "\n    ".join(f"%(here)s/versions/{b}" for b in reversed(history.branches))
    url = f"postgresql+psycopg://{address.user}@{address.host}:{address.port}/{address.dbname}"
    (folder / CLASSIC_INI).write_text(
        "[alembic]\n"
        f"script_location = %(here)s/classic\nversion_locations =\n    {locations}\npath_separator = newline\n"
        f"recursive_version_locations = true\nprepend_sys_path = .\nsqlalchemy.url = {url}\n{history.ini}"
        "\n[loggers]\nkeys = root\n[handlers]\nkeys =\n[formatters]\nkeys =\n[logger_root]\nhandlers =\n"
    )
    template = resources.files("alembic") / "templates" / "generic"
    (folder / "classic").mkdir()
    (folder / "classic" / "script.py.mako").write_text((template / "script.py.mako").read_text())
    (folder / "classic" / "env.py").write_text(_classic_env((template / "env.py").read_text(), history))
    return Stock(folder, history, address, password)


def _classic_env(text: str, history: History) -> str:
    given = "connection=connection, target_metadata=target_metadata"
    nothing = "target_metadata = None"
    assert given in text
    assert nothing in text
    module = history.metadata.rpartition(".")[0]
    text = text.replace(nothing, f"{f'import {module}' if module else ''}\ntarget_metadata = {history.metadata}")
    return text.replace(given, f"{given}, **{dict(history.configure)!r}")
