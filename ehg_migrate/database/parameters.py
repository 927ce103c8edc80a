"""What libpq is told of a target, and what of its own variables it must not see."""

from __future__ import annotations

import os
from typing import Any

from ehg_migrate.model import Target, is_local

LONGEST_NAME = 63
"""NAMEDATALEN - 1: PostgreSQL would cut an application's name after it, with a notice."""

ITS_OWN: dict[str, Any] = {
    "hostaddr": "",
    "options": "",
    "password": "",
    "target_session_attrs": "any",
    "client_encoding": "UTF8",  # else a SQL_ASCII database answers in bytes
}
"""What libpq would else take from PGHOSTADDR, which leads to another server, PGOPTIONS, PGPASSWORD and so on.

An application that imports us keeps its variables; a parameter that is given, though empty, goes before them.
"""


def usual_sslmode(host: str, *, has_root: bool) -> str:
    """Of a URL that says none, as a ledger's or a scratch server's.

    libpq's own default, `prefer`, gives way to whoever stands between; so it stays only on this machine.
    """
    return "verify-full" if has_root else "prefer" if is_local(host) else "require"


def parameters(target: Target, password: str | None, application: str) -> dict[str, Any]:
    """What psycopg needs, as keywords: no URL is ever built, since a URL's parser echoes what it cannot read."""
    a = target.address
    values: dict[str, Any] = {
        "host": a.host,
        "port": a.port,
        "user": a.user,
        "dbname": a.dbname,
        "password": password,
        "sslmode": a.sslmode,
        "sslrootcert": a.sslrootcert,
        "passfile": a.passfile,
        "connect_timeout": max(2, round(target.limits.connect)) if target.limits.connect else None,
        "application_name": application[:LONGEST_NAME],
        "gssencmode": "disable",  # costs a round trip, and poolers do not speak it
    }
    return ITS_OWN | {key: value for key, value in values.items() if value is not None}


def forget_environment() -> None:
    """Takes libpq's own variables out of this process: PGOPTIONS would reach targets.

    PGPASSWORD stays, because a `password: env:PGPASSWORD` may mean it; no connection offers it unasked.
    """
    for name in (
        *("PGOPTIONS", "PGSERVICE", "PGSSLMODE", "PGHOSTADDR", "PGTARGETSESSIONATTRS"),
        *("PGTZ", "PGDATESTYLE", "PGGEQO"),  # are sent as start-up parameters
    ):
        os.environ.pop(name, None)
