"""What a database of `--local` has before any revision: of a Supabase project, what a rehearsal without target has."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg import sql

from ehg_migrate.database.faults import run_fault
from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.local.programs import MAJOR
from ehg_migrate.model import SUPABASE
from ehg_migrate.schema.ground import Ground, at_home, lay

_KEEPER = "supabase_admin"


def local_ground(platform: str, prelude: str) -> Callable[[psycopg.Connection], None] | None:
    """Lays it in a fresh database, as a superuser; None for a target of which nobody says that Supabase keeps it.

    What is the platform's belongs to another role than the one that migrates, as there. It raises LocalServerError.
    """
    if platform != SUPABASE:
        return None

    def fill(connection: psycopg.Connection) -> None:
        ground = Ground.supabase(MAJOR, prelude)
        try:
            _ensure_keeper(connection)
            lay(connection, ground, _KEEPER)
            at_home(connection, ground)
        except psycopg.Error as e:
            raise LocalServerError(_not_laid(e)) from e

    return fill


def _ensure_keeper(connection: psycopg.Connection) -> None:
    keeper = sql.Identifier(_KEEPER)
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (_KEEPER,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(keeper))
    connection.execute(sql.SQL("ALTER ROLE {} SUPERUSER").format(keeper))  # one of its name was not made here, perhaps


def _not_laid(error: psycopg.Error) -> Problem:
    said = run_fault(error).problem
    return Problem(
        "local_ground",
        f"a local database cannot be made as a Supabase project is: {said.message}",
        "correct the SQL that `prelude` in alembic.ini names: it runs on the embedded PostgreSQL in each new database",
        sqlstate=error.sqlstate,
    )
