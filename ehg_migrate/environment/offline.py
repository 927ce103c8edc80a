"""The SQL of planned steps, rendered without a database; what reads the database first cannot be rendered."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from alembic.config import Config
from alembic.ddl import DefaultImpl
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import BindParameter, MetaData, TextClause, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql import visitors

from ehg_migrate.database.connections import search_path
from ehg_migrate.database.leaving import RESET
from ehg_migrate.database.statements import layout
from ehg_migrate.environment.hosting import options, scripts
from ehg_migrate.environment.models import named_models
from ehg_migrate.environment.steps import ExactStep
from ehg_migrate.errors import Problem, described, quoted
from ehg_migrate.model import Plan, Step, Target
from ehg_migrate.redaction import one_line, safe
from ehg_migrate.settings import Settings
from ehg_migrate.turns import PROCESS


def render(settings: Settings, target: Target, plan: Plan, ends: Callable[[Problem], None]) -> str:
    """The SQL of a plan's steps, each under a comment that names it. Runs the revisions' code, touches no database.

    A script that begins with nothing makes our tables first, as a run does: the steps write their version rows. One
    that begins with rows that another row implies takes those out. Each step begins with the session's own settings,
    and fails where the version rows are not what it was planned from. The script ends with an error at the first step
    that is not all there, which `ends` is told; the steps behind that are comments.
    """
    first = [] if plan.steps[0].heads_before else [_afresh(target), layout(target).as_string(None)]
    if needless := sorted(set(plan.heads) - set(plan.steps[0].heads_before)):
        first += ["-- rows that another row implies", _take_out(needless, plan.heads, target)]
    return "\n".join([*first, *_script(rendered(settings, target, plan.steps), target, ends)])


def depends_on(target: Target) -> tuple[object, ...]:
    """What of a target the SQL of the same steps may differ by."""
    arguments = tuple(sorted(target.x.items())), repr(sorted(target.alembic.items()))
    return target.schema, target.version_table_schema, target.version_table, *arguments


def set_path(target: Target) -> str:
    """The statement that a script for a target that is one schema begins with."""
    names = sql.SQL(", ").join(map(sql.Identifier, search_path(target)))
    return sql.SQL("SET search_path = {};").format(names).as_string(None)


def _afresh(target: Target) -> str:
    """What a run does before each step, too: a SET of the step before would lead this one into another schema."""
    path = [set_path(target)] if target.schema else []
    return "\n".join([*(f"{statement.decode()};" for statement in RESET), *path, ""])


@dataclass(frozen=True, slots=True)
class Rendered:
    """One step as SQL, or why it cannot be shown without the database."""

    step: Step
    sql: str
    failure: str = ""


def rendered(settings: Settings, target: Target, steps: tuple[Step, ...]) -> Iterator[Rendered]:
    """Each of these steps, after those before it. Runs the revisions' code, touches no database."""
    config, script = scripts(settings, target)
    models = named_models(settings)
    memo: dict[str, Any] = {}  # the types that the steps so far have come to: a run makes each once
    for step in steps:
        try:
            yield Rendered(step, _render_one(config, script, target, step, models.get(step.branch), memo))
        except (Exception, SystemExit) as e:  # noqa: BLE001 - a revision may raise anything when there is no database
            yield Rendered(step, "", one_line(described(e)))


def _script(steps: Iterator[Rendered], target: Target, ends: Callable[[Problem], None]) -> Iterator[str]:
    """What would be run behind a step that is left out would find less than it needs, and no version row to move."""
    ended = False
    for one in steps:
        title = safe(f"-- {one.step}  [{one.step.path}]").replace("\n", " ")
        lacking = _lacking(one)
        yield title
        if lacking:
            yield f"-- {lacking}"
        if ended or lacking:
            yield from (f"-- {line}".rstrip() for line in safe(one.sql).splitlines())
        else:
            yield _afresh(target)
            yield _guarded(one, target)
        if lacking and not ended:
            yield _stop(f"the script ends here, before step {one.step.revision}: `ehg-migrate upgrade` does it")
            message = f"a script ends before step `{one.step.revision}`: {lacking}"
            ends(Problem("script_ends", message, "`ehg-migrate upgrade` does that step, and the rest", one.step.path))
            ended = True


def _guarded(one: Rendered, target: Target) -> str:
    """The step's SQL, which does nothing where the target has moved since, or never was where it is thought to be."""
    guard = _only_at(one.step.heads_before, f"step {one.step.revision}", target)
    before, begin, rest = one.sql.partition("BEGIN;\n")
    return f"{before}{begin}\n{guard}{rest}" if begin and not before.strip() else f"{guard}{one.sql}"


def _take_out(rows: list[str], heads: tuple[str, ...], target: Target) -> str:
    """Both at once: where the target has moved since, another row may imply them no more."""
    values = {"version": _version(target), "rows": sql.Literal(rows)}
    then = sql.SQL("DELETE FROM {version} WHERE version_num = ANY ({rows}::text[]);\n").format(**values)
    return _only_at(heads, "this", target, then)


def _only_at(heads: tuple[str, ...], what: str, target: Target, then: sql.Composable | None = None) -> str:
    """A statement that fails where the version rows are others than these, and else does what is to be done then."""
    message = f"{what} begins at {quoted(heads)}, and other rows are here: {_AGAIN}"
    body = _HELD.format(
        version=_version(target),
        heads=sql.Literal(list(heads)),
        number=sql.Literal(len(heads)),
        message=sql.Literal(safe(message)),
        then=then or sql.SQL(""),
    )
    return sql.SQL("DO {};\n").format(body.as_string(None)).as_string(None)


def _version(target: Target) -> sql.Identifier:
    return sql.Identifier(target.version_table_schema, target.version_table)


_AGAIN = "make the script anew with `ehg-migrate plan --sql`"
_HELD = sql.SQL("""BEGIN
    IF (SELECT count(*) FROM {version}) <> {number}
       OR EXISTS (SELECT FROM {version} WHERE version_num <> ALL ({heads}::text[])) THEN
        RAISE EXCEPTION USING MESSAGE = {message};
    END IF;
    {then}END""")


def _lacking(one: Rendered) -> str:
    """Why what is printed of a step is not what it does; empty where it is."""
    if one.failure:
        return f"cannot be shown without the database: {one.failure}"
    whole = one.sql.replace("\r\n", "\n")
    if safe(whole) != whole or any(safe(line) != line for line in whole.splitlines()):  # as the command prints it
        return "what looks like a secret is masked in it, or what a terminal would obey is left out"
    return ""


def _stop(message: str) -> str:
    """A statement that fails with this message."""
    body = sql.SQL("BEGIN RAISE EXCEPTION USING MESSAGE = {}; END").format(safe(message))
    return sql.SQL("DO {};\n").format(body.as_string(None)).as_string(None)


def _refuse_gaps(impl: DefaultImpl) -> None:
    """A `:word` of a text that has no value fails in a run, also between quotes; as SQL it would be NULL."""
    as_ever = impl._exec

    def execute(construct: Any, *arguments: Any, **more: Any) -> Any:
        statement = text(construct) if isinstance(construct, str) else construct
        for part in visitors.iterate(statement) if isinstance(statement, TextClause) else ():
            if isinstance(part, BindParameter) and part.required and part.value is None:
                raise InvalidRequestError(f"a value is required for `:{part.key}`; a colon that is none is `\\:`")
        return as_ever(construct, *arguments, **more)

    impl._exec = execute  # type: ignore[method-assign]  # there is no hook for this


def _render_one(
    config: Config,
    script: ScriptDirectory,
    target: Target,
    step: Step,
    metadata: MetaData | None,
    memo: dict[str, Any],
) -> str:
    buffer, printed = io.StringIO(), io.StringIO()

    def fn(heads: tuple[str, ...], context: MigrationContext) -> list[ExactStep]:
        return [ExactStep(script, step)]

    with (
        PROCESS,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        EnvironmentContext(config, script, fn=fn, as_sql=True, destination_rev=None) as environment,
    ):
        environment.configure(
            dialect_name="postgresql",
            target_metadata=metadata,
            literal_binds=True,
            dialect_opts={"paramstyle": "named"},  # else every `%` in a function body is doubled
            output_buffer=buffer,
            starting_rev=list(step.heads_before) or None,  # type: ignore[arg-type]  # a list is taken since 1.0
            **options(target),
        )
        # the script has made our own already; there is no hook for this
        environment.get_context()._version.create = lambda *_, **__: None  # type: ignore[method-assign]
        environment.get_context().impl.memo = memo
        _refuse_gaps(environment.get_context().impl)
        with environment.begin_transaction():
            environment.run_migrations()
    said = "".join(f"-- printed: {line}\n" for line in safe(printed.getvalue()).splitlines())
    return f"{buffer.getvalue().strip()}\n{said}"
