"""What env.py does: run what the worker prepared, or, under a stock `alembic` command, see to the targets itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from alembic import context
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from ehg_migrate.database.session import Session
from ehg_migrate.environment.recording import Recorder
from ehg_migrate.environment.steps import ExactStep
from ehg_migrate.model import Step, Target

_KEY = "ehg_migrate"

BeforeStep = Callable[[Step], bool]
"""Called before each step, outside any transaction; False stops the run there."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the worker leaves in `config.attributes` for env.py."""

    target: Target
    connection: Connection
    recorder: Recorder


def run() -> None:
    """The whole of env.py."""
    hosted = context.config.attributes.get(_KEY)
    if hosted is None:
        from ehg_migrate.environment.stock import run_stock

        run_stock()
        return
    configure(hosted.target, hosted.connection, hosted.recorder)
    with context.begin_transaction():
        context.run_migrations()


def configure(target: Target, connection: Connection, recorder: Recorder, **more: Any) -> None:
    """`context.configure` with everything that a target needs, every time: Alembic keeps options from call to call."""
    context.configure(connection=connection, on_version_apply=recorder.applied, **options(target), **more)
    recorder.watch(context.get_context(), connection)


def options(target: Target) -> dict[str, Any]:
    """The target's own Alembic options, and ours, which win."""
    return {
        **target.alembic,
        "transaction_per_migration": True,
        "version_table": target.version_table,
        "version_table_schema": target.version_table_schema,
    }


@contextmanager
def sqlalchemy_connection(session: Session) -> Iterator[Connection]:
    """SQLAlchemy over the session's working connection, which stays the session's to close."""
    with sqlalchemy_over(session.work) as connection:
        yield connection


@contextmanager
def sqlalchemy_over(driver: psycopg.Connection) -> Iterator[Connection]:
    """The same over any connection of the driver's."""
    driver.autocommit = False
    engine = create_engine("postgresql+psycopg://", creator=lambda: driver, poolclass=StaticPool)
    with engine.connect() as connection:
        # the engine's own questions opened a transaction; Alembic would take it for one of the caller's
        connection.rollback()
        yield connection


def run_steps(
    config: Config,
    script: ScriptDirectory,
    target: Target,
    connection: Connection,
    recorder: Recorder,
    steps: tuple[Step, ...],
    before: BeforeStep,
) -> None:
    """Runs exactly these steps through env.py, each in its own transaction. Raises whatever a revision raises."""

    def fn(heads: tuple[str, ...], migration: MigrationContext) -> Iterator[ExactStep]:
        for step in steps:
            if not before(step):
                return
            recorder.begin(step.revision, step.direction)
            yield ExactStep(script, step)

    config.attributes[_KEY] = Hosted(target, connection, recorder)
    with EnvironmentContext(config, script, fn=fn, as_sql=False, destination_rev=None, starting_rev=None):
        script.run_env()
