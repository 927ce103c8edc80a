"""Throw-away databases: on the embedded PostgreSQL, or on the servers that EHG_SCRATCH_URL names.

Every process that uses a scratch server holds an advisory lock there whose number is part of its databases' names, so
that what a killed process left is known as such, from whatever machine it came.

What stands in a target was written by whoever may write there. On the embedded server, which runs as we do, it is made
and run by a role that is no superuser (`confine`): a superuser's function may run any program on this machine.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self

import psycopg
from psycopg import sql

from ehg_migrate.database.faults import run_fault, sqlstate
from ehg_migrate.database.parameters import ITS_OWN
from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.local import LocalServer
from ehg_migrate.local.programs import FOLDERS
from ehg_migrate.model import Address
from ehg_migrate.schema.confining import confine, drop_role, make_role
from ehg_migrate.schema.scratch_url import VARIABLE, given

_LOCKS = 0x65686773  # "ehgs": the first half of the advisory locks of scratch users
_SWEEPING = _LOCKS + 1  # who has this one drops what the dead have left
_MINE = re.compile(r"ehg_scratch_([0-9]+)_[0-9]+")
_KEPT = "ehg_kept_"
_MOST_KEPT = 24  # databases of about 8 MB; the longest unused goes first
_GONE = "3D000"  # a database that another process has forgotten meanwhile
_FILE_COPY = 15  # the first major whose CREATE DATABASE can copy files, many times faster than through the log


class Scratch:
    """One scratch server. Use as a context manager; leaving it drops the databases that were made and not kept.

    All methods raise LocalServerError.
    """

    def __init__(self, address: Address, password: str | None, *, ours: bool = False) -> None:
        """`ours`: the embedded one, where we are a superuser."""
        self.password = password
        self.version = ""
        self.major = 0
        self._address = address
        self._token = secrets.randbelow(2**31)
        self.ours = ours
        self._made: set[str] = set()
        self._owners: dict[str, str] = {}  # database -> the role that alone ever enters it
        self._count = 0

    def __enter__(self) -> Self:
        self._admin = self.connect(self._address.dbname)
        try:
            self._enter()
        except LocalServerError:
            self._admin.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            for name in tuple(self._made):
                self.drop(name)
        except LocalServerError:
            pass  # the server has gone; whoever uses it next sweeps
        finally:
            self._admin.close()

    def fresh(self) -> str:
        """The name of a new, empty database."""
        return self._create("template0")

    def fresh_for_others(self) -> str:
        """The same for what others have written; where the server is ours, it has an owner that nothing else has.

        He is a superuser until `confine`, for what is the project's own.
        """
        if not self.ours:
            return self.fresh()
        role = f"ehg_scratch_{self._token}_{self._count + 1}"
        with self._told():
            make_role(self._admin, role)
        return self._create("template0", role)

    def confine(self, database: str, roles: Iterable[str]) -> None:
        """From now on the owner of a database `for others` can do nothing outside of it; `roles` are there for him."""
        if role := self._owners.get(database):
            with self._told():
                confine(self._admin, role, roles)

    def clone(self, source: str) -> str:
        """The name of a new database that equals `source`, to which nobody is connected."""
        return self._create(source, self._owners.get(source))

    def clone_kept(self, keys: Iterable[str]) -> tuple[str, str] | None:
        """The first of these keys under which a database was kept, and a copy of it; None where there is none."""
        there = self._databases()
        for key in keys:
            kept = f"{_KEPT}{key}"
            try:
                if kept in there:
                    self._stamp(kept)
                    return key, self._create(kept)
            except LocalServerError as e:
                if e.problems[0].sqlstate != _GONE:
                    raise
        return None

    def keep(self, name: str, key: str) -> None:
        """Gives a database that was made here a name by which later processes find it; one that is there stays."""
        kept = f"{_KEPT}{key}"
        try:
            self._execute("ALTER DATABASE {} RENAME TO {}", name, kept)
        except psycopg.errors.DuplicateDatabase:
            return  # another process was faster; ours goes when we leave
        self._made.discard(name)
        self._stamp(kept)
        self._forget_oldest()

    def drop(self, name: str) -> None:
        """Drops a database, whoever is connected to it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        self._made.discard(name)
        owner = self._owners.pop(name, None)
        if owner and owner not in self._owners.values():
            self._drop_role(owner)

    def address(self, database: str) -> Address:
        """Where a database is, and as whom it is entered."""
        user = self._owners.get(database, self._address.user)
        return replace(self._address, dbname=database, user=user)

    def connect(self, database: str) -> psycopg.Connection:
        """A session in autocommit."""
        a = self.address(database)
        values: dict[str, Any] = {"host": a.host, "port": a.port, "user": a.user, "dbname": database}
        values |= {"sslmode": a.sslmode, "password": self.password, "sslrootcert": a.sslrootcert}
        try:
            return psycopg.connect(
                **ITS_OWN | {key: value for key, value in values.items() if value is not None},
                connect_timeout=10,
                application_name="ehg_migrate scratch",
                autocommit=True,
            )
        except (psycopg.Error, UnicodeError) as e:  # the last: a host of `a..b`, which nobody can look up
            raise _refused(a, e) from e

    def _enter(self) -> None:
        self._rows("SELECT pg_advisory_lock(%s, %s)", _LOCKS, self._token)
        # it waits as long as revisions take
        self._rows("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        (self.version, self.major), *_ = self._rows(
            "SELECT split_part(current_setting('server_version'), ' ', 1),"
            " current_setting('server_version_num')::int / 10000"
        )
        ((alone,),) = self._rows("SELECT pg_try_advisory_lock(%s, 0)", _SWEEPING)
        if alone:  # a role that two drop is an error for one of them
            self._sweep()
            self._rows("SELECT pg_advisory_unlock(%s, 0)", _SWEEPING)

    def _sweep(self) -> None:
        """Drops what users have left who were killed."""
        for name in filter(self._is_left, self._databases()):
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        for (name,) in self._rows("SELECT rolname FROM pg_roles") if self.ours else ():
            if self._is_left(name):
                self._drop_role(name)

    def _is_left(self, name: str) -> bool:
        """Whether a user made it who does not live any more."""
        mine = _MINE.fullmatch(name)
        alive = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
        return mine is not None and not self._rows(alive, _LOCKS, int(mine[1]))

    def _create(self, template: str, owner: str | None = None) -> str:
        self._count += 1
        name = f"ehg_scratch_{self._token}_{self._count}"
        fast = " STRATEGY file_copy" if self.major >= _FILE_COPY else ""
        self._made.add(name)
        if owner:
            self._owners[name] = owner
            self._execute("CREATE DATABASE {} OWNER {} TEMPLATE {}" + fast, name, owner, template)
        else:
            self._execute("CREATE DATABASE {} TEMPLATE {}" + fast, name, template)
        return name

    def _stamp(self, name: str) -> None:
        """Notes when it was used last."""
        ((now,),) = self._rows("SELECT clock_timestamp()::text")
        self._execute(f"COMMENT ON DATABASE {{}} IS '{now}'", name)

    def _forget_oldest(self) -> None:
        rows = self._rows(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
            " ORDER BY shobj_description(oid, 'pg_database') DESC NULLS LAST",
            _KEPT,
        )
        for (name,) in rows[_MOST_KEPT:]:
            self.drop(name)

    def _databases(self) -> frozenset[str]:
        return frozenset(name for (name,) in self._rows("SELECT datname FROM pg_database"))

    def _drop_role(self, name: str) -> None:
        with self._told():
            drop_role(self._admin, name)

    def _rows(self, question: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        with self._told():
            return self._admin.execute(question, values).fetchall()

    def _execute(self, statement: str, *names: str) -> None:
        with self._told():
            self._admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the server refuses, in our words; also that it has ended the session."""
        try:
            yield
        except psycopg.errors.DuplicateDatabase:
            raise
        except psycopg.Error as e:
            raise _refused(self._address, e) from e


class ScratchServers:
    """The scratch servers of a project, each opened when it is first needed and closed with this."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._given = tuple(given(url) for url in os.environ.get(VARIABLE, "").split())
        self._open: dict[object, Scratch] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.clear()
        self._stack.close()

    def label(self, major: int, *, api_roles: bool) -> str:
        """Which server `get` gives, in a word that stays the same from process to process; opens nothing."""
        if self._given:
            return " ".join(f"{address} for {major}" for address, _ in self._given)
        return f"embedded {nearest(FOLDERS, major)}{' with API roles' if api_roles else ''}"

    def get(self, major: int, *, api_roles: bool) -> Scratch:
        """The server whose version is nearest to `major`. Raises LocalServerError."""
        if self._given:
            found = [self._of(number, address, password) for number, (address, password) in enumerate(self._given)]
            best = nearest([s.major for s in found], major)
            return next(s for s in found if s.major == best)
        best = nearest(FOLDERS, major)
        key = (best, api_roles)
        if key not in self._open:
            server = self._stack.enter_context(_embedded(self._home, best, api_roles=api_roles))
            self._open[key] = self._stack.enter_context(Scratch(server.address("postgres"), None, ours=True))
        return self._open[key]

    def _of(self, number: int, address: Address, password: str | None) -> Scratch:
        if number not in self._open:
            self._open[number] = self._stack.enter_context(Scratch(address, password))
        return self._open[number]


def embedded_servers(home: Path) -> Iterator[LocalServer]:
    """Every embedded server that may ever have been used below `home`; starts none."""
    for major in FOLDERS:
        for api_roles in (False, True):
            yield _embedded(home, major, api_roles=api_roles)


def _embedded(home: Path, major: int, *, api_roles: bool) -> LocalServer:
    return LocalServer(home / f"{major}{'-api' if api_roles else ''}", major, api_roles=api_roles)


def nearest(majors: Iterable[int], wanted: int) -> int:
    """The major version nearest to the one wanted; of two as near the newer, which knows everything the wanted does."""
    return min(majors, key=lambda major: (abs(major - wanted), -major))


def _refused(address: Address, error: psycopg.Error | UnicodeError) -> LocalServerError:
    hint = f"look at the server that `{VARIABLE}` names" if os.environ.get(VARIABLE) else "try again; its log says more"
    state = sqlstate(error)
    if state == "42501":
        hint = f"its role must be able to create databases and roles (CREATEDB CREATEROLE); `{VARIABLE}` names it"
    message = f"the scratch server at {address} refuses: {run_fault(error).problem.message}"
    return LocalServerError(Problem("scratch", message, hint, sqlstate=state))
