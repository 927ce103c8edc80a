"""`LocalServer`: one embedded PostgreSQL, shared by all commands that use it and gone when the last one is."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.local.cluster import halt, initialize, launch, refuse_other_major, session
from ehg_migrate.local.place import PORT, find_place
from ehg_migrate.local.programs import MAJOR, run
from ehg_migrate.local.use import Use
from ehg_migrate.model import Address

OWNER = "postgres"
"""The role that migrates here; a superuser, which Supabase's `postgres` is not."""

Fill = Callable[[psycopg.Connection], None]
"""Makes in a new database what is there before any revision."""

_UNFINISHED = "unfinished:"  # no target's name has a colon


class LocalServer:
    """The embedded PostgreSQL whose files stand in `home`; listens on a Unix socket that only its owner can reach.

    `with LocalServer(home) as server:` starts it if it is not running; it stops when the last such block of any process
    ends, unless `start(keep=True)` left it running. A process that is killed stops nothing, and is not waited for: the
    next block to end does it. Nothing here waits for the disk, so the data may be lost with the machine, and only then.
    All methods raise LocalServerError.
    """

    def __init__(self, home: Path, major: int = MAJOR, *, api_roles: bool = True) -> None:
        """`api_roles`: whether the roles that PostgREST serves as are there, as on Supabase."""
        self.home = home.absolute()
        self._place = find_place(self.home, major)
        self._api_roles = api_roles
        self._use = Use(self._place)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._leave()

    def start(self, keep: bool = False) -> None:
        """Returns when connections are accepted; initialises the data folder the first time (2 s).

        This process counts as a user until `stop()`. With `keep` the server needs none to stay, until `stop()`.
        """
        with _told(), self._use.turn():
            joined = self._use.joined
            self._use.join()
            try:
                self._ensure_running()
            except BaseException:
                self._leave_in_turn()
                raise
            if keep:
                self._place.keep.touch()
                if not joined:
                    self._use.leave()

    def stop(self) -> bool:
        """Ends what `start(keep=True)` began. True if it is down now, False if others use it: the last one stops it."""
        return self._leave(stop_kept=True)

    def running(self) -> bool:
        """Whether somebody answers at its socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._place.socket)) == 0

    def wipe(self) -> None:
        """Stops it and removes all its files. Refused while another command uses it."""
        if not self._place.root.exists():
            return
        with _told(), self._use.turn():
            joined = self._use.joined
            self._use.leave()
            if not self._use.alone():
                if joined:
                    self._use.join()
                raise LocalServerError(
                    Problem(
                        "local_in_use",
                        f"another command uses the embedded PostgreSQL of `{self.home}`",
                        "wait until it has ended, then try again",
                    )
                )
            if self.running():
                halt(self._place)
            with self._use.without_server():
                for folder in (self._place.sockets, self._place.root):
                    _remove(folder)

    @cached_property
    def server_version(self) -> str:
        """Such as `18.4`."""
        said = run([self.program("postgres"), "--version"], self._place.account, Path("/"), 30)
        return said.stdout.split()[2]

    def program(self, name: str) -> Path:
        """One of PostgreSQL's programs of the server's version: psql, pg_dump."""
        with _told():
            return self._place.bin() / name

    def address(self, database: str) -> Address:
        """Where a database is; no password is asked."""
        return Address(str(self._place.sockets), PORT, OWNER, database, "disable")

    def ensure_databases(self, names: Iterable[str], fill: Fill | None = None) -> list[str]:
        """Creates the databases that are missing, owned by the migrating role; returns those it created.

        They are empty, or have what `fill` makes there: all of it, or there is no such database.
        """
        with session(self.address("postgres")) as c:
            missing = self._missing(c, names)
            if not missing:
                return missing
            with _told(), self._use.turn():  # another command may make them at the same moment
                missing = self._missing(c, missing)
                for name in missing:
                    self._create(c, name, fill)
                return missing

    def _missing(self, c: psycopg.Connection, names: Iterable[str]) -> list[str]:
        there = {row[0] for row in c.execute("SELECT datname FROM pg_database")}
        return [name for name in dict.fromkeys(names) if name not in there]

    def _create(self, c: psycopg.Connection, name: str, fill: Fill | None) -> None:
        """By another name until it is whole: who is killed meanwhile leaves none that looks so."""
        unfinished, owner = sql.Identifier(_UNFINISHED), sql.Identifier(OWNER)
        c.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(unfinished))
        c.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(unfinished, owner))
        if fill:
            with session(self.address(_UNFINISHED)) as inside:
                fill(inside)
        c.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(unfinished, sql.Identifier(name)))

    def ensure_schemas(self, database: str, names: Iterable[str]) -> None:
        """Creates the schemas of a database that are missing, and beside them the one where extensions belong."""
        with session(self.address(database)) as c:
            for name in dict.fromkeys((*names, "extensions")):
                with suppress(psycopg.errors.DuplicateSchema, psycopg.errors.UniqueViolation):  # another command's
                    c.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))

    # --- its life

    def _ensure_running(self) -> None:
        refuse_other_major(self._place)
        if self.running():
            self._place.prepare_sockets()  # in a folder of another's it is not our server that answers
        else:
            with self._use.without_server() as lock:
                self._place.prepare_sockets()
                initialize(self._place)
                launch(self._place, lock)
        with session(self.address("postgres")) as c:
            if self._api_roles:
                c.execute(resources.files(__package__).joinpath("prelude.sql").read_bytes())

    def _leave(self, stop_kept: bool = False) -> bool:
        if not self._place.root.exists():
            return True  # never started, or wiped
        with _told(), self._use.turn():
            if stop_kept:
                self._place.keep.unlink(missing_ok=True)
            down = self._leave_in_turn()
            if down and stop_kept:
                with self._use.without_server():
                    pass  # it is, by whatever name of the folder it was started
            return down

    def _leave_in_turn(self) -> bool:
        """Whether the server is down after it."""
        self._use.leave()
        if self._place.keep.exists() or not self._use.alone():
            return False
        if self.running():
            halt(self._place)
        return True


@contextmanager
def _told() -> Iterator[None]:
    """What the system refuses, of whatever file of the server, as a LocalServerError: runs go on without a server."""
    try:
        yield
    except OSError as e:
        raise LocalServerError(
            Problem(
                "local_files",
                f"a file of the embedded PostgreSQL cannot be used: {e}",
                "take it out of the way, or make room; `ehg-migrate local wipe` makes all anew, without its databases",
            )
        ) from e


def _remove(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    try:
        shutil.rmtree(folder)
    except OSError as e:
        why = "it is a link to another" if folder.is_symlink() else str(e)  # of which Python 3.13 says nothing
        raise LocalServerError(
            Problem(
                "local_folder",
                f"`{folder}` cannot be removed: {why}",
                "what is left of the embedded PostgreSQL there is of no use: mend what it says, then wipe it again",
            )
        ) from e
