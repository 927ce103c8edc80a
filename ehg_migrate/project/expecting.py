"""The side of a comparison that is no database: given heads, made on a scratch server on the other side's ground."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ehg_migrate.errors import TargetError, of_target
from ehg_migrate.project.base import nobody
from ehg_migrate.project.comparing import Regard
from ehg_migrate.project.proving import ProvingProject
from ehg_migrate.project.structure import StructureProject
from ehg_migrate.revisions.specs import resolve_all

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.schema.comparing import Side
    from ehg_migrate.schema.facts import Catalog
    from ehg_migrate.schema.recipe import Recipe
    from ehg_migrate.schema.scope import Scope
    from ehg_migrate.schema.scratch import ScratchServers


class ExpectingProject(ProvingProject, StructureProject):
    """A project that can hold a target against what any heads of its branches would make of it."""

    def _read(
        self, sides: tuple[Side, ...], regard: Regard, notice: Notice = nobody
    ) -> tuple[tuple[Catalog, Scope], ...]:
        from ehg_migrate.schema.comparing import read_sides
        from ehg_migrate.schema.expected import expected_catalog

        expected = [s for s in sides if s.heads is not None]
        there = [s for s in sides if s.target and s.schema == self._one(s.target).schema]
        if len(expected) != 1 or len(there) != 1:
            return super()._read(sides, regard, notice)
        with self._scratch(notice) as (servers, references):
            made = self._state(there[0].target, expected[0], servers)
            scope = replace(made.scope, **self._regarded(regard))
            catalog = expected_catalog(servers, references, made, scope)
        targets, passwords = self._reach((made.target.name,))
        read = read_sides({there[0]: scope}, targets, passwords, self._at_once)
        return tuple((catalog if s.heads is not None else read[s], scope) for s in sides)

    def _state(self, name: str, wanted: Side, servers: ScratchServers) -> Recipe:
        """The state of the target at the heads that `wanted` names; at its own where it names none."""
        from ehg_migrate.schema.drift import Look

        fleet, (state,), looking = self._look((self._one(name).name,))
        look = looking.found.get(state.target)
        if not isinstance(look, Look):
            raise TargetError(of_target(state.problem or look or state.trouble, state.target))
        target = fleet.targets[0]
        if wanted.heads:
            heads = resolve_all(self._graph(target), wanted.heads, self.releases)
        elif state.kind.plannable:
            heads = state.heads
        else:
            raise TargetError(of_target(state.trouble, state.target))
        return self._recipe(target, heads, look, servers)
