"""The ledger: the central record of runs and of what each did to which target, in a SQLite file or in PostgreSQL.

`open_ledger` is the way in, `Ledger` what it gives. The truth about a target is the target; a ledger that fails never
stops or undoes work there, it only raises LedgerError and the caller decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ehg_migrate.ledger.backend import Backend
from ehg_migrate.ledger.migrations import migrate
from ehg_migrate.ledger.rows import Seen
from ehg_migrate.ledger.sqlite import PREFIX, open_sqlite
from ehg_migrate.ledger.store import Ledger, UnknownRun

__all__ = ["Ledger", "Seen", "UnknownRun", "open_ledger"]


def open_ledger(
    url: str, *, password: str | None = None, identities: Mapping[str, str] = MappingProxyType({})
) -> Ledger:
    """The ledger at `url`, made or brought to this tool's schema where it is not there yet.

    `sqlite:////absolute/path` (file 0600, a missing folder 0700) or `postgresql://user@host:port/database`, whose
    tables stand in schema `ehg_migrate_ledger`; its password is given by itself and stands in no URL. `identities` are
    those of targets by name: what was said of the same databases under other names is remembered.
    Raises LedgerError, each with its own code and hint: a URL that makes no sense, a folder or file that cannot be
    written, a full disk, a file that is not ours, a schema newer than this tool, a server that does not let us in.
    """
    backend = open_sqlite(url) if url.startswith(PREFIX) else _open_postgres(url, password)
    migrate(backend)
    return Ledger(backend, identities)


def _open_postgres(url: str, password: str | None) -> Backend:
    from ehg_migrate.ledger.postgres import open_postgres  # who has a file does without

    return open_postgres(url, password)
