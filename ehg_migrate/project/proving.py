"""The verbs that run revisions on scratch databases: what targets should be, and whether steps can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from ehg_migrate.errors import EhgMigrateError, Problem, TargetError
from ehg_migrate.model import Plan, Result, State, Status
from ehg_migrate.project.base import Selectors
from ehg_migrate.project.planning import PlanningProject

if TYPE_CHECKING:
    from ehg_migrate.rollout.jobs import Watch
    from ehg_migrate.rollout.runner import Reach
    from ehg_migrate.rollout.running import Verify
    from ehg_migrate.rollout.stop import Stop
    from ehg_migrate.schema.drift import Drift, Fleet, Looking
    from ehg_migrate.schema.reference import References
    from ehg_migrate.schema.rehearsal import Case, Rehearsal
    from ehg_migrate.schema.scratch import ScratchServers
    from ehg_migrate.schema.squawk import SqlReport

Notice = Callable[[str], None]
"""Told in words what takes its time."""


class Manner(TypedDict, total=False):
    """How a run is done: targets at a time, where, who hears its Events, who may stop it early, what is checked."""

    parallel: int | None
    executor: str  # `local`, or `dask://HOST:PORT`
    rollout: str  # a name in common with other runs
    watch: Watch | None
    stop: Stop | None
    verify: str | None  # one of settings.VERIFY
    notice: Notice  # hears what takes its time after the run


class ProvingProject(PlanningProject):
    """A project that knows what its revisions do."""

    def drift(self, selectors: Selectors = (), notice: Notice = lambda _: None) -> tuple[Drift, ...]:
        """Each selected target's schema against what the revisions that it holds produce on a scratch database.

        Reads only: one connection a target, and one message beside a probe's. What a state should be is made once and
        kept in `.ehg`. A state that cannot be made is the verdict `no_reference` of its targets, never a match.
        """
        from ehg_migrate.schema.drift import find_drift

        fleet, states, looking = self._look(selectors)
        with self._scratch(notice) as (scratch, references):
            return find_drift(fleet, states, looking.found, references, scratch)

    def rehearse(
        self, selectors: Selectors = (), to: Sequence[str] = (), notice: Notice = lambda _: None
    ) -> tuple[Rehearsal, ...]:
        """What `upgrade` would do, done on scratch databases: each step forward, back and again.

        One Rehearsal for all targets that hold the same and would get the same steps; none for those with nothing to
        do. A target that cannot be planned for has a Rehearsal with its problem. Only reads from the targets.
        """
        from ehg_migrate.schema.rehearsal import Rehearsal

        _, states, looking = self._look(selectors)
        plan = self._plan_upgrade(selectors, to, states)
        hopeless = [Rehearsal((s.target,), s.heads, s.heads, problem=s.problem) for s in plan.blocked]
        cases: list[Case] = []
        with self._scratch(notice) as (scratch, references):
            for p in plan.plans:
                case = self._case(p, looking, scratch) if p.steps else None
                if isinstance(case, Problem):
                    hopeless.append(Rehearsal((p.target,), p.heads, p.heads, problem=case))
                elif case:
                    cases.append(case)
            return (*hopeless, *self._rehearsed(cases, scratch, references, notice))

    def _case(self, plan: Plan, looking: Looking, scratch: ScratchServers) -> Case | Problem:
        from ehg_migrate.schema.drift import Look
        from ehg_migrate.schema.recipe import recipe
        from ehg_migrate.schema.rehearsal import Case

        target, look = self.fleet.by_name[plan.target], looking.found[plan.target]
        if not isinstance(look, Look):
            return look
        graph = self._graph(target)
        label = scratch.label(look.ground.major, api_roles=bool(look.ground.roles))
        try:
            return Case((plan.target,), recipe(target, plan.heads, graph, look.ground, label), plan.steps, graph)
        except TargetError as e:
            return e.problem

    def rehearse_all(self, notice: Notice = lambda _: None) -> tuple[Rehearsal, ...]:
        """The same for every combination of branches in the fleet, from nothing to its heads; asks no target."""
        from ehg_migrate.local.programs import MAJOR
        from ehg_migrate.schema.ground import Ground
        from ehg_migrate.schema.recipe import recipe
        from ehg_migrate.schema.rehearsal import Case

        ground = Ground.supabase(MAJOR, self.settings.prelude)
        cases: list[Case] = []
        with self._scratch(notice) as (scratch, references):
            label = scratch.label(MAJOR, api_roles=True)
            for target in self.fleet.targets:
                graph = self._graph(target)
                steps = graph.steps((), graph.heads)
                if steps:
                    cases.append(Case((target.name,), recipe(target, (), graph, ground, label), steps, graph))
            return tuple(self._rehearsed(cases, scratch, references, notice))

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

        def look(results: Sequence[Result]) -> Verified:
            done = tuple(r for r in results if r.status is Status.SUCCEEDED and r.steps)
            if not done:
                return Verified()
            from ehg_migrate.schema.drift import Fleet, Looking
            from ehg_migrate.schema.verify import verify

            targets = [reach.targets[r.target] for r in done]
            fleet = Fleet(targets, reach.passwords, self._graph, self._at_once)
            looking = Looking(self.settings.prelude)
            try:
                with self._scratch(how.get("notice") or _nobody, how.get("stop")) as (scratch, references):
                    return verify(fleet, done, looking, scratch, references, strict=mode == "always")
            except EhgMigrateError as e:  # the run is over and stays what it was
                return Verified(notes=tuple(replace(p, code="not_verified") for p in e.problems))

        return look

    def _rehearsed(
        self, cases: list[Case], scratch: ScratchServers, references: References, notice: Notice
    ) -> Iterator[Rehearsal]:
        from ehg_migrate.schema.rehearsal import Rehearsing, grouped

        rehearsing = Rehearsing(self.settings, scratch, references)
        for case in grouped(cases):
            notice(f"rehearsing {len(case.steps)} steps for {', '.join(case.targets)}")
            yield rehearsing.run(case)

    def _look(self, selectors: Selectors) -> tuple[Fleet, tuple[State, ...], Looking]:
        """The selected targets, what they hold, and what was seen of their schemas on the same connections."""
        from ehg_migrate.rollout.states import read_states
        from ehg_migrate.schema.drift import Fleet, Looking

        targets, passwords = self._reach(selectors)
        looking = Looking(self.settings.prelude)
        states = read_states(targets, passwords, self.revisions, self.releases, self._at_once, looking.probe)
        return Fleet(targets, passwords, self._graph, self._at_once), states, looking

    @contextmanager
    def _scratch(self, notice: Notice, stop: Stop | None = None) -> Iterator[tuple[ScratchServers, References]]:
        """The scratch servers, opened when they are needed, and the references that are made there."""
        from ehg_migrate.schema.reference import References
        from ehg_migrate.schema.scratch import ScratchServers

        with ScratchServers(self.settings.root / ".ehg" / "scratch") as scratch:
            yield scratch, References(self.settings, scratch, notice, stop)


def _nobody(text: str) -> None:
    """Hears nothing."""
