"""Protected targets of a large fleet."""

from __future__ import annotations

from collections.abc import Callable

from ehg_migrate.model import Address, Target
from ehg_migrate.rollout.planning import without_protected
from tests.support.counting import grows_with
from tests.unit.report.nouns import fleet_plan, plan, step


def _target(name: str) -> Target:
    return Target(name, Address("h", 5432, "u", name, "disable"), ("shared",), protected=True)


def test_many_protected_targets() -> None:
    """Twice as many cost twice as much; those that nobody has confirmed are refused, and the others kept."""

    def refused(count: int) -> Callable[[], object]:
        fleet = {name: _target(name) for name in (f"t{i}" for i in range(count))}
        planned = fleet_plan(*(plan(name, step("a")) for name in fleet))
        return lambda: without_protected(planned, fleet, ("t1",))

    assert grows_with(refused, 100) < 2.3
    left = without_protected(fleet_plan(plan("a", step("r")), plan("b", step("r"))), {n: _target(n) for n in "ab"}, "a")
    assert [p.target for p in left.plans] == ["a"]
    assert [s.target for s in left.blocked] == ["b"]
