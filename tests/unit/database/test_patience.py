"""Waits between attempts: how many, how long, and that the first attempt counts too."""

from __future__ import annotations

import time

import pytest

from ehg_migrate.database import patience
from ehg_migrate.database.patience import pauses


def test_one_less_than_attempts_each_twice_as_long() -> None:
    """Up to the longest, and never more than the spread above it."""
    waits = list(pauses(6, within=None, longest=1, spread=0.1))
    assert len(waits) == 5
    for wait, least in zip(waits, (0.2, 0.4, 0.8, 1, 1), strict=True):
        assert least <= wait <= least + 0.1


def test_the_time_of_the_first_attempt_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that took all the time there was is the last one."""
    now = time.monotonic()
    monkeypatch.setattr(patience.time, "monotonic", lambda: now)
    waits = pauses(5, within=2, longest=2, spread=0)
    now += 1.9
    assert next(waits) == 0.2
    now += 0.2
    assert list(waits) == []
