"""What env.py does: run what the worker prepared, or, under a stock `alembic` command, see to the targets itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import psycopg
from alembic import context
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from ehg_migrate.database.claim import Facts
from ehg_migrate.database.connections import connect_once
from ehg_migrate.database.leaving import TargetConnection, let_go
from ehg_migrate.database.session import Session
from ehg_migrate.database.tracing import Tracer
from ehg_migrate.environment.dialect import DRIVER, SessionDialect
from ehg_migrate.environment.models import named_models
from ehg_migrate.environment.naming import Memo, Past
from ehg_migrate.environment.pipelining import Ahead, FailedAhead
from ehg_migrate.environment.recording import Recorder, driver_connection
from ehg_migrate.environment.replaying import surroundings
from ehg_migrate.environment.steps import ExactStep
from ehg_migrate.errors import ConfigurationError, Problem, TargetError
from ehg_migrate.model import Step, Target
from ehg_migrate.revisions.loading import alembic_config, has_our_environment, load_scripts, script_directory
from ehg_migrate.revisions.plain import sets_transaction
from ehg_migrate.settings import OUR_ENVIRONMENT, Settings

_KEY = "ehg_migrate"
_ENVIRONMENT = "alembic.ini: [alembic] script_location"

BeforeStep = Callable[[Step], bool]
"""Called before each step, outside any transaction; False stops the run there."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the worker leaves in `config.attributes` for env.py."""

    target: Target
    connection: Connection
    recorder: Recorder
    heads: tuple[str, ...]  # the version rows now


def run(**comparing: Any) -> None:
    """The whole of env.py.

    An env.py of a project's own may give what `context.configure` takes for `check` and new revisions, such as
    `include_object`, `include_name`, `render_item`, `process_revision_directives`. Ours are asked as well.
    """
    hosted = context.config.attributes.get(_KEY)
    if hosted is None:
        from ehg_migrate.environment.stock import run_stock

        run_stock(comparing)
        return
    check_given(comparing)
    # `dont_mutate` is only about making the version table, which is there
    configure(hosted.target, hosted.connection, hosted.recorder, dont_mutate=True)
    _answer_once(context.get_context(), hosted.heads)
    with context.begin_transaction():
        context.run_migrations()


_NOT_FOR_RUN = {
    **dict.fromkeys(("version_table", "version_table_schema"), "it stands below `alembic:` in the target's entry"),
    "target_metadata": "models stand below `metadata` in alembic.ini",
    "on_version_apply": "the target's journal tells of each step (`ehg-migrate history TARGET`)",
    **dict.fromkeys(
        ("connection", "url", "dialect_name", "fn", "as_sql", "starting_rev", "transaction_per_migration"),
        "leave it out: each step is a transaction of its own, on the target's own connection",
    ),
}


def check_given(comparing: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where env.py has given to `run` what is not its to say."""
    if given := [name for name in _NOT_FOR_RUN if name in comparing]:
        message = f"env.py gives `{given[0]}` to `run()`, where it would not hold"
        raise ConfigurationError(Problem("own_environment", message, _NOT_FOR_RUN[given[0]], _ENVIRONMENT))


def _answer_once(migration: MigrationContext, heads: tuple[str, ...]) -> None:
    """Alembic's first question for the version rows is answered from what is known; later ones go to the server."""

    def known() -> tuple[str, ...]:
        del migration.get_current_heads
        return heads

    migration.get_current_heads = known  # type: ignore[method-assign]  # there is no hook for this


def configure(target: Target, connection: Connection, recorder: Recorder, **more: Any) -> None:
    """`context.configure` with everything that a target needs, every time: Alembic keeps options from call to call."""
    context.configure(connection=connection, on_version_apply=recorder.applied, **{**options(target), **more})
    recorder.watch(connection)


def options(target: Target) -> dict[str, Any]:
    """The target's own Alembic options, and ours, which win."""
    return {
        **target.alembic,
        "transaction_per_migration": True,
        "version_table": target.version_table,
        "version_table_schema": target.version_table_schema,
    }


class _Lent(NullPool):
    """Gives a connection back to whoever has lent it, and closes those that it has opened itself."""

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        """SQLAlchemy has rolled back whatever was open; its owner closes it."""
        if record.dbapi_connection not in _lent:
            if isinstance(record.dbapi_connection, psycopg.Connection):
                let_go(record.dbapi_connection)
            super()._do_return_conn(record)


_lent: WeakSet[object] = WeakSet()


@contextmanager
def sqlalchemy_connection(session: Session) -> Iterator[Connection]:
    """SQLAlchemy over the session's working connection, which the session itself closes: it holds a lock."""
    with sqlalchemy_over(session.work, session.target, session.found.facts, keep=True) as connection:
        yield connection


@contextmanager
def sqlalchemy_over(
    driver: psycopg.Connection, target: Target, facts: Facts | None = None, *, keep: bool = False
) -> Iterator[Connection]:
    """The same over any connection of the driver's. SQLAlchemy asks its server for the `facts` that are not given.

    A revision that asks `op.get_bind().engine` for a connection gets another one, as from any engine: with this one it
    would roll back the step when it closes it.
    """
    driver.autocommit = False
    first = [driver]
    if keep:
        _lent.add(driver)
    url = url_of(target)
    engine = create_engine(
        url.set(drivername=DRIVER) if facts else url,
        creator=lambda: first.pop() if first else _beside(driver, target),
        poolclass=_Lent if keep else NullPool,
        **({"facts": facts} if facts else {}),
    )
    engine.url = url  # a revision may make an engine of its own from it
    with engine.connect() as connection:
        # the engine's own questions opened a transaction; Alembic would take it for one of the caller's
        connection.rollback()
        yield connection


def url_of(target: Target) -> URL:
    """Where the target is, for revisions that ask `op.get_bind().engine.url`; never with a password."""
    a = target.address
    return URL.create("postgresql+psycopg", username=a.user, host=a.host, port=a.port, database=a.dbname)


def _beside(driver: psycopg.Connection, target: Target) -> psycopg.Connection:
    """A second connection to where the first one is, with the same limits: they may wait for each other's locks."""
    return connect_once(target, driver.info.password, driver.info.get_parameters().get("application_name", ""))


def untouched(settings: Settings, step: Step) -> bool:
    """Whether nothing may be asked in a step's transaction before the step itself: it may say how that is to be."""
    return _untouched(settings.root, step.path, step.checksum)


@lru_cache(maxsize=4096)  # asked at each step of each target; the checksum says which contents are meant
def _untouched(root: Path, path: str, checksum: str) -> bool:
    return sets_transaction((root / path).read_bytes())


def scripts(settings: Settings, target: Target) -> tuple[Config, ScriptDirectory]:
    """Alembic's view of a target: the project's Config with the target's `-x` arguments, and its branches' folders."""
    config = alembic_config(settings, target.x)
    return config, script_directory(config, tuple(settings.versions / b for b in reversed(target.branches)))


def commit_rest(migration: MigrationContext) -> None:
    """Commits what a finished step has left open.

    A revision that says `op.get_bind().commit()` ends the transaction that Alembic commits after it. What it did from
    there on, and its version row, are in another one, which stock Alembic loses.
    """
    if not migration.as_sql and migration.connection is not None and migration.connection.in_transaction():
        migration.connection.commit()


def _check_connection(migration: MigrationContext, connection: Connection) -> None:
    """Raises TargetError where an env.py has come here with another connection than the target's."""
    if migration.connection is not connection:
        what = "env.py runs on a connection of its own, which need not be this target's: no step was begun"
        raise TargetError(Problem("foreign_environment", what, OUR_ENVIRONMENT, _ENVIRONMENT))


def _function(
    exact: ExactStep, driver: TargetConnection, trace: Path | None, ahead: Ahead | None
) -> Callable[..., None]:
    """The function of a step as it is run: watched, with its statements sent ahead, or as its file has it."""
    function: Callable[..., None] = exact.migration_fn
    if trace:
        return Tracer(driver, trace).running(function)
    return ahead.running(function, Path(exact.revision.path)) if ahead else function


def run_steps(
    settings: Settings,
    target: Target,
    connection: Connection,
    recorder: Recorder,
    steps: tuple[Step, ...],
    before: BeforeStep,
    files: Iterable[Path] = (),
    *,
    past: Past | None = None,
    sends_ahead: bool = True,
    trace: Path | None = None,
) -> None:
    """Runs exactly these steps through env.py, each in its own transaction. Raises whatever a revision raises.

    The first one's `heads_before` are the version rows now, and `past` is what those before it came to. Only `files`
    are loaded; where one of a step is not among them, the whole directory. Raises NotAsAssumed, too, if it
    `sends_ahead`, which it does under our own env.py only: another may look at what is sent, or change it. What a
    single step did to the server goes to `trace`, a file.
    """
    config, script = scripts(settings, target)  # makes what models are looked for in known
    models = named_models(settings)
    past = past or Past(steps)

    begun = False

    def fn(heads: tuple[str, ...], migration: MigrationContext) -> Iterator[ExactStep]:
        nonlocal begun
        if begun:  # env.py has come here once more; the steps are done
            return
        begun = True
        _check_connection(migration, connection)
        loaded = load_scripts(script, files)  # here, where `alembic.context` is in place
        alone = [untouched(settings, s) for s in steps]
        migration.impl.memo = Memo(past.before(steps[0]))  # type: ignore[assignment]  # used as the dictionary it was
        for step, is_alone, no_more in zip(steps, alone, (*alone[1:], True), strict=True):
            if not before(step):
                return
            recorder.begin(step.revision, step.direction, last=no_more)
            migration.opts["target_metadata"] = models.get(step.branch)
            exact = ExactStep(script, step, loaded.get(step.revision))
            sent = _function(exact, driver, trace, ahead if sends_ahead and not is_alone else None)
            exact.migration_fn = past.noting(step, sent)
            yield exact
            ahead.end()
            commit_rest(migration)

    sends_ahead = sends_ahead and has_our_environment(settings)
    driver = driver_connection(connection)
    facts = connection.dialect.facts if isinstance(connection.dialect, SessionDialect) and not models else None
    around = surroundings(facts, driver, target) if facts else None
    ahead = Ahead(driver, around)
    config.attributes[_KEY] = Hosted(target, connection, recorder, steps[0].heads_before)
    try:
        with EnvironmentContext(config, script, fn=fn, as_sql=False, destination_rev=None, starting_rev=None):
            script.run_env()
        if not begun:
            what = "env.py ended and has run nothing"
            raise TargetError(Problem("foreign_environment", what, OUR_ENVIRONMENT, _ENVIRONMENT))
    except FailedAhead as e:
        raise e.error from None
    finally:
        ahead.end()
