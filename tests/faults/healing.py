"""After the fault: it is taken away, the tool is run again, and every target must be as if nothing had happened."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from psycopg import sql

from ehg_migrate.errors import EhgMigrateError, named_in
from ehg_migrate.model import Result, Run, RunStatus, StateKind
from tests.faults import invariants
from tests.faults.approval import Approval
from tests.faults.fault import RUNNER, Fault
from tests.faults.recovery import left_to_its_plan, recovered, to_complete
from tests.faults.scene import Scene
from tests.faults.truth import Truth
from tests.faults.waves import entered, held_back, in_order

_TRIES = 3


@dataclass(frozen=True)
class Former:
    """The run that was disturbed: what was asked of it, and what it told, if it came to that."""

    arguments: Sequence[str]
    run: Run | None
    approval: Approval | None = None  # by which it was done
    outsiders: frozenset[str] = frozenset()  # targets that somebody else was at work on


def healed(scene: Scene, fault: Fault, former: Former, settled: Mapping[str, Truth], story: list[str]) -> Iterator[str]:
    """The fault is taken away, and the tool brings every target to where it belongs. Gives the violations.

    `settled` are the targets of which the run was sure: nothing that arrives late may change them. What the tool
    refuses on the way goes to `story`.
    """
    yield from _released(scene, fault, settled)
    if not fault.ledger:
        yield from _died(scene)
    yield from _in_waves(scene, former, _recovered(scene, fault, former, story))
    yield from _in_waves(scene, former, _repeat(scene, scene.project.upgrade, "upgrade", story))
    yield from _as_clean(scene, fault)


def _released(scene: Scene, fault: Fault, settled: Mapping[str, Truth]) -> Iterator[str]:
    if not fault.heal_first:
        fault.heal()
    for proxy in scene.proxies:
        proxy.release()
        proxy.delay = proxy.rate = 0
    scene.mend()
    scene.lay_out()
    yield from invariants.left_behind(scene.place.admin, scene.databases)
    for target in scene.databases:
        truth = scene.truth(target)
        yield from (f"{target}, released: {v}" for v in invariants.consistent(scene.history, target, truth))
        if target in settled and settled[target] != truth:
            yield f"{target} has changed after the run had told of it: {settled[target]} became {truth}"


def _in_waves(scene: Scene, former: Former, runs: Iterator[str]) -> Iterator[str]:
    """What the runs give, and whether each wave waited, however many of them it took to do the one before."""
    since = time.time()
    yield from runs
    if former.arguments[0] != "upgrade" or not scene.waves:  # else a hint may lead to a target by itself
        return
    truths = {t: scene.truth(t) for t in scene.databases}
    good = {t: truth.rows == scene.history.heads(t) for t, truth in truths.items()}
    waves = [replace(w, soak=0.0) for w in scene.waves]  # what one run has changed, the next does not wait for
    yield from in_order(waves, entered(scene.place.proxy, scene.databases, RUNNER, since), truths, good)


def _recovered(scene: Scene, fault: Fault, former: Former, story: list[str]) -> Iterator[str]:
    """By `resume` or `retry`, by the same command, or not at all before everything is upgraded."""
    way = scene.random("recovery").choice(("resume", "resume", "retry", "again", "again", "upgrade"))
    story.append(f"recovery: {way}")
    if way in ("resume", "retry") and not fault.ledger:
        run = to_complete(scene, former.run)
        if run and former.approval:
            yield from left_to_its_plan(scene, run, failed_only=way == "retry")
        elif run:
            repeat = partial(_repeat, scene, what=f"{way} {run}", story=story)
            yield from recovered(scene, run, repeat, failed_only=way == "retry")
    elif way == "again" and former.approval and not former.approval.void:
        yield from _approved(scene, former.approval, former.outsiders, story)
    elif way != "upgrade" and former.arguments[0] != "upgrade":
        yield from _repeat(scene, partial(_again, scene, former.arguments), " ".join(former.arguments), story)


def _approved(scene: Scene, approval: Approval, outsiders: frozenset[str], story: list[str]) -> Iterator[str]:
    """The rest of what was approved is done; where that does not hold, and in waves behind that, nothing is."""
    spared = {*approval.stale, *outsiders}
    spared |= held_back(scene.waves, spared)
    before = {t: scene.truth(t) for t in approval.stale}
    attempt = partial(_by_plan, scene, approval)
    yield from _repeat(scene, attempt, "upgrade --plan", story, spared)
    for target in scene.databases.keys() - spared:
        if scene.truth(target).rows != scene.history.heads(target):
            yield f"{target}: the rest of what was approved is not done"
    yield from (f"{t}: its approval did not hold, and it was touched" for t in before if scene.truth(t) != before[t])


def _by_plan(scene: Scene, approval: Approval) -> Run:
    return scene.project.run(scene.project.plan_saved(approval.file))


def _died(scene: Scene) -> Iterator[str]:
    """No run is taken for running when its process is gone."""
    for run in scene.project.runs(5):
        if run.status is RunStatus.RUNNING:
            yield f"run {run.id} is over, and the ledger says `running`"


def _repeat(
    scene: Scene, attempt: Callable[[], Run], what: str, story: list[str], spared: Collection[str] = ()
) -> Iterator[str]:
    """The same again, as often as it may need; what is half done is dropped as the hint says."""
    for _ in range(_TRIES * max(1, len(scene.waves))):
        try:
            run = attempt()
        except EhgMigrateError as e:
            yield f"`{what}` after healing: {e}"
            return
        bad = [r for r in run.results if not r.status.good and r.target not in spared]
        if not bad:
            return
        for result in bad:
            story.append(f"healing, `{what}`: {result}")
            yield from _follow_hint(scene, result)
    yield from (f"{r.target}: `{what}` after healing is {r.status}: {r.problem}" for r in bad)


def _again(scene: Scene, arguments: Sequence[str]) -> Run:
    project = scene.project
    if arguments[0] == "downgrade":
        return project.downgrade(arguments[1], arguments[3:])
    return project.rollback(arguments[1])


def _follow_hint(scene: Scene, result: Result) -> Iterator[str]:
    """What the hint says a person is to do: drop an INVALID index, or finish a downgrade that was cut."""
    hint = named_in(result.problem.hint, result.target) if result.problem else ""
    _drop_indexes(scene, result.target, hint)
    for command in re.findall(r"`ehg-migrate downgrade ([^`]+)`", hint):
        target, *to = [word for word in command.split() if word != "--to"]
        for _ in range(_TRIES):
            (done,) = scene.project.downgrade(target, to).results
            if done.status.good:
                return
            _drop_indexes(scene, target, done.problem.hint if done.problem else "")
        yield f"`downgrade {command}`, as the hint said, is {done.status}: {done.problem}"


def _drop_indexes(scene: Scene, target: str, hint: str) -> None:
    with scene.place.cluster.connect(scene.databases[target]) as connection:
        for name in re.findall(r"DROP INDEX CONCURRENTLY ([\w.\"]+)", hint):
            schema, _, index = name.replace('"', "").partition(".")
            connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, index)))


def _as_clean(scene: Scene, fault: Fault) -> Iterator[str]:
    history = scene.history
    for state in scene.project.status():
        notes = [n for n in state.notes if not (fault.edits and n.code == "edited_file")]
        if state.kind is not StateKind.UP_TO_DATE or notes:
            yield f"{state.target}: status says {state.kind}, {state.problem}, {notes}"
    for target, database in scene.databases.items():
        truth = scene.truth(target)
        clean = scene.bench.clean_dump(history, target)
        checks = [
            *invariants.consistent(history, target, truth),
            *invariants.same(history, target, scene.place.cluster.dump_schema(database), clean, truth),
        ]
        yield from (f"{target}, healed: {c}" for c in checks)
