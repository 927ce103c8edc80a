"""Commands that change targets: upgrade, downgrade, rollback, resume, retry, adopt. Each shows its plan, asks, runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ehg_migrate.cli import console, exits, options
from ehg_migrate.cli.confirm import confirm, confirm_protected
from ehg_migrate.fleet.protection import protected
from ehg_migrate.model import Verb
from ehg_migrate.report import text
from ehg_migrate.settings import LINT, VERIFY

if TYPE_CHECKING:
    from ehg_migrate.model import FleetPlan, Run
    from ehg_migrate.project import Project


reports = (
    options.report("--junit", "Write a JUnit XML report."),
    options.report("--summary", "Append a Markdown report."),
    options.html,
)


class Question(NamedTuple):
    """What is asked before anything is done, and the one answer that lets it happen."""

    expected: str
    text: str


_YES = Question("yes", "type `yes` to go on")


_rollout = click.option(
    "--rollout",
    metavar="NAME",
    default="",
    envvar="EHG_ROLLOUT",
    show_envvar=True,
    help="A name in common with other runs, such as the shards of a pipeline: `runs` shows them together.",
)
verifying = click.option(
    "--verify",
    type=click.Choice(VERIFY),
    help="Hold schemas of targets that got steps against their revisions. Default: `verify` in alembic.ini, or auto.",
)

_failing = click.option(
    "--max-failures",
    type=click.IntRange(min=0),
    metavar="N",
    help="Begin no other target after N have failed. Default: `max_failures` in alembic.ini, or 0 for no limit.",
)


_gate = (
    click.option(
        "--allow",
        multiple=True,
        metavar="RULE[@REV]",
        help="Let this finding pass, in all revisions or in one; recorded in the run.",
    ),
    click.option(
        "--lint",
        type=click.Choice(LINT),
        help="Rehearse the steps first; refuse what is an error on a target. Default: `lint` in alembic.ini, or auto.",
    ),
)


def gate_options(command: options.F) -> options.F:
    """What every command has that may upgrade."""
    for option in _gate:
        command = option(command)
    return command


def run_options(command: options.F) -> options.F:
    """What every command has that runs steps."""
    return _making_a_run(command, verifying, options.executor, options.parallel)


def _making_a_run(command: options.F, *more: Any) -> options.F:
    """What every command has that makes a run, and more between."""
    for option in (*reports, _rollout, *more, options.yes, options.as_json, options.project_options):
        command = option(command)
    return command


@click.command()
@options.targets
@click.option("--to", multiple=True, metavar="REV", help="REV, `branch@head`, `release:NAME`. Default: all heads.")
@click.option(
    "--plan",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Do what this file of `plan -o` says; refuse targets for which that is not what would be done now.",
)
@options.waves
@gate_options
@_failing
@run_options
def upgrade(
    selectors: tuple[str, ...], to: tuple[str, ...], file: Path | None, waves: bool, yes: bool, **how: Any
) -> int:
    """Bring targets to their heads: shared, their groups', their own."""
    if file and (selectors or to or not waves):
        raise click.UsageError(
            "`--plan` says which targets, revisions and waves: leave out `--targets`, `--shard`, `--to`, `--no-waves`."
        )
    with options.opened(**options.where(how)) as project:
        soon = how["executor"] == "local"
        plan = project.plan_saved(file, soon=soon) if file else project.plan(selectors, to, soon=soon, waves=waves)
        return _carry_out(project, plan, yes, how, _YES)


@click.command(short_help="Take one target back to given revisions.")
@click.argument("target")
@click.option(
    "--to", multiple=True, required=True, metavar="REV", help="Take back what stands above REV; `branch@base`."
)
@run_options
def downgrade(target: str, to: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Take one target back to given revisions; what elsewhere needs what goes, goes too, and is shown."""
    with options.opened(**options.where(how)) as project:
        plan = project.plan_downgrade(target, to)
        return _carry_out(project, plan, yes, how, _wary(plan, plan.selector))


@click.command(short_help="Take targets back to exactly the heads before RUN.")
@click.argument("run")
@options.targets
@_failing
@run_options
def rollback(run: str, selectors: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Take targets back to exactly the heads they had before RUN; refuses where that would not be exact."""
    with options.opened(**options.where(how)) as project:
        plan = project.plan_rollback(run, selectors)
        return _carry_out(project, plan, yes, how, _wary(plan, str(plan.undoes)))


@click.command(short_help="Complete RUN on the targets where something is missing.")
@click.argument("run")
@options.waves
@gate_options
@_failing
@run_options
def resume(run: str, waves: bool, yes: bool, **how: Any) -> int:
    """Complete RUN on the targets that it did not bring where it wanted them; each is planned anew."""
    return _again(run, yes, how, failed_only=False, waves=waves)


@click.command(short_help="Complete RUN only where it failed or was refused.")
@click.argument("run")
@options.waves
@gate_options
@_failing
@run_options
def retry(run: str, waves: bool, yes: bool, **how: Any) -> int:
    """Complete RUN only on the targets where it failed or was refused; each is planned anew."""
    return _again(run, yes, how, failed_only=True, waves=waves)


def _again(run: str, yes: bool, how: dict[str, Any], *, failed_only: bool, waves: bool) -> int:
    with options.opened(**options.where(how)) as project:
        soon = how["executor"] == "local"
        plan = project.plan_resume(run, failed_only=failed_only, waves=waves, soon=soon, verify=how["verify"])
        if plan.verb is Verb.UPGRADE:
            return _carry_out(project, plan, yes, how, _YES)
        return _carry_out(project, plan, yes, how, _wary(plan, str(plan.resumes)))


def _wary(plan: FleetPlan, run: str) -> Question:
    """What takes something away is confirmed by the name of the one target, or of the run where there are several."""
    busy = _busy(plan)
    name, what = (busy[0], "the target's name") if len(busy) == 1 else (run, "the run")
    return Question(name, f"type {what}, `{name}`, to go on")


def _busy(plan: FleetPlan) -> list[str]:
    """The targets that it would change; where there is none, nobody is asked."""
    return [p.target for p in plan.plans if p.steps or plan.verb is Verb.ADOPT]


@click.command(short_help="Take over a database that already holds revisions.")
@click.argument("target")
@click.option("--heads", multiple=True, metavar="REV", help="Declare these applied instead of reading the old table.")
@_making_a_run
def adopt(target: str, heads: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Take over a database that already holds revisions: from its `alembic_version`, or as declared.

    Nothing is run, and its schema is not looked at: `drift` says whether it is what those revisions produce.
    """
    with options.opened(**options.where(how)) as project:
        plan = project.plan_adoption(target, heads)
        for p in plan.plans:
            schema = project.fleet.by_name[p.target].schema or "public"
            source = "by your word" if heads else f"by its {schema}.alembic_version"
            console.note(f"{p.target}: nothing is run; these revisions are declared applied, {source}:")
            console.note(f"  {revision}" for revision in project.declared(p))
            console.note(f"  version rows: {text.names(p.goal)}")
        return _carry_out(project, plan, yes, how, _wary(plan, plan.selector))


def _carry_out(project: Project, plan: FleetPlan, yes: bool, how: dict[str, Any], question: Question) -> int:
    """Shows the plan, asks, runs it, reports it. The exit code."""
    gate = {name: how[name] for name in ("lint", "allow") if name in how}
    plan = project.judged(plan, **gate, notice=console.note)
    console.note(text.plan_lines(plan))
    closed = project.protected(plan)
    # those that an answer opens: where nobody can be asked, a protected one stays as it is whatever else is said
    open_to_it = [name for name in _busy(plan) if console.interactive() or name not in closed]
    typed = confirm(yes, question.expected, question.text) if open_to_it else ""
    confirmed = confirm_protected(closed, typed if question is not _YES else "")
    for name in closed:
        if name not in confirmed:
            console.note(text.problem_lines(protected(project.fleet.by_name[name]), f"{name}: "))
    manner = {name: how[name] for name in ("parallel", "executor", "rollout", "verify", "max_failures") if name in how}
    run = watched(project, plan, partial(_keep, files=how), **manner, **gate, confirmed=confirmed)
    _report(run, plan, how)
    return exits.of_run(run)


def watched(project: Project, plan: FleetPlan, keep: Callable[[Run], None] | None = None, **manner: Any) -> Run:
    """Runs the plan, shown while it goes on; Ctrl-C stops it after the present steps, and not what keeps the run."""
    from ehg_migrate.cli.progress import progress, stoppable
    from ehg_migrate.rollout.stop import Stop

    stop = Stop()
    with stoppable(stop):
        with progress() as watch:
            run = project.run(plan, **manner, watch=watch, stop=stop, notice=console.note)
        if keep:
            keep(run)
        return run


def _keep(run: Run, files: dict[str, Any]) -> None:
    """Writes the reports: a signal that comes as late as this is not to leave a pipeline without them."""
    if any(files[name] for name in ("junit", "summary", "html")):
        from ehg_migrate.cli.reports import write_reports

        write_reports(run, files)


def _report(run: Run, plan: FleetPlan, how: dict[str, Any]) -> None:
    planned = {p.target for p in plan.plans}
    if run.verb is Verb.ADOPT:  # without workers nobody has told what happened
        for result in run.results:
            console.note(text.result_lines(result) if result.target in planned else ())
    console.note(text.notes_lines(run.notes))
    console.note(text.alike_lines(run.results))
    if how["as_json"]:
        console.json("run", run)
    else:
        console.data(text.run_summary(run))
