"""`lint`: what is wrong with files, with the SQL of revisions, with what their steps do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ehg_migrate.cli import console, exits, options
from ehg_migrate.report import text

if TYPE_CHECKING:
    from ehg_migrate.model import Finding
    from ehg_migrate.project import Project

_FILE = options.Place(dir_okay=False, path_type=Path)


@click.command()
@options.targets
@click.option("--sql", is_flag=True, help="Read the SQL of all revisions with squawk instead.")
@click.option("--pending", is_flag=True, help="With --sql: only pending steps; asks the targets.")
@click.option("--effect", is_flag=True, help="Rehearse pending steps instead, and weigh what they do on each target.")
@click.option(
    "--sarif", type=_FILE, callback=options.in_place_of_former, help="Write the findings as SARIF 2.1.0, too."
)
@click.option("--exit-code", is_flag=True, help="Exit 3 where there is a warning or an error.")
@options.as_json
@options.project_options
def lint(
    selectors: tuple[str, ...],
    sql: bool,
    pending: bool,
    effect: bool,
    sarif: Path | None,
    exit_code: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Check targets/ and versions/ without connecting to anything. Errors end every command with exit 2."""
    if (selectors and not (sql or effect)) or (pending and not sql):
        raise click.UsageError("`--targets` goes with `--sql` or `--effect`, `--pending` with `--sql`.")
    if sql and effect:
        raise click.UsageError("`--sql` and `--effect` are two ways to look; choose one.")
    with options.opened(**where, quiet=True) as project:
        if effect:
            code, findings = _effect(project, selectors, as_json=as_json)
        elif sql:
            code, findings = _sql(project, selectors, pending=pending, as_json=as_json)
        else:
            code, findings = _files(project, as_json=as_json)
        _write_sarif(sarif, findings)
        return code or exits.of_findings(findings, exit_code=exit_code)


def _files(project: Project, *, as_json: bool) -> tuple[int, tuple[Finding, ...]]:
    from ehg_migrate.report.findings import of_files

    warnings = project.findings.warnings
    if as_json:
        console.json("lint", warnings)
    else:
        for warning in warnings:
            console.data([f"[{warning.code}]", *text.problem_lines(warning, "  ")])
        console.data(f"{text.number(len(warnings), 'warning')}")
    return 0, of_files(warnings)


def _sql(
    project: Project, selectors: tuple[str, ...], *, pending: bool, as_json: bool
) -> tuple[int, tuple[Finding, ...]]:
    from ehg_migrate.report.findings import of_sql
    from ehg_migrate.report.rehearsal import sql_lines

    found = project.lint_sql(selectors, pending=pending)
    if as_json:
        console.json("lint_sql", found)
    else:
        console.data(sql_lines(found))
    return 1 if found.blocked else 0, of_sql(found.findings)


def _effect(project: Project, selectors: tuple[str, ...], *, as_json: bool) -> tuple[int, tuple[Finding, ...]]:
    from ehg_migrate.report.findings import finding_lines

    plan = project.plan_with_findings(selectors, notice=console.note)
    if as_json:
        console.json("plan", plan)
    else:
        console.data(finding_lines(plan.findings))
        console.note(text.notes_lines(plan.notes))
        for state in plan.blocked:
            console.note(
                text.problem_lines(state.problem, f"{state.target}: ", [state.target]) if state.problem else ()
            )
    return 1 if plan.notes or plan.blocked else 0, plan.findings


def _write_sarif(path: Path | None, findings: tuple[Finding, ...]) -> None:
    if path is None:
        return
    from ehg_migrate.cli.reports import write_file
    from ehg_migrate.report.sarif import sarif

    try:
        write_file(path, sarif(findings))
    except OSError as e:
        # not exit 2, with which stdout would be empty; as for a page
        raise options.Unwritable(path, e) from None
