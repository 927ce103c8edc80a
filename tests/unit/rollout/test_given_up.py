"""What is said of a target that a stopped run did not come to."""

from __future__ import annotations

from typing import Any, cast

from ehg_migrate.errors import Problem
from ehg_migrate.model import Address, Origin, Plan, Status, Target, Verb
from ehg_migrate.rollout.jobs import Job
from ehg_migrate.rollout.pool import not_begun
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
