"""What a stock command does on one target: with lock and journal, only looking, or as printed SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from alembic import context
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from psycopg import sql

from ehg_migrate.database.connections import connect
from ehg_migrate.database.leaving import let_go
from ehg_migrate.database.records import refuse_another, refuse_recorded
from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query, version_name
from ehg_migrate.environment import hosting
from ehg_migrate.environment.choices import Steps, check_rows, exactly
from ehg_migrate.environment.guards import check_steps, refuse_damaged_rows
from ehg_migrate.environment.invocation import Invocation
from ehg_migrate.environment.models import Comparison, Models, comparison
from ehg_migrate.environment.new_files import DIRECTIVES, directive
from ehg_migrate.environment.offline import set_path
from ehg_migrate.environment.placing import find_place
from ehg_migrate.environment.recording import Known, Recorder
from ehg_migrate.environment.scoping import write_to
from ehg_migrate.environment.stamping import settle
from ehg_migrate.errors import Problem, TargetError, described, quoted
from ehg_migrate.fleet.holding import held, today
from ehg_migrate.fleet.protection import protected
from ehg_migrate.model import Origin, Step, Target
from ehg_migrate.redaction import one_line
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.history import History
from ehg_migrate.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stock:
    """One stock command on many targets, one after the other: Alembic's proxies allow no more at a time."""

    invocation: Invocation
    settings: Settings
    history: History
    passwords: dict[str, str | None]
    models: Models
    run: str
    origin: Origin
    comparing: Mapping[str, Any]  # what the project's own env.py gives for it

    def on(self, target: Target, say: Say) -> str:
        """The command on one target whose scope is set; what to say about it, if anything.

        Raises whatever goes wrong.
        """
        if self.invocation.offline:
            return self._print_sql(target)
        if self.invocation.only_reads:
            return self._look(target)
        return self._change(target, say)

    # --- with lock and journal

    def _change(self, target: Target, say: Say) -> str:
        if target.protected:
            raise TargetError(protected(target))
        if self.invocation.command == "upgrade" and (why := held(target, today())):
            raise TargetError(why)
        graph = self.history.graph(target.branches)
        known = None if self.invocation.stamps else graph.known  # who stamps says himself what is applied
        who = target, self.passwords[target.name], self.run, self.origin, say
        with Session(*who, canonical=known) as session:
            before = session.found.heads
            session.prepare_work()  # for Alembic's own questions
            stamps = self.invocation.stamps
            purges = bool(self.invocation.options.get("purge"))
            if not purges:  # which is the way out of wrong rows
                check_rows(before, graph, self.history)
            if not stamps:  # which says what is there, and runs nothing
                refuse_damaged_rows(session, graph)
            recorder = _recorder(session, graph, before)
            with hosting.sqlalchemy_connection(session) as connection:
                chosen: Steps = self.invocation.options["fn"]
                check = partial(check_steps, session)
                fn = exactly(
                    chosen,
                    graph,
                    self.models,
                    check,
                    partial(_before, settings=self.settings, session=session, recorder=recorder),
                )
                # a stamp is one transaction: `--purge` has taken the rows out before Alembic looks at what is to come
                hosting.configure(target, connection, recorder, fn=fn, transaction_per_migration=not stamps)
                try:
                    _migrate(partial(settle, session, recorder, graph, purges=purges) if stamps else None)
                except BaseException as e:
                    _note_failure(session, recorder, e)
                    raise
            after = tuple(sorted(session.heads()))
            return f"at {quoted(sorted(after))}" + (f", run {self.run}" if set(after) != set(before) else ", as before")

    # --- only looking

    def _look(self, target: Target) -> str:
        application = f"ehg_migrate alembic {self.invocation.command}"
        with ExitStack() as ending:
            driver = connect(target, self.passwords[target.name], application)
            ending.callback(let_go, driver)
            _refuse_foreign(driver, target, self.history.graph(target.branches))
            driver.read_only = True
            with hosting.sqlalchemy_over(driver, target, keep=True) as connection:
                compared = self._comparison(target)
                if compared is not None and not compared.branches:
                    return "skipped: none of its branches has models to compare with"
                found: list[str] = []
                more = {**hosting.options(target), **(self._compare(compared, found) if compared else {})}
                if self.invocation.command == "current":
                    context.config.print_stdout(f"{target.name}:")
                    _count_needed_heads_once()
                context.configure(connection=connection, dont_mutate=True, **more)
                _migrate()
        return ", ".join(found)

    def _comparison(self, target: Target) -> Comparison | None:
        revision = self.invocation.revision
        if revision is None or not self.invocation.autogenerates:
            return None
        if self.invocation.command == "check":
            return comparison(target, self.models, target.branches, self.comparing)
        place = find_place(revision.command_args, self.settings.versions, self.history, target.branches)
        if place.branch not in (*target.branches, target.name):
            raise TargetError(
                Problem(
                    "which_branch", f"the target has no branch `{place.branch}`", "compare with a target that has it"
                )
            )
        if place.branch not in self.models:
            raise TargetError(
                Problem(
                    "no_models",
                    f"branch `{place.branch}` has no models to compare with",
                    f"name them below `metadata =` in alembic.ini: `{place.branch} = package.module:Base`",
                )
            )
        return comparison(target, self.models, (place.branch,), self.comparing)

    def _compare(self, compared: Comparison, found: list[str]) -> dict[str, Any]:
        revision = self.invocation.revision
        assert revision is not None

        def process(migration: MigrationContext, rows: Any, directives: list[MigrationScript]) -> None:
            differences = len(directives[-1].upgrade_ops_list[-1].as_diffs())
            found.append(f"{differences or 'no'} {'difference' if differences == 1 else 'differences'} from the models")
            if self.invocation.command == "revision":
                given, versions = revision.command_args, self.settings.versions
                place = find_place(given, versions, self.history, compared.target.branches)
                directive(place)(migration, rows, directives)
                write_to(context.script, place.folder)
            if own := self.comparing.get(DIRECTIVES):
                own(migration, rows, directives)

        return {**compared.options(), DIRECTIVES: process}

    # --- as SQL

    def _print_sql(self, target: Target) -> str:
        chosen: Steps = self.invocation.options["fn"]
        graph = self.history.graph(target.branches)
        fn = exactly(chosen, graph, self.models, lambda steps: None, lambda step: None)
        context.configure(
            dialect_name="postgresql",
            literal_binds=True,
            dialect_opts={"paramstyle": "named"},
            fn=fn,
            **hosting.options(target),
        )
        context.static_output(f"-- target: {target.name} ({target})")
        if target.schema:
            context.static_output(set_path(target))
        if context.get_starting_revision_argument() is None and target.version_table_schema != "public":
            schema = sql.Identifier(target.version_table_schema).as_string(None)
            context.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        _migrate()
        return "printed"


def _count_needed_heads_once() -> None:
    """`current --check-heads` asks for a row of each head, also of one that a dependency implies and has none."""
    script = context.script
    script.get_heads = partial(script.get_heads, consider_depends_on=True)  # type: ignore[method-assign]


def _migrate(at_end: Callable[[], None] | None = None) -> None:
    """`at_end` is called in the transaction, where it is one."""
    with context.begin_transaction():
        context.run_migrations()
        if at_end:
            at_end()


def _recorder(session: Session, graph: Graph, heads: tuple[str, ...]) -> Recorder:
    def known(revision: str) -> Known:
        return Known(graph[revision].branch, graph[revision].checksum) if revision in graph else Known("", "")

    return Recorder(session, known, heads)


def _before(step: Step, settings: Settings, session: Session, recorder: Recorder) -> None:
    if not session.still_locked():
        raise psycopg.OperationalError("the connection that holds the lock was lost")
    session.prepare_work(untouched=hosting.untouched(settings, step))
    recorder.begin(step.revision, step.direction)


def _note_failure(session: Session, recorder: Recorder, error: BaseException) -> None:
    step = recorder.current
    if step and session.still_locked():
        server_said = getattr(error, "orig", None)
        recorder.failed(*step, one_line(str(server_said) if server_said else described(error)))


def _refuse_foreign(driver: psycopg.Connection, target: Target, graph: Graph) -> None:
    row = driver.execute(query("layout", target), {"version": version_name(target)}).fetchone()
    if row and not row[1]:
        refuse_another(driver, target, row[2], row[3])
        if not row[0]:
            refuse_recorded(driver, target, graph.known)
