"""`PgBouncer`: Debian's own program before a cluster, in session or transaction mode, checking the real password."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psycopg
import pytest

from ehg_migrate.model import Address
from tests.support.postgres import Cluster
from tests.support.programs import (
    LOOPBACK,
    as_server_user,
    find_program,
    free_port,
    give_to_server_user,
    listens,
    wait_until,
)
from tests.support.server import SUPERUSER, certificates

Mode = Literal["session", "transaction", "statement"]

_STARTS = 5


class PgBouncer:
    """A running pgbouncer, started at once and killed by `close()`.

    Users are the cluster's roles `postgres` and `supabase_admin`: it holds their SCRAM secrets as the cluster does, so
    the real password is checked and stands in no file. `settings` are added to its configuration, and win; `databases`
    are those with a mode of their own.
    """

    def __init__(
        self,
        cluster: Cluster,
        mode: Mode = "session",
        *,
        pool_size: int = 20,
        databases: Mapping[str, Mode] | None = None,
        **settings: str | int,
    ) -> None:
        self.cluster = cluster
        self._databases = databases or {}
        self.mode = mode
        self._program = find_program("pgbouncer", "pgbouncer")
        self._settings = {"pool_mode": mode, "default_pool_size": pool_size, **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="ehg-bouncer-"))
        self.log_file = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        give_to_server_user(self._folder)
        self._write_users()
        self.start()

    def start(self) -> None:
        """Starts it on a free port; returns when connections are accepted."""
        for _ in range(_STARTS):
            self.port = self.port or free_port()
            self._write_configuration()
            self._process = self._launch()
            wait_until(lambda: listens(self.port) or not self._alive(), "pgbouncer starts")
            if self._alive():
                return
            self.port = 0
        self._fail_with_log()

    def close(self) -> None:
        """Kills it and removes its files; may be called twice."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL: clients and server connections are cut as they are."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _fail_with_log(self) -> None:
        """Fails the test with the end of the log."""
        said = self.log_file.read_text(errors="replace")[-3000:] if self.log_file.exists() else "no log was written"
        pytest.fail(f"pgbouncer does not start: {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process, for signals."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    def address(self, dbname: str, user: str = "postgres") -> Address:
        """Where a database of the cluster is, through it."""
        return Address(LOOPBACK, self.port, user, dbname, "disable")

    def connect(self, dbname: str, **more: Any) -> psycopg.Connection:
        """A session as `postgres` through it, in autocommit."""
        return self.cluster.open(self.address(dbname), **more)

    def console(self, command: str) -> list[tuple[Any, ...]]:
        """The rows of an administrator's command: SHOW POOLS, KILL db, PAUSE, RECONNECT."""
        with self.cluster.open(self.address("pgbouncer", SUPERUSER)) as c:
            cursor = c.execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._program, "-q", self._folder / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_server_user(),
        )

    def _write_users(self) -> None:
        with self.cluster.admin() as c:
            rows = c.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL").fetchall()
        self._write("users.txt", "".join(f'"{name}" "{secret}"\n' for name, secret in rows))

    def _write_configuration(self) -> None:
        settings = {
            "listen_addr": LOOPBACK,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self._folder / "users.txt",
            "admin_users": SUPERUSER,
            "logfile": self.log_file,
            "client_tls_sslmode": "allow",
            "client_tls_cert_file": self._copy(certificates().certificate),
            "client_tls_key_file": self._copy(certificates().key),
            "max_client_conn": 500,
            **self._settings,
        }
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        server = f"host={self.cluster.host} port={self.cluster.port}"
        own = "".join(f"{name} = {server} pool_mode={mode}\n" for name, mode in self._databases.items())
        self._write("pgbouncer.ini", f"[databases]\n{own}* = {server}\n[pgbouncer]\n{lines}")

    def _copy(self, file: Path) -> Path:
        return self._write(file.name, file.read_text())

    def _write(self, name: str, text: str) -> Path:
        file = self._folder / name
        file.write_text(text)
        file.chmod(0o600)
        give_to_server_user(file)
        return file
