"""Commands that look at schemas as they are: compare, clusters, snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ehg_migrate.cli import console, exits, options

F = TypeVar("F", bound=Callable[..., Any])


def _regard(command: F) -> F:
    """What counts beside what always does, given to the command as keywords of `Project`."""
    for option in (
        click.option("--platform-tables", is_flag=True, help="Also policies and triggers on Supabase's own tables."),
        click.option("--ignore-versions", is_flag=True, help="Versions of extensions do not count."),
        click.option("--owners", is_flag=True, help="Owners count too."),
    ):
        command = option(command)
    return command


def _split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What counts, and where the project is."""
    names = ("owners", "ignore_versions", "platform_tables")
    return {n: given[n] for n in names}, {n: value for n, value in given.items() if n not in names}


@click.command()
@click.argument("left")
@click.argument("right")
@_regard
@click.option("--exit-code", is_flag=True, help="Exit 3 where there is a difference.")
@options.as_json
@options.project_options
def compare(left: str, right: str, exit_code: bool, as_json: bool, **given: Any) -> int:
    """What separates two schemas, object by object and clause by clause.

    A side is a target (`acme`), one schema of a target (`acme/staging`) or the file of a snapshot (`acme.json`).
    """
    from ehg_migrate.report.differences import comparison_lines

    regard, where = _split(given)
    with options.opened(**where) as project:
        found = project.compare(left, right, **regard)
        if as_json:
            console.json("compare", found)
        else:
            console.data(comparison_lines(found))
        return exits.DIFFERENCES if exit_code and found.differences else 0


@click.command()
@options.targets
@_regard
@click.option("--exit-code", is_flag=True, help="Exit 3 where there is more than one schema.")
@options.as_json
@options.project_options
def clusters(selectors: tuple[str, ...], exit_code: bool, as_json: bool, **given: Any) -> int:
    """The fleet by what its schemas are: how many are alike, who is not, and what separates them."""
    from ehg_migrate.report.differences import clusters_lines

    regard, where = _split(given)
    with options.opened(**where) as project:
        found = project.clusters(selectors, **regard)
        if as_json:
            console.json("clusters", found)
        else:
            console.data(clusters_lines(found))
        return 1 if found.unread else exits.DIFFERENCES if exit_code and len(found.clusters) > 1 else 0


@click.command()
@click.argument("target")
@_regard
@options.as_json
@options.project_options
def snapshot(target: str, as_json: bool, **given: Any) -> None:
    """Print what the schema of a target, or of one schema of it, is now; with --json `compare` takes it as a side."""
    from ehg_migrate.report.differences import snapshot_lines
    from ehg_migrate.schema.snapshot import KIND

    regard, where = _split(given)
    with options.opened(**where) as project:
        found = project.snapshot(target, **regard)
        if as_json:
            console.json(KIND, found)
        else:
            console.data(snapshot_lines(found))
