"""From states to the plan of a fleet: which targets are planned for, which are left alone, and when it is a mistake."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from ehg_migrate.database.damage import LOST_ROWS
from ehg_migrate.errors import Problem, TargetError, UsageError
from ehg_migrate.model import Address, Direction, FleetPlan, Plan, State, StateKind, Step, Target, Verb
from ehg_migrate.revisions.specs import NO_REVISION
from ehg_migrate.rollout.planning import fleet_plan, protected_targets, without_protected
from tests.unit.report import nouns

NOTE, OTHER = Problem("note", "of the plan"), Problem("other", "of the state")
ABSENT = UsageError(Problem(NO_REVISION, "the target does not have it"))
WRONG = UsageError(Problem("bad_revision", "it is no name"))
DOWN, UP = nouns.step("s1", direction=Direction.DOWN), nouns.step("s2")


def planned(verb: Verb, state: State, *steps: Step) -> tuple[list[str], list[StateKind]]:
    """Whether one target is planned for, and what is said of it where it is not."""
    found = fleet_plan(verb, (), (state,), lambda s: nouns.plan(s.target, *steps, verb=verb))
    return [p.target for p in found.plans], [s.kind for s in found.blocked]


@pytest.mark.parametrize("verb", [Verb.UPGRADE, Verb.DOWNGRADE, Verb.ROLLBACK])
@pytest.mark.parametrize("kind", StateKind)
def test_what_is_planned_from(verb: Verb, kind: StateKind) -> None:
    """From what is known, and to finish what was begun to be taken back: by a plan that takes something back."""
    for steps, finishes in (((), False), ((UP,), False), ((UP, DOWN), True)):
        good = kind.plannable or (kind is StateKind.HALF_DONE and verb is not Verb.UPGRADE and finishes)
        assert planned(verb, State("a", kind), *steps) == ((["a"], []) if good else ([], [kind]))


@pytest.mark.parametrize("kind", StateKind)
def test_what_is_adopted(kind: StateKind) -> None:
    """Another's history, a database with nothing of ours in it, and one that has lost what it held."""
    good = kind.plannable or kind is StateKind.NOT_ADOPTED
    assert planned(Verb.ADOPT, State("a", kind)) == ((["a"], []) if good else ([], [kind]))
    held = ([], [StateKind.REFUSED]) if kind.plannable else (["a"], []) if good else ([], [kind])
    assert planned(Verb.ADOPT, State("a", kind, ("s1",))) == held
    lost = State("a", StateKind.REFUSED, problem=Problem(LOST_ROWS, ""))
    assert planned(Verb.ADOPT, lost) == (["a"], [])
    assert planned(Verb.UPGRADE, lost) == ([], [StateKind.REFUSED])


def wished(answers: Mapping[str, Exception | None], *, lenient: bool) -> FleetPlan:
    """What is planned where targets answer a wish so; of `blocked` nothing is known."""

    def make(state: State) -> Plan:
        if error := answers[state.target]:
            raise error
        return nouns.plan(state.target, UP, notes=(NOTE,))

    states = [
        State(t, StateKind.UNKNOWN if t == "blocked" else StateKind.PENDING, notes=(NOTE, OTHER)) for t in answers
    ]
    return fleet_plan(Verb.UPGRADE, ("all",), states, make, lenient=lenient)


def test_who_does_not_have_what_is_wished() -> None:
    """Is left out where others have it, or may; what no target can have is a mistake, and so is what none has."""
    found = wished({"a": None, "b": ABSENT, "c": TargetError(Problem("no_downgrade", ""))}, lenient=True)
    assert [(p.target, p.notes) for p in found.plans] == [("a", (NOTE, OTHER))]
    assert [(s.target, s.reason) for s in found.skipped] == [("b", ABSENT.problems[0])]
    assert [(s.target, s.kind, s.problem and s.problem.code) for s in found.blocked] == [
        ("c", StateKind.REFUSED, "no_downgrade")
    ]
    assert [s.target for s in wished({"b": ABSENT, "blocked": None}, lenient=True).skipped] == ["b"]
    assert [p.target for p in wished({"a": None, "b": ABSENT}, lenient=True).plans] == ["a"]
    assert wished({}, lenient=True).targets == ()  # a shard may be empty
    several = UsageError([*ABSENT.problems, *WRONG.problems])
    for answers, lenient in (
        ({"a": None, "b": ABSENT}, False),
        ({"a": None, "b": WRONG}, True),
        ({"a": None, "b": several}, True),
        ({"b": ABSENT}, True),
    ):
        with pytest.raises(UsageError):
            wished(answers, lenient=lenient)


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        (nouns.fleet_plan(nouns.plan("a", UP), nouns.plan("b", UP)), {"a"}),
        (nouns.fleet_plan(nouns.plan("a"), nouns.plan("b")), set()),
        (nouns.fleet_plan(nouns.plan("a", verb=Verb.ADOPT), nouns.plan("b", verb=Verb.ADOPT), verb=Verb.ADOPT), {"a"}),
    ],
    ids=["steps", "nothing to do", "adopted"],
)
def test_who_must_be_confirmed(plan: FleetPlan, names: Collection[str]) -> None:
    """Of the protected ones those that the plan would change; to say what a target holds is to change it."""
    address = Address("h", 5432, "u", "d", "disable")
    fleet = {name: Target(name, address, ("shared",), protected=name == "a") for name in "ab"}
    assert set(protected_targets(plan, fleet)) == names
    for confirmed, kept in (((), {"a", "b"} - set(names)), (("a",), {"a", "b"})):
        assert {p.target for p in without_protected(plan, fleet, confirmed).plans} == kept
