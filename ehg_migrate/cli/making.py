"""Commands that write files of a project, and the embedded server: init, revision, release, local."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ehg_migrate.cli import console, options
from ehg_migrate.cli.confirm import confirm

if TYPE_CHECKING:
    from ehg_migrate.local import LocalServer
    from ehg_migrate.project import Project


@click.command(short_help="Lay out a working project in FOLDER.")
@click.argument("folder", type=options.Place(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Lay out a working project in FOLDER: alembic.ini, targets/, versions/shared with an example."""
    from ehg_migrate.starter import lay_out

    console.data(f"wrote {path}" for path in lay_out(folder))
    into = "" if folder.samefile(".") else f"cd {shlex.quote(str(folder))} && "
    console.note(f"next: {into}ehg-migrate upgrade --local --yes")


@click.command(short_help="Write a new revision file at the head of a branch.")
@click.option("--message", "-m", required=True, help="What it does, in a few words.")
@click.option("--branch", "-b", default="shared", show_default=True, help="The folder of versions/ it belongs to.")
@click.option("--depends-on", multiple=True, metavar="REV", help="Revision of shared or a group, or `branch@head`.")
@click.option("--autogenerate", metavar="TARGET", help="Fill it with the difference between models and this target.")
@click.option("--from-drift", metavar="TARGET", help="Fill it with what this target has and its revisions lack.")
@click.option("--allow-destructive", is_flag=True, help="With --from-drift: also what may lose rows.")
@options.project_options
def revision(
    message: str,
    branch: str,
    depends_on: tuple[str, ...],
    autogenerate: str | None,
    from_drift: str | None,
    allow_destructive: bool,
    **where: Any,
) -> int:
    """Write a new revision file at the head of a branch; a new branch gets its folder and label.

    With --from-drift its upgrade and downgrade are tried on a scratch database; exit 1 where it is not proven that they
    lead to the target's schema and back.
    """
    if (autogenerate and from_drift) or (allow_destructive and not from_drift):
        raise click.UsageError("`--from-drift` stands alone; `--allow-destructive` is about its statements.")
    with options.opened(**where) as project:
        if from_drift:
            return _from_drift(project, from_drift, branch, message, depends_on, allow_destructive, where["local"])
        path = project.new_revision(message, branch, depends_on, autogenerate)
        console.data(f"wrote {path.relative_to(project.settings.root)}")
        return 0


def _from_drift(
    project: Project, target: str, branch: str, message: str, depends_on: tuple[str, ...], destructive: bool,
    local: bool,
) -> int:  # fmt: skip
    from ehg_migrate.report.correction import carried_lines

    path, carried = project.new_revision_from_drift(
        target, branch, message, depends_on, destructive=destructive, notice=console.note
    )
    console.data(f"wrote {path.relative_to(project.settings.root)}")
    console.note(carried_lines(target, branch, carried, local=local))
    return 0 if carried.proven else 1


@click.command(short_help="Name the present heads, for `--to release:NAME`.")
@click.argument("name")
@options.project_options
def release(name: str, **where: Any) -> None:
    """Name the present heads of all branches in versions/releases.yaml, for `--to release:NAME`."""
    with options.opened(**where) as project:
        for branch, heads in project.release(name).items():
            console.data(f"{branch}: {', '.join(heads)}")


@click.group()
def local() -> None:
    """The embedded PostgreSQL that `--local` uses."""


@local.command()
@options.root
def start(root: Path) -> None:
    """Start it and leave it running."""
    server = _server(root)
    server.start(keep=True)
    console.data(f"PostgreSQL {server.server_version} at {server.address('postgres')}")


@local.command()
@options.root
def stop(root: Path) -> None:
    """Stop it, once nobody uses it any more."""
    console.data("stopped" if _server(root).stop() else "in use; it stops when the last command that uses it ends")


@local.command()
@options.root
def state(root: Path) -> None:
    """Say whether it runs."""
    console.data("running" if _server(root).running() else "not running")


@local.command(short_help="Stop it and delete all its databases, and their runs.")
@options.yes
@options.root
def wipe(yes: bool, root: Path) -> None:
    """Stop it and delete all its databases, the record of runs on them, and where revisions are tried out."""
    from ehg_migrate.schema.scratch import embedded_servers
    from ehg_migrate.settings import read_settings

    settings = read_settings(root.resolve())
    server, scratch = _server(root), settings.scratch_home
    console.note("this deletes every local and every scratch database of this project, and the record of local runs")
    confirm(yes, "yes", "type `yes` to go on")
    for one in (server, *embedded_servers(scratch)):
        one.wipe()
    for file in settings.local_ledger.parent.glob(f"{settings.local_ledger.name}*"):  # and what SQLite keeps beside it
        file.unlink(missing_ok=True)
    console.data("deleted")


@local.command(context_settings={"ignore_unknown_options": True}, short_help="Open psql on a target's local database.")
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@options.root
def psql(target: str, arguments: tuple[str, ...], root: Path) -> int:
    """Open psql on a target's local database; what follows `--` goes to psql."""
    import signal
    import subprocess

    from ehg_migrate.database.parameters import forget_environment
    from ehg_migrate.project import Project

    options.remember()
    forget_environment()  # PGHOSTADDR would go before the host
    with Project.load(root, local=True) as project:
        address = project.local_address(target)
        program = project.embedded().program("psql")
        place = ["-h", address.host, "-p", str(address.port), "-U", address.user, "-d", address.dbname]
        signal.signal(signal.SIGINT, _left_to_psql)
        return subprocess.run([program, *place, *arguments], check=False).returncode


def _left_to_psql(number: int, frame: object) -> None:
    """Ctrl-C ends a query of psql, not psql."""


def _server(root: Path) -> LocalServer:
    from ehg_migrate.local import LocalServer
    from ehg_migrate.settings import read_settings

    options.remember()
    return LocalServer(read_settings(root.resolve()).local_home)
