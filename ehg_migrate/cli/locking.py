"""Who is at work on a target, and the end of a runner that will not end: locks, locks break."""

from __future__ import annotations

from typing import Any

import click

from ehg_migrate.cli import console, options
from ehg_migrate.cli.confirm import confirm
from ehg_migrate.report import records


@click.group(invoke_without_command=True)
@options.targets
@options.as_json
@options.project_options
@click.pass_context
def locks(context: click.Context, /, selectors: tuple[str, ...], as_json: bool, **where: Any) -> int:
    """Who holds the lock of which target."""
    if context.invoked_subcommand:
        options.refuse_lost(context)
        return 0
    with options.opened(**where) as project:
        found = project.locks(selectors)
        if as_json:
            console.json("locks", found)
        else:
            console.data([*records.locks_lines(found), "", records.locks_summary(found)])
        return 1 if any(h.problem for h in found) else 0


@locks.command("break", short_help="End the sessions that hold TARGET's lock.")
@click.argument("target")
@options.yes
@options.as_json
@options.project_options
def break_(target: str, yes: bool, as_json: bool, **where: Any) -> None:
    """End the sessions that hold TARGET's lock; the server rolls their open step back."""
    with options.opened(**where) as project:
        holder = project.lock(target)
        if holder.pids:
            console.note(records.locks_lines((holder,)))
            confirm(yes, holder.target, f"type the target's name, `{holder.target}`, to end them")
        broken = project.break_lock(holder)
        if as_json:
            console.json("locks", (broken,))
        else:
            look = f"`ehg-migrate status -t {broken.target}`"
            console.data(f"{broken.target}: ended {records.backends(broken.pids)}; look with {look}")
