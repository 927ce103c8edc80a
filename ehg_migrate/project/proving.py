"""The verbs that run revisions on scratch databases: what targets should be, and whether steps can be taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

from ehg_migrate.errors import EhgMigrateError, Problem, TargetError
from ehg_migrate.model import Plan, Result, State, Target
from ehg_migrate.project.base import Selectors, nobody, several
from ehg_migrate.project.former_runs import FormerRunsProject

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.revisions.beside import Contents
    from ehg_migrate.rollout.jobs import Watch
    from ehg_migrate.rollout.runner import Reach
    from ehg_migrate.rollout.running import Verify
    from ehg_migrate.rollout.stop import Stop
    from ehg_migrate.schema.drift import Drift, Fleet, Look, Looking
    from ehg_migrate.schema.recipe import Recipe
    from ehg_migrate.schema.reference import References
    from ehg_migrate.schema.rehearsal import Case
    from ehg_migrate.schema.rehearsed import Rehearsal
    from ehg_migrate.schema.scratch import ScratchServers
    from ehg_migrate.schema.squawk import SqlReport


class Manner(TypedDict, total=False):
    """How a run is done: targets at a time, where, who hears its Events, who may stop it early, what is checked."""

    parallel: int | None
    max_failures: int | None  # after how many no other target begins; 0 for no limit
    executor: str  # `local`, or `dask://HOST:PORT`
    rollout: str  # a name in common with other runs
    watch: Watch | None
    stop: Stop | None
    verify: str | None  # one of settings.VERIFY
    lint: str | None  # one of settings.LINT
    allow: Sequence[str]  # findings that stop nothing: `RULE` or `RULE@REVISION`
    notice: Notice  # hears what takes its time: the next wave, a look at the schemas after the run
    confirmed: Collection[str]  # protected targets whose names a person has typed


class ProvingProject(FormerRunsProject):
    """A project that knows what its revisions do."""

    def drift(self, selectors: Selectors = (), notice: Notice = nobody, *, full: bool = False) -> tuple[Drift, ...]:
        """Each selected target's schema against what the revisions that it holds produce on a scratch database.

        Reads only: one connection and one message a target, more where it differs. What a state should be is made once
        and kept in `.ehg`. A state that cannot be made is the verdict `no_reference` of its targets, never a match. The
        schema of a target whose token says that it is as it was at the last look is not read again, unless `full`.
        """
        from ehg_migrate.schema.drift import find_drift

        fleet, states, looking = self._look(selectors, full=full)
        with self._scratch(notice) as (scratch, references):
            return find_drift(fleet, states, looking.found, references, scratch)

    def rehearse(
        self,
        selectors: Selectors = (),
        to: Sequence[str] = (),
        notice: Notice = nobody,
        *,
        as_is: bool = False,
        probe_data: bool = False,
    ) -> tuple[Rehearsal, ...]:
        """What `upgrade` would do, done on scratch databases: each step forward, back and again.

        One Rehearsal for all targets that hold the same and would get the same steps; none for those with nothing to
        do. A target that cannot be planned for has a Rehearsal with its problem. Only reads from the targets. With
        `as_is` a target that has drifted is rehearsed on a database that has drifted alike; with `probe_data` the
        targets are asked for rows that the steps would fail on.
        """
        from ehg_migrate.schema.rehearsed import Rehearsal

        to = several(to)
        fleet, states, looking = self._look(selectors)
        plan = self._plan_upgrade(selectors, to, states)
        hopeless = [Rehearsal((s.target,), s.heads, s.heads, problem=s.problem) for s in plan.blocked]
        with self._scratch(notice) as (scratch, references):
            found = [(p, self._case(p, looking.found, scratch)) for p in plan.plans if p.steps]
            hopeless += (
                Rehearsal((p.target,), p.heads, p.heads, problem=c) for p, c in found if isinstance(c, Problem)
            )
            cases = [case for _, case in found if not isinstance(case, Problem)]
            if as_is:
                cases, lost = _as_they_are(cases, looking, fleet, references)
                hopeless += lost
            done = tuple(self._rehearsed(cases, scratch, references, notice))
        return (*hopeless, *(_probed(done, fleet) if probe_data else done))

    def _case(self, plan: Plan, looks: Mapping[str, Look | Problem], scratch: ScratchServers) -> Case | Problem:
        from ehg_migrate.schema.drift import Look
        from ehg_migrate.schema.rehearsal import Case

        target, look = self.fleet.by_name[plan.target], looks[plan.target]
        if not isinstance(look, Look):
            return look
        try:
            start = self._recipe(target, plan.heads, look, scratch)
            return Case((plan.target,), start, plan.steps)
        except TargetError as e:
            return e.problem

    @cached_property
    def _contents(self) -> Contents:
        from ehg_migrate.revisions.beside import Contents

        return Contents(self.settings)

    def _recipe(self, target: Target, heads: Sequence[str], look: Look, scratch: ScratchServers) -> Recipe:
        """How the state of a target at these heads is made on its ground. Raises TargetError."""
        from ehg_migrate.schema.recipe import recipe

        label = scratch.label(look.ground.major, api_roles=bool(look.ground.roles))
        return recipe(target, heads, self._graph(target), look.ground, label, self._contents)

    def rehearse_all(self, notice: Notice = nobody) -> tuple[Rehearsal, ...]:
        """The same for every combination of branches in the fleet, from nothing to its heads; asks no target."""
        from ehg_migrate.local.programs import MAJOR
        from ehg_migrate.schema.ground import Ground
        from ehg_migrate.schema.recipe import recipe
        from ehg_migrate.schema.rehearsal import Case

        cases: list[Case] = []
        with self._scratch(notice) as (scratch, references):
            for target in self.fleet.targets:
                ground = Ground.usual(target.platform, MAJOR, self.settings.prelude)
                label = scratch.label(MAJOR, api_roles=bool(ground.roles))
                graph = self._graph(target)
                steps = graph.steps((), graph.heads)
                if steps:
                    start = recipe(target, (), graph, ground, label, self._contents)
                    cases.append(Case((target.name,), start, steps))
            # nobody has said of which version targets are
            return tuple(replace(r, major=0) for r in self._rehearsed(cases, scratch, references, notice))

    def lint_sql(self, selectors: Selectors = (), *, pending: bool = False) -> SqlReport:
        """What squawk says of the SQL of revisions: of all that the selected targets have, or of their pending steps.

        Asks no target but for `pending`. Raises UsageError where squawk is not installed.
        """
        from ehg_migrate.schema.squawk import SqlReport, lint_sql

        if pending:
            plan = self.plan(selectors)
            work = [(self.fleet.by_name[p.target], p.steps) for p in plan.plans]
            return SqlReport(tuple(lint_sql(self.settings, work)), plan.blocked)
        graphs = [(t, self._graph(t)) for t in self.targets(selectors)]
        return SqlReport(tuple(lint_sql(self.settings, ((t, graph.steps((), graph.heads)) for t, graph in graphs))))

    def _verifier(self, reach: Reach, how: Manner) -> Verify | None:
        """Who looks at the targets of a run after it; None where nobody shall.

        On `--local` databases only by an explicit wish: they are as embedded and as young as the scratch server's.
        """
        mode = how.get("verify") or self.settings.verify
        if mode == "never" or (mode == "auto" and self._local):
            return None
        from ehg_migrate.rollout.running import Verified

        def look(results: Sequence[Result], notice: Notice) -> Verified:
            if not results:
                return Verified()
            from ehg_migrate.schema.drift import Fleet, Looking
            from ehg_migrate.schema.tripwire import Tripwires
            from ehg_migrate.schema.verify import verify

            targets = [reach.targets[r.target] for r in results]
            fleet = Fleet(targets, reach.passwords, self._graph, self._at_once, self._contents)
            looking = Looking(self.settings.prelude, Tripwires(self.settings.tripwires), full=True)
            try:
                with self._scratch(notice, how.get("stop")) as (scratch, references):
                    return verify(fleet, results, looking, scratch, references, strict=mode == "always")
            except EhgMigrateError as e:  # the run is over and stays what it was
                return Verified(notes=tuple(replace(p, code="not_verified") for p in e.problems))

        return look

    def _rehearsed(
        self, cases: list[Case], scratch: ScratchServers, references: References, notice: Notice
    ) -> Iterator[Rehearsal]:
        from ehg_migrate.schema.rehearsal import Rehearsing, furthest_first, grouped

        rehearsing = Rehearsing(self.settings, scratch, references, notice)
        for case in furthest_first(grouped(cases)):
            notice(case.told)
            yield rehearsing.run(case)

    def _look(self, selectors: Selectors, *, full: bool = False) -> tuple[Fleet, tuple[State, ...], Looking]:
        """The selected targets, what they hold, and what was seen of their schemas on the same connections."""
        from ehg_migrate.rollout.states import read_states
        from ehg_migrate.schema.drift import Fleet, Looking
        from ehg_migrate.schema.tripwire import Tripwires

        targets, passwords = self._reach(selectors)
        looking = Looking(self.settings.prelude, Tripwires(self.settings.tripwires), full=full)
        states = read_states(
            targets, passwords, self.revisions, self.releases, self._at_once, looking.probe, self.fleet.by_name
        )
        return Fleet(targets, passwords, self._graph, self._at_once, self._contents), states, looking

    @contextmanager
    def _scratch(self, notice: Notice, stop: Stop | None = None) -> Iterator[tuple[ScratchServers, References]]:
        """The scratch servers, opened when they are needed, and the references that are made there."""
        from ehg_migrate.schema.reference import References
        from ehg_migrate.schema.scratch import ScratchServers

        with ScratchServers(self.settings.scratch_home) as scratch:
            yield scratch, References(self.settings, scratch, notice, stop)


def _as_they_are(
    cases: list[Case], looking: Looking, fleet: Fleet, references: References
) -> tuple[list[Case], list[Rehearsal]]:
    """The cases with what has drifted in them, and those whose targets could not be read."""
    from ehg_migrate.schema.as_is import drifted
    from ehg_migrate.schema.rehearsed import Rehearsal

    found = drifted(cases, looking.found, fleet, references)
    kept: list[Case] = []
    lost: list[Rehearsal] = []
    for case in cases:
        there = found.get(case.targets[0])
        if isinstance(there, Problem):
            lost.append(Rehearsal(case.targets, case.start.heads, case.start.heads, problem=there))
        else:
            kept.append(replace(case, there=there[0], drift=there[1]) if there else case)
    return kept, lost


def _probed(done: Sequence[Rehearsal], fleet: Fleet) -> Iterator[Rehearsal]:
    """The same with what the targets answer to the questions of their steps."""
    from ehg_migrate.schema.probes import ask_targets

    by_name = {t.name: t for t in fleet.targets}
    asked = [(by_name[name], [p for s in r.steps for p in s.probes]) for r in done for name in r.targets]
    told = ask_targets(asked, fleet.passwords, fleet.at_once)
    for r in done:
        yield replace(r, probed=tuple(answer for name in r.targets for answer in told.get(name, ())))
