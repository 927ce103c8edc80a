"""The simulation held against real runs: the same fleet, the same limits, and how far the prediction was off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil

from benchmarks.scene import Scene
from benchmarks.simulation import pieces
from benchmarks.simulation.model import Costs, Site, Task
from benchmarks.simulation.real import STEPS, Measured, stage
from benchmarks.simulation.record import tell
from benchmarks.simulation.runner import simulate
from benchmarks.tables import TITLES, line

SIZES = (50, 200, 1000)
"""Targets."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A way in which fleets are reached; `most` is the largest fleet that is tried so."""

    title: str
    site: Site
    most: int = 1000


SETTINGS = (
    Setting("one host, no delay, 8 at a time", Site(shared=True)),
    Setting(
        "4 hosts at 20 ms, `host_parallel: 4`, 16 at a time",
        Site(parallel=16, shared=True, proxied=True, delay=0.02, hosts=4, host_parallel=4),
    ),
    Setting(
        "4 hosts at 20 ms, `host_rate: 5`, 8 at a time",
        Site(shared=True, proxied=True, delay=0.02, hosts=4, host_rate=5),
        200,
    ),
)


@dataclass(frozen=True, slots=True)
class Held:
    """One real run, and what was predicted of it; both in seconds."""

    setting: str
    targets: int
    case: str
    predicted: float
    real: float
    others: float  # cores that others used meanwhile; the simulation had the rest

    @property
    def error(self) -> float:
        """Of the real seconds."""
        return self.predicted / self.real - 1


def check(scene: Scene, folder: Path, costs: Costs, sizes: Sequence[int] = SIZES) -> Iterator[Held]:
    """Each setting and size, all three cases; told as they come."""
    for setting in SETTINGS:
        delay = pieces.trip(scene, setting.site.delay) if setting.site.delay else 0.0
        for targets in sizes:
            if targets <= setting.most:
                for held in _cases(scene, folder, costs, setting, targets, delay):
                    tell(f"{held.setting}, {targets} targets, {held.case}: {held.predicted:.2f} s predicted, "
                         f"{held.real:.2f} s real, {held.error:+.0%}")  # fmt: skip
                    yield held


def _cases(scene: Scene, folder: Path, costs: Costs, setting: Setting, targets: int, delay: float) -> Iterator[Held]:
    with stage(scene, folder / "check", setting.site, targets) as found:
        found.load()
        for case in ("full", "nothing", "one"):
            yield hold(found.case(case), case, costs, setting, targets, delay)


def hold(real: Measured, case: str, costs: Costs, setting: Setting, targets: int, delay: float) -> Held:
    """Simulates what was measured, with the cores that others left and the delay that there really was."""
    cores = max(0.1, (psutil.cpu_count() or 1) - real.others)
    site = replace(setting.site, cores=cores, delay=delay)
    tasks = [Task(n % site.hosts, STEPS[case]) for n in range(targets)]  # as `real.Hosted` spreads them
    return Held(setting.title, targets, case, simulate(costs, site, tasks).seconds, real.wall, real.others)


def markdown(found: Sequence[Held]) -> str:
    """Predicted and real beside each other, and the errors in one sentence."""
    head = ["hosts and limits", "targets", "case", "predicted, s", "real, s", "error", "cores used by others"]
    rows = [
        line([h.setting, f"{h.targets:,}", TITLES[h.case], f"{h.predicted:.2f}", f"{h.real:.2f}", f"{h.error:+.0%}",
              f"{h.others:.1f}"])
        for h in found
    ]  # fmt: skip
    errors = [abs(h.error) for h in found]
    summary = f"Half of the errors are below {median(errors):.0%}, the largest is {max(errors):.0%}."
    return "\n".join([line(head), line(["---"] * len(head)), *rows, "", summary, ""])
