"""The command line: words into calls of `Project`, its answers into text and exit codes."""

from __future__ import annotations


def main() -> None:
    """The `ehg-migrate` program."""
    from ehg_migrate.cli.app import run

    run()
