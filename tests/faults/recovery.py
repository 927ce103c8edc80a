"""A run completed by `resume` or `retry`: on what is missing, on nothing else, and the ledger has both attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Run, RunStatus, Status
from tests.faults.scene import Scene

Repeat = Callable[[Callable[[], Run]], Iterator[str]]
"""Does a run as often as it may need, and gives the violations."""

_FAILED = (Status.FAILED, Status.SCHEMA_DIFFERS, Status.INDETERMINATE, Status.REFUSED)


def recovered(scene: Scene, former: str, repeat: Repeat, *, failed_only: bool) -> Iterator[str]:
    """Completes the run `former` and checks what was touched. Gives the violations."""
    before = scene.project.show(former)
    left = _left(before, failed_only=failed_only)
    looked_at = [] if failed_only or not scene.verified else _made_unseen(before)
    truths = {t: scene.truth(t) for t in scene.databases}
    attempts: list[Run] = []

    def attempt() -> Run:
        project = scene.project
        run = project.run(project.plan_resume(former, failed_only=failed_only))
        attempts.append(run)
        return run

    if not (left or looked_at):
        yield from _refused(scene, former, "nothing_left", failed_only=failed_only)
        return
    yield from repeat(attempt)
    for target in scene.databases.keys() - set(left):
        if scene.truth(target) != truths[target]:
            yield f"{target} was not missing in run {former}, and was touched by its completion"
    yield from _both_kept(scene, before, attempts, [*left, *looked_at])


def _left(run: Run, *, failed_only: bool) -> list[str]:
    """What is missing of it, by its own results."""
    results = {r.target: r.status for r in run.results}
    if failed_only:
        return [t for t in run.targets if results.get(t) in _FAILED]
    return [t for t in run.targets if t not in results or not results[t].good]


def _made_unseen(run: Run) -> list[str]:
    """What a run that was cut has made, and perhaps nobody has looked at: its completion begins with that look."""
    cut = run.status in (RunStatus.DIED, RunStatus.INTERRUPTED)
    return [r.target for r in run.results if cut and r.status.good and (r.steps or run.resumes)]


def left_to_its_plan(scene: Scene, former: str, *, failed_only: bool) -> Iterator[str]:
    """The run `former` did a saved plan: nobody has approved what would be planned now. Gives the violations."""
    left = _left(scene.project.show(former), failed_only=failed_only)
    yield from _refused(scene, former, "saved_plan" if left else "nothing_left", failed_only=failed_only)


def _refused(scene: Scene, former: str, why: str, *, failed_only: bool) -> Iterator[str]:
    try:
        scene.project.plan_resume(former, failed_only=failed_only)
    except UsageError as e:
        if e.problems[0].code != why:
            yield f"run {former} is not to be completed ({why}), and its completion says {e}"
    else:
        yield f"run {former} is not to be completed ({why}), and there is a plan to complete it"


def _both_kept(scene: Scene, before: Run, attempts: list[Run], due: list[str]) -> Iterator[str]:
    if scene.project.show(before.id) != before:
        yield f"the record of run {before.id} was changed by its completion"
    for attempt in attempts:
        kept = scene.project.show(attempt.id)
        if kept.resumes != before.id:
            yield f"the ledger says that {attempt.id} completes {kept.resumes}"
        if sorted(kept.targets) != sorted(due):
            yield f"{attempt.id} was for {kept.targets}, and missing or unseen were {due}"
        if kept.status is not attempt.status:
            yield f"the ledger says that {attempt.id} is {kept.status}, and it was {attempt.status}"


def to_complete(scene: Scene, run: Run | None) -> str:
    """The id of the run that was disturbed: what it told, or the one that died; empty if it never came so far."""
    if run:
        return run.id
    newest = scene.project.runs(1)
    return newest[0].id if newest and newest[0].status is RunStatus.DIED else ""
