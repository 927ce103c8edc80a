"""The catalogue of a state that revisions produce, read in whatever scope the other side of a comparison is read in."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import psycopg

from ehg_migrate.errors import LocalServerError, Problem, TargetError
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.comparing import Side
from ehg_migrate.schema.eras import as_made_now, eras_of
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.ground import Ground
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.reference import References, no_reference
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.scratch import Scratch, ScratchServers


@dataclass(frozen=True, slots=True)
class Beside:
    """A target and what given heads produce there, both read in one scope."""

    scope: Scope
    expected: Catalog  # on the default privileges of now, where that could be made
    there: Catalog
    as_now: Catalog | None = None  # `there`, were all that is as former ones made it made now
    former: tuple[Fact, ...] = ()  # what that is

    def of(self, side: Side) -> Catalog:
        """That of one side, as it is."""
        return self.there if side.heads is None else self.expected

    def judged(self, side: Side) -> Catalog:
        """The same as `drift` holds it against the other."""
        return self.as_now if self.as_now and side.heads is None else self.of(side)


def in_eras(pair: Beside, made: Recipe, ground: Ground, servers: ScratchServers, references: References) -> Beside:
    """With the grants of either time told apart; `made` has produced `expected`, `ground` is that of the target now."""
    if pair.expected.fingerprint == pair.there.fingerprint:
        return pair

    def read(recipe: Recipe) -> Catalog:
        return expected_catalog(servers, references, recipe, pair.scope)

    eras = eras_of(made, ground, references, read)
    if eras is None:
        return pair
    as_now, former = as_made_now(pair.there, eras)
    return replace(pair, expected=eras.now, as_now=as_now, former=former)


def expected_catalog(servers: ScratchServers, references: References, recipe: Recipe, scope: Scope) -> Catalog:
    """What the steps of `recipe` make, from the shelf where that was read in this scope. Raises TargetError."""
    if scope == recipe.scope:
        (made,) = references.get([recipe]).values()
        if isinstance(made, Problem):
            raise TargetError(made)
        return made.catalog()
    try:
        scratch = servers.get(recipe.ground.major, api_roles=bool(recipe.ground.roles))
        return _read(scratch, references, recipe, scope)
    except LocalServerError as e:
        raise TargetError(no_reference(e.problems[0].message, e.problems[0].hint)) from e
    except psycopg.Error as e:
        raise TargetError(no_reference(f"the scratch server fails: {e}", "try again")) from e


def _read(scratch: Scratch, references: References, recipe: Recipe, scope: Scope) -> Catalog:
    ((_, database, _),) = references.states(scratch, [recipe])
    if isinstance(database, Problem):
        raise TargetError(database)
    try:
        with scratch.connect(database) as connection:
            return read_catalog(connection, scope)
    finally:
        with suppress(LocalServerError):  # the server has gone, and the database with it
            scratch.drop(database)
