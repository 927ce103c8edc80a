"""A fleet plan run: targets with steps go to workers, the others are done already; each Result as it comes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ehg_migrate.model import Origin, Plan, Result, Status, Target
from ehg_migrate.rollout.jobs import Job, Watch
from ehg_migrate.rollout.pool import Pool, Stop
from ehg_migrate.settings import Settings

Known = Callable[[Target], Mapping[str, tuple[str, str]]]
"""For a target: revision -> (branch, checksum), of everything it can have."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run is to do: plans with their targets and passwords."""

    run: str
    origin: Origin
    plans: Sequence[Plan]
    targets: Mapping[str, Target]
    passwords: Mapping[str, str | None]
    known: Known


def run_plans(settings: Settings, work: Work, parallel: int, watch: Watch, stop: Stop) -> Iterator[Result]:
    """One Result for each plan, in the order in which they end; a plan without steps needs no worker."""
    for plan in work.plans:
        if not plan.steps:
            yield Result(plan.target, Status.UP_TO_DATE, plan.heads, plan.heads, notes=plan.notes)
    with tempfile.TemporaryDirectory(prefix="ehg-") as folder:  # 0700; takes what revisions print
        jobs = [_job(settings, work, plan, Path(folder), i) for i, plan in enumerate(work.plans) if plan.steps]
        if jobs:
            yield from Pool(parallel, watch, stop).run(jobs)


def _job(settings: Settings, work: Work, plan: Plan, folder: Path, number: int) -> Job:
    target = work.targets[plan.target]
    return Job(
        settings=settings,
        target=target,
        password=work.passwords.get(plan.target),
        plan=plan,
        run=work.run,
        origin=work.origin,
        output=str(folder / f"{number}.out"),
        known=work.known(target),
    )
