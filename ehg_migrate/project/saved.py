"""A plan kept in a file, to be done later exactly as it was read and approved, or not at all.

The file decides only whether: what is done is planned anew, from what the targets and the revisions are then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ehg_migrate import json_form
from ehg_migrate.errors import Problem, TargetError, UsageError, quoted
from ehg_migrate.model import Entry, FleetPlan, Plan, Skipped, State, StateKind, Step, Target, Verb
from ehg_migrate.redaction import inert, one_line
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.reasons import stale_plan

_LARGEST = 256 * 1024 * 1024  # bytes
_AGAIN = "make a new one, of the same targets (`-t`) and revisions (`--to`): `ehg-migrate plan -o FILE`"


def read_plan(file: Path) -> FleetPlan:
    """The plan of an upgrade that `plan -o`, or `plan --json`, has written. Raises UsageError for anything else."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)  # a pipe has no size
        if len(content) > _LARGEST:
            raise _unreadable(file, "it is too large for a plan")
        form = json.loads(content)
    except OSError as e:
        raise _unreadable(file, e.strerror or type(e).__name__) from None
    except (ValueError, RecursionError):
        raise _unreadable(file, "it is not JSON") from None
    return replace(_plan(file, form), saved_plan=hashlib.sha256(content).hexdigest())


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
    if not (plan.targets or any(item.startswith("shard:") for item in plan.selector.split(","))):
        raise _unreadable(file, "it names no target")
    return plan


def _unreadable(file: Path, why: str) -> UsageError:
    return UsageError(Problem("bad_plan_file", f"`{file}` cannot be used as a plan: {why}", _AGAIN))


def refuse_strangers(saved: FleetPlan, fleet: Container[str]) -> None:
    """Raises UsageError where the plan is for targets that targets/ does not have. No name in it is a selector."""
    gone = [one_line(t) for t in saved.targets if t not in fleet]
    if gone:
        named = quoted(gone, 8)
        raise UsageError(Problem("target_gone", f"the saved plan is for {named}, which targets/ does not have", _AGAIN))


def entry(target: Target, files: Mapping[str, str], *, local: bool) -> Entry:
    """What targets/ says of a target, as a kept plan has it, with the `files` that its steps take in."""
    checksum = hashlib.sha256(repr((local, target.meant)).encode()).hexdigest()
    return Entry(target.name, "--local" if local else str(target), checksum, files)


def held_to(saved: FleetPlan, now: FleetPlan, graph: Callable[[str], Graph]) -> FleetPlan:
    """The plan made now, without the targets for which it is another than the saved one: these are refused.

    A target that has done a part of the saved steps meanwhile, or all, does the rest, by its `graph`. Raises UsageError
    where the waves are others.
    """
    if saved.waves != now.waves:
        raise UsageError(Problem("stale_plan", "the waves are others than those of the saved plan", _AGAIN))
    approved = {p.target: p for p in saved.plans}
    moved = _beside(saved, now) | _moved(saved, now)
    kept: list[Plan] = []
    refused: list[State] = []
    for plan in now.plans:
        found = moved.get(plan.target) or _held(approved.get(plan.target), plan, graph(plan.target))
        if isinstance(found, Plan):
            kept.append(found)
        else:
            refused.append(State(plan.target, StateKind.REFUSED, plan.heads, problem=found))
    lost = [s for s in now.skipped if s.target in approved and approved[s.target].steps]
    refused += (State(s.target, StateKind.REFUSED, problem=_skipped(s)) for s in lost)
    return replace(
        now,
        selector=inert(one_line(saved.selector)),  # to be read by people; anything may stand in a file
        plans=tuple(kept),
        blocked=(*now.blocked, *refused),
        skipped=tuple(s for s in now.skipped if s not in lost),
        saved_plan=saved.saved_plan,
    )


def _moved(saved: FleetPlan, now: FleetPlan) -> dict[str, Problem]:
    """The targets that are other databases than those of the saved plan, or give other arguments to revisions."""
    before = {e.target: e for e in saved.entries}
    return {
        e.target: _is_another(before.get(e.target), e)
        for e in now.entries
        if e.target not in before or e.checksum != before[e.target].checksum
    }


def _beside(saved: FleetPlan, now: FleetPlan) -> dict[str, Problem]:
    """The targets whose steps take in other files than those of the saved plan did."""
    before = {e.target: e.files for e in saved.entries}
    edited = {
        e.target: [name for name, checksum in e.files.items() if before.get(e.target, {}).get(name) != checksum]
        for e in now.entries
    }
    return {target: _changed("other files since", names) for target, names in edited.items() if names}


def _is_another(before: Entry | None, now: Entry) -> Problem:
    if before is None or before.address == now.address:
        why = "its entry in targets/ is not that of the saved plan"
    else:
        why = f"it is `{now.address}`, and the saved plan was made for `{before.address}`"
    return Problem("stale_plan", why, _AGAIN)


def _skipped(now: Skipped) -> Problem:
    return Problem("stale_plan", f"the saved plan has steps for it, and now it gets none: {now.reason.message}", _AGAIN)


def _held(approved: Plan | None, now: Plan, graph: Graph) -> Plan | Problem:
    """The present plan if it is the approved one; where a part of that was done, the rest. Else why it is another."""
    if approved is None:
        return Problem("stale_plan", "the saved plan has no steps for this target", _AGAIN)
    if set(now.goal) != set(approved.goal):
        return _changed("its goal is another", now.goal)
    try:
        anew = _anew(approved, now, graph)
    except TargetError as e:  # a step that was done has no function any more
        return e.problem
    if _forms(anew) != _forms(approved.steps):
        return _other_steps(approved, now, anew)
    rest = _rest(anew, now, graph)
    return replace(stale_plan(approved.heads, now.heads), hint=_AGAIN) if rest is None else replace(now, steps=rest)


def _anew(approved: Plan, now: Plan, graph: Graph) -> tuple[Step, ...]:
    """What would now be planned from where the approved plan began.

    From in between, lines that do not depend on each other may come in another order.
    """
    if set(now.heads) == set(approved.heads):
        return now.steps
    return graph.steps(approved.heads, now.goal) if all(h in graph for h in approved.heads) else ()


def _rest(steps: tuple[Step, ...], now: Plan, graph: Graph) -> tuple[Step, ...] | None:
    """Those from where the target is on; None where none of them begins there."""
    held = graph.canonical(now.heads)
    for number, step in enumerate(steps):
        if step.heads_before == held:
            return steps[number:]
    return () if held == graph.canonical(now.goal) else None


def _other_steps(approved: Plan, now: Plan, anew: Sequence[Step]) -> Problem:
    files = {s.revision: s.checksum for s in approved.steps}
    edited = [s.revision for s in anew if files.get(s.revision, s.checksum) != s.checksum]
    if edited:
        return _changed("other files since", edited)
    if sorted(files) == sorted(s.revision for s in anew):
        return _changed("they come in another order", [s.revision for s in anew])
    return replace(stale_plan(approved.heads, now.heads), hint=_AGAIN)


def _changed(what: str, revisions: Sequence[str]) -> Problem:
    named = quoted(revisions, 8)
    return Problem("stale_plan", f"the revisions are not those of the saved plan; {what}: {named}", _AGAIN)


def _forms(steps: Iterable[Step]) -> list[tuple[object, ...]]:
    return [(s.revision, s.direction, s.checksum, s.heads_before, s.heads_after) for s in steps]
