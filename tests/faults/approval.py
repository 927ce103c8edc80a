"""Scenes whose upgrade is one by a saved plan: what comes between its approval and the run, and what may be done."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ehg_migrate.model import Run, Status
from tests.faults.histories import Node
from tests.faults.scene import Scene
from tests.faults.truth import Truth

SAVED = float(os.environ.get("EHG_FAULT_SAVED", "0.25"))
"""Of the upgrades."""
_BETWEEN = {"nothing": 5, "part": 4, "back": 2, "new": 2, "edited": 2, "waves": 1}  # what happens, and how often
_CODE = "stale_plan"


@dataclass(frozen=True)
class Approval:
    """A plan in a file, as far as it holds when the run begins."""

    file: Path
    between: str
    void: bool  # the waves are others: nothing may begin
    rest: Mapping[str, tuple[str, ...]]  # target -> what of its steps is left, in order; not of those that are stale
    before: Mapping[str, Truth]

    @property
    def words(self) -> tuple[str, ...]:
        """For `upgrade`."""
        return ("--plan", str(self.file))

    @property
    def stale(self) -> frozenset[str]:
        """The targets for which it does not hold."""
        return frozenset(self.before.keys() - self.rest.keys())


def approve(scene: Scene, rng: random.Random) -> Approval:
    """Keeps a plan of everything in a file; then the project, or a target, becomes another, perhaps."""
    file = scene.folder / "approved.json"
    between = rng.choices(list(_BETWEEN), list(_BETWEEN.values()))[0]
    with _changed(scene, rng, between):
        at_first = {t: scene.truth(t).applied() for t in scene.databases}
        made = scene.finish(scene.start(["plan", "-o", str(file)], "plan"), "plan")
    assert made.code in (0, 1), made.err
    plan = json.loads(file.read_text())["data"]
    before = {t: scene.truth(t) for t in scene.databases}
    void = plan["waves"] != [{"name": w.name, "targets": list(w.targets), "soak": w.soak} for w in scene.waves]
    rests = {} if void else {p["target"]: _rest(scene, p, at_first, before) for p in plan["plans"]}
    return Approval(file, between, void, {t: r for t, r in rests.items() if r is not None}, before)


@contextmanager
def _changed(scene: Scene, rng: random.Random, between: str) -> Iterator[None]:
    """The plan is made inside."""
    history = scene.history
    target = rng.choice(list(scene.databases))
    waves = scene.waves
    match between:
        case "new" if last := _last_ones(scene):
            _file(scene, rng.choice(last)).unlink()
        case "edited":
            with _file(scene, rng.choice(history.members(target))).open("a") as text:
                text.write("# as it was read\n")
        case "back" if not scene.truth(target).rows:
            scene.project.upgrade([target], [rng.choice(history.members(target)).id])
        case "waves" if waves:
            first, *others, last_wave = waves
            scene.waves = (
                replace(first, targets=last_wave.targets), *others, replace(last_wave, targets=first.targets),
            )  # fmt: skip
            scene.lay_out()
    yield
    scene.waves = waves
    scene.lay_out()
    match between:
        case "part":
            scene.project.upgrade([target], [rng.choice(history.members(target)).id])
        case "back":
            row = rng.choice(scene.truth(target).rows)
            scene.project.downgrade(target, _below(history.by_id[row]))


def _below(node: Node) -> tuple[str, ...]:
    """What a downgrade names to take it back."""
    return node.parents or (f"{node.branch}@base",)


def _last_ones(scene: Scene) -> list[Node]:
    """Revisions that nothing needs and that are not the first of their branch, which has its label."""
    nodes = scene.history.nodes
    needed = {i for n in nodes for i in (*n.parents, *n.depends)}
    return [n for n in nodes if n.parents and n.id not in needed]


def _file(scene: Scene, node: Node) -> Path:
    return scene.folder / "versions" / node.branch / f"{node.id}.py"


def _rest(
    scene: Scene, plan: Mapping[str, Any], at_first: Mapping[str, frozenset[str]], before: Mapping[str, Truth]
) -> tuple[str, ...] | None:
    """What is left of one target's plan; None where it does not hold any more."""
    target = plan["target"]
    steps = [s["revision"] for s in plan["steps"]]
    now = before[target].applied()
    done = now - at_first[target]
    if not at_first[target] <= now or done != set(steps[: len(done)]):
        return None
    if set(plan["goal"]) != set(scene.history.heads(target)):
        return None
    rest = steps[len(done) :]
    files = {i: _file(scene, scene.history.by_id[i]).read_bytes() for i in rest}
    read = {s["revision"]: s["checksum"] for s in plan["steps"]}
    return tuple(rest) if all(hashlib.sha256(files[i]).hexdigest() == read[i] for i in rest) else None


def only_approved(
    approval: Approval, run: Run | None, truths: Mapping[str, Truth], outsiders: Collection[str]
) -> Iterator[str]:
    """What does not hold has changed nothing, and elsewhere the steps that were left, in their order, and no other.

    Somebody else was at work on `outsiders`.
    """
    for target, truth in truths.items():
        before = approval.before[target]
        done = [(revision, direction) for revision, direction, _ in truth.trail[len(before.trail) :]]
        left = [(revision, "up") for revision in approval.rest.get(target, ())]
        if target in outsiders:
            continue
        if target in approval.stale and truth != before:
            yield f"{target}: its approval did not hold, and it was {before}, and is {truth}"
        if done != left[: len(done)]:
            yield f"{target}: {left} was left of what was approved, and this was done: {done}"
    for result in run.results if run else ():
        said = result.problem is not None and result.problem.code == _CODE
        if said and result.target not in {*approval.stale, *outsiders}:
            yield f"{result.target}: what was approved holds, and it was refused: {result.problem}"
        if result.target in approval.stale and not said and result.status not in (Status.FAILED, Status.REFUSED):
            yield f"{result.target}: its approval does not hold, and it is {result.status}: {result.problem}"
