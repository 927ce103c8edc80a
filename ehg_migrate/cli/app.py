"""The program: its commands, and what happens to an exception that none of them expected."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import cast

import click

from ehg_migrate.cli import console
from ehg_migrate.errors import LACKING_THREADS, EhgMigrateError, Problem, TargetError, described, lacks_threads

_MODULES = {
    "comparing": ("clusters", "compare", "snapshot"),
    "linting": ("lint",),
    "locking": ("locks",),
    "making": ("init", "local", "release", "revision"),
    "pages": ("docs",),
    "proving": ("drift", "rehearse"),
    "reading": ("doctor", "history", "plan", "status", "targets"),
    "recorded": ("runs", "show"),
    "running": ("adopt", "downgrade", "resume", "retry", "rollback", "upgrade"),
    "schemas": ("schema",),
}


class _Commands(Mapping[str, click.Command]):
    """The commands by name; the module of one is imported when it is asked for, so that nobody waits for the others."""

    def __init__(self) -> None:
        self._modules = {name: module for module, names in _MODULES.items() for name in names}

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"ehg_migrate.cli.{self._modules[name]}")
        return cast("click.Command", getattr(module, name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


@click.group(
    commands=cast("MutableMapping[str, click.Command]", _Commands()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ehg_migrate", prog_name="ehg-migrate")
def cli() -> None:
    """Migrate a fleet of PostgreSQL databases with one Alembic environment.

    Exit codes: 0 done or nothing to do, 1 a target failed or was refused, 2 could not start, 3 differences
    (--exit-code), 4 blocked by a rule, 130 interrupted.
    """


def run() -> None:
    """Runs the program and ends the process with its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        console.note("interrupted")
        code = 130
    except click.ClickException as e:
        if isinstance(e, click.UsageError):
            _forget_former(sys.argv[1:])
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
    except Exception as e:  # noqa: BLE001 - the last line of defence: whatever it is, it is shown without secrets
        _tell_unexpected(e)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _forget_former(words: list[str]) -> None:
    from ehg_migrate.cli.options import forget_former  # seldom

    forget_former(words)


def _tell_unexpected(error: Exception) -> None:
    if lacks_threads(error):
        console.problem(Problem("no_thread", described(error), LACKING_THREADS))
        return
    console.note(traceback.format_exc().splitlines())
    console.note("this is a fault of ehg-migrate; please report it with the lines above")
