"""Commands on the ledger: runs, runs prune, show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ehg_migrate.cli import console, options
from ehg_migrate.cli.confirm import confirm
from ehg_migrate.report import text

_OLD = "Those that were last heard of more than so many days ago."


@click.group(invoke_without_command=True)
@click.option(
    "--limit", "-n", metavar="N", type=click.IntRange(1, 1000), default=20, show_default=True, help="Only the newest N."
)
@click.option("--target", help="Only runs that touched this target, by the name that it had then.")
@options.as_json
@options.project_options
@click.pass_context
def runs(context: click.Context, /, limit: int, target: str | None, as_json: bool, **where: Any) -> None:
    """The newest runs, from the ledger."""
    if context.invoked_subcommand:
        options.refuse_lost(context)
        return
    with options.opened(**where) as project:
        found = project.runs(limit, target)
        if as_json:
            console.json("runs", found)
        else:
            console.data(text.runs_lines(found, project.missing_shards(found)) if found else ())
            console.note(() if found else _no_runs(target))


@runs.command(short_help="Take old runs out of the ledger.")
@click.option("--older-than", "days", required=True, metavar="DAYS", type=click.IntRange(1, 36500), help=_OLD)
@options.yes
@options.project_options
def prune(days: int, yes: bool, **where: Any) -> None:
    """Take old runs out of the ledger, but for what still says something of a target: the last word on it.

    Targets and their own journals are not touched; `history` and `rollback` go by those.
    """
    with options.opened(**where) as project:
        old = project.outlived_runs(days)
        if not old:
            console.data(f"there is no run older than {text.number(days, 'day')} that the ledger can do without")
            return
        which = f"`{old[0]}` to `{old[-1]}`" if len(old) > 1 else f"`{old[0]}`"
        console.note(f"{text.number(len(old), 'old run')} would be deleted from the ledger: {which}")
        confirm(yes, "yes", "type `yes` to go on")
        gone = project.forget_runs(days)
        console.data(f"{text.number(gone, 'old run')} {'was' if gone == 1 else 'were'} deleted")


def _no_runs(target: str | None) -> Iterator[str]:
    yield "the ledger has no run" + (f" that touched `{target}`" if target else "")
    if target:
        yield f"  hint: it knows targets by their names of that time; `ehg-migrate history {target}` knows former ones"


@click.command(short_help="One run, with what happened to each target.")
@click.argument("run")
@options.as_json
@options.html
@options.project_options
def show(run: str, as_json: bool, html: Path | None, **where: Any) -> None:
    """One run with what happened to each target; the beginning of its id is enough."""
    with options.opened(**where) as project:
        found = project.show(run)
        if html:
            from ehg_migrate.cli.reports import write_page

            write_page(html, found)
        if as_json:
            console.json("run", found)
        else:
            console.data(text.run_lines(found))
