"""The mutations of `mutations.sql`: what each changes, and the table of them that stands in docs/schema.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ehg_migrate.schema.difference import Change, Difference

HERE = Path(__file__).parent
_BASE = (HERE / "base.sql").read_text()
_DOCS = HERE.parents[2] / "docs" / "schema.md"
TABLE = "mutations"
"""Its name in the page."""


_SINCE_15 = {
    " WITH (security_invoker = true)": "",
    "app.customers (id, name), app.orders": "app.customers, app.orders",
    "app.orders WHERE (total > 10)": "app.orders",
    'CREATE PUBLICATION everything FOR TABLES IN SCHEMA "odd Schema";': "",
}
"""What version 14 does not know, and what is written there in its place."""

_OF_15 = ("security_invoker", "security invoker", "NULLS NOT DISTINCT", "SET TABLE app.customers", "TABLES IN SCHEMA")
"""What a mutation has in it that 14 does not know."""


def base(major: int) -> str:
    """The base schema as this version of PostgreSQL can make it."""
    return written_for(_BASE, major)


def written_for(text: str, major: int) -> str:
    """SQL about the base schema, without what this version does not know."""
    for newer, older in _SINCE_15.items() if major < 15 else ():
        text = text.replace(newer, older)
    return text


@dataclass(frozen=True)
class Mutation:
    """One change of the base schema."""

    kind: str
    what: str
    sql: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def mutations(extension: str, major: int = 15) -> tuple[Mutation, ...]:
    """All that this version of PostgreSQL knows; `extension` is one that the server at hand can create."""
    parts = re.split(r"^-- name: ([\w ]+): (.+)\n", (HERE / "mutations.sql").read_text(), flags=re.MULTILINE)
    cases = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    all_of_them = (Mutation(kind, what, sql.replace("{extension}", extension)) for kind, what, sql in cases)
    return tuple(m for m in all_of_them if major >= 15 or not any(word in f"{m}\n{m.sql}" for word in _OF_15))


def found(differences: Iterable[Difference], extension: str) -> str:
    """What was seen, as a cell of the table; the first three objects are named."""
    words = [_words(d).replace(extension, "EXTENSION") for d in differences]
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return "; ".join(words[:3]) + more


def table(rows: Mapping[Mutation, str]) -> str:
    """The table for docs/schema.md."""
    lines = [f"| {m.kind} | {m.what} | {seen} |" for m, seen in rows.items()]
    return "\n".join(["| kind | mutation | seen as |", "|---|---|---|", *lines]) + "\n"


def table_in_docs(name: str) -> str:
    """What stands there now."""
    return _around(name)[1]


def rows_of(text: str, of: Iterable[Mutation]) -> str:
    """The table without other mutations than these."""
    starts = ("| kind |", "|---", *(f"| {m.kind} | {m.what} |" for m in of))
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith(starts))


def write_docs(name: str, text: str) -> None:
    """Puts a table in its place."""
    before, _, after = _around(name)
    _DOCS.write_text(before + text + after)


def _around(name: str) -> tuple[str, str, str]:
    """The page before a table, with its mark; the table; the rest."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, rest = _DOCS.read_text().split(begin)
    table, after = rest.split(end)
    return before + begin, table, end + after


def _words(difference: Difference) -> str:
    name = f"{difference.kind} `{difference.identity}`".replace("|", "\\|")
    if difference.change is Change.CHANGED:
        return f"{name}: {', '.join(c.name for c in difference.clauses)}"
    return f"{difference.change.value} {name}"
