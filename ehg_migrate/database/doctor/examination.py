"""One target under examination: its address, its two connections, and a limit on how long it may keep us waiting."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import psycopg

from ehg_migrate.database.answers import dict_rows
from ehg_migrate.database.leaving import let_go
from ehg_migrate.database.logins import login
from ehg_migrate.database.parameters import parameters
from ehg_migrate.database.sockets import shut
from ehg_migrate.database.statements import query
from ehg_migrate.model import Target, is_local, is_socket

_CONNECT = 10.0  # seconds, where the target sets no limit of its own
_ANSWER = 20.0  # seconds that one check may take beside connecting


@dataclass(slots=True)
class Examination:
    """What the checks share. As a context manager it closes every connection that they opened."""

    target: Target
    password: str | None
    long_transaction: float  # seconds
    addresses: tuple[str, ...] = ()  # IP addresses of the host, in the resolver's order
    address: str = ""  # the one that answered
    connect_seconds: float = 0.0  # TCP, TLS, login and the first answer
    connections: list[psycopg.Connection] = field(default_factory=list)
    has_sessions: bool = False  # proven: what is set on a connection is set on no other client's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self.limited():
            for connection in self.connections:
                # a pooler that cleans nothing would hand our limits on; without sessions they are not ours to take back
                let_go(connection) if self.has_sessions else connection.close()

    @property
    def connection(self) -> psycopg.Connection:
        """The first connection; there is one from the login on."""
        return self.connections[0]

    @property
    def socket_file(self) -> str | None:
        """The Unix socket of this target, None where it is reached over TCP."""
        a = self.target.address
        return f"{a.host}/.s.PGSQL.{a.port}" if is_socket(a.host) else None

    @property
    def local(self) -> bool:
        """Whether the connection stays on this machine."""
        return is_local(self.target.address.host) or is_local(self.address)

    @property
    def connect_limit(self) -> float:
        """Seconds for one attempt to connect."""
        return self.target.limits.connect or _CONNECT

    def parameters(self) -> dict[str, Any]:
        """What psycopg needs to reach the one address that answered.

        A name alone will not do: psycopg tries each of its addresses, after a wrong password too, and each counts.
        """
        values = {"connect_timeout": round(_CONNECT), **parameters(self.target, self.password, "ehg_migrate doctor")}
        return {**values, "hostaddr": self.address} if self.address else values

    def open(self) -> psycopg.Connection:
        """One more connection, by one attempt; no setting is changed. Raises psycopg.Error, ConnectError."""
        connection = login(partial(psycopg.connect, **self.parameters(), autocommit=True), self.target)
        connection.prepare_threshold = None
        self.connections.append(connection)
        return connection

    def rows(self, name: str, values: Mapping[str, Any] | None = None, *, binary: bool = False) -> list[dict[str, Any]]:
        """The rows of a named statement. Raises psycopg.Error."""
        with self.connection.cursor(row_factory=dict_rows) as cursor:
            return cursor.execute(query(name, self.target), values or {}, binary=binary).fetchall()

    def row(self, name: str, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The one row of a named statement. Raises psycopg.Error."""
        return self.rows(name, values)[0]

    @contextlib.contextmanager
    def limited(self) -> Iterator[None]:
        """Within it nothing waits forever: the sockets are cut when the time is over. Raises TimeoutError then."""
        seconds = self.connect_limit + _ANSWER
        over = threading.Event()
        timer = threading.Timer(seconds, self._cut, [over])
        timer.daemon = True
        timer.start()
        try:
            yield
        except psycopg.Error as e:
            if over.is_set():
                raise TimeoutError(f"no answer within {seconds:.0f} s: timed out") from e
            raise
        finally:
            timer.cancel()

    def _cut(self, over: threading.Event) -> None:
        over.set()
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError, psycopg.Error):  # it may have ended by itself a moment ago
                shut(connection.fileno())
