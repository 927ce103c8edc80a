"""The ledger's own migrations: forward only, each a file in `sql/`, applied once under a lock."""

from __future__ import annotations

from importlib.resources import files

from sqlalchemy import Connection, insert, inspect, select, text, update

from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger.backend import Backend
from ehg_migrate.ledger.schema import POSTGRES_SCHEMA, ledger_schema

MIGRATIONS = ("0001_runs_and_results.sql",)
"""In order; a ledger's version is the number of those it has had. Never edit one that was released: add the next."""

LATEST = len(MIGRATIONS)

_LOCK = 0x6568675F6C6467  # "ehg_ldg": taken by everyone who migrates a ledger on one server


def migrate(backend: Backend) -> None:
    """Brings the ledger to this tool's version; does nothing and takes no lock where it is there already.

    Several processes may do so at once. Raises LedgerError: newer than this tool, a SQLite file of some other
    program, or whatever the database says.
    """
    with backend.transaction(write=False) as connection:
        if _version(backend, connection) == LATEST:
            return
    with backend.transaction(write=True) as connection:  # on SQLite this is the lock
        if backend.is_postgres:
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _apply(backend, connection, _version(backend, connection))


def _version(backend: Backend, connection: Connection) -> int:
    """How many migrations the ledger has had; 0 for none. Raises LedgerError for one that is not ours to migrate."""
    inspector = inspect(connection)
    if not inspector.has_table("ledger_schema", schema=POSTGRES_SCHEMA if backend.is_postgres else None):
        if not backend.is_postgres and inspector.get_table_names():
            raise LedgerError(
                Problem(
                    "ledger_foreign",
                    f"{backend.place} is a SQLite database of some other program",
                    "name another file in `ledger`",
                )
            )
        return 0
    version: int = connection.execute(select(ledger_schema.c.version)).scalar_one()
    if version > LATEST:
        raise LedgerError(
            Problem(
                "ledger_newer",
                f"the ledger {backend.place} has schema version {version}, this tool knows {LATEST}",
                "use the newer `ehg-migrate` that migrated it: `pip install --upgrade ehg_migrate`",
            )
        )
    return version


def _apply(backend: Backend, connection: Connection, version: int) -> None:
    if version == LATEST:  # somebody else was faster
        return
    if version == 0:
        _create_version_table(backend, connection)
    for name in MIGRATIONS[version:]:
        for statement in _statements(name, postgres=backend.is_postgres):
            connection.exec_driver_sql(statement)
    if backend.is_postgres:
        # who reads the ledger is its owner's decision; defaults that grant new tables to everybody are taken back
        connection.exec_driver_sql(f"revoke all on schema {POSTGRES_SCHEMA} from public")
        connection.exec_driver_sql(f"revoke all on all tables in schema {POSTGRES_SCHEMA} from public")
    connection.execute(update(ledger_schema).values(version=LATEST))


def _create_version_table(backend: Backend, connection: Connection) -> None:
    if backend.is_postgres and not inspect(connection).has_schema(POSTGRES_SCHEMA):
        # asked first: `if not exists` demands the privilege to create even where the schema exists
        connection.exec_driver_sql(f"create schema {POSTGRES_SCHEMA}")
    ledger_schema.create(connection)
    connection.execute(insert(ledger_schema).values(version=0))


def _statements(name: str, *, postgres: bool) -> list[str]:
    types = {"json": "jsonb", "time": "timestamptz", "schema": f"{POSTGRES_SCHEMA}."}
    if not postgres:
        types = {"json": "text", "time": "text", "schema": ""}
    script = (files(__package__) / "sql" / name).read_text(encoding="utf-8").format(**types)
    code = "\n".join(line.partition("--")[0].rstrip() for line in script.splitlines())
    return [statement.strip() for statement in code.split(";") if statement.strip()]
