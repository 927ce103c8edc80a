"""`Cluster`: a real PostgreSQL that looks like a Supabase project's, with databases made on demand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest
from psycopg import sql

from ehg_migrate.model import Address
from tests.support.programs import postgres_bin, speaks_tls
from tests.support.server import CANARY, SUPABASE_TEMPLATE, SUPERUSER, ProcessServer, Server, supabase_template

__all__ = ["CANARY", "Cluster"]


class Cluster:
    """One PostgreSQL server with a life of its own: started at once, stopped and removed by `close()`.

    Login roles are `postgres`, as little of a superuser as Supabase's, and the superuser `supabase_admin`; both have
    `password`. Addresses are of the loopback, without TLS; `secured()` gives one with TLS and a checked certificate.
    """

    password = CANARY

    def __init__(self) -> None:
        self._server = _new_server()
        self.start()

    # --- the server

    @property
    def host(self) -> str:
        """Always this machine."""
        return self._server.host

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._server.port

    @property
    def pid(self) -> int:
        """Of the server's first process. Raises OSError where it does not run here."""
        return self._server.pid

    @property
    def ca_file(self) -> Path:
        """The root that signed the server's certificate, for `sslrootcert`."""
        return self._server.ca_file

    @property
    def log_file(self) -> Path | None:
        """The server's log; None in a container."""
        return self._server.log_file

    def start(self) -> None:
        """Returns when connections are accepted."""
        self._server.start()

    def stop(self, mode: str = "fast") -> None:
        """Returns when it is down; modes are `smart`, `fast`, `immediate` (a crash)."""
        self._server.stop(mode)

    def restart(self, mode: str = "fast") -> None:
        """Stops and starts it, on the same port."""
        self.stop(mode)
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """To the server and all its backends: SIGSTOP, SIGCONT."""
        self._server.signal(number)

    def close(self) -> None:
        """Stops it and removes its files; may be called twice."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # --- databases

    def create_database(self, name: str) -> Address:
        """A database like a Supabase project's: owned by `postgres`, with Supabase's schemas, roles and grants."""
        return self._create(name, SUPABASE_TEMPLATE)

    def copy_database(self, template: str, name: str) -> Address:
        """A database with all that another one holds, to which nobody is connected."""
        return self._create(name, template)

    def create_plain_database(self, name: str) -> Address:
        """An empty database owned by `postgres`."""
        return self._create(name, "template0")

    def drop_databases(self, names: Iterable[str]) -> None:
        """Drops those that exist, whoever is connected to them."""
        with self.admin() as c:
            for name in names:
                c.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def address(self, name: str, user: str = "postgres") -> Address:
        """Where a database is, without TLS."""
        return Address(self.host, self.port, user, name, "disable")

    def superuser_address(self, name: str) -> Address:
        """The same for `supabase_admin`."""
        return self.address(name, SUPERUSER)

    def secured(self, address: Address) -> Address:
        """The same place with `verify-full`, which this cluster's certificate passes."""
        if isinstance(self._server, ProcessServer) and not speaks_tls(postgres_bin()):
            pytest.fail("this PostgreSQL was built without TLS, and the test needs it; `apt-get install postgresql`")
        return replace(address, sslmode="verify-full", sslrootcert=str(self.ca_file))

    # --- sessions

    def connect(self, name: str, *, autocommit: bool = True, **more: Any) -> psycopg.Connection:
        """A session as `postgres`, who is not a superuser; `more` goes to psycopg."""
        return self.open(self.address(name), autocommit=autocommit, **more)

    def admin(self, name: str = "postgres") -> psycopg.Connection:
        """A superuser's session, in autocommit."""
        return self.open(self.superuser_address(name))

    def open(self, address: Address, *, autocommit: bool = True, **more: Any) -> psycopg.Connection:
        """A session at any address of this cluster or of a pooler before it, with the cluster's password."""
        return psycopg.connect(**{**keywords(address), "password": self.password, **more}, autocommit=autocommit)

    def dump_schema(self, name: str, exclude_schemas: Iterable[str] = ("ehg_migrate",)) -> str:
        """pg_dump's DDL of a database, without owners, comments, blank lines and what differs from dump to dump."""
        excluded = [f"--exclude-schema={schema}" for schema in exclude_schemas]
        text = self._server.pg_dump("--schema-only", "--no-owner", *excluded, name)
        return "".join(f"{line}\n" for line in text.splitlines() if line and not line.startswith(_NOISE))

    def _create(self, name: str, template: str) -> Address:
        with self.admin() as c:
            copied = "STRATEGY file_copy" if c.info.server_version >= 150000 else ""  # before, the only way
            create = sql.SQL("CREATE DATABASE {} OWNER postgres TEMPLATE {} " + copied)
            c.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return self.address(name)


def keywords(address: Address) -> dict[str, Any]:
    """psycopg's arguments for an address, all but the password; nothing is taken from PGOPTIONS."""
    return {
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "dbname": address.dbname,
        "sslmode": address.sslmode,
        "sslrootcert": address.sslrootcert or "",
        "gssencmode": "disable",
        "options": "",
        "connect_timeout": 10,
    }


_NOISE = ("--", "\\restrict", "\\unrestrict")  # the two carry a random key since the releases of August 2025


def _new_server() -> Server:
    if os.environ.get("EHG_TEST_DOCKER") == "1":
        from tests.support.container import ContainerServer

        return ContainerServer()
    return ProcessServer(supabase_template())
