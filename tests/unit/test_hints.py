"""What messages tell people to run can be run as it is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ehg_migrate.cli.app import cli

SOURCES = sorted((Path(__file__).parents[2] / "ehg_migrate").rglob("*.py"))
PROGRAM = "ehg-migrate "
# names of commands that are also names of settings, words of targets/ and rules
_ALSO_OTHERS = {"lint", "local", "schema", "targets"}
COMMANDS = sorted(set(cli.commands) - _ALSO_OTHERS)


def texts(node: ast.AST) -> Iterator[str]:
    """Each text below, with what is put into it as one word."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
    elif isinstance(node, ast.Constant):
        yield node.value if isinstance(node.value, str) else ""
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def hints(tree: ast.Module) -> Iterator[ast.AST]:
    """What is given as the third of a problem, or is called a hint."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Problem", "Refused", "_inexact"):
            yield from node.args[2:3]
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.keyword):
            names = [node.arg] if isinstance(node, ast.keyword) else [getattr(t, "id", "") for t in _assigned(node)]
            if "hint" in names:
                yield node.value


def _assigned(node: ast.Assign | ast.AugAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_hint_names_a_command_as_it_is_typed(source: Path) -> None:
    """Not `status` but `ehg-migrate status`; with the arguments that it wants, and options that it has."""
    for text in (t for hint in hints(ast.parse(source.read_text(encoding="utf-8"))) for t in texts(hint)):
        assert not re.search(rf"`({'|'.join(COMMANDS)})[ `]", text), text
        for written in re.findall(rf"`{PROGRAM}([^`]+)`", text):
            _try([__file__ if word == "FILE" else word for word in written.partition(" > ")[0].split()])


def _try(words: list[str]) -> None:
    """Whether the command line takes them; a file is there. A placeholder for a command stands for any."""
    command: click.Command = cli
    while words and isinstance(command, click.Group) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    if words[:1] != ["X"] and "--help" not in words:
        command.make_context("", words, resilient_parsing=False)
