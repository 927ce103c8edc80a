"""Regular expressions that some releases of Python read wrongly."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from contextlib import suppress
from re import _constants, _parser
from typing import Any

import pytest

import ehg_migrate

_ASSERTS = (_constants.ASSERT, _constants.ASSERT_NOT)


def _patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Those of modules, and in their tuples."""
    for module in pkgutil.walk_packages(ehg_migrate.__path__, "ehg_migrate."):
        if module.name.endswith((".env", ".__main__")):  # these two do something
            continue
        with suppress(ImportError):  # of an extra that is not installed
            for name, value in vars(importlib.import_module(module.name)).items():
                for one in value if isinstance(value, tuple) else (value,):
                    if isinstance(one, re.Pattern):
                        yield f"{module.name}.{name}", one


def _parts(parsed: Any, *, possessive: bool = False) -> Iterator[Any]:
    """Every assertion that stands within a possessive repetition."""
    for operation, argument in parsed:
        if possessive and operation in _ASSERTS:
            yield operation
        inside = possessive or operation is _constants.POSSESSIVE_REPEAT
        for part in argument if isinstance(argument, (tuple, list)) else (argument,):
            for one in part if isinstance(part, list) else (part,):
                if isinstance(one, _parser.SubPattern):
                    yield from _parts(one, possessive=inside)


def _is_read_wrongly(pattern: re.Pattern[str]) -> bool:
    return any(_parts(_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)))


def test_no_repetition_is_read_wrongly() -> None:
    """Until Python 3.11.5 a possessive one matches nothing where a part of it looks ahead: so passwords were seen."""
    found = dict(_patterns())
    assert len(found) > 50, "the search finds them"
    assert [name for name, pattern in found.items() if _is_read_wrongly(pattern)] == []


@pytest.mark.parametrize(("text", "wrong"), [("(?:(?!z).)*+z", True), ("(?>(?:(?!z).)*)z", False), ("(?!z)a++", False)])
def test_the_check(text: str, wrong: bool) -> None:
    """It finds what it is for, however deep."""
    assert _is_read_wrongly(re.compile(text)) is wrong
    assert _is_read_wrongly(re.compile(f"x(?:a|({text}))+")) is wrong
