"""The question before anything is changed: asked on a terminal, answered by `--yes` elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from ehg_migrate.cli import console
from ehg_migrate.errors import GateError, Problem, UsageError


def confirm_protected(names: Iterable[str], typed: str = "") -> tuple[str, ...]:
    """Those of these targets whose name a person types, or has `typed` already; none where nobody can be asked."""
    return tuple(name for name in names if name == typed or (console.interactive() and _types(name)))


def _types(name: str) -> bool:
    return console.ask(f"`{name}` is protected: type its name to change it, anything else leaves it as it is") == name


def confirm(yes: bool, expected: str, question: str) -> str:
    """What was typed, nothing with `yes`, if it may be done.

    Raises UsageError where nobody can be asked, GateError for any other answer.
    """
    if yes:
        return ""
    if not console.interactive():
        raise UsageError(
            Problem("no_terminal", "there is no terminal to ask on", "read what stands above, then add `--yes`")
        )
    if console.ask(question) != expected:
        raise GateError(
            Problem("not_confirmed", "not confirmed; nothing was done", f"type `{expected}`, or use `--yes`")
        )
    return expected
