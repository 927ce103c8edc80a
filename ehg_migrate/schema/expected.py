"""The catalogue of a state that revisions produce, read in whatever scope the other side of a comparison is read in."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from ehg_migrate.errors import LocalServerError, Problem, TargetError
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.reference import References, no_reference
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.scratch import Scratch, ScratchServers


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
