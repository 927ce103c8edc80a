"""The ledger in PostgreSQL, for several machines: its URL, its connections and its errors."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg.types.json import Jsonb

from ehg_migrate import redaction
from ehg_migrate.database.parameters import ITS_OWN, usual_sslmode
from ehg_migrate.database.sockets import shut
from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger.backend import Backend, Dialect, first_line

POSTGRES_SCHEMA = "ehg_migrate_ledger"
"""Where the tables stand."""

_SCHEMES = {"postgresql", "postgres", "postgresql+psycopg"}
_QUERY = {"sslmode", "sslrootcert", "sslcert", "sslkey", "host", "passfile", "connect_timeout"}
_FORM = "write `postgresql://USER@HOST:PORT/DATABASE`, and `ledger_password = env:NAME` below it in alembic.ini"
_LOCK = 0x6568675F6C6467  # "ehg_ldg": taken by everyone who migrates a ledger on one server

_PATIENCE = "10"  # seconds until a server that lets nobody in, or does not answer, is given up
_LONG = 60  # times as long may a statement take that goes through the whole ledger
_CONNECT: dict[str, Any] = {
    "application_name": "ehg-migrate ledger",
    "prepare_threshold": None,  # a transaction-mode pooler is enough for a ledger, but knows no prepared statements
}


@dataclass(frozen=True, slots=True)
class _Place:
    """What a URL says; None for what it leaves to libpq."""

    user: str | None
    host: str | None
    port: int | None
    dbname: str
    options: Mapping[str, str]

    @property
    def patience(self) -> str:
        return self.options.get("connect_timeout", _PATIENCE)

    @property
    def server(self) -> str:
        return self.host or self.options.get("host") or "localhost"


def open_postgres(url: str, password: str | None) -> Backend:
    """The backend for a PostgreSQL URL; does not connect yet. Raises LedgerError for a URL that cannot be meant so.

    Beyond this machine TLS is required, and with `sslrootcert` the server is verified, unless `sslmode` says otherwise.
    Connecting may take the URL's `connect_timeout` (10 s), and so may what is done after it, but for what is long.
    """
    if password:
        redaction.register(password)
    place = _parse(url)
    name = f"`{place.server}:{place.port or 5432}/{place.dbname}`"
    return Backend(
        name,
        _DIALECT,
        partial(_begin, _parameters(place, password), int(place.patience)),
        partial(_explain, name),
        before_migrating=(f"select pg_advisory_xact_lock({_LOCK})", _MAKE_SCHEMA),
        after_migrating=_CLOSE,
    )


def _parse(url: str) -> _Place:
    try:
        parts = urlsplit(url)
        port, options = parts.port, parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:  # its message may show the URL, and so a password
        _refuse("it cannot be read")
    if not parts.scheme or url.partition(":")[2][:2] != "//":
        _refuse("it cannot be read")
    if parts.scheme not in _SCHEMES:
        _refuse(f"`{parts.scheme}` is neither `sqlite` nor `postgresql`")
    # a `/`, `?` or `#` of a password ends the place where one is looked for, and what follows would be shown
    if parts.password is not None or "password" in dict(options) or "@" in parts.path + parts.query + parts.fragment:
        _refuse("it has a password in it, or what may be a part of one (else write `@` as `%40`)")
    if not parts.path.removeprefix("/"):
        _refuse("it names no database")
    unknown = sorted(set(dict(options)) - _QUERY)
    if unknown:
        _refuse(f"it has the unknown parameter `{unknown[0]}`; known are {', '.join(sorted(_QUERY))}")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", dict(options).get("connect_timeout", _PATIENCE)):
        _refuse("its `connect_timeout` is no number of seconds")
    user = unquote(parts.username) if parts.username else None
    return _Place(user, parts.hostname, port, unquote(parts.path.removeprefix("/")), dict(options))


def _refuse(reason: str) -> NoReturn:
    raise LedgerError(Problem("ledger_url", f"the ledger's URL cannot be used: {reason}", _FORM)) from None


def _parameters(place: _Place, password: str | None) -> dict[str, Any]:
    """What psycopg needs, as keywords: no URL with a password is ever built."""
    given = {"user": place.user, "host": place.host, "port": place.port, "dbname": place.dbname, "password": password}
    sslmode = usual_sslmode(place.server, has_root="sslrootcert" in place.options)
    named = {key: value for key, value in given.items() if value is not None}
    return {**ITS_OWN, **_CONNECT, **named, "sslmode": sslmode, **place.options, "connect_timeout": place.patience}


@contextmanager
def _begin(parameters: Mapping[str, Any], patience: int, _: bool, long: bool) -> Iterator[psycopg.Connection[Any]]:
    """A transaction on a connection of its own; one that only reads begins like one that writes."""
    limit = patience * _LONG if long else patience
    connection = psycopg.connect(**parameters)
    # a server may have another default, by which one of two writers would be turned away
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    with _ended_late(connection, limit), connection:
        # in the transaction, not at the start of the connection: poolers drop start-up options and share SET
        connection.execute(
            f"select set_config('statement_timeout', '{limit}s', true),"
            f" set_config('lock_timeout', '{patience}s', true),"
            # our own timer ends it; those of the database would do so within a long transaction, as a migration is
            " set_config('idle_in_transaction_session_timeout', '0', true),"
            " case when current_setting('transaction_timeout', true) <> '0'"
            " then set_config('transaction_timeout', '0', true) end,"
            " set_config('datestyle', 'ISO', true)"  # no other is read by the driver
        )
        yield connection


@contextmanager
def _ended_late(connection: psycopg.Connection[Any], patience: int) -> Iterator[None]:
    """Ends a connection that lives longer: a server that stands still keeps no promise about timeouts."""
    timer = threading.Timer(patience + 1, _end, (connection,))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # a machine without a thread left; the server's promise must do
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(connection: psycopg.Connection[Any]) -> None:
    with contextlib.suppress(OSError, psycopg.Error):  # it may have ended just now
        shut(connection.fileno())


def _write(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, list | dict) else value


def _read(column: str, value: Any) -> Any:
    """Moments in UTC, whatever the server's own time zone is."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


_DIALECT = Dialect(
    words={
        "schema": f"{POSTGRES_SCHEMA}.",
        "json": "jsonb",
        "time": "timestamptz",
        "now": "clock_timestamp()",
        "lock": "FOR UPDATE",
        "elements": "jsonb_array_elements_text",
        "tables": f"SELECT tablename AS name FROM pg_tables WHERE schemaname = '{POSTGRES_SCHEMA}'",  # noqa: S608 - ours
    },
    parameter=r"%(\1)s",
    write=_write,
    read=_read,
)

# asked first: `if not exists` demands the privilege to create even where the schema exists
_MAKE_SCHEMA = f"""\
do $$ begin
    if not exists (select from pg_namespace where nspname = '{POSTGRES_SCHEMA}') then
        create schema {POSTGRES_SCHEMA};
    end if;
end $$"""

# who reads the ledger is its owner's decision; defaults that grant new tables to everybody are taken back
_CLOSE = (
    f"revoke all on schema {POSTGRES_SCHEMA} from public",
    f"revoke all on all tables in schema {POSTGRES_SCHEMA} from public",
)

_EXPLANATIONS: dict[str, tuple[str, str, str]] = {
    "28P01": ("ledger_login", "the ledger's server {place} refused the login: {text}", "check its user and password"),
    "3D000": ("ledger_database", "the ledger {place} does not exist: {text}", "create the database first"),
    "42501": (
        "ledger_privilege",
        "the ledger {place} does not allow it: {text}",
        f"let its owner open it once, then grant usage on schema {POSTGRES_SCHEMA} and its tables to this user",
    ),
    "25006": (
        "ledger_read_only",
        "the ledger {place} is read-only: {text}",
        "name the primary server, not a standby; or is `default_transaction_read_only` on there?",
    ),
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
    answered = isinstance(error, RecursionError)
    connecting = not answered and (sqlstate is None or sqlstate[:2] == "08" or sqlstate[:3] == "57P")
    code, message, hint = _EXPLANATIONS.get(key, _UNREACHABLE if connecting else _OTHER)
    return Problem(code, message.format(place=place, text=text), hint, sqlstate=sqlstate)
