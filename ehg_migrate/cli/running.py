"""Commands that change targets: upgrade, downgrade, rollback, adopt. Each shows its plan, asks, runs, reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ehg_migrate.cli import console, exits, options
from ehg_migrate.errors import GateError, Problem, UsageError
from ehg_migrate.report import text

if TYPE_CHECKING:
    from ehg_migrate.model import FleetPlan, Run
    from ehg_migrate.project import Project

reports = (
    click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit XML report."),
    click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="Append a Markdown report."),
)


def run_options(command: options.F) -> options.F:
    """What every command has that makes a run."""
    for option in (*reports, options.parallel, options.yes, options.as_json, options.project_options):
        command = option(command)
    return command


@click.command()
@options.targets
@click.option("--to", multiple=True, metavar="REV", help="REV, `branch@head`, `release:NAME`. Default: all heads.")
@run_options
def upgrade(selectors: tuple[str, ...], to: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Bring targets to their heads: shared, their groups', their own."""
    with options.opened(**_where(how)) as project:
        plan = project.plan(selectors, to)
        return _carry_out(project, plan, yes, how, expected="yes", question="type `yes` to go on")


@click.command()
@click.argument("target")
@click.option(
    "--to", multiple=True, required=True, metavar="REV", help="Take back what stands above REV; `branch@base`."
)
@run_options
def downgrade(target: str, to: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Take one target back to given revisions; what elsewhere needs what goes, goes too, and is shown."""
    with options.opened(**_where(how)) as project:
        plan = project.plan_downgrade(target, to)
        name = plan.selector
        return _carry_out(
            project, plan, yes, how, expected=name, question=f"type the target's name, `{name}`, to go on"
        )


@click.command()
@click.argument("run")
@options.targets
@run_options
def rollback(run: str, selectors: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Take targets back to exactly the heads they had before RUN; refuses where that would not be exact."""
    with options.opened(**_where(how)) as project:
        plan = project.plan_rollback(run, selectors)
        busy = [p.target for p in plan.plans if p.steps]
        name = busy[0] if len(busy) == 1 else str(plan.undoes)
        what = "the target's name" if len(busy) == 1 else "the run"
        return _carry_out(project, plan, yes, how, expected=name, question=f"type {what}, `{name}`, to go on")


@click.command()
@click.argument("target")
@click.option("--heads", multiple=True, metavar="REV", help="Declare these applied instead of reading the old table.")
@run_options
def adopt(target: str, heads: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Take over a database that already holds revisions: from its public.alembic_version, or as declared."""
    with options.opened(**_where(how)) as project:
        plan = project.plan_adoption(target, heads)
        for p in plan.plans:
            console.note(f"{p.target}: nothing is run; these revisions are declared applied, by your word:")
            console.note(f"  {revision}" for revision in project.declared(p))
            console.note(f"  version rows: {text.names(p.goal)}")
        name = plan.selector
        question = f"type the target's name, `{name}`, to go on"
        return _carry_out(project, plan, yes, how, expected=name, question=question, always=True)


def _where(how: dict[str, Any]) -> dict[str, Any]:
    return {key: how.pop(key) for key in ("root", "local", "env_file")}


def _carry_out(
    project: Project, plan: FleetPlan, yes: bool, how: dict[str, Any], *, expected: str, question: str,
    always: bool = False,
) -> int:  # fmt: skip
    """Shows the plan, asks, runs it, reports it. The exit code."""
    from ehg_migrate.cli.progress import progress, stoppable
    from ehg_migrate.rollout.pool import Stop

    console.note(text.plan_lines(plan))
    if always or any(p.steps for p in plan.plans):
        _confirm(yes, expected, question)
    stop = Stop()
    with stoppable(stop), progress() as watch:
        run = project.run(plan, parallel=how["parallel"], watch=watch, stop=stop)
    _report(run, how)
    return exits.of_run(run)


def _confirm(yes: bool, expected: str, question: str) -> None:
    if yes:
        return
    if not console.interactive():
        raise UsageError(Problem("no_terminal", "there is no terminal to ask on", "look at the plan, then add `--yes`"))
    if console.ask(question).strip() != expected:
        raise GateError(Problem("not_confirmed", "not confirmed; nothing was done"))


def _report(run: Run, how: dict[str, Any]) -> None:
    if how["junit"]:
        from ehg_migrate.report.junit import junit

        how["junit"].write_text(junit(run), encoding="utf-8")
    if how["summary"]:
        from ehg_migrate.report.markdown import markdown

        with how["summary"].open("a", encoding="utf-8") as file:
            file.write(markdown(run))
    if how["as_json"]:
        console.json("run", run)
    else:
        console.note(text.notes_lines(run.notes))
        console.data(text.run_summary(run))
