"""Commands that run revisions on scratch databases: drift, rehearse."""

from __future__ import annotations

from typing import Any

import click

from ehg_migrate.cli import console, exits, options


@click.command(short_help="Hold each schema against what its revisions produce.")
@options.targets
@click.option("--full", is_flag=True, help="Read each schema anew, even if its target says that nothing was changed.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where a target has drifted.")
@options.as_json
@options.project_options
def drift(selectors: tuple[str, ...], full: bool, exit_code: bool, as_json: bool, **where: Any) -> int:
    """Hold each target's schema against what its revisions produce; names every object that differs."""
    from ehg_migrate.report.drift import drift_lines

    with options.opened(**where) as project:
        found = project.drift(selectors, console.note, full=full)
        if as_json:
            console.json("drift", found)
        else:
            console.data(drift_lines(found))
        return exits.of_drift(found, exit_code=exit_code)


@click.command(short_help="Try pending steps out on scratch databases, there and back.")
@options.targets
@click.option("--to", multiple=True, metavar="REV", help="REV, `branch@head`, `release:NAME`. Default: all heads.")
@click.option("--all-branches", is_flag=True, help="Every combination of branches from nothing; asks no target.")
@click.option("--as-is", is_flag=True, help="Targets that have drifted on databases that have drifted alike.")
@click.option(
    "--probe-data", is_flag=True, help="Ask the targets, reading only, for rows that the steps would fail on."
)
@options.as_json
@options.project_options
def rehearse(
    selectors: tuple[str, ...],
    to: tuple[str, ...],
    all_branches: bool,
    as_is: bool,
    probe_data: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Try pending steps out on scratch databases: forward, back, and forward again.

    Names every object that a downgrade does not restore. Exit 1 where a step fails or cannot be taken back exactly.
    """
    from ehg_migrate.report.rehearsal import rehearsal_lines

    if all_branches and (selectors or to or as_is or probe_data):
        raise click.UsageError(
            "`--all-branches` asks no target; leave out `--targets`, `--to`, `--as-is`, `--probe-data`."
        )
    with options.opened(**where) as project:
        found = (
            project.rehearse_all(console.note)
            if all_branches
            else project.rehearse(selectors, to, console.note, as_is=as_is, probe_data=probe_data)
        )
        if as_json:
            console.json("rehearse", found)
        else:
            console.data(rehearsal_lines(found))
        return 0 if all(r.good for r in found) else 1
