"""The times of a runner, measured on this machine: what a start, a target, a look, a worker and a step take.

All by CPU and counted waits rather than by the clock, so that they hold on other machines and on busy ones: two sizes
of a fleet are run, and what the larger one takes more is what a target takes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.scene import Scene
from benchmarks.simulation import pieces
from benchmarks.simulation.model import Costs, Site, Use
from benchmarks.simulation.real import STEPS, Measured, stage

TIMES = Path(__file__).with_name("times.json")
"""The recording that simulations use where they are given no other."""
_SIZES = (10, 110)
_SHORT = 3  # as often are the short runs repeated: what they take is little beside what starts them take
_DELAY = 0.02  # seconds; with it waits at the same time can be told from waits one after the other


@dataclass(frozen=True)
class Recording:
    """Costs, and where and when they were measured."""

    machine: str
    when: str
    others: float  # cores that others used meanwhile
    costs: Costs


def record(scene: Scene, folder: Path) -> Recording:
    """Runs what it needs, some minutes; tells what it does on standard error."""
    sizes = [_runs(scene, folder, size) for size in _SIZES]
    tell("waits of a host's first target and of its second")
    waits = _waits(scene, folder, 1), _waits(scene, folder, 2)
    tell("fork server, pipes and ledger")
    write, result = pieces.ledger_trips(scene)
    costs = replace(
        _costs(sizes[0], sizes[1], waits),
        fork=pieces.fork(),
        watch=pieces.watch(),
        record=pieces.ledger_file(folder),
        write_trips=write,
        result_trips=result,
    )
    others = median(m.others for size in sizes for m in size.values())
    return Recording(scene.machine, datetime.now(UTC).strftime("%Y-%m-%d"), others, costs)


def save(recording: Recording, file: Path = TIMES) -> None:
    """As JSON."""
    file.write_text(json.dumps(asdict(recording), indent=1) + "\n")


def load(file: Path = TIMES) -> Recording:
    """What `save` wrote."""
    form = json.loads(file.read_text())
    costs = form["costs"]
    uses = {name: Use(**costs[name]) for name in ("probe", "enter", "step")}
    return Recording(**{**form, "costs": Costs(**{**costs, **uses, "spread": tuple(costs["spread"])})})


def tell(text: str) -> None:
    """What is being done, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def _runs(scene: Scene, folder: Path, targets: int) -> dict[str, Measured]:
    """By case, and `load`."""
    tell(f"runs on {targets} targets")
    with stage(scene, folder / "record", Site(proxied=True), targets) as found:
        found.load()
        loads = [found.load() for _ in range(_SHORT)]
        full = found.case("full")
        looks, ones = ([found.case(case) for _ in range(_SHORT)] for case in ("nothing", "one"))
        return {"load": _middle(loads), "full": full, "nothing": _middle(looks), "one": _middle(ones)}


def _middle(measured: list[Measured]) -> Measured:
    columns = zip(*(astuple(m) for m in measured), strict=True)
    return Measured(*(median(column) for column in columns))


def _waits(scene: Scene, folder: Path, targets: int) -> dict[str, int]:
    """Of so many targets by case, which one worker does one after the other."""
    site = Site(parallel=1, proxied=True, delay=_DELAY)
    with stage(scene, folder / "record", site, targets) as found:
        return {case: found.case(case).waits for case in ("full", "nothing", "one")}


def _costs(
    small: dict[str, Measured], large: dict[str, Measured], waits: tuple[dict[str, int], dict[str, int]]
) -> Costs:
    def each(case: str, value: Callable[[Measured], float]) -> float:
        return max(0.0, (value(large[case]) - value(small[case])) / (_SIZES[1] - _SIZES[0]))

    def fixed(case: str, value: Callable[[Measured], float]) -> float:
        return max(0.0, value(small[case]) - _SIZES[0] * each(case, value))

    def more(value: Callable[[Measured], float], case: str, before: str) -> float:
        return max(0.0, each(case, value) - each(before, value))

    further, look = STEPS["full"] - STEPS["one"], waits[0]["nothing"]
    first = waits[0]["one"] - look
    second = {case: waits[1][case] - waits[0][case] for case in ("full", "one")}
    second_step = (second["full"] - second["one"]) / further
    step = Use(
        more(_workers, "full", "one") / further,
        more(_server, "full", "one") / further,
        second_step,
        more(_proxy, "full", "one") / further,
    )
    hear = more(_runner, "full", "one") / further
    return Costs(
        start=fixed("nothing", _runner),
        target=each("load", _runner),
        probe=Use(more(_runner, "nothing", "load"), each("nothing", _server), look, each("nothing", _proxy)),
        workers=fixed("one", _workers),
        hand=max(0.0, more(_runner, "one", "nothing") - hear),
        hear=hear,
        enter=Use(
            max(0.0, each("one", _workers) - step.client),
            max(0.0, more(_server, "one", "nothing") - step.server),
            max(0.0, second["one"] - second_step),
            max(0.0, more(_proxy, "one", "nothing") - step.proxy),
        ),
        step=step,
        first_trips=max(0.0, first - second["one"]),
    )


def _runner(m: Measured) -> float:
    return m.runner


def _workers(m: Measured) -> float:
    return m.workers


def _server(m: Measured) -> float:
    return m.server


def _proxy(m: Measured) -> float:
    return m.proxy
