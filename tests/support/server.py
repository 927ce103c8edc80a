"""A PostgreSQL server of the tests' own: initialised once in a session, copied for each cluster, always stopped."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import shutil
import signal
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import psutil
import psycopg
import pytest
from psycopg import sql

from tests.support.programs import (
    LOOPBACK,
    as_server_user,
    free_port,
    give_to_server_user,
    postgres_bin,
    run,
    server_version,
    servers_folder,
    speaks_tls,
)
from tests.support.session import made_once
from tests.support.tls import Certificates, make_certificates

CANARY = """Correct horse@battery:staple/%41#tests?x=1&'"\\end of it"""
"""The password of every login role: long, and full of what URLs, shells, YAML and libpq give a meaning."""

SUPERUSER = "supabase_admin"
SUPABASE_TEMPLATE = "supabase_template"
_STATEMENTS = Path(__file__).with_name("supabase.sql")
_STARTS = 5  # another process may take our free port between finding and using it

_CONFIGURATION = """
max_connections = 300
# not synchronous_commit: a crash must keep what was committed, and `immediate` is a crash
fsync = off
full_page_writes = off
wal_level = logical
shared_buffers = 32MB
max_wal_size = 128MB
password_encryption = scram-sha-256
unix_socket_directories = '..'
listen_addresses = '127.0.0.1'
log_min_messages = warning
include = 'port.conf'
"""
_TLS = """
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
"""
_HBA = """
local all supabase_admin trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""


class Server(Protocol):
    """What a cluster needs from the thing that runs PostgreSQL: our own process, or a container."""

    host: str
    ca_file: Path
    log_file: Path | None

    @property
    def port(self) -> int:
        """The TCP port on `host`; stays the same over a restart of our own process."""

    @property
    def pid(self) -> int:
        """Of the first process on this machine. Raises OSError where there is none."""

    def start(self) -> None:
        """Returns when connections are accepted."""

    def stop(self, mode: str) -> None:
        """Returns when it is down. Modes are pg_ctl's: smart, fast, immediate."""

    def signal(self, number: signal.Signals) -> None:
        """To the server and all its backends: SIGSTOP, SIGCONT."""

    def close(self) -> None:
        """Stops it, in whatever state it is, and removes its files."""

    def pg_dump(self, *arguments: str) -> str:
        """The output of a pg_dump that is as new as the server, run as superuser."""


def prepare(connect: Callable[[str], psycopg.Connection]) -> None:
    """Makes a fresh server look like Supabase's; `connect` opens a superuser's autocommit session on a database."""
    _, roles, database = _STATEMENTS.read_text().split("-- name: ")
    with connect("postgres") as c:
        quoted = sql.Literal(scram_secret(CANARY)).as_string(c)
        c.execute(roles.removeprefix("roles").replace("{password}", quoted).encode())
        c.execute(f"CREATE DATABASE {SUPABASE_TEMPLATE} IS_TEMPLATE true".encode())
    with connect(SUPABASE_TEMPLATE) as c:
        c.execute(database.removeprefix("database").encode())


def scram_secret(password: str) -> str:
    """The password as PostgreSQL keeps it, but for the number of rounds: a client counts them at every login."""
    rounds, salt = 1, os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
    kept = (b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(rounds, *kept)


class ProcessServer:
    """PostgreSQL from this machine's programs, on a free port of the loopback, with TLS, as a user that is not root."""

    host = LOOPBACK

    def __init__(self, template: Path | None = None) -> None:
        self.folder = _private_folder("ehg-pg-")
        self.data = self.folder / "data"
        self.log_file: Path | None = self.folder / "log"
        self.ca_file = certificates().ca_file
        self._port = free_port()
        if template:
            run(["cp", "-a", template, self.data])
        else:
            _initdb(self.data)

    @property
    def port(self) -> int:
        """The TCP port, chosen at the first start."""
        return self._port

    @property
    def pid(self) -> int:
        """Of the process that starts the others, by the file that it keeps."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        """Starts it; takes another port if somebody took ours before the first start."""
        for _ in range(_STARTS):
            self._write_port()
            if self._pg_ctl("start", "-w", "-t", "60", "-l", str(self.log_file)):
                return
            said = self._log()
            if "Address already in use" not in said:
                break
            self._port = free_port()
        pytest.fail(f"PostgreSQL does not start: {said}")

    def stop(self, mode: str) -> None:
        """Stops it; nothing happens if it is not running."""
        if not self._pg_ctl("status"):
            return
        if not self._pg_ctl("stop", "-w", "-t", "60", "-m", mode):
            pytest.fail(f"PostgreSQL does not stop: {self._log()}")

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens if it is not running. The server first, so that none of its children is born meanwhile."""
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            server = psutil.Process(self.pid)
            server.send_signal(number)
            for backend in server.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    backend.send_signal(number)

    def close(self) -> None:
        """Kills it and removes all its files; may be called twice."""
        if self.data.exists():
            self.signal(signal.SIGCONT)
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def pg_dump(self, *arguments: str) -> str:
        """Through the socket, so that no password is needed."""
        where = ("-h", str(self.folder), "-p", str(self.port), "-U", SUPERUSER)
        return run([postgres_bin() / "pg_dump", *where, *arguments], env={**os.environ, "PGOPTIONS": ""})

    def trusted(self, database: str) -> psycopg.Connection:
        """A superuser's session through the socket, where no password is asked."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user=SUPERUSER, dbname=database, options="", autocommit=True
        )

    def _write_port(self) -> None:
        file = self.data / "port.conf"
        file.write_text(f"port = {self._port}\n")
        give_to_server_user(file)

    def _pg_ctl(self, *arguments: str) -> bool:
        # its output must not be a pipe: the server inherits it and would keep the reader waiting
        return (
            subprocess.run(
                [postgres_bin() / "pg_ctl", "-D", self.data, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                **as_server_user(),
            ).returncode
            == 0
        )

    def _log(self) -> str:
        log = self.log_file
        return log.read_text(errors="replace")[-3000:] if log and log.exists() else "no log was written"


@cache
def certificates() -> Certificates:
    """This session's certificates; every server of the tests presents the same one."""
    return Certificates.of(made_once("certificates", make_certificates))


@cache
def supabase_template() -> Path:
    """A data folder with Supabase's roles and template database in it, made once in a session (2 s), then copied."""
    return made_once("template", _make_template)


def _make_template(data: Path) -> None:
    server = ProcessServer()
    try:
        server.start()
        prepare(server.trusted)
        server.stop("fast")
        run(["cp", "-a", server.data, data])  # with its owner, and onto whatever disk
    finally:
        server.close()


def _private_folder(prefix: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=servers_folder()))
    give_to_server_user(folder)
    return folder


def _initdb(data: Path) -> None:
    options = ["-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "trust"]
    if server_version(postgres_bin()) >= (17,):
        options += ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"]
    run([postgres_bin() / "initdb", "-D", data, *options], cwd=data.parent, **as_server_user())
    with (data / "postgresql.conf").open("a") as file:
        file.write(_CONFIGURATION + (_TLS if speaks_tls(postgres_bin()) else ""))
    (data / "pg_hba.conf").write_text(_HBA)
    for source, name in ((certificates().certificate, "server.crt"), (certificates().key, "server.key")):
        shutil.copyfile(source, data / name)
        (data / name).chmod(0o600)
        give_to_server_user(data / name)
