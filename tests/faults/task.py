"""What a run is to do: what its targets hold before, its verb, and whether its plan was approved before."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ehg_migrate.model import Run, RunStatus
from tests.faults.approval import SAVED, Approval, approve
from tests.faults.kinds import Entry
from tests.faults.scene import Scene

_VERIFIED, _ASTRAY = 0.25, 0.5  # of the upgrades in waves, and of those


@dataclass(frozen=True)
class Task:
    """What is asked of `ehg-migrate`."""

    verb: str
    arguments: Sequence[str]
    approval: Approval | None = None  # of the plan that it is to do

    def forms(self, scene: Scene) -> Iterator[str]:
        """What the run is beside its verb, for the numbers at the end."""
        if self.verb == "upgrade" and scene.waves:
            yield "in waves"
        if scene.verified:
            yield "verified, one astray" if scene.astray else "verified"
        if self.approval:
            yield "by a saved plan"
            yield f"by a saved plan, then {self.approval.between}"
            yield from ["void plan"] if self.approval.void else ["stale targets"] if self.approval.stale else []


def prepare(scene: Scene, entry: Entry, rng: random.Random) -> Task:
    """Brings the targets to where the run begins; `entry` is the fault that will befall it."""
    if scene.waves and not entry.sleeps:
        scene.waves = tuple(replace(w, soak=0.0) for w in scene.waves)
        scene.lay_out()
    verb = rng.choices(("upgrade", "downgrade", "rollback"), (6, 2, 2))[0]
    if verb != "downgrade" and rng.random() < 0.5:
        _part(scene, rng)
    if verb == "upgrade":
        return _upgrade(scene, entry, rng)
    run = scene.project.upgrade()
    _good(run)
    done = {r.target: len(r.steps) for r in run.results}
    if verb == "rollback" and any(done.values()):
        scene.steps = done
        return Task(verb, ["rollback", run.id])
    return Task("downgrade", _downgrade(scene, rng))


def _upgrade(scene: Scene, entry: Entry, rng: random.Random) -> Task:
    """Some are by a plan that was approved before; some of those in waves are verified between these."""
    parallel = rng.choice((1, 2, 4))
    if scene.history.is_plain:  # the more targets a worker serves, the more it enters by one connection
        parallel = min(parallel, 2)
    form = scene.random("form")
    approval = approve(scene, form) if form.random() < SAVED and not entry.edits else None
    for target in scene.databases:
        left = len(scene.history.members(target)) - len(scene.truth(target).applied())
        scene.steps[target] = len(approval.rest.get(target, ())) if approval else left
    scene.upgrade = ("upgrade", *(approval.words if approval else ()))
    if scene.waves and form.random() < _VERIFIED:
        busy = [t for t, n in scene.steps.items() if n]
        scene.verify(form.choice(busy) if busy and form.random() < _ASTRAY else "")
    return Task("upgrade", [*scene.upgrade, "--parallel", str(parallel)], approval)


def _downgrade(scene: Scene, rng: random.Random) -> list[str]:
    """To what has something above it, or to nothing."""
    history = scene.history
    target = rng.choice(list(scene.databases))
    above = {n.id: [m for m in history.members(target) if n.id in m.parents] for n in history.members(target)}
    to = rng.choice(["base", *(i for i, more in above.items() if more)])
    needing = [m for m in history.members(target) if to == "base" or to in history.closure(m.parents)]
    scene.steps = dict.fromkeys(scene.databases, 0) | {target: len(needing)}
    return ["downgrade", target, "--to", to]


def _part(scene: Scene, rng: random.Random) -> None:
    """Some revision of each of some targets, and what it needs."""
    for target in scene.databases:
        if rng.random() < 0.7:
            _good(scene.project.upgrade([target], [rng.choice(scene.history.members(target)).id]))


def _good(run: Run) -> None:
    assert run.status is RunStatus.SUCCEEDED, [(r.target, r.status, r.problem, r.output) for r in run.results]
