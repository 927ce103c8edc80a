"""What is said of a target that nobody came to, or into: a stopped run, or a worker at its deadline."""

from __future__ import annotations

from typing import Any, NoReturn, cast

import pytest

from ehg_migrate.database.faults import Fault, Retry
from ehg_migrate.errors import Problem
from ehg_migrate.model import Address, Direction, Origin, Plan, Result, Status, Step, StepResult, Target, Verb
from ehg_migrate.rollout.execution import Execution
from ehg_migrate.rollout.jobs import Job
from ehg_migrate.rollout.pool import not_begun
from ehg_migrate.rollout.stepping import StepFailed
from ehg_migrate.rollout.stop import Stop


def job(**more: Any) -> Job:
    """For one target that held `a`."""
    target = Target("one", Address("h", 1, "u", "d", "disable"), ("shared",))
    plan = Plan("one", Verb.UPGRADE, ("a",), ("b",), ())
    return Job(cast("Any", None), target, None, plan, "run", Origin("me", "here", 1, "", "0"), "", {}, **more)


def test_nobody_was_there() -> None:
    """It holds what it held."""
    result = not_begun(job(), Stop())
    assert (result.status, result.heads_after) == (Status.NOT_ATTEMPTED, ("a",))


def test_a_worker_was_lost_there() -> None:
    """What it has left nobody knows, and that is said, with why it was lost."""
    lost = Problem("worker_lost", "its machine is gone")
    result = not_begun(job(look=lost), Stop())
    assert (result.status, result.heads_after, result.problem) == (Status.INDETERMINATE, (), lost)


class Ended(Exception):
    """In place of the end of the process."""


def given_up(job: Job, done: list[StepResult], lost: StepFailed | None = None) -> Result:
    """Of a worker whose deadline comes while it enters its target."""
    told: list[Result] = []

    def end(result: Result) -> NoReturn:
        told.append(result)
        raise Ended

    with pytest.raises(Ended):
        Execution(job, cast("Any", None), end, done, lost=lost)._give_up()
    return told[0]


LOST = Problem("worker_lost", "its machine is gone")
DONE = StepResult("b", Direction.UP, "shared", 0.1)


@pytest.mark.parametrize(
    ("more", "done", "expected"),
    [
        ({}, [], (Status.FAILED, ("a",))),
        ({"again": True}, [], (Status.INDETERMINATE, ())),
        ({"look": LOST}, [], (Status.INDETERMINATE, ())),
        ({}, [DONE], (Status.INDETERMINATE, ())),
    ],
    ids=["nobody before", "a worker before", "one that died", "a session before"],
)
def test_a_deadline_before_the_target_could_be_entered(
    more: dict[str, Any], done: list[StepResult], expected: tuple[Status, tuple[str, ...]]
) -> None:
    """It holds what it held, unless somebody had begun something: then nobody can say what it holds."""
    result = given_up(job(**more), done)
    assert (result.status, result.heads_after) == expected
    assert result.problem
    assert result.problem.code == "deadline"


def test_a_deadline_after_the_connection_was_lost_in_a_step() -> None:
    """Whether its COMMIT came through nobody can say either."""
    step = Step("b", Direction.UP, "shared", "", "", "versions/shared/b.py", ("a",), ("b",))
    result = given_up(job(), [], StepFailed(step, Fault(Problem("connection_lost", "gone"), Retry.LOOK), None))
    assert (result.status, result.heads_after) == (Status.INDETERMINATE, ())
