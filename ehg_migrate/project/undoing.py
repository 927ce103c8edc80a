"""What takes a run back, by the targets' own journals; and where that would not be all that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ehg_migrate.errors import LedgerError, Problem, TargetError, UsageError
from ehg_migrate.model import FleetPlan, Plan, Run, RunStatus, State, Status, Verb
from ehg_migrate.project.base import Selectors
from ehg_migrate.project.reading import ReadingProject

if TYPE_CHECKING:
    from ehg_migrate.rollout.planning import Make


class UndoingProject(ReadingProject):
    """A project that can say how a run is taken back."""

    def plan_rollback(self, run: str, selectors: Selectors = ()) -> FleetPlan:
        """What takes `run` back on the selected targets, by the targets' own journals. Raises UsageError.

        The ledger completes the beginning of an id and names the targets; a run that it has lost can be taken back too.
        One that changed targets which the files no longer have is not: a part must be asked for by name.
        """
        return self._plan_rollback(run, selectors)

    def _plan_rollback(self, run: str, selectors: Selectors, *, again: bool = False) -> FleetPlan:
        """The same; `again` for what another rollback has left, of which nothing at all may be to be taken back."""
        from ehg_migrate.revisions.rollback import plan_rollback, refuse_completed
        from ehg_migrate.rollout.reconcile import touched, untraced

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

    def _plan(self, verb: Verb, selectors: Selectors, make: Make) -> FleetPlan:
        from ehg_migrate.rollout.planning import fleet_plan

        return fleet_plan(verb, selectors, self._states(selectors), make)

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
        from ehg_migrate.rollout.reconcile import left_at_work, seen_at_work, still_running

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
