"""The ledger's own migrations: forward only, each a file in `sql/`, applied once under a lock."""

from __future__ import annotations

from importlib.resources import files

from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger.backend import Backend, Transaction, without_comments

MIGRATIONS = (
    "0001_runs_and_results.sql",
    "0002_runs_in_order.sql",
    "0003_databases_by_any_name.sql",
    "0004_saved_plans.sql",
)
"""In order; a ledger's version is the number of those it has had. Never edit one that was released: add the next."""

LATEST = len(MIGRATIONS)


def migrate(backend: Backend) -> None:
    """Brings the ledger to this tool's version; does nothing and takes no lock where it is there already.

    Several processes may do so at once. Raises LedgerError: newer than this tool, a SQLite file of some other
    program, or whatever the database says.
    """
    with backend.transaction(write=False) as transaction:
        if (version := _version(backend, transaction)) == LATEST:
            return
    # what is empty is made in no time: nobody waits longer than ever for a server that has stopped to answer
    with backend.transaction(write=True, long=version > 0) as transaction:  # on SQLite this is the lock
        for statement in backend.before_migrating:
            transaction.driver.execute(statement)
        _apply(backend, transaction, _version(backend, transaction))


def _version(backend: Backend, transaction: Transaction) -> int:
    """How many migrations the ledger has had; 0 for none. Raises LedgerError for one that is not ours to migrate."""
    tables = {row["name"] for row in transaction.execute("tables")}
    if "ledger_schema" not in tables:
        if tables:
            raise LedgerError(_foreign(backend))
        return 0
    rows = transaction.execute("version")
    if not rows:
        raise LedgerError(backend.explain(LookupError("its table `ledger_schema` is empty")))
    version = rows[0]["version"]
    if not isinstance(version, int):  # a file's types keep nothing out
        raise LedgerError(backend.explain(LookupError("its table `ledger_schema` holds no version")))
    if version > LATEST:
        raise LedgerError(_newer(backend, version))
    return version


def _apply(backend: Backend, transaction: Transaction, version: int) -> None:
    if version == LATEST:  # somebody else was faster
        return
    if version == 0:
        transaction.execute("create_version")
        transaction.execute("first_version")
    for name in MIGRATIONS[version:]:
        for statement in _statements(backend, name):
            transaction.driver.execute(statement)
    for statement in backend.after_migrating:
        transaction.driver.execute(statement)
    transaction.execute("set_version", version=LATEST)


def _statements(backend: Backend, name: str) -> list[str]:
    script = (files(__package__) / "sql" / name).read_text(encoding="utf-8").format(**backend.dialect.words)
    return [statement.strip() for statement in without_comments(script).split(";") if statement.strip()]


def _foreign(backend: Backend) -> Problem:
    return Problem(
        "ledger_foreign",
        f"{backend.place} holds the tables of some other program",
        "name another place in `ledger`",
    )


def _newer(backend: Backend, version: int) -> Problem:
    return Problem(
        "ledger_newer",
        f"the ledger {backend.place} has schema version {version}, this tool knows {LATEST}",
        "use the newer `ehg-migrate` that migrated it: `pip install --upgrade ehg_migrate`",
    )
