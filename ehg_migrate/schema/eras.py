"""Objects that were made while other default privileges held than now.

A platform changes those of all its projects on a day (Supabase on 30 October 2026): what was made before keeps its
grants. So an object is as its revisions make it if it has the grants of either time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.schema.confining import unquoted
from ehg_migrate.schema.difference import Difference
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.ground import ROLES, TYPES, Ground, default_of
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.reference import References
from ehg_migrate.schema.scope import ALIAS
from ehg_migrate.schema.shelf import Reference

FORMER = "former_privileges"
"""The code of a note: objects are as other default privileges made them than hold now."""

_DEFAULTS = "default privileges"
_IDENTITY = re.compile(r"of \$\w+ (?:in (?P<schema>.+) )?on (?P<kind>.+)")
_FORMER = {
    "r": ("DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"),
    "S": ("SELECT", "UPDATE", "USAGE"),
    "f": ("EXECUTE",),
}
"""What a Supabase project gave to its API roles on everything in schema `public`, until that day."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Eras:
    """What revisions produce on the default privileges that hold now, and on those that held before."""

    now: Catalog
    before: Catalog


def both_eras(drifted: Mapping[str, tuple[Recipe, Ground]], references: References) -> dict[str, Eras]:
    """By target; only where there was another time, and both can be made.

    Each target comes with what it should be and with the ground that it stands on now.
    """
    pairs = {name: pair for name, (made, now) in drifted.items() if (pair := _pair(made, now, references))}
    made = references.get(recipe for pair in pairs.values() for recipe in pair)
    found = {name: (made[now.key], made[before.key]) for name, (now, before) in pairs.items()}
    return {
        name: Eras(now.catalog(), before.catalog())
        for name, (now, before) in found.items()
        if isinstance(now, Reference) and isinstance(before, Reference)
    }


def eras_of(made: Recipe, now: Ground, references: References, read: Callable[[Recipe], Catalog]) -> Eras | None:
    """The same of one target, its states read by `read`, which raises TargetError for one that cannot be made."""
    pair = _pair(made, now, references)
    try:
        return Eras(*map(read, pair)) if pair else None
    except TargetError:
        return None


def as_made_now(there: Catalog, eras: Eras) -> tuple[Catalog, tuple[Fact, ...]]:
    """A target's catalogue with all as it would be made now that is as it was made before; and what that was."""
    expected, before = eras.now.by_name, eras.before.by_name
    names = {n for n in {*expected, *there.by_name} if expected.get(n) != there.by_name.get(n)}
    explained = {n for n in names if before.get(n) == there.by_name.get(n)}
    if not explained:
        return there, ()
    facts = [f for f in there.facts if (f.kind, f.identity) not in explained]
    facts += [expected[n] for n in explained if n in expected]
    old = tuple(there.by_name[n] for n in sorted(explained) if n in there.by_name and n[0] != _DEFAULTS)
    return Catalog.of(facts, there.server_version), old


def told(old: Sequence[Fact] | Sequence[Difference]) -> Problem:
    """For a note: they are no drift, and may be more open than what would be made now."""
    named = quoted((f"{one.kind} {one.identity}" for one in old), _NAMED)
    return Problem(
        FORMER,
        f"made under other default privileges than hold now, with their grants: {named}",
        "grant in revisions what shall be granted, and revoke the rest: then it is the same whenever it was made",
    )


def _pair(made: Recipe, now: Ground, references: References) -> tuple[Recipe, Recipe] | None:
    if made.ground == now:
        before = now.at_first if now.first is not None else _former(now)
        return (made, replace(made, ground=before)) if before.defaults != now.defaults else None
    mixed = _mixed(made, now, references)
    return (mixed, made) if mixed else None


def _former(now: Ground) -> Ground:
    """Of a project whose first run nobody has seen."""
    if now.home != "public" or set(ROLES) - {*now.roles} or "auth" not in now.platform:
        return now
    given = [default_of("public", k, p, role) for k, all_of in _FORMER.items() for p in all_of for role in ROLES]
    elsewhere = (d for d in now.defaults if json.loads(d)[:2] not in [["public", kind] for kind in _FORMER])
    return replace(now, defaults=tuple(sorted((*elsewhere, *given))))


def _mixed(made: Recipe, now: Ground, references: References) -> Recipe | None:
    """Revisions change default privileges themselves: of those that they leave alone, the present ones."""
    bare = replace(made, heads=(), steps=())
    before, after = (references.get([r])[r.key] for r in (bare, made))
    if isinstance(before, Problem) or isinstance(after, Problem):
        return None
    changed = {*_changed(before.catalog(), after.catalog(), made.ground.home)}
    kept = [d for d in made.ground.defaults if _place(d) in changed]
    present = [d for d in now.defaults if _place(d) not in changed]
    ground = replace(made.ground, defaults=tuple(sorted((*kept, *present))))
    return replace(made, ground=ground) if ground.defaults != made.ground.defaults else None


def _changed(before: Catalog, after: Catalog, home: str) -> Iterator[tuple[str, str]]:
    """Schema and kind of the default privileges that revisions have changed, as a ground names them."""
    letters = {words.lower(): letter for letter, words in TYPES.items()}
    for name in {*before.by_name, *after.by_name}:
        found = _IDENTITY.fullmatch(name[1]) if name[0] == _DEFAULTS else None
        if found and before.by_name.get(name) != after.by_name.get(name):
            schema = found["schema"] or ""
            yield home if schema == ALIAS else unquoted(schema), letters[found["kind"]]


def _place(default: str) -> tuple[str, str]:
    schema, kind, *_ = json.loads(default)
    return schema, kind
