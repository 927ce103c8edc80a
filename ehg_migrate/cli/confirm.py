"""The question before anything is changed: asked on a terminal, answered by `--yes` elsewhere."""

from __future__ import annotations

from ehg_migrate.cli import console
from ehg_migrate.errors import GateError, Problem, UsageError


def confirm(yes: bool, expected: str, question: str) -> None:
    """Returns if it may be done. Raises UsageError where nobody can be asked, GateError for any other answer."""
    if yes:
        return
    if not console.interactive():
        raise UsageError(
            Problem("no_terminal", "there is no terminal to ask on", "read what stands above, then add `--yes`")
        )
    if console.ask(question) != expected:
        raise GateError(
            Problem("not_confirmed", "not confirmed; nothing was done", f"type `{expected}`, or use `--yes`")
        )
