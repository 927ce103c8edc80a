"""Faults of the client's clock: it stands elsewhere than before, and is set while the run works.

Debian's libfaketime gives the run's processes a clock of their own; what waits, waits by the monotonic clock, which
nobody can set, so that one stays real.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.fault import Fault, moment
from tests.faults.proxy import Act, Link
from tests.faults.scene import Scene

_STEPS = (-400 * 86400, -86400, -3700, -61, -1, 1, 61, 3700, 86400, 400 * 86400)  # seconds


def clock(scene: Scene, rng: random.Random) -> Fault:
    """The run's clock is not that of the runs before and after it, and is set once or twice in its middle."""
    file = scene.folder / "clock"

    def step(link: Link) -> None:
        set_clock(file, rng.choice(_STEPS))

    rules = [moment(scene, rng, Act.CALL, call=step) for _ in range(rng.choice((0, 1, 2)))]
    set_clock(file, rng.choice(_STEPS))
    scene.environment = environment(file)
    return Fault("clock_in_run" if rules else "clock_between", rules)


def environment(file: Path) -> dict[str, str]:
    """Gives a process the clock that `file` says."""
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def set_clock(file: Path, seconds: int) -> None:
    """So much before or after the machine's own."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}\n")
    fresh.replace(file)


def _library() -> Path:
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if found is None:
        pytest.fail("`libfaketime` is not installed, and these cases need it; `apt-get install libfaketime`")
    return found
