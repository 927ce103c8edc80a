"""SQL put into a revision file that Alembic's template has just written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_EMPTY = "def {name}() -> None:\n    pass\n"
_MARKED = re.compile(r"(?<![:\w\\]):\w|\\:")
"""Where SQLAlchemy's `text` would see a bind parameter, or a backslash that keeps it from seeing one."""


def with_body(source: str, upgrade: Sequence[str], downgrade: Sequence[str]) -> str:
    """The source with lines in place of the two empty functions. Raises ValueError where they are not empty."""
    for name, lines in (("upgrade", upgrade), ("downgrade", downgrade)):
        empty = _EMPTY.format(name=name)
        if source.count(empty) != 1:
            raise ValueError(f"`{name}` of the new revision is not empty")
        body = "\n".join(lines) or "    pass"
        source = source.replace(empty, f"def {name}() -> None:\n{body}\n")
    return source if "sa." in source else source.replace("import sqlalchemy as sa\n", "")


def executed(statements: Iterable[tuple[str, bool]]) -> list[str]:
    """An `op.execute` for each (statement, destructive), which sends the very statement to PostgreSQL.

    Where it has a colon that SQLAlchemy would take for a parameter, `DDL` carries it, which minds only percent signs.
    """
    found = []
    for text, destructive in statements:
        found += ["    # destructive"] if destructive else []
        plain = _MARKED.search(text) is None
        value = _constant(text) if plain else f"sa.DDL({_constant(text.replace('%', '%%'))})"
        found.append(f"    op.execute({value})")
    return found


def comments(lines: Iterable[str]) -> list[str]:
    """As comments of a function."""
    return [f"    # {part}".rstrip() for line in lines for part in line.splitlines()]


def _constant(text: str) -> str:
    """Python for a text; the lines of a long one stay as they are."""
    if not all(c.isprintable() or c == "\n" for c in text) or '"""' in text or text.endswith(('"', "\\")):
        return repr(text)
    raw = "r" if "\\" in text else ""
    if "\n" in text or '"' in text:
        return f'{raw}"""{text}"""'
    return f'{raw}"{text}"'
