"""The ledger in PostgreSQL, for several machines: its URL, its connections and its errors."""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import Any, NoReturn

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from ehg_migrate import redaction
from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger.backend import Backend, first_line
from ehg_migrate.ledger.schema import POSTGRES_SCHEMA

_SCHEMES = {"postgresql", "postgres", "postgresql+psycopg"}
_QUERY = {"sslmode", "sslrootcert", "sslcert", "sslkey", "host", "passfile"}
_FORM = "write `postgresql://USER@HOST:PORT/DATABASE` and give the password by itself"

_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,  # ms: a server that vanished must not hold the run
    "application_name": "ehg-migrate ledger",
    "prepare_threshold": None,  # a transaction-mode pooler is enough for a ledger, but knows no prepared statements
}


def open_postgres(url: str, password: str | None) -> Backend:
    """The backend for a PostgreSQL URL; does not connect yet. Raises LedgerError for a URL that cannot be meant so.

    Beyond this machine TLS is required, and with `sslrootcert` the server is verified, unless `sslmode` says otherwise.
    """
    if password:
        redaction.register(password)
    place = _parse(url)
    engine = create_engine(
        place.set(drivername="postgresql+psycopg"),
        connect_args={**_CONNECT, **_tls(place), **({"password": password} if password else {})},
        poolclass=NullPool,
        hide_parameters=True,
        use_native_hstore=False,  # saves a query on the first connection
        execution_options={"schema_translate_map": {None: POSTGRES_SCHEMA}},
    )
    event.listen(engine, "begin", _limit)
    name = f"`{_host(place)}:{place.port or 5432}/{place.database}`"
    return Backend(name, engine, partial(_explain, name))


def _parse(url: str) -> URL:
    try:
        place = make_url(url)
    except (ArgumentError, ValueError):  # their messages may show the URL, and so a password
        _refuse("it cannot be read")
    if place.drivername not in _SCHEMES:
        _refuse(f"`{place.drivername}` is neither `sqlite` nor `postgresql`")
    if place.password is not None or "password" in place.query:
        _refuse("it has a password in it")
    if not place.database:
        _refuse("it names no database")
    unknown = sorted(set(place.query) - _QUERY)
    if unknown:
        _refuse(f"it has the unknown parameter `{unknown[0]}`; known are {', '.join(sorted(_QUERY))}")
    return place


def _refuse(reason: str) -> NoReturn:
    raise LedgerError(Problem("ledger_url", f"the ledger's URL cannot be used: {reason}", _FORM)) from None


def _host(place: URL) -> str:
    return place.host or str(place.query.get("host", "")) or "localhost"


def _tls(place: URL) -> dict[str, str]:
    """libpq's own default, `prefer`, gives way to whoever stands between; so it stays only on this machine."""
    if "sslmode" in place.query:
        return {}
    if "sslrootcert" in place.query:
        return {"sslmode": "verify-full"}
    return {} if _is_here(_host(place)) else {"sslmode": "require"}


def _is_here(host: str) -> bool:
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _limit(connection: Connection) -> None:
    # in the transaction, not at the start of the connection: poolers drop start-up options and share SET
    connection.exec_driver_sql(
        "select set_config('statement_timeout', '30s', true), set_config('lock_timeout', '15s', true)"
    )


_EXPLANATIONS: dict[str, tuple[str, str, str]] = {
    "28P01": ("ledger_login", "the ledger's server {place} refused the login: {text}", "check its user and password"),
    "3D000": ("ledger_database", "the ledger {place} does not exist: {text}", "create the database first"),
    "42501": (
        "ledger_privilege",
        "the ledger {place} does not allow it: {text}",
        f"let its owner open it once, then grant usage on schema {POSTGRES_SCHEMA} and its tables to this user",
    ),
    "25006": ("ledger_read_only", "the ledger {place} is read-only: {text}", "name the primary server, not a standby"),
    "53100": ("ledger_disk_full", "the disk under the ledger {place} is full", "free some space on its server"),
    "55P03": ("ledger_busy", "the ledger {place} was locked for too long: {text}", "run the command again"),
    "57014": ("ledger_busy", "the ledger {place} took too long: {text}", "run the command again"),
    "42P01": (
        "ledger_damaged",
        "the ledger {place} lacks a table: {text}",
        f"restore it, or drop schema {POSTGRES_SCHEMA} to start a new ledger; the targets are not affected",
    ),
}
_UNREACHABLE = (
    "ledger_unreachable",
    "the ledger's server {place} cannot be reached: {text}",
    "check its address and TLS settings, and that the server runs; the targets themselves are not affected",
)
_OTHER = ("ledger_error", "the ledger {place} cannot be used: {text}", "look at its server's log")

# libpq gives no SQLSTATE for what happens before the session stands
_LOGIN_TEXTS = {
    r"password authentication failed|no password supplied|role .* does not exist": "28P01",
    r"database .* does not exist": "3D000",
}


def _explain(place: str, error: BaseException) -> Problem:
    sqlstate: str | None = getattr(error, "sqlstate", None)
    text = first_line(error)
    key = sqlstate or next((state for part, state in _LOGIN_TEXTS.items() if re.search(part, str(error))), "")
    connecting = sqlstate is None or sqlstate[:2] == "08" or sqlstate[:3] == "57P"
    code, message, hint = _EXPLANATIONS.get(key, _UNREACHABLE if connecting else _OTHER)
    return Problem(code, message.format(place=place, text=text), hint, sqlstate=sqlstate)
