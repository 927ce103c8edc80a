"""Who owns what: an object that is made anew would be its maker's, and a function would run with other rights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import psycopg

from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.corrections import Statement, Step
from ehg_migrate.schema.corrections.common import called
from ehg_migrate.schema.corrections.words import role, routine_name, run
from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.scope import Scope


def read_owners(connection: psycopg.Connection[Any], scope: Scope) -> Catalog:
    """`owners_of` what the connection sees in `scope`; of nothing where owners count anyway."""
    return Catalog(()) if scope.owners else owners_of(read_catalog(connection, replace(scope, owners=True)))


def owners_of(catalog: Catalog) -> Catalog:
    """The owner of each object, and nothing else, of a catalogue that was read with owners."""
    return Catalog.of(
        Fact(f.kind, f.identity, {"owner": f.definition["owner"]}) for f in catalog.facts if "owner" in f.definition
    )


def changed_hands(former: Catalog, now: Catalog) -> tuple[Difference, ...]:
    """Of what both have, that which is somebody else's now."""
    both = former.by_name.keys() & now.by_name.keys()
    one, other = (Catalog.of(f for f in c.facts if (f.kind, f.identity) in both) for c in (now, former))
    return differences(one, other)


def returning(former: Catalog, now: Catalog) -> Iterator[Step]:
    """Gives back what has changed hands."""
    for difference in changed_hands(former, now):
        kind, identity = difference.kind, difference.identity
        owner = former.by_name[kind, identity].definition["owner"]
        yield Step(kind, identity, run(f"ALTER {called(kind, identity)} OWNER TO {role(owner)}"))


def made_anew(strangers: Iterable[Difference], statements: Iterable[Statement]) -> tuple[Difference, ...]:
    """Of these objects, whose owners a clone could not have, those that a statement makes."""
    made = [s.sql for s in statements if _MAKES.match(s.sql)]
    return tuple(d for d in strangers if any(_name(d) in text for text in made))


_MAKES = re.compile(r"CREATE (?!OR REPLACE VIEW)")


def _name(difference: Difference) -> str:
    routine = difference.kind in ("function", "procedure", "aggregate")
    return routine_name(difference.identity) if routine else difference.identity
