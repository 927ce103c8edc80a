"""`MigratedDatabase`: what a test gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import conninfo
from sqlalchemy import URL

from ehg_migrate.model import Address, is_socket

_USUAL = "prefer"  # what every driver does that is told nothing of TLS


@dataclass(frozen=True, slots=True)
class MigratedDatabase:
    """A database of one test's own that holds `heads` of `branches`; dropped after the test, whoever is connected."""

    branches: tuple[str, ...]
    heads: tuple[str, ...]
    address: Address
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its name on the server."""
        return self.address.dbname

    @property
    def conninfo(self) -> str:
        """For psycopg and everything else that stands on libpq; holds the password."""
        a = self.address
        place = {"host": a.host, "port": str(a.port), "user": a.user, "dbname": a.dbname}
        manner = {"sslmode": a.sslmode, "sslrootcert": a.sslrootcert, "password": self.password}
        return conninfo.make_conninfo("", **place, **{name: value for name, value in manner.items() if value})

    @property
    def url(self) -> URL:
        """For SQLAlchemy, with psycopg as its driver. As text it hides the password, see `URL.render_as_string`.

        `.set(drivername=...)` makes it one for another driver: what only libpq knows is there only where it is needed.
        """
        a = self.address
        if is_socket(a.host):  # which has no place before the slash, and no TLS
            place: dict[str, Any] = {"query": {"host": a.host, "port": str(a.port)}}
        else:
            manner = {"sslmode": "" if a.sslmode == _USUAL else a.sslmode, "sslrootcert": a.sslrootcert}
            place = {"host": a.host, "port": a.port, "query": {name: value for name, value in manner.items() if value}}
        return URL.create("postgresql+psycopg", a.user, self.password, database=a.dbname, **place)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A new connection; `options` are those of `psycopg.connect`. The caller closes it."""
        return psycopg.connect(self.conninfo, **options)
