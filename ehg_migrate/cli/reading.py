"""Commands that only look: targets, status, plan, history, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ehg_migrate.cli import console, exits, options
from ehg_migrate.report import text

if TYPE_CHECKING:
    from ehg_migrate.errors import Problem
    from ehg_migrate.model import FleetPlan
    from ehg_migrate.project import Project


@click.command()
@options.targets
@options.as_json
@options.project_options
def targets(selectors: tuple[str, ...], as_json: bool, **where: Any) -> None:
    """List the fleet as targets/*.yaml says. Connects to nothing."""
    with options.opened(**where) as project:
        found = project.targets(selectors)
        if as_json:
            console.json("targets", found)
        else:
            console.data(text.targets_lines(found))


@click.command()
@options.targets
@options.as_json
@options.html
@click.option("--exit-code", is_flag=True, help="Exit 3 where a target has pending steps.")
@options.project_options
def status(selectors: tuple[str, ...], as_json: bool, html: Path | None, exit_code: bool, **where: Any) -> int:
    """What each target is now, from the targets themselves."""
    with options.opened(**where) as project:
        states = project.status(selectors)
        if project.unread:
            console.problem(project.unread, "note")
        if html:
            from ehg_migrate.cli.reports import write_page

            write_page(html, states)
        if as_json:
            console.json("status", states)
        else:
            console.data(text.status_lines(states))
        return exits.of_states(states, exit_code=exit_code)


@click.command(short_help="What `upgrade` would do, step by step.")
@options.targets
@click.option("--to", multiple=True, metavar="REV", help="REV, `branch@head`, `release:NAME`. Default: all heads.")
@options.waves
@click.option("--sql", is_flag=True, help="Also the SQL of each distinct plan; all else is a comment.")
@click.option("--lint", is_flag=True, help="Rehearse the steps, there and back, and weigh what they do on each target.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where something would be done.")
@click.option(
    "--output",
    "-o",
    "file",
    metavar="FILE",
    type=options.Place(dir_okay=False, path_type=Path),
    callback=options.in_a_folder,
    help="Also keep the plan in this file, for `upgrade --plan`.",
)
@options.as_json
@options.project_options
def plan(
    selectors: tuple[str, ...],
    to: tuple[str, ...],
    waves: bool,
    sql: bool,
    lint: bool,
    exit_code: bool,
    file: Path | None,
    as_json: bool,
    **where: Any,
) -> int:
    """What `upgrade` would do, step by step; targets with the same plan are shown once.

    With what earlier rehearsals have found of the steps.
    """
    if sql and as_json:
        raise click.UsageError("`--sql` and `--json` are two forms of output; choose one.")
    with options.opened(**where) as project:
        if lint:
            found = project.plan_with_findings(selectors, to, console.note, waves=waves)
        else:
            found = project.plan_with_known(project.plan(selectors, to, waves=waves))
        if file or as_json:
            found = project.with_entries(found)
        if file:
            _keep(found, file)
        if as_json:
            console.json("plan", found)
        else:
            _tell(project, found, as_comments=sql)
        ends: list[Problem] = []
        if sql:
            console.script(line for group in project.sql(found, ends.append) for line in ("", *group.splitlines()))
            console.note(text.notes_lines(ends))
        busy = any(p.steps for p in found.plans)
        return 1 if found.blocked or found.notes or ends else exits.DIFFERENCES if exit_code and busy else 0


def _tell(project: Project, plan: FleetPlan, *, as_comments: bool) -> None:
    told = [*text.plan_lines(plan)]
    told += (f"{name} is protected: a person must type its name" for name in project.protected(plan))
    if as_comments:  # a message holds what stands in a target, line breaks too: each line of it is a comment
        console.script(f"-- {line}".rstrip() for said in told for line in said.splitlines() or ("",))
    else:
        console.data(told)
    console.note(text.notes_lines(plan.notes))


def _keep(plan: FleetPlan, file: Path) -> None:
    from ehg_migrate.cli.reports import write_file

    try:
        write_file(file, f"{console.json_text('plan', plan)}\n")
    except OSError as e:
        raise options.Unwritable(file, e) from None


@click.command(short_help="Everything that was done to one target.")
@click.argument("target")
@click.option("--limit", "-n", metavar="N", type=click.IntRange(min=1), help="Only so many, the newest. Default: all.")
@options.as_json
@options.project_options
def history(target: str, limit: int | None, as_json: bool, **where: Any) -> None:
    """Everything that was done to one target, from its own journal, oldest first."""
    from ehg_migrate.report.records import history_lines

    with options.opened(**where) as project:
        entries = project.history(target, limit)
        if as_json:
            console.json("history", entries)
        else:
            console.data(history_lines(entries, project.targets((target,))[0].name) if entries else ())
            console.note(() if entries else f"`{target}` has no journal, or an empty one: it tells of no work")


@click.command(short_help="Examine connections, session mode, privileges, locks.")
@options.targets
@options.as_json
@options.project_options
def doctor(selectors: tuple[str, ...], as_json: bool, **where: Any) -> int:
    """Examine targets: name, TCP, TLS, login, session mode, privileges, locks, other writers, latency."""
    from ehg_migrate.report.doctor import doctor_lines

    with options.opened(**where) as project:
        findings = project.doctor(selectors)
        if as_json:
            console.json("doctor", findings)
        else:
            console.data(doctor_lines(findings))
        return 1 if any(f.level == "error" for f in findings) else 0
