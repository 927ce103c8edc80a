"""What the programs that we start see of our variables."""

from __future__ import annotations

import os

from ehg_migrate.redaction import redact
from ehg_migrate.turns import PROCESS


def environment() -> dict[str, str]:
    """Ours without PostgreSQL's (PGPORT, PGDATA and PGOPTIONS steer programs and servers too), speaking English.

    Without those that hold a known secret: the system shows what a program was started with for as long as it lives.
    The command of a `cmd:` reference gets all of them, since one may be what opens its vault.
    """
    with PROCESS:
        ours = dict(os.environ)
    kept = {name: value for name, value in ours.items() if not name.startswith("PG") and redact(value) == value}
    return {**kept, "LC_ALL": "C"}
