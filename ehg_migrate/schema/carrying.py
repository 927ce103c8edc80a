"""What a target has and its revisions do not produce, carried into a revision: there and back, both tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ehg_migrate.database.connections import search_path
from ehg_migrate.database.faults import run_fault
from ehg_migrate.errors import LocalServerError, Problem, TargetError
from ehg_migrate.revisions.body import comments, executed, with_body
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.correction import Origin, unproven
from ehg_migrate.schema.proof import Correction, correct
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.reference import References
from ehg_migrate.schema.scratch import Scratch
from ehg_migrate.schema.search import PREAMBLE, portable, roles_of


@dataclass(frozen=True, slots=True)
class Carried:
    """The two ways of a revision, tried one after the other on what the target's revisions produce."""

    upgrade: Correction
    downgrade: Correction

    @property
    def proven(self) -> bool:
        """Whether both were seen to lead where they shall."""
        return self.upgrade.proven and self.downgrade.proven


def carry(
    scratch: Scratch,
    references: References,
    recipe: Recipe,
    origin: Origin,
    notice: Callable[[str], None],
    *,
    destructive: bool,
) -> Carried:
    """The way from what `recipe` makes to the target that `origin` was read from, and back.

    Raises TargetError: the state cannot be made, there is no difference, or none that statements can carry.
    """
    notice(f"replaying the revisions of {recipe.target.name} on a scratch server")
    ((_, database, _),) = references.states(scratch, [recipe], for_others=True)
    if isinstance(database, Problem):
        raise TargetError(database)
    try:
        scratch.confine(database, roles_of(origin.catalog))
        with scratch.connect(database) as connection:
            return _both_ways(connection, recipe, origin, destructive)
    except psycopg.Error as e:
        raise TargetError(unproven(run_fault(e).problem.message, "try again")) from e
    finally:
        _dropped(scratch, database)


def _both_ways(connection: psycopg.Connection, recipe: Recipe, origin: Origin, destructive: bool) -> Carried:
    if recipe.target.schema:  # as a step has it; the role of a scratch server may have a path of its own
        names = sql.SQL(", ").join(map(sql.Identifier, search_path(recipe.target)))
        connection.execute(sql.SQL("SET search_path = {}").format(names))
    before = read_catalog(connection, recipe.scope)
    name = recipe.target.name
    if before.fingerprint == origin.catalog.fingerprint:
        message = f"{name} is what its revisions produce"
        raise TargetError(Problem("no_difference", message, "nothing was written"))
    upgrade = correct(connection, origin.catalog, recipe.scope, destructive=destructive, keep=True, form=portable)
    if not upgrade.statements:
        raise TargetError(_nothing(name, upgrade))
    return Carried(upgrade, correct(connection, before, recipe.scope, destructive=True, form=portable))


def _nothing(name: str, tried: Correction) -> Problem:
    if tried.withheld:
        message = f"what separates {name} from its revisions would be destructive: `{tried.withheld[0].sql}`"
        return unproven(message, "say `--allow-destructive`, or bring the target back to its revisions")
    left = tried.left[0]
    why = f": {left.reason}" if left.reason else ""
    return unproven(
        f"no statement makes the {left.difference.kind} {left.difference.identity}{why}", "nothing was written"
    )


def _dropped(scratch: Scratch, database: str) -> None:
    with suppress(LocalServerError):  # the server has gone, and the database with it
        scratch.drop(database)


def write_carried(path: Path, target: str, carried: Carried) -> None:
    """Fills a revision that has just been written and does nothing yet."""
    head = f"What {target} has and its revisions did not produce."
    upgrade = [*comments([head, *_claim(carried.upgrade, "it equals the target")]), *_statements(carried.upgrade)]
    downgrade = [*comments(_claim(carried.downgrade, "it is what it was before")), *_statements(carried.downgrade)]
    path.write_text(with_body(path.read_text(encoding="utf-8"), upgrade, downgrade), encoding="utf-8")


def _statements(correction: Correction) -> list[str]:
    if not correction.statements:
        return ["    pass"]
    return executed([(PREAMBLE, False), *((s.sql, s.destructive) for s in correction.statements)])


def _claim(correction: Correction, outcome: str) -> Iterator[str]:
    where = "on a scratch database at the target's heads"
    if correction.proven:
        yield f"Proven {where}: afterwards {outcome}."
        return
    yield f"NOT PROVEN as a whole {where}; afterwards these still differ:"
    for left in correction.left:
        reason = f": {left.reason}" if left.reason else ""
        yield f"  {left.difference.kind} {left.difference.identity}{reason}"
    if correction.withheld:
        yield "Left out, since they are destructive:"
        yield from (f"  {s.sql}" for s in correction.withheld)
