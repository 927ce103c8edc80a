"""A fleet plan: one plan for each target whose state allows it, and for the others why not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ehg_migrate.errors import Problem, TargetError, UsageError, quoted
from ehg_migrate.fleet.protection import protected
from ehg_migrate.fleet.selectors import items
from ehg_migrate.model import Direction, FleetPlan, Plan, Skipped, State, StateKind, Target, Verb
from ehg_migrate.revisions.specs import ABSENT

Make = Callable[[State], Plan]
"""A plan for a target in this state. Raises TargetError if the target allows none, UsageError if the wish does not."""


_BESIDES = {
    (Verb.ADOPT, StateKind.NOT_ADOPTED),
    (Verb.DOWNGRADE, StateKind.HALF_DONE),  # finishing what was cut is the way out; the worker checks that it does
    (Verb.ROLLBACK, StateKind.HALF_DONE),
}


def fleet_plan(
    verb: Verb, selectors: Sequence[str], states: Iterable[State], make: Make, *, lenient: bool = False
) -> FleetPlan:
    """`lenient`: a target that does not have what the wish names is left out, unless that is every target."""
    plans: list[Plan] = []
    blocked: list[State] = []
    skipped: list[Skipped] = []
    for state in states:
        if verb is Verb.ADOPT:
            state = _adoptable(state)  # noqa: PLW2901 - a state that cannot be planned from takes its place
        if not (state.kind.plannable or (verb, state.kind) in _BESIDES or _is_readoptable(verb, state)):
            blocked.append(state)
            continue
        try:
            plan = make(state)
            if state.kind is StateKind.HALF_DONE and not any(s.direction is Direction.DOWN for s in plan.steps):
                blocked.append(state)
            else:
                plans.append(_with_notes(plan, state))
        except TargetError as e:
            blocked.append(replace(state, kind=StateKind.REFUSED, problem=e.problem))
        except UsageError as e:
            if not lenient or any(p.code not in ABSENT for p in e.problems):
                raise
            skipped.append(Skipped(state.target, e.problems[0]))
    if skipped and not plans and not blocked:
        raise UsageError(skipped[0].reason)
    return FleetPlan(verb, ",".join(items(selectors)) or "all", tuple(plans), tuple(blocked), tuple(skipped))


def without_protected(plan: FleetPlan, fleet: Mapping[str, Target], confirmed: Collection[str]) -> FleetPlan:
    """The same with every protected target left alone that nobody has confirmed; one with nothing to do is none."""
    left = set(protected_targets(plan, fleet)).difference(confirmed)
    refused = [p for p in plan.plans if p.target in left]
    states = [State(p.target, StateKind.REFUSED, p.heads, problem=protected(fleet[p.target])) for p in refused]
    kept = tuple(p for p in plan.plans if p.target not in left)
    return replace(plan, plans=kept, blocked=(*plan.blocked, *states)) if refused else plan


def lacking(plan: FleetPlan) -> tuple[str, ...]:
    """The targets of which it is noted that something was never run, though their version rows say that it was."""
    noted = [p for p in plan.plans if p.notes]
    if not noted:
        return ()
    from ehg_migrate.rollout.reasons import NEVER_RUN  # seldom

    return tuple(p.target for p in noted if any(n.code == NEVER_RUN for n in p.notes))


def protected_targets(plan: FleetPlan, fleet: Mapping[str, Target]) -> tuple[str, ...]:
    """Those that the plan would change."""
    busy = (p.target for p in plan.plans if p.steps or plan.verb is Verb.ADOPT)
    return tuple(name for name in busy if fleet[name].protected)


def _adoptable(state: State) -> State:
    """The same state, or a refusal where the target has version rows in our table already."""
    if not (state.kind.plannable and state.heads):
        return state
    return replace(state, kind=StateKind.REFUSED, problem=adopted_already(state.heads))


def _is_readoptable(verb: Verb, state: State) -> bool:
    """Whether declaring anew what the journal says is the way out."""
    from ehg_migrate.database.damage import LOST_ROWS  # seldom

    return verb is Verb.ADOPT and state.problem is not None and state.problem.code == LOST_ROWS


def adopted_already(heads: tuple[str, ...]) -> Problem:
    """A target that needs no adopting."""
    held = quoted(heads)
    return Problem(
        "adopted_already",
        f"the target is ours already and holds {held}",
        "`ehg-migrate upgrade -t TARGET` brings it to its heads; `alembic -x target=TARGET stamp --purge REV ...` "
        "declares that it holds others, and runs nothing (name one of every branch)",
    )


def _with_notes(plan: Plan, state: State) -> Plan:
    return replace(plan, notes=(*plan.notes, *(n for n in state.notes if n not in plan.notes)))
