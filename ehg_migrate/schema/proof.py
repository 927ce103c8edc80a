"""Corrections that are proven: tried on a scratch database until its catalogue is the one wanted, then run once more.

A statement that follows from two facts may be refused, or may do something else than it says; whether it leads there is
not predicted but seen. What is not seen is not claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.corrections import Statement
from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.owners import changed_hands, read_owners
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.search import Form, Search, execute, named, prepare

_INHERITED = "PostgreSQL has no statement by which what a table has of its own becomes only inherited"
_HASHED = "its values are known by a hash only: set them by hand"
_NO_STATEMENT = {"inherited only": _INHERITED, "server options.": _HASHED}
"""Why some clauses stay as they are, by what their names begin with."""

_OF_SERVERS = {"options.": _HASHED}
"""The same of what is foreign itself."""


@dataclass(frozen=True, slots=True)
class Left:
    """What still differs, and what the server said to the last statement that should have changed it, if any did."""

    difference: Difference
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """Statements that were run in one transaction on a scratch database equal to the one side, and what came of it."""

    statements: tuple[Statement, ...] = ()  # in the order in which they were run; PREAMBLE goes before them
    left: tuple[Left, ...] = ()  # what separates the outcome from the other side, as its catalogue says
    withheld: tuple[Statement, ...] = ()  # destructive ones that were not run

    @property
    def proven(self) -> bool:
        """Whether the outcome was seen to equal the other side."""
        return not self.left


def correct(
    connection: psycopg.Connection[Any], goal: Catalog, scope: Scope, *, destructive: bool = False, keep: bool = False,
    form: Form = named,
) -> Correction:  # fmt: skip
    """Makes the schema that the connection sees, read in `scope`, equal `goal`, and says by which statements.

    The database is left as it was; with `keep`, as the statements made it. Where nothing better was found than to break
    other objects, there are no statements. They are proven in the form in which they are given out. Raises
    psycopg.Error where the connection fails.
    """
    with connection.transaction(force_rollback=True):
        prepare(connection, goal)
        owners = read_owners(connection, scope)
        search = Search(connection, goal, scope, destructive)
        before = search.current
        search.run()
        if search.done:
            search.give_back(owners)
    statements, reasons = tuple(search.done), search.refused
    with connection.transaction(force_rollback=not keep):
        after = _after(connection, statements, goal, scope, form)
        handed = changed_hands(owners, read_owners(connection, scope)) if after else ()
        if after is None or not _better(before, after, goal):
            statements, after, handed = (), before, ()
            if keep:
                raise psycopg.Rollback
    out = tuple(replace(s, sql=form(s.sql, scope)) for s in statements)
    left = (*_left(after or before, goal, reasons), *(Left(d, reasons.get((d.kind, d.identity), "")) for d in handed))
    return Correction(out, left, _withheld(search, after or before, goal))


def _after(
    connection: psycopg.Connection[Any], statements: Sequence[Statement], goal: Catalog, scope: Scope, form: Form
) -> Catalog | None:
    """The catalogue after all of them, run as they are given out; None where one is refused."""
    prepare(connection, goal)
    try:
        with connection.transaction():
            for statement in statements:
                execute(connection, statement, scope, form)
    except psycopg.Error:
        return None
    return read_catalog(connection, scope)


def _better(before: Catalog, after: Catalog, goal: Catalog) -> bool:
    """Whether nothing differs now that did not before."""
    return _names(after, goal) <= _names(before, goal)


def _names(current: Catalog, goal: Catalog) -> set[tuple[str, str]]:
    return {(d.kind, d.identity) for d in differences(current, goal)}


def _left(current: Catalog, goal: Catalog, reasons: dict[tuple[str, str], str]) -> tuple[Left, ...]:
    found = differences(current, goal)
    return tuple(Left(d, _no_statement(d) or reasons.get((d.kind, d.identity), "")) for d in found)


def _no_statement(difference: Difference) -> str:
    names = {c.name for c in difference.clauses}
    reasons = _OF_SERVERS if difference.kind in ("server", "foreign data wrapper") else _NO_STATEMENT
    return next((why for start, why in reasons.items() if all(n.startswith(start) for n in names) and names), "")


def _withheld(search: Search, after: Catalog, goal: Catalog) -> tuple[Statement, ...]:
    """Those of objects that still differ."""
    names = _names(after, goal)
    return tuple(s for name, way in search.withheld.items() if name in names for s in way)
