"""Stock Alembic over the very same files as ours: one process for all targets, or one process each."""

from __future__ import annotations

import sys
from importlib import resources

from benchmarks.peers.base import BIN, PROGRAMS, USER, Command, Peer, Work
from benchmarks.peers.ours import write_revisions

LOGGING = """
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = WARN
handlers =
"""


class StockLoop(Peer):
    """A loop over `alembic.command.upgrade`: the best that one process can do, since `op` is a module global."""

    name = "stock Alembic, one process, one by one"
    own_tables = ("alembic_version",)

    def write(self, work: Work) -> None:
        """alembic.ini with a section for each target, and the env.py of Alembic's own template."""
        work.put("alembic.ini", "".join(_section(work, name) for name in work.targets) + LOGGING)
        work.put("environment/env.py", (resources.files("alembic") / "templates/generic/env.py").read_text())
        work.put_targets()
        write_revisions(work)

    def command(self, work: Work) -> Command:
        """One process."""
        return Command([sys.executable, str(PROGRAMS / "alembic_loop.py"), "targets"])


class StockXargs(StockLoop):
    """What people write into a shell script."""

    name = "stock `alembic`, a process per target, xargs"
    slow = True

    def command(self, work: Work) -> Command:
        """A process for each target."""
        return Command(work.xargs(f"{BIN}/alembic -n $1 upgrade heads"))


def _section(work: Work, name: str) -> str:
    return (
        f"[{name}]\nscript_location = %(here)s/environment\npath_separator = newline\n"
        f"version_locations =\n    %(here)s/versions/{name}\n    %(here)s/versions/shared\n"
        f"sqlalchemy.url = postgresql+psycopg://{USER}@{work.host}:{work.port}/{name}?sslmode=disable\n"
    )
