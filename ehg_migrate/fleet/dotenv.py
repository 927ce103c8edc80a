"""A .env file: a small, strict subset of what programs read that know such files, so that nothing must be guessed.

    # a comment
    NAME=value                 no spaces, quotes, `$`, `\\` or backticks in it; ` # comment` may follow
    export NAME='value'        taken as it is
    NAME="value"               `\\n`, `\\t`, `\\"`, `\\\\`, `\\$` are read; `$` alone is refused: nothing is substituted

A value ends on its line. A name may stand once. A shell that sourced the file would need quotes around `&`, `;`, `|`,
`<`, `>` and parentheses, which URLs and passwords have, and would leave `\\n` and `\\t` as they are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ehg_migrate.errors import ConfigurationError, Problem
from ehg_migrate.fleet.private import MANY, read_private
from ehg_migrate.fleet.problems import Refused

_LINE = re.compile(r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)")
_END = r"(?:[ \t]+#.*)?[ \t]*"
_PLAIN = re.compile(rf"(?P<text>[^\s'\"$`\\#][^\s'\"$`\\]*|){_END}")
_SINGLE = re.compile(rf"'(?P<text>[^']*)'{_END}")
_DOUBLE = re.compile(rf'"(?P<text>(?:[^"\\$`]|\\[nt"\\$`])*)"{_END}')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t"}


def load_env_file(path: Path) -> None:
    """Puts the file's variables into os.environ; what is set already stays, so that the shell wins.

    Raises ConfigurationError with every wrong line, or if others than the owner may read the file; then nothing is set.
    """
    try:
        text = read_private(path, str(path), MANY)
    except Refused as refused:
        raise ConfigurationError(refused.at(str(path))) from None
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            _read_line(line.strip(), found)
        except Refused as refused:
            problems.append(refused.at(f"{path}: line {number}"))
    if problems:
        raise ConfigurationError(problems)
    for name, value in found.items():
        os.environ.setdefault(name, value)


def _read_line(line: str, found: dict[str, str]) -> None:
    if not line or line.startswith("#"):
        return
    match = _LINE.fullmatch(line)
    if match is None:
        raise Refused("env_line", "expected `NAME=value`; the line is not shown", "no spaces stand around the `=`")
    name = match["name"]
    if name in found:
        raise Refused("env_line", f"`{name}` stands twice", "keep one of the two")
    found[name] = _value(name, match["value"])


def _value(name: str, text: str) -> str:
    if "\0" in text:
        raise Refused("env_line", f"the value of `{name}` holds a NUL", "remove it")
    for form in (_PLAIN, _SINGLE):
        if match := form.fullmatch(text):
            return match["text"]
    if match := _DOUBLE.fullmatch(text):
        return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), match["text"])
    raise Refused(
        "env_line",
        f"the value of `{name}` cannot be read without guessing; it is not shown",
        "put it into single quotes, which take everything but a single quote as it is",
    )
