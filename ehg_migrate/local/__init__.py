"""The embedded PostgreSQL: a server of the project's own, for `--local` and rehearsals; no Docker, no root needed."""

from ehg_migrate.local.server import LocalServer
from ehg_migrate.local.targets import database_name, localize

__all__ = ["LocalServer", "database_name", "localize"]
