"""Imported once by the fork server, so that a worker starts in milliseconds. Opens no connection and no thread."""

# ruff: noqa: F401 - all of them for what they bring along
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_COLOURS = "mako.ext.pygmentplugin"  # Pygments, for error pages in HTML: a twentieth of what all imports take


def _load() -> None:
    """Everything that a worker needs. Looking for garbage while nothing is thrown away takes a fifth of the time."""
    gc.disable()
    _leave_group()
    with _without(_COLOURS):
        import alembic.command
    import psycopg
    import sqlalchemy.dialects.postgresql.psycopg

    import ehg_migrate.database.telling  # a revision may leave no file descriptor to read it with
    import ehg_migrate.environment.hosting
    import ehg_migrate.rollout.execution
    import ehg_migrate.rollout.worker

    _warm_up()
    # A worker looks for garbage among its own objects only. Looking at these would also copy their memory.
    gc.freeze()
    gc.enable()


@contextmanager
def _without(module: str) -> Iterator[None]:
    """As if it were not installed, for who can do without."""
    sys.modules[module] = None  # type: ignore[assignment]  # what import takes for absent
    try:
        yield
    finally:
        del sys.modules[module]


def _warm_up() -> None:
    """What the first connection of a process sets up for all: a third of what a new worker takes beyond its work."""
    from psycopg import Error, connect, conninfo, pq

    from ehg_migrate.database.parameters import forget_environment
    from ehg_migrate.database.statements import query

    forget_environment()  # so that nothing leads elsewhere
    nowhere = conninfo.make_conninfo(host=__file__)  # libpq looks for a socket below a path
    with suppress(Error):
        connect(nowhere)
    pq.PGconn.connect_start(nowhere.encode()).encrypt_password(b"-", b"-", b"scram-sha-256")
    query("version_heads")


def _leave_group() -> None:
    """What is sent to a whole process group is for the runner to hear: it stops workers between their steps.

    Such are the SIGHUP of a terminal that closes, and the SIGTERM of `timeout`: in a worker it would cut its step. Who
    asks the terminal from outside of its group gets an error in place of being stopped for good.
    """
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # it leads a group already
        os.setpgid(0, 0)


_load()
