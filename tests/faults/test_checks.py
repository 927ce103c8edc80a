"""The laboratory's own checks of waves and of other databases: what they find, and what they let pass."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

import pytest

from ehg_migrate.model import Direction, Result, Status, StepResult, Wave
from tests.faults import waves as waves_module
from tests.faults.histories import make_history
from tests.faults.invariants import left_alone
from tests.faults.truth import Entry, Truth
from tests.faults.waves import draw_waves, held_back, in_order

WAVES = (Wave("w0", ("a", "b"), 0.5), Wave("w1", ("c",)), Wave("rest", ("d",)))


def at(time: float) -> Truth:
    """A target whose last step ran then."""
    return Truth((), (), (("r", "up", "t"),), (time,), frozenset(), Counter())


@pytest.mark.parametrize(
    ("entered", "bad", "found"),
    [
        ({"a": 1, "b": 1.5, "c": 4, "d": 6}, "", []),
        ({"a": 1, "b": 1.5, "c": 4}, "d", []),
        ({"a": 1, "c": 4}, "b", ["c has begun, and b of a wave before is not done"]),
        ({"d": 6}, "a", ["d has begun, and a of a wave before is not done"]),
        ({"a": 1, "b": 1.5, "c": 3.25}, "", ["c has begun 0.250 s before its wave might"]),  # b's last step, and 0.5 s
        ({"a": 1, "b": 1.5, "c": 4, "d": 4.75}, "", ["d has begun 0.250 s before its wave might"]),
        ({"c": 2, "d": 6}, "", []),  # who was not come to was not waited for
    ],
)  # fmt: skip
def test_a_wave_that_begins_too_early_is_found(
    entered: dict[str, float], bad: Collection[str], found: list[str]
) -> None:
    """Also one behind a wave that was left out."""
    truths = {"a": at(2), "b": at(3), "c": at(5), "d": at(7)}
    assert list(in_order(WAVES, entered, truths, {t: t not in bad for t in truths})) == found


@pytest.mark.parametrize(
    ("status", "told", "away", "now", "found"),
    [
        ("indeterminate", "ab", "ab", "", []),
        ("indeterminate", "ab", "ab", "a", []),
        ("failed", "ab", "ab", "", ["failed, and it is another database"]),
        ("indeterminate", "a", "ab", "", ["did [('a', 'up'), ('b', 'up')] in the database that was there before"]),
        ("indeterminate", "ab", "ab", "ab", ["said that it is another database"]),
        ("indeterminate", "ab", "ab", "b", ["said that it is another database"]),
    ],
)  # fmt: skip
def test_what_was_done_in_another_database_is_found(
    status: str, told: str, away: str, now: str, found: list[str]
) -> None:
    """A run that says that another one has taken its database's place, held against both."""

    def truth(done: str) -> Truth:
        journal = tuple(Entry("run", "done", r, "up", (), (), "t", 0.0) for r in done)
        return Truth((), journal, (), (), frozenset(), Counter())

    steps = tuple(StepResult(r, Direction.UP, "shared", 0.0) for r in told)
    result = Result("t", Status(status), steps=steps)
    said = list(left_alone(result, "run", truth(away), truth(now)))
    assert len(said) == len(found)
    assert all(part in whole for part, whole in zip(found, said, strict=True))


def test_what_a_wave_holds_back() -> None:
    """All that come behind it, and nothing of itself."""
    assert held_back(WAVES, []) == frozenset()
    assert held_back(WAVES, ["b"]) == frozenset("cd")
    assert held_back(WAVES, ["d", "c"]) == frozenset("d")


def test_waves_have_each_target_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In at least two of them, none without a target."""
    monkeypatch.setattr(waves_module, "_IN_WAVES", 0.5)
    drawn = [(h, draw_waves(h, random.Random(f"{n} waves"))) for n in range(200) for h in [make_history(n)]]
    assert {len(waves) for _, waves in drawn} == {0, 2, 3, 4}
    for history, waves in drawn:
        assert all(w.targets for w in waves)
        assert not waves or sorted(t for w in waves for t in w.targets) == sorted(history.groups)
