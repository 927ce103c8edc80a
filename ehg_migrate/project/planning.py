"""The verbs that make plans, and what a plan would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ehg_migrate.errors import GateError, Problem, TargetError
from ehg_migrate.model import (
    FleetPlan,
    Plan,
    Skipped,
    State,
    StateKind,
    Verb,
)
from ehg_migrate.project.base import Selectors, several
from ehg_migrate.project.reading import ReadingProject
from ehg_migrate.revisions.planner import plan_adoption, plan_downgrade, plan_upgrade, refuse_base

if TYPE_CHECKING:
    from ehg_migrate.rollout.planning import Make


class PlanningProject(ReadingProject):
    """A project that can say what would be done."""

    def plan(
        self, selectors: Selectors = (), to: Sequence[str] = (), *, soon: bool = False, waves: bool = True
    ) -> FleetPlan:
        """What `upgrade` would do: to each target's own goal, or to what `to` names; in the fleet's waves, or at once.

        Where it is to be done `soon`, workers begin to start while it is still made. Raises UsageError for a shard of
        several waves or for a `to` that stands for nothing, GateError where every target is held.
        """
        to = several(to)
        refuse_base(to)
        waves = waves and self._has_waves(selectors)
        free, held = self._free(selectors)
        states = self._states(free, soon=soon) if free or not held else ()  # no selector at all is the whole fleet
        plan = self._plan_upgrade(selectors, to, states, held)
        return self._in_waves(plan) if waves else plan

    def plan_saved(self, file: Path, *, soon: bool = False) -> FleetPlan:
        """The plan of a file that `plan -o` has written, made anew for the same targets and held to it.

        A target that would now get other steps than the rest of those, or from other files, or that is another database
        by now, is refused (`stale_plan`).
        Raises UsageError: the file is no such plan, a target of it is gone, the waves are others.
        """
        from ehg_migrate.project.saved import held_to, read_plan, refuse_strangers

        saved = read_plan(file)
        if not saved.targets:
            return saved  # of an empty part of a selection; no selector at all would be the whole fleet
        refuse_strangers(saved, self.fleet.by_name)
        try:
            now = self.plan(saved.targets, saved.wish, soon=soon, waves=bool(saved.waves))
        except GateError:  # all are held
            if saved.plans or saved.blocked:
                raise
            return saved  # of a shard where all were held, too
        return held_to(saved, self.with_entries(now), lambda target: self._graph(self.fleet.by_name[target]))

    def with_entries(self, plan: FleetPlan) -> FleetPlan:
        """The plan as it is kept: with what targets/ says of its targets, so that it is not done to others."""
        from ehg_migrate.project.saved import entry

        files = {p.target: self._beside(self._depending(p)) for p in plan.plans}
        entries = (entry(self.fleet.by_name[t], files.get(t, {}), local=self._local) for t in plan.targets)
        return replace(plan, entries=tuple(entries))

    def _taken_in(self, plan: FleetPlan) -> dict[str, Mapping[str, str]]:
        """By target the files that its steps take in, where they were approved or a checkout may change in between."""
        if plan.entries or not plan.waves:
            return {e.target: e.files for e in plan.entries}
        return {p.target: self._beside(self._depending(p)) for p in plan.plans}

    def _depending(self, plan: Plan) -> tuple[str, ...]:
        """The files of those steps that may take in others."""
        graph = self._graph(self.fleet.by_name[plan.target])
        return tuple(s.path for s in plan.steps if s.direction.function not in graph[s.revision].plain)

    @cached_property
    def _beside(self) -> Callable[[tuple[str, ...]], Mapping[str, str]]:
        from ehg_migrate.revisions.beside import files_beside

        settings = self.settings
        return cache(lambda files: files_beside(settings, files) if files else {})

    def plan_downgrade(self, target: str, to: Sequence[str]) -> FleetPlan:
        """What `downgrade` would do to one target: everything above each named revision taken back."""
        found, to = self._one(target), several(to)

        def make(state: State) -> Plan:
            return plan_downgrade(self._graph(found), state.target, state.heads, to, self.releases)

        return replace(self._plan(Verb.DOWNGRADE, (found.name,), make), wish=tuple(to))

    def plan_adoption(self, target: str, heads: Sequence[str] = ()) -> FleetPlan:
        """What `adopt` would declare: the rows of its old `alembic_version`, or `heads`. Nothing would be run."""
        found, heads = self._one(target), several(heads)

        def make(state: State) -> Plan:
            foreign = state.heads if state.kind is StateKind.NOT_ADOPTED else ()
            unread = state.kind is StateKind.NOT_ADOPTED and not foreign  # the rows of another tool's record
            if not heads and (unread or state.kind is StateKind.REFUSED):  # an old table may be long past
                raise TargetError(state.trouble)
            schema = found.schema or "public"
            return plan_adoption(self._graph(found), state.target, foreign, heads, self.releases, schema)

        return replace(self._plan(Verb.ADOPT, (found.name,), make), wish=tuple(heads))

    def protected(self, plan: FleetPlan) -> tuple[str, ...]:
        """The targets that the plan would change and that only a person may change; locally there are none."""
        from ehg_migrate.rollout.planning import protected_targets

        return () if self._local else protected_targets(plan, self.fleet.by_name)

    def protected_names(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Those of these targets that only a person may change; locally there are none."""
        return tuple(t for t in targets if self.fleet.by_name[t].protected and not self._local)

    def declared(self, plan: Plan) -> tuple[str, ...]:
        """The revisions that an adoption declares applied, oldest first."""
        from ehg_migrate.rollout.adopting import declared

        return declared(self._graph(self.fleet.by_name[plan.target]), plan)

    def sql(self, plan: FleetPlan, ends: Callable[[Problem], None] = lambda _: None) -> Iterator[str]:
        """The SQL of each distinct plan, rendered without a database, under a comment that names its targets.

        `ends` hears of each that is not all of its plan, and why.

        Targets whose SQL may be another have a script each: by their schema, their arguments, their version table.
        """
        from ehg_migrate.environment.offline import depends_on, render

        groups: dict[tuple[object, ...], list[Plan]] = {}
        for p in plan.plans:
            if p.steps:
                groups.setdefault((p.digest, *depends_on(self.fleet.by_name[p.target])), []).append(p)
        for (digest, *_), plans in groups.items():
            names = ", ".join(p.target for p in plans)
            text = render(self.settings, self.fleet.by_name[plans[0].target], plans[0], ends)
            yield f"-- plan {digest} for {names}\n{text}"

    def _plan(self, verb: Verb, selectors: Selectors, make: Make) -> FleetPlan:
        from ehg_migrate.rollout.planning import fleet_plan

        return fleet_plan(verb, selectors, self._states(selectors), make)

    def _free(self, selectors: Selectors) -> tuple[Selectors, tuple[Skipped, ...]]:
        """Selectors of those that may be upgraded, and the others, which are not even asked; locally all may be.

        Raises GateError where there are only others, in what a shard is a part of too.
        """
        targets = self.targets(selectors)
        if self._local or not any(t.hold for t in targets):
            return selectors, ()
        from ehg_migrate.fleet.holding import today, without_held
        from ehg_migrate.fleet.selectors import items

        uncut = [s for s in items(selectors) if not s.startswith("shard:")]
        return without_held(targets, self.targets(uncut), today())

    def _plan_upgrade(
        self, selectors: Selectors, to: Sequence[str], states: Iterable[State], held: Sequence[Skipped] = ()
    ) -> FleetPlan:
        from ehg_migrate.rollout.planning import fleet_plan

        @cache  # with a long history a plan takes long, and most targets of a fleet have the same
        def planned(branches: tuple[str, ...], heads: tuple[str, ...], wish: tuple[str, ...]) -> Plan:
            return plan_upgrade(self.revisions.graph(branches), "", heads, wish, self.releases)

        def make(state: State) -> Plan:
            target = self.fleet.by_name[state.target]
            plan = planned(target.branches, state.heads, tuple(to) or target.upgrade_to)
            return replace(plan, target=state.target)

        plan = fleet_plan(Verb.UPGRADE, selectors, states, make, lenient=bool(to))
        return replace(plan, wish=tuple(to), skipped=(*plan.skipped, *held))

    def _has_waves(self, selectors: Selectors) -> bool:
        """Whether there are any. Raises UsageError for a shard of several."""
        if not self.fleet.waves:
            return False
        from ehg_migrate.rollout.waves import refuse_shards

        refuse_shards(self.fleet, selectors)
        return True

    def _in_waves(self, plan: FleetPlan) -> FleetPlan:
        from ehg_migrate.rollout.waves import in_waves

        return replace(plan, waves=in_waves(self.fleet.waves, set(plan.targets)))
