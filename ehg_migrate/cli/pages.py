"""The pages of this documentation, for whoever installed the program and has no clone of it: docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from ehg_migrate.cli import console
from ehg_migrate.errors import Problem, UsageError

# in a clone a link to docs/, in a wheel the files themselves
_FOLDER = Path(__file__).parents[1] / "docs"
_SUFFIXES = (".md", ".yaml", ".yml")
_FENCE = "```"


@click.command(short_help="Print a page of the documentation, or a section of it.")
@click.argument("page", required=False)
def docs(page: str | None) -> None:
    """Print PAGE, or one section of it (`lint#effectrewrite`); without PAGE, which pages there are.

    A page is also found as messages and other pages write it: docs/lint.md#effectrewrite.
    """
    console.own(_list() if page is None else _page(page))


def _pages() -> dict[str, Path]:
    """Every page by the name that it is called with: `lint`, `pipelines/github-matrix.yml`."""
    files = sorted(f for f in _FOLDER.rglob("*") if f.suffix in _SUFFIXES)
    return {str(f.relative_to(_FOLDER)).removesuffix(".md"): f for f in files}


def _list() -> Iterator[str]:
    found = _pages()
    width = max(map(len, found), default=0)
    for name, file in found.items():
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        yield f"{name:<{width}}  {re.split(r'[.:] ', first.lstrip('# '))[0]}"


def _page(wanted: str) -> list[str]:
    name, _, anchor = wanted.removeprefix("docs/").partition("#")
    found = _pages()
    file = found.get(name.removesuffix(".md"))
    if file is None:
        raise UsageError(Problem("no_page", f"there is no page `{name}`", f"there are {', '.join(found)}"))
    lines = file.read_text(encoding="utf-8").splitlines()
    return _section(lines, anchor, name) if anchor else lines


def _section(lines: list[str], anchor: str, name: str) -> list[str]:
    """From the heading to the next one that is not below it."""
    headings = list(_headings(lines))
    for number, (start, level, its_anchor) in enumerate(headings):
        if its_anchor == anchor:
            ends = (line for line, other, _ in headings[number + 1 :] if other <= level)
            return lines[start : next(ends, len(lines))]
    hint = f"`ehg-migrate docs {name}` prints all of it"
    raise UsageError(Problem("no_page", f"page `{name}` has no section `{anchor}`", hint))


def _headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Line, level and anchor, as GitHub makes it, of each. `#` in a block of code is a comment."""
    code = False
    for number, line in enumerate(lines):
        code ^= line.startswith(_FENCE)
        if not code and (heading := re.match(r"(#+) (.+)", line)):
            yield number, len(heading[1]), re.sub(r"[^\w -]", "", heading[2].lower()).replace(" ", "-")
