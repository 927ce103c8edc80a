"""The only module that writes to the terminal: data on stdout, everything else on stderr, nothing unredacted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click

from ehg_migrate.errors import Problem
from ehg_migrate.redaction import safe


def data(lines: Iterable[str] | str) -> None:
    """What was asked for, on stdout."""
    _write(lines, err=False)


def note(lines: Iterable[str] | str) -> None:
    """Progress, warnings, questions: on stderr, so that stdout can be piped."""
    _write(lines, err=True)


def json(kind: str, value: object) -> None:
    """`{"schema_version": 1, "kind": ..., "data": ...}` on stdout; `docs/json.md` describes it."""
    from ehg_migrate.json_form import SCHEMA_VERSION, dumps

    data(dumps({"schema_version": SCHEMA_VERSION, "kind": kind, "data": value}))


def problem(p: Problem, level: str = "error") -> None:
    """One thing that is wrong: what, where, what to do next."""
    note(f"{_coloured(level)}: {p.message}" + (f" (SQLSTATE {p.sqlstate})" if p.sqlstate else ""))
    if p.where:
        note(f"  at {p.where}")
    if p.hint:
        note(f"  hint: {p.hint}")


def interactive() -> bool:
    """Whether there is a person who can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def colours() -> bool:
    """Whether stderr is a terminal that wants colours; see https://no-color.org."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def ask(question: str) -> str:
    """What the person types."""
    return str(click.prompt(safe(question), default="", show_default=False, err=True))


def _coloured(level: str) -> str:
    return click.style(level, fg="red" if level == "error" else "yellow", bold=True) if colours() else level


def _write(lines: Iterable[str] | str, *, err: bool) -> None:
    for line in [lines] if isinstance(lines, str) else lines:
        # only our own colours may pass, and they are added to words of ours
        text = line if line.startswith("\x1b[") else safe(line)
        click.echo(text, err=err)
