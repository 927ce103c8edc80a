"""The verbs that make plans, and what a plan would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

from ehg_migrate.errors import GateError, Problem, TargetError, UsageError
from ehg_migrate.model import (
    Direction,
    FleetPlan,
    Plan,
    Result,
    Run,
    Skipped,
    State,
    StateKind,
    Verb,
)
from ehg_migrate.project.base import Selectors, several
from ehg_migrate.project.undoing import UndoingProject
from ehg_migrate.revisions.planner import plan_adoption, plan_downgrade, plan_upgrade, refuse_base


class PlanningProject(UndoingProject):
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

    def plan_resume(
        self, run: str, *, failed_only: bool = False, waves: bool = True, soon: bool = False, verify: str | None = None
    ) -> FleetPlan:
        """What is missing of a run, planned anew from what its targets hold: all of it, or only what failed.

        An upgrade goes on in the fleet's waves, or at once; targets whose schema the run has not looked at are in it,
        unless by `verify`, as in `run`, nobody would look now.

        Raises UsageError as `unfinished` says, where another run has taken some of it back since, and where it was to
        bring what this checkout does not have; LedgerError where the ledger cannot be read.
        """
        from ehg_migrate.rollout.reconcile import (
            gone_before,
            left_and_gone,
            not_stayed,
            of_another_checkout,
            taken_back_since,
            unfinished,
        )

        found = self.show(run)
        if found.verb in (Verb.CREATE, Verb.SYNC, Verb.SEED):
            hint = f"say `ehg-migrate schema {found.verb}` again: it does what is missing"
            if found.verb is Verb.SEED:  # rows would be there twice
                hint = f"where `ehg-migrate history {found.selector}` has it, its rows are kept: again they come twice"
            raise UsageError(Problem("not_resumable", f"run `{run}` was one of `schema {found.verb}`", hint))
        doubtful = () if failed_only else self._not_looked_at(found, verify or self.settings.verify)
        left = unfinished(found, failed_only=failed_only, unseen=doubtful)
        gone = [t for t in left if t not in self.fleet.by_name]
        in_waves = waves and self.fleet.waves and found.verb is Verb.UPGRADE
        before = gone_before(self._brought(found), self.fleet.waves, left) if in_waves else ()
        asked = dict.fromkeys((*left, *doubtful, *(r.target for r in before)))
        last = self._last_results(tuple(t for t in asked if t in self.fleet.by_name))
        # first, for what is said of those that are gone has a command that brings the rest of it
        if back := taken_back_since(found, last, self.show, gone):
            raise UsageError(back)
        if gone:
            raise UsageError(left_and_gone(found, gone))
        known = {r.id for revisions in self.revisions.branches.values() for r in revisions}
        if left and found.verb is Verb.UPGRADE and (absent := of_another_checkout(found, known, left)):
            raise UsageError(absent)
        if moved := self._moved(before):
            raise UsageError(not_stayed(found, moved))
        if found.verb is Verb.ROLLBACK and found.undoes:
            plan = self._plan_rollback(found.undoes, left, again=True)
        elif found.verb is Verb.DOWNGRADE:
            plan = self.plan_downgrade(left[0], found.wish)
        elif found.verb is Verb.ADOPT:
            plan = self.plan_adoption(left[0], found.wish)
        else:
            plan = self.plan(tuple(dict.fromkeys((*left, *doubtful))), found.wish, waves=waves, soon=soon)
            plan = replace(self._never_again(found, plan), unseen=doubtful)
        return replace(plan, resumes=found.id, rollout=found.rollout)

    def _not_looked_at(self, run: Run, verify: str) -> tuple[str, ...]:
        """The targets at whose schema `resume` looks, since the run may not have done so."""
        from ehg_migrate.rollout.reconcile import unseen

        looks = run.verb is Verb.UPGRADE and not (run.saved_plan or self._local or verify == "never")
        return tuple(t for t in unseen(run) if t in self.fleet.by_name) if looks else ()

    def _never_again(self, run: Run, plan: FleetPlan) -> FleetPlan:
        """The plan. Raises UsageError where it does again what the run has done, and another has taken back since.

        By the target's journal, as stock Alembic is in no ledger; one without the run is that of a restored database.
        """
        names = {p.target for p in plan.plans}
        last = {r.target: self._left(r) for r in run.results if r.steps and r.target in names}
        again = [p.target for p in plan.plans if not last.get(p.target, set()).isdisjoint(s.revision for s in p.steps)]
        by: dict[str, str] = {}
        for target, journal in (self._journals(again) if again else {}).items():
            done = [] if isinstance(journal, Problem) else [(e.run, e.direction) for e in journal if e.event == "done"]
            if run.id in dict(done) and done[-1][1] == Direction.DOWN:  # by another: an upgrade only goes up
                by[target] = done[-1][0]
        if by:
            from ehg_migrate.rollout.reconcile import taken_back_by

            raise UsageError(taken_back_by(run, by))
        return plan

    def _left(self, result: Result) -> set[str]:
        """What it did, and left: a canary that the run itself has seen to be taken back is done again."""
        graph = self._graph(self.fleet.by_name[result.target])
        held = graph.ids(graph.closure(h for h in result.heads_after if h in graph))
        return {s.revision for s in result.steps}.intersection(held)

    def _brought(self, run: Run) -> tuple[Result, ...]:
        """What a run has changed, and before that the one that it completes, and so on."""
        own = tuple(r for r in run.results if r.steps)
        if not run.resumes:
            return own
        try:
            return (*self._brought(self.show(run.resumes)), *own)
        except UsageError:  # the ledger has lost it
            return own

    def _moved(self, left: Sequence[Result]) -> Sequence[tuple[Result, str]]:
        """Those that are not as they were left, from the targets themselves, and what they are; not where held."""
        if not left:
            return ()
        from ehg_migrate.fleet.holding import held, today
        from ehg_migrate.rollout.runner import Reach
        from ehg_migrate.rollout.waves import not_as_left

        day = today()
        free = [r.target for r in left if self._local or not held(self.fleet.by_name[r.target], day)]
        targets, passwords = self._reach(free) if free else ((), {})
        reach = Reach({t.name: t for t in targets}, passwords, self._graph)
        return not_as_left([r for r in left if r.target in reach.targets], reach, self._at_once)

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
