"""The variable that names scratch servers, and what its URLs say."""

from __future__ import annotations

import re

import psycopg
from psycopg import conninfo

from ehg_migrate.database.parameters import usual_sslmode
from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.model import Address
from ehg_migrate.redaction import register

VARIABLE = "EHG_SCRATCH_URL"
"""Names the servers to use instead of the embedded one: URLs, separated by spaces."""

_HEEDED = frozenset({"user", "password", "host", "port", "dbname", "sslmode", "sslrootcert"})


def given(url: str) -> tuple[Address, str | None]:
    """The server of a URL and its password. Raises LocalServerError, without showing what stands in the URL."""
    if re.fullmatch(r"(?:[^@/]*@)?[^@]*", url.partition("://")[2]) is None:
        # libpq would take what stands behind it for a name, and so would all that is said of the server
        raise LocalServerError(
            Problem(
                "scratch_url",
                f"a sign of a password may stand in `{VARIABLE}` as it is; it is not shown",
                "in a URL `@` is written `%40`, `/` is `%2F`, and `%` is `%25`",
            )
        )
    try:
        parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items() if value is not None}
        port = int(parts.get("port", "5432"))
    except (psycopg.ProgrammingError, ValueError):  # its words would show the value, and a password may stand in it
        raise LocalServerError(
            Problem(
                "scratch_url",
                f"`{VARIABLE}` is no PostgreSQL URL",
                "write `postgresql://USER:PASSWORD@HOST:PORT/postgres`, of a role that may create databases and roles",
            )
        ) from None
    password = parts.get("password")
    if password:
        register(password)
    if unknown := sorted(parts.keys() - _HEEDED):
        message = f"`{VARIABLE}` has the parameter `{unknown[0]}`, which would not be heeded"
        raise LocalServerError(
            Problem("scratch_url", message, f"leave it out; heeded are {', '.join(sorted(_HEEDED))}")
        )
    user = parts.get("user", "postgres")
    database = parts.get("dbname", "postgres")
    host, root = parts.get("host", "localhost"), parts.get("sslrootcert")
    sslmode = parts.get("sslmode") or usual_sslmode(host, has_root=root is not None)
    return Address(host, port, user, database, sslmode, root), password
