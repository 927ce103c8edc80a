"""Commands that look at schemas as they are: compare, clusters, snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ehg_migrate.cli import console, exits, options
from ehg_migrate.errors import Problem

if TYPE_CHECKING:
    from ehg_migrate.schema.saving import Saved

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


@click.command(short_help="What separates two schemas, clause by clause.")
@click.argument("left")
@click.argument("right")
@_regard
@click.option("--exit-code", is_flag=True, help="Exit 3 where there is a difference.")
@click.option(
    "--sql", is_flag=True, help="Print statements that make LEFT like RIGHT, proven on a scratch clone of LEFT."
)
@click.option("--allow-destructive", is_flag=True, help="With --sql: also what may lose rows. Else it is shown only.")
@options.as_json
@options.project_options
def compare(
    left: str, right: str, exit_code: bool, sql: bool, allow_destructive: bool, as_json: bool, **given: Any
) -> int:
    """What separates two schemas, object by object and clause by clause.

    A side is a target (`acme`), one schema of a target (`acme/staging`) or a snapshot: its file (`acme.json`) or its
    folder, written with a slash (`./acme`). Beside a target it may be what given heads produce there: `heads:REV,REV`,
    `heads:shared@head`, `release:NAME`; `heads:` alone is what the target holds.
    With --sql: exit 1 where it is not proven that nothing is left.
    """
    from ehg_migrate.report.differences import comparison_lines

    if allow_destructive and not sql:
        raise click.UsageError("`--allow-destructive` is about the statements of `--sql`.")
    regard, where = _split(given)
    if sql:
        return _correction(left, right, allow_destructive, exit_code, as_json, regard, where)
    with options.opened(**where) as project:
        found = project.compare(left, right, notice=console.note, **regard)
        if as_json:
            console.json("compare", found)
        else:
            console.data(comparison_lines(found))
        return exits.DIFFERENCES if exit_code and found.differences else 0


_NOT_SHOWN = Problem(
    "not_shown",
    "a statement cannot be printed as it was proven: a password of this project stands in it, or what a terminal or a "
    "pipeline would obey",
    "a revision (`--from-drift`) or `schema sync` carries it without printing it",
)


def _correction(
    left: str,
    right: str,
    destructive: bool,
    exit_code: bool,
    as_json: bool,
    regard: dict[str, Any],
    where: dict[str, Any],
) -> int:
    from ehg_migrate.report.correction import correction_lines

    with options.opened(**where) as project:
        found = project.correction(left, right, destructive=destructive, notice=console.note, **regard)
        if any(console.changes(s.sql, as_json=as_json) for s in found.statements):
            console.problem(_NOT_SHOWN)
            return 1
        if as_json:
            console.json("correction", found)
        else:
            console.script(correction_lines(found), exact=True)
        return 1 if not found.proven else exits.DIFFERENCES if exit_code and found.differences else 0


@click.command(short_help="Which targets have the same schema, and who differs.")
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


@click.command(short_help="What the schema of a target is now; as files, or SQL.")
@click.argument("target")
@click.option(
    "--output",
    "-o",
    "folder",
    type=options.Place(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write files there.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 3 where the files of --output are not as they should be."
)
@click.option(
    "--sql",
    "file",
    type=options.Place(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write SQL that makes it anew, without owners and publications.",
)
@_regard
@options.as_json
@options.project_options
def snapshot(target: str, folder: Path | None, check: bool, file: Path | None, as_json: bool, **given: Any) -> int:
    """Print what the schema of a target, or of one schema of it (`acme/staging`), is now.

    With --output it is a file for each object below DIR, alike for equal schemas, to be kept beside the code; files of
    others stay. `compare` takes the folder as a side, and the JSON that --json prints.
    """
    from ehg_migrate.report.differences import snapshot_lines
    from ehg_migrate.schema.snapshot import KIND

    if check and not folder:
        raise click.UsageError("`--check` looks at the files of a folder; name it with `--output`.")
    if file and (folder or as_json):
        raise click.UsageError("`--sql` is a form of its own; leave out `--output` and `--json`.")
    regard, where = _split(given)
    with options.opened(**where) as project:
        if folder:
            return _saved(project.save_snapshot(target, folder, check=check, **regard), check=check, as_json=as_json)
        if file:
            return _write(file, project.dump(target, **regard))
        found = project.snapshot(target, **regard)
        if as_json:
            console.json(KIND, found, exact=True)
        else:
            console.data(snapshot_lines(found))
        return 0


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(file: Path, text: str) -> int:
    """As it is: a word that looks like a secret is a part of the schema here, so a new file is for its owner alone."""
    from ehg_migrate.cli.reports import write_file

    try:
        write_file(file, text, opener=_for_its_owner)
    except OSError as e:
        raise options.Unwritable(file, e) from None
    return 0


def _saved(found: Saved, *, check: bool, as_json: bool) -> int:
    from ehg_migrate.report.snapshots import checked_lines, saved_lines
    from ehg_migrate.schema.tree import KIND

    if as_json:
        console.json(KIND, found)
    else:
        console.data(checked_lines(found) if check else saved_lines(found))
    return exits.DIFFERENCES if check and not found.same else 0
