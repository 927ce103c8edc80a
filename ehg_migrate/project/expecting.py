"""The side of a comparison that is no database: given heads, made on a scratch server on the other side's ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from ehg_migrate.errors import TargetError, of_target
from ehg_migrate.project.base import nobody
from ehg_migrate.project.comparing import Regard
from ehg_migrate.project.proving import ProvingProject
from ehg_migrate.project.structure import StructureProject
from ehg_migrate.revisions.specs import resolve_all

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.schema.comparing import Comparison, Side
    from ehg_migrate.schema.expected import Beside
    from ehg_migrate.schema.facts import Catalog
    from ehg_migrate.schema.ground import Ground
    from ehg_migrate.schema.recipe import Recipe
    from ehg_migrate.schema.reference import References
    from ehg_migrate.schema.scope import Scope
    from ehg_migrate.schema.scratch import ScratchServers


class ExpectingProject(ProvingProject, StructureProject):
    """A project that can hold a target against what any heads of its branches would make of it."""

    def compare(self, left: str, right: str, *, notice: Notice = nobody, **regard: Unpack[Regard]) -> Comparison:
        """As of every project; what has the grants of former default privileges is told apart, as by `drift`."""
        from ehg_migrate.schema.comparing import compared
        from ehg_migrate.schema.difference import differences

        sides = self._side(left), self._side(right)
        if not self._is_expected(sides):
            return super().compare(left, right, notice=notice, **regard)
        with self._scratch(notice) as (servers, references):
            pair = self._held_against(sides, regard, servers, references)
        found = compared(left, pair.judged(sides[0]), right, pair.judged(sides[1]))
        whole = differences(pair.of(sides[0]), pair.of(sides[1]))
        told = {(f.kind, f.identity) for f in pair.former}
        return replace(found, former=tuple(d for d in whole if (d.kind, d.identity) in told))

    def _read(
        self, sides: tuple[Side, ...], regard: Regard, notice: Notice = nobody
    ) -> tuple[tuple[Catalog, Scope], ...]:
        if not self._is_expected(sides):
            return super()._read(sides, regard, notice)
        with self._scratch(notice) as (servers, references):
            pair = self._held_against(sides, regard, servers, references)
        return tuple((pair.of(one), pair.scope) for one in sides)

    def _is_expected(self, sides: Sequence[Side]) -> bool:
        """Whether it is one target and given heads."""
        there = [s for s in sides if s.target and s.schema == self._one(s.target).schema]
        return len(there) == 1 == sum(s.heads is not None for s in sides)

    def _held_against(
        self, sides: Sequence[Side], regard: Regard, servers: ScratchServers, references: References
    ) -> Beside:
        from ehg_migrate.schema.comparing import read_sides
        from ehg_migrate.schema.expected import Beside, expected_catalog, in_eras

        (expected,) = (s for s in sides if s.heads is not None)
        (there,) = (s for s in sides if s.heads is None)
        made, ground = self._state(there.target, expected, servers)
        scope = replace(made.scope, **self._regarded(regard))
        catalog = expected_catalog(servers, references, made, scope)
        targets, passwords = self._reach((made.target.name,))
        read = read_sides({there: scope}, targets, passwords, self._at_once)
        return in_eras(Beside(scope, catalog, read[there]), made, ground, servers, references)

    def _state(self, name: str, wanted: Side, servers: ScratchServers) -> tuple[Recipe, Ground]:
        """The state of the target at the heads that `wanted` names, or at its own, and what it stands on now."""
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
        return self._recipe(target, heads, look, servers), look.ground.below(target)
