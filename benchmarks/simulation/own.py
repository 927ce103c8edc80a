"""Times of your own fleet: what its ledger says of workers and steps, in place of those of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from benchmarks.simulation.model import Costs, Use
from ehg_migrate.ledger import open_ledger
from ehg_migrate.model import Result, Status

_RUNS = 50  # the newest


def from_ledger(file: Path, costs: Costs) -> Costs:
    """Costs with the workers and steps of the newest runs; the wire is in these times, so they have no waits of its.

    Raises ValueError where no run in there did a step.
    """
    if not file.is_file():
        raise ValueError(f"`{file}` is no file")
    with open_ledger(f"sqlite:///{file.resolve()}") as ledger:
        results = [r for run in ledger.runs(_RUNS) for r in run.results if r.status is Status.SUCCEEDED and r.steps]
    if not results:
        raise ValueError(f"no run in `{file}` did a step")
    return from_results(results, costs)


def from_results(results: Sequence[Result], costs: Costs) -> Costs:
    """The same from results that did at least one step each. The mean counts; how targets differ is the spread."""
    step = mean(s.seconds for r in results for s in r.steps)
    enter = mean(r.seconds - sum(s.seconds for s in r.steps) for r in results)
    each = [mean(s.seconds for s in r.steps) for r in results]
    return replace(
        costs,
        enter=Use(costs.enter.client, max(0.0, enter - costs.enter.client)),
        step=Use(costs.step.client, max(0.0, step - costs.step.client)),
        spread=tuple(seconds / mean(each) for seconds in each) if any(each) else (1.0,),
    )
