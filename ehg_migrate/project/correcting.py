"""The verbs that bring schemas together: statements that make one side like another, revisions that carry drift."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from ehg_migrate.errors import Problem, TargetError, of_target
from ehg_migrate.model import SHARED, State, StateKind, Target
from ehg_migrate.project.base import nobody
from ehg_migrate.project.comparing import Regard
from ehg_migrate.project.expecting import ExpectingProject
from ehg_migrate.project.linting import LintingProject

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.revisions.graph import Graph
    from ehg_migrate.schema.carrying import Carried
    from ehg_migrate.schema.comparing import Side
    from ehg_migrate.schema.correction import Corrective, Origin
    from ehg_migrate.schema.drift import Look
    from ehg_migrate.schema.facts import Catalog
    from ehg_migrate.schema.scope import Scope


class CorrectingProject(LintingProject, ExpectingProject):
    """A project that can say by which statements a schema becomes another, and has seen that it does."""

    def correction(
        self,
        left: str,
        right: str,
        *,
        destructive: bool = False,
        notice: Notice = nobody,
        **regard: Unpack[Regard],
    ) -> Corrective:
        """Statements that bring `left` to what `right` is, proven on a scratch clone of `left`; nothing is changed.

        Sides as for `compare`. Destructive statements are left out unless they are asked for. Raises UsageError and
        TargetError as `compare` does; that nothing could be proven is in the answer.
        """
        from ehg_migrate.schema.correction import Pair, make_alike

        sides = self._side(left), self._side(right)
        (one, scope), (other, _) = self._read(sides, regard, notice)
        origin = self._origin(sides, one, scope, regard)
        with self._scratch(notice) as (servers, _):
            return make_alike(servers, origin, Pair(left, one, right, other, scope), notice, destructive=destructive)

    def _origin(self, sides: tuple[Side, Side], catalog: Catalog, scope: Scope, regard: Regard) -> Origin:
        """What a clone of the left side is made from: a schema alone is none, nor are heads without a ground."""
        from ehg_migrate.schema.correction import Origin, read_origin

        left, right = sides
        if left.file:
            return Origin(catalog, scope, None)
        (target,), passwords = self._reach((left.target or right.target,))
        if left.heads is not None:
            return Origin(catalog, scope, read_origin(target, passwords, scope, self.settings.prelude).ground)
        whole = self._scope([target], regard) if left.schema else scope
        # whose its objects are a clone must know: what is made anew goes back to them
        return read_origin(target, passwords, replace(whole, owners=True), self.settings.prelude)

    def _carried(self, name: str, branch: str, destructive: bool, notice: Notice) -> tuple[Carried, tuple[str, ...]]:
        """What a revision of `branch` must do to make of the target's revisions what it is, and what it depends on.

        Raises UsageError for a branch that the target does not have, and TargetError where it is not known, has pending
        steps, or does not differ in anything that can be carried.
        """
        from ehg_migrate.schema.carrying import carry
        from ehg_migrate.schema.correction import read_origin

        chosen = self._one_with(name, branch)
        fleet, (state,), looking = self._look((chosen.name,))
        look = _known(state, looking.found.get(chosen.name))
        graph = self._graph(chosen)
        with self._scratch(notice) as (servers, references):
            made = self._recipe(fleet.targets[0], state.heads, look, servers)
            # default privileges are not judged, but those that came after the first run make this target what it is:
            # on another one, tables of this revision would not get the grants that they have here
            made = replace(made, ground=made.ground.at_first)
            origin = read_origin(fleet.targets[0], fleet.passwords, made.scope, self.settings.prelude)
            scratch = servers.get(look.ground.major, api_roles=bool(look.ground.roles))
            carried = carry(scratch, references, made, origin, notice, destructive=destructive)
        return carried, _needed(chosen, state, graph, branch)


def _known(state: State, look: Look | Problem | None) -> Look:
    """Only a target at its heads says what a new revision must do."""
    if not isinstance(look, Problem) and look and state.kind is StateKind.UP_TO_DATE:
        return look
    hint = "run `ehg-migrate upgrade -t TARGET` first"
    pending = Problem("pending_steps", "it has pending steps: a new revision would come after those", hint)
    raise TargetError(of_target(state.problem or (look if isinstance(look, Problem) else pending), state.target))


def _needed(target: Target, state: State, graph: Graph, branch: str) -> tuple[str, ...]:
    """Heads on which the statements may rely: what they were tried on. A shared revision cannot depend on others."""
    if branch == SHARED:
        return ()
    others = [h for h in state.heads if graph[h].branch != branch]
    return tuple(h for h in others if branch == target.name or graph[h].branch == SHARED)
