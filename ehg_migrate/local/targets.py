"""The fleet on the embedded server: each target gets a database of its own there."""

from __future__ import annotations

from dataclasses import replace

from ehg_migrate.local.server import LocalServer
from ehg_migrate.model import Target

_ITS_OWN = ("postgres", "template0", "template1")


def database_name(target: str) -> str:
    """The name of a target's database: the target's, unless PostgreSQL has one of that name for itself."""
    return f"target:{target}" if target in _ITS_OWN else target  # no target's name has a colon


def localize(target: Target, server: LocalServer) -> Target:
    """The same target, pointed at its own database on the embedded server, where no password is asked."""
    return replace(target, address=server.address(database_name(target.name)), password=None)
