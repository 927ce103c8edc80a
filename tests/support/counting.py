"""How much work something is, by a count that no busy machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def calls(action: Callable[[], object]) -> int:
    """How many functions, Python's own included, `action` calls in this thread."""
    count = 0

    def heard(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(heard)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def grows_with(size: Callable[[int], Callable[[], object]], count: int) -> float:
    """How much more work twice as many are: 2 where it grows with them, 4 where it grows with their square."""
    return calls(size(2 * count)) / calls(size(count))
