"""`Statement`, `Step`, and the words that corrections are made of: names taken apart, constants quoted. Pure.

Names come from a catalogue, where the server has quoted them: they are put into statements as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from ehg_migrate.redaction import printable
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.scope import MIGRATOR

OWNER = "$owner"
"""How a fact calls the owner of the database."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of SQL, without its semicolon. A destructive one may lose rows, or what cannot be made anew."""

    sql: str
    destructive: bool = False


Way = tuple[Statement, ...]
"""Statements that are run together or not at all."""

Ways = tuple[Way, ...]
"""One after the other is tried, until one can be run."""


@dataclass(frozen=True, slots=True)
class Step:
    """What may bring one object, or one part of it, from what it is to what it shall be."""

    kind: str
    identity: str
    ways: Ways


@dataclass(frozen=True, slots=True)
class Between:
    """Where a rule stands: what is there, and what shall be."""

    current: Catalog
    goal: Catalog

    def wanted(self, kind: str, identity: str) -> Fact | None:
        """The object as it shall be; None where it shall not be."""
        return self.goal.by_name.get((kind, identity))

    def present(self, kind: str, identity: str) -> Fact | None:
        """The object as it is."""
        return self.current.by_name.get((kind, identity))


def run(*texts: str, destructive: bool = False) -> Ways:
    """The one way that consists of these statements."""
    return (tuple(Statement(text, destructive) for text in texts),)


_PART = re.compile(r'"(?:[^"]|"")*"|[^."]+')
_UP_TO_ON = re.compile(r'((?:"(?:[^"]|"")*+"|[^"])+?) on (.+)', re.DOTALL)  # `+`: a row of quotes is read in one way


def last(name: str) -> str:
    """`total` of `public.orders.total`."""
    return str(_PART.findall(name)[-1])


def rest(name: str) -> str:
    """`public.orders` of `public.orders.total`."""
    return ".".join(_PART.findall(name)[:-1])


def place(identity: str) -> tuple[str, str]:
    """Name and relation of `owner_reads on public.orders`."""
    found = _UP_TO_ON.fullmatch(identity)
    assert found is not None, identity
    return found[1], found[2]


def routine_name(identity: str) -> str:
    """`public.greet` of `public.greet(text, boolean)`."""
    found = re.match(r'(?:"(?:[^"]|"")*"|[^"(])+', identity)
    assert found is not None, identity
    return found[0].strip()


def literal(text: object) -> str:
    """A constant."""
    quoted = str(text).replace("'", "''")
    return f"'{quoted}'" if printable(quoted) == quoted else _escaped(quoted)


def _escaped(quoted: str) -> str:
    """A constant with what no terminal is shown: as it is, it would be lost where a statement is printed."""
    backslashes = quoted.replace("\\", "\\\\")
    return "E'" + "".join(c if printable(c) == c else f"\\u{ord(c):04x}" for c in backslashes) + "'"


def comment_text(text: str | None) -> str:
    """What stands after IS."""
    return "NULL" if text is None else literal(text)


def dollars(text: str) -> str:
    """A constant of many lines, between dollars that do not stand in it, nor begin at its end; see `_escaped`."""
    if printable(text) != text:
        return literal(text)
    tags = chain(["$body$"], (f"$body{i}$" for i in count()))
    tag = next(t for t in tags if t not in f"{text}{t[:-1]}")
    return f"{tag}{text}{tag}"


def role(name: str) -> str:
    """A role as a statement names it; the owner of a database is who runs its migrations, if nobody else is."""
    return "CURRENT_USER" if name in (OWNER, MIGRATOR) else name


def listed(names: Iterable[str]) -> str:
    """With commas."""
    return ", ".join(names)


def options(given: Mapping[str, Any], prefix: str = "") -> str:
    """Storage parameters of a WITH or SET."""
    return listed(f"{prefix}{name} = {literal(value)}" for name, value in given.items())


def option_changes(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """`SET (...)` and `RESET (...)` that lead from one to the other."""
    changed = {name: value for name, value in other.items() if one.get(name) != value}
    gone = [f"{prefix}{name}" for name in one if name not in other]
    if changed:
        yield f"SET ({options(changed, prefix)})"
    if gone:
        yield f"RESET ({listed(gone)})"


def part(fact: Fact, clause: str) -> dict[str, Any]:
    """A clause that has parts of its own; empty where it is not there."""
    return dict(fact.definition.get(clause) or {})


def differs(before: Fact, after: Fact, *clauses: str) -> bool:
    """Whether one of these clauses is another."""
    return any(before.definition.get(c) != after.definition.get(c) for c in clauses)
