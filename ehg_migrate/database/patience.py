"""How long to wait before a connection is tried again, and when not to any more."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator

_FIRST = 0.2  # seconds; twice as long each time


def pauses(attempts: int, *, within: float | None, longest: float, spread: float) -> Iterator[float]:
    """Seconds before each attempt but the first, of at most `attempts`.

    None begins later than `within` seconds from this call. Each is at most `longest`, and up to `spread` more, so that
    those who failed together do not come back together.
    """
    end = time.monotonic() + (within or math.inf)  # now: what is below runs when the first attempt has failed
    return _until(end, attempts, longest, spread)


def _until(end: float, attempts: int, longest: float, spread: float) -> Iterator[float]:
    for n in range(attempts - 1):
        if time.monotonic() >= end:
            return
        yield min(_FIRST * 2**n, longest) + random.uniform(0, spread)  # noqa: S311 - nobody is to guess it
