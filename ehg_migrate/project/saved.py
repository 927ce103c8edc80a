"""A plan kept in a file, to be done later exactly as it was read and approved, or not at all.

The file decides only whether: what is done is planned anew, from what the targets and the revisions are then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ehg_migrate import json_form
from ehg_migrate.errors import Problem, UsageError, some
from ehg_migrate.model import FleetPlan, Plan, State, StateKind, Step, Verb
from ehg_migrate.rollout.reasons import stale_plan

_LARGEST = 256 * 1024 * 1024  # bytes
_AGAIN = "make a new one: `ehg-migrate plan -o FILE`"


def read_plan(file: Path) -> FleetPlan:
    """The plan of an upgrade that `plan -o`, or `plan --json`, has written. Raises UsageError for anything else."""
    try:
        if file.stat().st_size > _LARGEST:
            raise _unreadable(file, "it is too large for a plan")
        form = json.loads(file.read_bytes())
    except OSError as e:
        raise _unreadable(file, e.strerror or type(e).__name__) from None
    except (ValueError, RecursionError):
        raise _unreadable(file, "it is not JSON") from None
    return _plan(file, form)


def _plan(file: Path, form: Any) -> FleetPlan:
    if not isinstance(form, dict) or form.get("kind") != "plan":
        raise _unreadable(file, "it is not what `plan -o` writes")
    if form.get("schema_version") != json_form.SCHEMA_VERSION:
        raise _unreadable(file, "it was written by another version of `ehg-migrate`")
    try:
        plan = json_form.load(FleetPlan, form.get("data"))
    except ValueError as e:
        raise _unreadable(file, f"it is damaged: {e}") from None
    if plan.verb is not Verb.UPGRADE:
        raise _unreadable(file, f"it is a plan of `{plan.verb}`")
    if not plan.targets:
        raise _unreadable(file, "it names no target")
    return plan


def _unreadable(file: Path, why: str) -> UsageError:
    return UsageError(Problem("bad_plan_file", f"`{file}` cannot be used as a plan: {why}", _AGAIN))


def held_to(saved: FleetPlan, now: FleetPlan) -> FleetPlan:
    """The plan made now, without the targets for which it is another than the saved one: these are refused.

    A target that has done a part of the saved steps meanwhile, or all, does the rest. Raises UsageError where the waves
    are others.
    """
    if saved.waves != now.waves:
        raise UsageError(Problem("stale_plan", "the waves are others than those of the saved plan", _AGAIN))
    approved = {p.target: p for p in saved.plans}
    kept: list[Plan] = []
    refused: list[State] = []
    for plan in now.plans:
        problem = _otherwise(approved.get(plan.target), plan)
        if problem is None:
            kept.append(plan)
        else:
            refused.append(State(plan.target, StateKind.REFUSED, plan.heads, problem=problem))
    return replace(now, selector=saved.selector, plans=tuple(kept), blocked=(*now.blocked, *refused))


def _otherwise(approved: Plan | None, now: Plan) -> Problem | None:
    """Why the present plan is not the approved one, or its rest."""
    if approved is None:
        return Problem("stale_plan", "the saved plan has no steps for this target", _AGAIN)
    if set(now.goal) != set(approved.goal):
        return _changed("its goal is another", now.goal)
    rest = approved.steps[len(approved.steps) - len(now.steps) :] if now.steps else ()
    if [_form(s) for s in rest] == [_form(s) for s in now.steps]:
        return None
    files = {s.revision: s.checksum for s in approved.steps}
    edited = [s.revision for s in now.steps if files.get(s.revision, s.checksum) != s.checksum]
    if edited:
        return _changed("other files since", edited)
    return replace(stale_plan(approved.heads, now.heads), hint=_AGAIN)


def _changed(what: str, revisions: Sequence[str]) -> Problem:
    named = some([f"`{r}`" for r in revisions], 8) or "nothing"
    return Problem("stale_plan", f"the revisions are not those of the saved plan; {what}: {named}", _AGAIN)


def _form(step: Step) -> tuple[object, ...]:
    return step.revision, step.direction, step.checksum, step.heads_before, step.heads_after
