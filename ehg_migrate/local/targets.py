"""The fleet on the embedded server: each target gets a database there, schemas of one database share one."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ehg_migrate.local.server import LocalServer
from ehg_migrate.model import Target

_ITS_OWN = ("postgres", "template0", "template1")


def database_name(target: Target) -> str:
    """The name of a target's database: the target's, unless PostgreSQL has one of that name for itself.

    Targets that are schemas of one database are neighbours here, too. No target's name has a colon.
    """
    if target.schema:
        a = target.address
        digest = hashlib.sha256(f"{a.host}:{a.port}/{a.user.partition('.')[2]}/{a.dbname}".encode()).hexdigest()
        return f"schemas:{digest[:12]}"
    return f"target:{target.name}" if target.name in _ITS_OWN else target.name


def localize(target: Target, server: LocalServer) -> Target:
    """The same target, pointed at its own database on the embedded server, where no password is asked."""
    return replace(target, address=server.address(database_name(target)), password=None)
