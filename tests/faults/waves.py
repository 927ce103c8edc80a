"""Scenes whose fleet goes in waves, and what must hold of a wave that is not the first."""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

import yaml

from ehg_migrate.model import Run, Wave
from tests.faults.histories import History
from tests.faults.proxy import FaultProxy
from tests.faults.truth import Truth

_IN_WAVES = float(os.environ.get("EHG_FAULT_WAVES", "0.4"))
"""Of the scenes with several targets."""
_REST = "rest"  # what the wave is called that no file names


def draw_waves(history: History, rng: random.Random) -> tuple[Wave, ...]:
    """Each target in one of at least two; none for most fleets."""
    targets = list(history.groups)
    if len(targets) < 2 or rng.random() >= _IN_WAVES:
        return ()
    rng.shuffle(targets)
    cuts = sorted(rng.sample(range(1, len(targets)), rng.randint(1, len(targets) - 1)))
    ends = list(pairwise((0, *cuts, len(targets))))
    names = [f"w{n}" for n in range(len(ends) - 1)] + [rng.choice(("last", _REST))]
    soaks = [*(rng.choice((0.0, 0.0, 0.3)) for _ in ends[1:]), 0.0]
    return tuple(Wave(n, tuple(sorted(targets[a:b])), s) for n, (a, b), s in zip(names, ends, soaks, strict=True))


def file_of(waves: Collection[Wave]) -> str:
    """What stands in targets/."""
    named = [{"name": w.name, "targets": list(w.targets), "soak": w.soak} for w in waves if w.name != _REST]
    return yaml.safe_dump({"waves": named}) if named else ""


def held_back(waves: Collection[Wave], bad: Collection[str]) -> frozenset[str]:
    """The targets of all waves behind the first that has one of `bad`."""
    found: set[str] = set()
    over = False
    for wave in waves:
        found |= set(wave.targets) if over else set()
        over = over or not set(bad).isdisjoint(wave.targets)
    return frozenset(found)


def held_back_by(waves: Collection[Wave], run: Run) -> frozenset[str]:
    """Those that the run had to leave alone, by its own results."""
    return held_back(waves, [r.target for r in run.results if not r.status.good])


def entered(proxy: FaultProxy, databases: Mapping[str, str], application: str, since: float) -> dict[str, float]:
    """When a run first came to each target that it came to; `databases` by target."""
    came = {t: proxy.entered(d, application, since) for t, d in databases.items()}
    return {t: at for t, at in came.items() if at is not None}


def in_order(
    waves: Collection[Wave], entered: Mapping[str, float], truths: Mapping[str, Truth], good: Mapping[str, bool]
) -> Iterator[str]:
    """No wave has begun before all of the waves before it were done, and had waited.

    `entered` says when a run came to a target that it came to, `good` which targets are where they should be.
    """
    ready, earlier = 0.0, list[str]()
    for wave in waves:
        for target in wave.targets:
            if target not in entered:
                continue
            yield from (f"{target} has begun, and {t} of a wave before is not done" for t in earlier if not good[t])
            if entered[target] < ready:
                yield f"{target} has begun {ready - entered[target]:.3f} s before its wave might"
        earlier += [t for t in wave.targets if t in good]
        changed = [truths[t].last for t in wave.targets if t in good and t in entered]
        ready = max([ready, *(at + wave.soak for at in changed)])
