"""A run, its results and plans, made of a few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ehg_migrate.errors import Problem
from ehg_migrate.model import (
    Direction,
    FleetPlan,
    Origin,
    Plan,
    Result,
    Run,
    RunStatus,
    State,
    StateKind,
    Status,
    Step,
    StepResult,
    Verb,
)

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
ORIGIN = Origin("ada", "laptop", 1, "0123456789abcdef", "1.0")

HOSTILE = 'a \x1b[31mred\x1b[0m | b ]]> <script>&amp; "q" \\ \x00\x07\u2028\ufffe\udcff `c`\n| forged | row |'
"""What a server, a revision or a file may say."""


def result(target: str, status: Status = Status.SUCCEEDED, **more: Any) -> Result:
    """What happened to one target, in half a second."""
    return Result(target, status, seconds=0.5, **more)


def failed(target: str, message: str = "it broke", **more: Any) -> Result:
    """A target that failed, with a hint."""
    return result(target, Status.FAILED, problem=Problem("x", message, "mend it", "versions/a.py:3", "42P07"), **more)


def run(*results: Result, **more: Any) -> Run:
    """A finished upgrade with these results."""
    good = all(r.status.good for r in results)
    status = RunStatus.SUCCEEDED if good else RunStatus.FAILED
    names = tuple(r.target for r in results)
    return Run("20260131-120000-abcd", Verb.UPGRADE, "all", ORIGIN, NOON, status, NOON, names, results, **more)


def step(revision: str, branch: str = "shared", direction: Direction = Direction.UP) -> Step:
    """One step of a plan."""
    return Step(revision, direction, branch, "c" * 64, f"about {revision}", f"versions/{branch}/{revision}.py", (), ())


def plan(target: str, *steps: Step, verb: Verb = Verb.UPGRADE, **more: Any) -> Plan:
    """From nothing to the last step's revision."""
    return Plan(target, verb, (), tuple(s.revision for s in steps[-1:]), steps, **more)


def fleet_plan(*plans: Plan, verb: Verb = Verb.UPGRADE, **more: Any) -> FleetPlan:
    """The plans of a fleet."""
    return FleetPlan(verb, "all", plans, **more)


def done(revision: str) -> StepResult:
    """A step that was done."""
    return StepResult(revision, Direction.UP, "shared", 0.25)


def unreachable(target: str) -> State:
    """A target that did not answer."""
    problem = Problem("connection_refused", "connection refused", "start it")
    return State(target, StateKind.UNREACHABLE, problem=problem)
