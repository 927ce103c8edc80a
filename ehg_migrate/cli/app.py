"""The program: its commands, and what happens to an exception that none of them expected."""

from __future__ import annotations

import io
import sys
import traceback

import click

from ehg_migrate.cli import console
from ehg_migrate.cli.comparing import clusters, compare, snapshot
from ehg_migrate.cli.linting import lint
from ehg_migrate.cli.locking import locks
from ehg_migrate.cli.making import init, local, release, revision
from ehg_migrate.cli.proving import drift, rehearse
from ehg_migrate.cli.reading import doctor, history, plan, runs, show, status, targets
from ehg_migrate.cli.running import adopt, downgrade, resume, retry, rollback, upgrade
from ehg_migrate.cli.schemas import schema
from ehg_migrate.errors import EhgMigrateError, TargetError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ehg_migrate", prog_name="ehg-migrate")
def cli() -> None:
    """Migrate a fleet of PostgreSQL databases with one Alembic environment.

    Exit codes: 0 done or nothing to do, 1 a target failed, 2 could not start, 3 differences (--exit-code),
    4 blocked by a rule, 130 interrupted.
    """


for command in (targets, status, plan, drift, compare, clusters, snapshot, rehearse, upgrade, downgrade, rollback,
                resume, retry, history, runs, show, doctor, locks, lint, revision, release, adopt, init, local,
                schema):  # fmt: skip
    cli.add_command(command)


def run() -> None:
    """Runs the program and ends the process with its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        console.note("interrupted")
        code = 130
    except click.ClickException as e:
        said = io.StringIO()
        e.show(said)
        console.note(said.getvalue().splitlines())
        code = e.exit_code
    except EhgMigrateError as e:
        console.problems(e.problems)
        code = e.exit_code
    except TargetError as e:
        console.problem(e.problem)
        code = 1
    except Exception:  # noqa: BLE001 - the last line of defence: whatever it is, it is shown without secrets
        console.note(traceback.format_exc().splitlines())
        console.note("this is a fault of ehg-migrate; please report it with the lines above")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
