"""A target whose schema was seen to differ is called well again only by who has looked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ehg_migrate.errors import Problem
from ehg_migrate.model import Direction, Result, Status, StepResult
from ehg_migrate.rollout.astray import doubted, in_doubt, to_be_looked_at

STEPS = (StepResult("s1", Direction.UP, "shared", 0.1),)
DIFFERS = Result("a", Status.SCHEMA_DIFFERS, steps=STEPS, problem=Problem("schema_differs", "seen in this run"))


@pytest.mark.parametrize("status", Status)
def test_nothing_good_is_said_of_it(status: Status) -> None:
    """Neither that it is up to date nor that the run went well; what is bad stays what it is."""
    result = Result("a", status)
    assert doubted(result, {"b": "r1"}) == result
    found = doubted(result, {"a": "r1"})
    if status in (Status.UP_TO_DATE, Status.SUCCEEDED):
        assert (found.status, in_doubt(found), "`r1`" in str(found.problem)) == (Status.SCHEMA_DIFFERS, True, True)
    else:
        assert found == result


@pytest.mark.parametrize("steps", [STEPS, ()], ids=["with steps", "without"])
def test_who_is_looked_at(steps: tuple[StepResult, ...]) -> None:
    """Who got steps, or should have been looked at before; and who is in doubt, as good as it is if all matches."""
    results = [replace(Result(status, status), steps=steps) for status in Status]
    found = list(to_be_looked_at(results, {Status.UP_TO_DATE, Status.FAILED, Status.SUCCEEDED}))
    assert [r.status for r in found] == [Status.UP_TO_DATE, *([Status.SUCCEEDED] if steps else [])]
    assert [r for r in to_be_looked_at(results) if r.status is not Status.SUCCEEDED] == []

    good = Status.SUCCEEDED if steps else Status.UP_TO_DATE
    in_question = doubted(Result("a", good, steps=steps), {"a": "r1"})
    assert list(to_be_looked_at([in_question, DIFFERS])) == [Result("a", good, steps=steps)]
