"""The command line: words into calls of `Project`, its answers into text and exit codes."""

from __future__ import annotations

import atexit
import gc


def main() -> None:
    """The `ehg-migrate` program."""
    # What is imported stays: looking through it for garbage, again and again until a project is open and once more at
    # exit, took a fifth of the time of a command that finds nothing to do.
    gc.disable()
    atexit.register(gc.freeze)
    from ehg_migrate.cli.app import run

    run()
