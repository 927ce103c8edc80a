"""Commands in hints as they are typed in this place: with the options that said which project and which databases."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

import click

_OURS = re.compile(r"`ehg-migrate ([^`]+)`")
_STOCK = re.compile(r"`alembic(?= (?:-x|upgrade) )")  # of its commands that hints name, those for a target
_STOCK_OF = re.compile(r"`alembic (?=-x |upgrade )(?:-x \S+ )*")


def as_typed(text: str, given: Mapping[str, str]) -> str:
    """The text; whoever copies a command out of it gets the project and the databases that were meant.

    `given` has options as they were typed, by the parameters of our commands that they are of.
    """
    told = _OURS.sub(lambda found: _completed(found[1], given), text)
    if not _STOCK.search(told):
        return told
    if "local" in given:  # Alembic's command knows nothing of those: pasted as it is, it would change the target itself
        told = _STOCK_OF.sub("`alembic ... ", told)
        told += f"; `alembic` means the target itself: {_completed('local wipe', given)} makes the local ones anew"
    elif "root" in given:
        (root,) = shlex.split(given["root"])[1:]
        ini = shlex.quote(f"{root.rstrip('/')}/alembic.ini")
        told = _STOCK.sub(lambda _: f"`alembic -c {ini}", told)
    return told


def _completed(written: str, given: Mapping[str, str]) -> str:
    """With the options behind the command's name, since a redirection may stand at the end."""
    from ehg_migrate.cli.app import cli  # it imports the console, which imports this

    words = written.split(" ")
    command: click.Command = cli
    known = 0
    while known < len(words) and isinstance(command, click.Group) and words[known] in command.commands:
        command = command.commands[words[known]]
        known += 1
    takes = {p.name for p in command.params}
    options = [typed for name, typed in given.items() if name in takes and "--help" not in words]
    return f"`{' '.join(['ehg-migrate', *words[:known], *options, *words[known:]])}`"
