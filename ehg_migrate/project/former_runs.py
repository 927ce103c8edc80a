"""What takes a run of before back, or completes it; and where that would not be all that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ehg_migrate.errors import LedgerError, Problem, TargetError, UsageError
from ehg_migrate.model import Direction, FleetPlan, Plan, Result, Run, RunStatus, State, Status, Verb
from ehg_migrate.project.base import Selectors
from ehg_migrate.project.planning import PlanningProject


class FormerRunsProject(PlanningProject):
    """A project whose runs can be taken back and completed."""

    def plan_rollback(self, run: str, selectors: Selectors = ()) -> FleetPlan:
        """What takes `run` back on the selected targets, by the targets' own journals. Raises UsageError.

        The ledger completes the beginning of an id and names the targets; a run that it has lost can be taken back too.
        One that changed targets which the files no longer have is not: a part must be asked for by name.
        """
        return self._plan_rollback(run, selectors)

    def _plan_rollback(self, run: str, selectors: Selectors, *, again: bool = False) -> FleetPlan:
        """The same; `again` for what another rollback has left, of which nothing at all may be to be taken back."""
        from ehg_migrate.revisions.rollback import plan_rollback, refuse_completed
        from ehg_migrate.rollout.former_runs import touched, untraced

        run, found = self._find_run(run)
        selectors = selectors or (touched(found, self.fleet.by_name) if found else ())
        did = {r.target: r for r in found.results if r.steps} if found else {}
        completions = self._completions(run) if found else ()
        at_work = self._at_work(run, found, completions, selectors)
        journals = self._journals(selectors)
        unread = [target for target, j in journals.items() if isinstance(j, Problem)]
        traces = any(e.run == run for j in journals.values() if not isinstance(j, Problem) for e in j)
        # of a run that nobody knows the others must not be called as they were before it: its id may be misspelt
        in_vain = len(unread) < len(journals) if found is None else not unread
        if in_vain and journals and not (again or traces or at_work or did.keys() & journals.keys()):
            raise UsageError(untraced(run, unread, known=found is not None))

        def make(state: State) -> Plan:
            entries = journals[state.target]
            if isinstance(entries, Problem):
                raise TargetError(entries)
            if state.target in at_work:
                raise TargetError(at_work[state.target])
            graph = self._graph(self.fleet.by_name[state.target])
            plan = plan_rollback(graph, state.target, state.heads, run, entries)
            if state.target not in did:
                if found and not plan.steps:
                    refuse_completed(run, entries, [c.id for c in completions])
                return plan
            from ehg_migrate.revisions.recorded import as_recorded  # seldom

            return as_recorded(graph, plan, did[state.target], entries)

        return replace(self._plan(Verb.ROLLBACK, selectors, make), undoes=run)

    def _completions(self, run: str) -> Sequence[Run]:
        """The runs that completed it, by the ledger, or are about to, the oldest first."""
        return self._recorded(lambda ledger: [ledger.run(other) for other in ledger.completions(run)], [])

    def _find_run(self, run: str) -> tuple[str, Run | None]:
        """The whole id of a run, and the run, by the ledger; what it does not know is taken as it is written."""
        try:
            found = self.show(run)
        except LedgerError:
            return run, None
        except UsageError as e:
            if e.problems[0].code == "ambiguous_run" or (not self._local and self._is_local(run)):
                raise
            return run, None
        return found.id, found

    def _at_work(
        self, name: str, run: Run | None, completions: Sequence[Run], selectors: Selectors
    ) -> dict[str, Problem]:
        """Where what a run has done is not all that it will have done: somebody of it is still at work.

        To be asked before the journals. Raises UsageError where that is the run itself, or may be, or what completes
        it: of one that another ledger has the targets tell.
        """
        from ehg_migrate.rollout.former_runs import left_at_work, seen_at_work, still_running

        if run is None:
            if holders := [held for held in self.locks(selectors) if held.run == name]:
                raise UsageError(seen_at_work(name, holders))
            return {}
        at_work: dict[str, Problem] = {}
        for other in (run, *completions):
            said = {r.target for r in other.results if r.status is not Status.INDETERMINATE}
            unsure = [t.name for t in self.targets(selectors) if t.name in other.targets and t.name not in said]
            if unsure and other.status is RunStatus.RUNNING:
                raise UsageError(still_running(other))
            at_work |= left_at_work(other, self.locks(unsure)) if unsure else {}
        return at_work

    def plan_resume(
        self, run: str, *, failed_only: bool = False, waves: bool = True, soon: bool = False, verify: str | None = None
    ) -> FleetPlan:
        """What is missing of a run, planned anew from what its targets hold: all of it, or only what failed.

        An upgrade goes on in the fleet's waves, or at once; targets whose schema the run has not looked at are in it,
        unless by `verify`, as in `run`, nobody would look now.

        Raises UsageError as `unfinished` says, where another run has taken some of it back since, and where it was to
        bring what this checkout does not have; LedgerError where the ledger cannot be read.
        """
        from ehg_migrate.rollout.former_runs import unfinished

        found = self.show(run)
        if found.verb in (Verb.CREATE, Verb.SYNC, Verb.SEED):
            raise UsageError(_of_schemas(found))
        doubtful = () if failed_only else self._not_looked_at(found, verify or self.settings.verify)
        left = unfinished(found, failed_only=failed_only, unseen=doubtful)
        self._refuse_what_moved(found, left, doubtful, waves=waves)
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

    def _refuse_what_moved(self, run: Run, left: Sequence[str], doubtful: Sequence[str], *, waves: bool) -> None:
        """Raises UsageError where others have done something since that forbids to complete the run from here."""
        from ehg_migrate.rollout.former_runs import (
            gone_before,
            left_and_gone,
            not_stayed,
            of_another_checkout,
            taken_back_since,
        )

        gone = [t for t in left if t not in self.fleet.by_name]
        in_waves = waves and self.fleet.waves and run.verb is Verb.UPGRADE
        before = gone_before(self._brought(run), self.fleet.waves, left) if in_waves else ()
        asked = dict.fromkeys((*left, *doubtful, *(r.target for r in before)))
        last = self._last_results(tuple(t for t in asked if t in self.fleet.by_name))
        # first, for what is said of those that are gone has a command that brings the rest of it
        if back := taken_back_since(run, last, self.show, gone):
            raise UsageError(back)
        if gone:
            raise UsageError(left_and_gone(run, gone))
        known = {r.id for revisions in self.revisions.branches.values() for r in revisions}
        if left and run.verb is Verb.UPGRADE and (absent := of_another_checkout(run, known, left)):
            raise UsageError(absent)
        if moved := self._moved(before):
            raise UsageError(not_stayed(run, moved))

    def _not_looked_at(self, run: Run, verify: str) -> tuple[str, ...]:
        """The targets at whose schema `resume` looks, since the run may not have done so."""
        from ehg_migrate.rollout.former_runs import unseen

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
            from ehg_migrate.rollout.former_runs import taken_back_by

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


def _of_schemas(run: Run) -> Problem:
    hint = f"say `ehg-migrate schema {run.verb}` again: it does what is missing"
    if run.verb is Verb.SEED:  # rows would be there twice
        hint = f"where `ehg-migrate history {run.selector}` has it, its rows are kept: again they come twice"
    return Problem("not_resumable", f"run `{run.id}` was one of `schema {run.verb}`", hint)
