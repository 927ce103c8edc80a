"""How long is waited between two attempts to connect."""

from __future__ import annotations

import pytest

from ehg_migrate.database.patience import pauses


def test_each_is_twice_the_one_before_up_to_the_longest() -> None:
    """One fewer than there are attempts."""
    waits = list(pauses(6, within=None, longest=2, spread=0))
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 2])


def test_none_comes_back_with_the_others() -> None:
    """Each is longer by a part of the spread that differs."""
    waits = [next(pauses(2, within=None, longest=2, spread=1)) for _ in range(50)]
    assert all(0.2 <= wait <= 1.2 for wait in waits)
    assert len(set(waits)) > 1


def test_none_begins_when_the_time_is_over() -> None:
    """Whatever is left of the attempts."""
    assert next(pauses(5, within=1e-9, longest=2, spread=0), None) is None
