"""Commands in hints as they are typed in this place: with the options that said which project and which databases."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import click
from click.core import ParameterSource

from ehg_migrate.errors import Problem

T = TypeVar("T")

_OPTIONS = {"root": "--project", "local": "--local", "env_file": "--env-file"}
_OURS = re.compile(r"`ehg-migrate ([^`]+)`")
_STOCK = re.compile(r"`alembic(?= (?:-x|upgrade) )")  # of its commands that hints name, those for a target
_given: dict[str, str] = {}  # parameter -> the option as it was typed


def remember() -> None:
    """What the present command was given; what comes from the environment holds for the next one by itself."""
    context = click.get_current_context()
    _given.clear()
    for name, option in _OPTIONS.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.params[name]
            _given[name] = option if value is True else f"{option} {shlex.quote(str(value))}"


def as_typed(text: str) -> str:
    """The text; whoever copies a command out of it gets the same project and databases."""
    if not _given or "`" not in text:
        return text
    told = _OURS.sub(_completed, text)
    if not _STOCK.search(told):
        return told
    if "root" in _given:
        told = _STOCK.sub(f"`alembic -c {_ini()}", told)
    if "local" in _given:  # Alembic's command knows nothing of those
        told += f"; `alembic` means the target itself: {_completed_text('local wipe')} begins anew with the local ones"
    return told


def hints_as_typed(value: T) -> T:
    """The same dataclasses and sequences of them, the hints of all their problems as typed."""
    if not _given:
        return value
    if isinstance(value, Problem):
        return replace(value, hint=as_typed(value.hint))
    if isinstance(value, (tuple, list)):
        return type(value)(map(hints_as_typed, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: hints_as_typed(getattr(value, f.name)) for f in fields(value) if f.init})
    return value


def _completed(found: re.Match[str]) -> str:
    return _completed_text(found[1])


def _completed_text(written: str) -> str:
    """With the options behind the command's name, since a redirection may stand at the end."""
    from ehg_migrate.cli.app import cli  # it imports the console, which imports this

    words = written.split(" ")
    command: click.Command = cli
    known = 0
    while known < len(words) and isinstance(command, click.Group) and words[known] in command.commands:
        command = command.commands[words[known]]
        known += 1
    takes = {p.name for p in command.params}
    options = [typed for name, typed in _given.items() if name in takes and "--help" not in words]
    return f"`{' '.join(['ehg-migrate', *words[:known], *options, *words[known:]])}`"


def _ini() -> str:
    (root,) = shlex.split(_given["root"])[1:]
    return shlex.quote(f"{root.rstrip('/')}/alembic.ini")
