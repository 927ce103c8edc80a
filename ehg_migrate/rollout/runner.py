"""A fleet plan run: targets with steps go to workers, the others are done already; each Result as it comes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ehg_migrate.model import Origin, Plan, Result, Status, Target
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.adopting import adopt
from ehg_migrate.rollout.jobs import Job, Watch
from ehg_migrate.rollout.pool import Pool, Stop
from ehg_migrate.settings import Settings

Graphs = Callable[[Target], Graph]
"""For a target the graph of everything it can have."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the targets of a run are reached, and what they can have."""

    targets: Mapping[str, Target]
    passwords: Mapping[str, str | None]
    graph: Graphs


@dataclass(frozen=True, slots=True)
class Work:
    """What a run is to do."""

    run: str
    origin: Origin
    plans: Sequence[Plan]
    reach: Reach


def run_plans(settings: Settings, work: Work, parallel: int, watch: Watch, stop: Stop) -> Iterator[Result]:
    """One Result for each plan, in the order in which they end; a plan without steps needs no worker."""
    for plan in work.plans:
        if not plan.steps:
            yield Result(plan.target, Status.UP_TO_DATE, plan.heads, plan.heads, notes=plan.notes)
    with tempfile.TemporaryDirectory(prefix="ehg-") as folder:  # 0700; takes what revisions print
        jobs = [_job(settings, work, plan, Path(folder), i) for i, plan in enumerate(work.plans) if plan.steps]
        if jobs:
            yield from Pool(parallel, watch, stop).run(jobs)


def adopt_plans(work: Work) -> Iterator[Result]:
    """One Result for each adoption; there is nothing to run, so no worker is needed."""
    for plan in work.plans:
        target = work.reach.targets[plan.target]
        yield adopt(
            target, work.reach.passwords.get(plan.target), plan, work.reach.graph(target), work.run, work.origin
        )


def _job(settings: Settings, work: Work, plan: Plan, folder: Path, number: int) -> Job:
    target = work.reach.targets[plan.target]
    return Job(
        settings=settings,
        target=target,
        password=work.reach.passwords.get(plan.target),
        plan=plan,
        run=work.run,
        origin=work.origin,
        output=str(folder / f"{number}.out"),
        known={r.id: (r.branch, r.checksum) for r in work.reach.graph(target).revisions},
    )
