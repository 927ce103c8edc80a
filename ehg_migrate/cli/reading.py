"""Commands that only look: targets, status, plan, history, runs, show, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ehg_migrate.cli import console, exits, options
from ehg_migrate.report import text

if TYPE_CHECKING:
    from ehg_migrate.schema.squawk import SqlReport


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
@click.option("--exit-code", is_flag=True, help="Exit 3 where a target has pending steps.")
@options.project_options
def status(selectors: tuple[str, ...], as_json: bool, exit_code: bool, **where: Any) -> int:
    """What each target is now, from the targets themselves."""
    with options.opened(**where) as project:
        states = project.status(selectors)
        if as_json:
            console.json("status", states)
        else:
            console.data(text.status_lines(states))
        return exits.of_states(states, exit_code=exit_code)


@click.command()
@options.targets
@click.option("--to", multiple=True, metavar="REV", help="REV, `branch@head`, `release:NAME`. Default: all heads.")
@click.option("--sql", is_flag=True, help="Also the SQL of each distinct plan.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where something would be done.")
@options.as_json
@options.project_options
def plan(
    selectors: tuple[str, ...], to: tuple[str, ...], sql: bool, exit_code: bool, as_json: bool, **where: Any
) -> int:
    """What `upgrade` would do, step by step; targets with the same plan are shown once."""
    if sql and as_json:
        raise click.UsageError("`--sql` and `--json` are two forms of output; choose one.")
    with options.opened(**where) as project:
        found = project.plan(selectors, to)
        if as_json:
            console.json("plan", found)
        else:
            console.data(text.plan_lines(found))
            console.data(f"{name} is protected: a person must type its name" for name in project.protected(found))
        if sql:
            console.data(line for group in project.sql(found) for line in ("", *group.splitlines()))
        busy = any(p.steps for p in found.plans)
        return 1 if found.blocked else exits.DIFFERENCES if exit_code and busy else 0


@click.command()
@click.argument("target")
@options.as_json
@options.project_options
def history(target: str, as_json: bool, **where: Any) -> None:
    """Everything that was done to one target, from its own journal."""
    with options.opened(**where) as project:
        entries = project.history(target)
        if as_json:
            console.json("history", entries)
        else:
            console.data(text.history_lines(entries) if entries else ())
            console.note(() if entries else f"`{target}` has no journal yet: nothing of ours was done there")


@click.command()
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--target", help="Only runs that touched this target.")
@options.as_json
@options.project_options
def runs(limit: int, target: str | None, as_json: bool, **where: Any) -> None:
    """The newest runs, from the ledger."""
    with options.opened(**where) as project:
        found = project.runs(limit, target)
        if as_json:
            console.json("runs", found)
        else:
            console.data(text.runs_lines(found) if found else ())
            console.note(() if found else "the ledger has no run" + (f" that touched `{target}`" if target else ""))


@click.command()
@click.argument("run")
@options.as_json
@options.project_options
def show(run: str, as_json: bool, **where: Any) -> None:
    """One run with what happened to each target; the beginning of its id is enough."""
    with options.opened(**where) as project:
        found = project.show(run)
        if as_json:
            console.json("run", found)
        else:
            console.data(text.run_lines(found))


@click.command()
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


@click.command()
@options.targets
@click.option("--sql", is_flag=True, help="Read the SQL of all revisions with squawk instead.")
@click.option("--pending", is_flag=True, help="With --sql: only pending steps; asks the targets.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where there is a warning.")
@options.as_json
@options.project_options
def lint(selectors: tuple[str, ...], sql: bool, pending: bool, exit_code: bool, as_json: bool, **where: Any) -> int:
    """Check targets/ and versions/ without connecting to anything. Errors end every command with exit 2."""
    if (selectors or pending) and not sql:
        raise click.UsageError("`--targets` and `--pending` go with `--sql`; without it everything is checked.")
    with options.opened(**where, quiet=True) as project:
        if sql:
            return _lint_sql(project.lint_sql(selectors, pending=pending), exit_code=exit_code, as_json=as_json)
        warnings = project.findings.warnings
        if as_json:
            console.json("lint", warnings)
        else:
            for warning in warnings:
                console.data([f"[{warning.code}]", *text.problem_lines(warning, "  ")])
            console.data(f"{text.number(len(warnings), 'warning')}")
        return exits.DIFFERENCES if exit_code and warnings else 0


def _lint_sql(found: SqlReport, *, exit_code: bool, as_json: bool) -> int:
    from ehg_migrate.report.rehearsal import sql_lines

    if as_json:
        console.json("lint_sql", found)
    else:
        console.data(sql_lines(found))
    return 1 if found.blocked else exits.DIFFERENCES if exit_code and found.findings else 0
