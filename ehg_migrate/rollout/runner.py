"""A fleet plan run: each target with steps goes to a worker; each Result as it comes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ehg_migrate.database.hosts import place
from ehg_migrate.errors import Problem
from ehg_migrate.model import Origin, Plan, Result, Status, Target
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.executor import Execute
from ehg_migrate.rollout.jobs import (
    Event,
    EventKind,
    Job,
    Learned,
    Watch,
    files_that_import,
    files_to_load,
    known_revisions,
)
from ehg_migrate.rollout.outputs import no_folder, output_folder
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.settings import Settings

Graphs = Callable[[Target], Graph]
"""For a target the graph of everything it can have."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the targets of a run are reached, what they can have, and what else is known of them before."""

    targets: Mapping[str, Target]
    passwords: Mapping[str, str | None]
    graph: Graphs
    took: Mapping[str, float] = field(default_factory=dict)  # seconds, the last time
    beside: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # target -> files that its steps take in
    proven: Collection[tuple[str, int]] = ()  # endpoints (host, port) in session mode


@dataclass(frozen=True, slots=True)
class Work:
    """What a run is to do."""

    run: str
    origin: Origin
    plans: Sequence[Plan]
    reach: Reach
    completed_by: str = ""  # what does what is missing of the run, for hints


def run_plans(settings: Settings, work: Work, execute: Execute, watch: Watch, stop: Stop) -> Iterator[Result]:
    """One Result for each plan with steps, in the order in which they end.

    What is not known to be short begins first: a long one that begins last is waited for by itself.
    """
    plans = sorted((p for p in work.plans if p.steps), key=lambda p: -work.reach.took.get(p.target, math.inf))
    if not plans:
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(output_folder())
        except OSError as e:
            yield from _none_begun(plans, no_folder(e), watch)
            return
        jobs = [_job(settings, work, plan, folder, i) for i, plan in enumerate(plans)]
        yield from execute(jobs, watch, stop)


def adopt_plans(work: Work) -> Iterator[Result]:
    """One Result for each adoption; there is nothing to run, so no worker is needed."""
    from ehg_migrate.rollout.adopting import adopt  # with all that runs steps

    for plan in work.plans:
        target = work.reach.targets[plan.target]
        yield adopt(
            target, work.reach.passwords.get(plan.target), plan, work.reach.graph(target), work.run, work.origin
        )


def _none_begun(plans: Sequence[Plan], problem: Problem, watch: Watch) -> Iterator[Result]:
    for plan in plans:
        result = Result(plan.target, Status.FAILED, plan.heads, plan.heads, (), plan.revisions, problem)
        watch(Event(plan.target, EventKind.FINISHED, result=result))
        yield result


def _job(settings: Settings, work: Work, plan: Plan, folder: Path, number: int) -> Job:
    target = work.reach.targets[plan.target]
    graph = work.reach.graph(target)
    files = files_to_load(plan.steps, graph)
    return Job(
        settings=settings,
        target=target,
        password=work.reach.passwords.get(plan.target),
        plan=plan,
        run=work.run,
        completed_by=work.completed_by,
        origin=work.origin,
        output=str(folder / f"{number}.out"),
        known=known_revisions(plan, graph),
        files=files,
        beforehand=files_that_import(settings, graph),
        beside=work.reach.beside.get(plan.target, {}),
        clean=not settings.metadata and _is_clean(plan, graph, files),
        learned=Learned(proven=place(target) in work.reach.proven),
    )


def _is_clean(plan: Plan, graph: Graph, files: Sequence[str]) -> bool:
    """Whether nothing is loaded and run but plain lists of operations."""
    plain = all(s.direction.function in graph[s.revision].plain for s in plan.steps)
    return plain and len(files) == len({s.revision for s in plan.steps})
