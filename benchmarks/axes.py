"""Axes of pictures: where a value lies between 0 and 1, and which values are written beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_EDGE = 0.04  # left free on both sides, so that points do not touch the frame
_MANY = 5  # written values of a linear axis, about
_FEW = 3  # written values, below which more are written for each decade


@dataclass(frozen=True)
class Axis:
    """Both are of values as they were measured; a tick lies where `place` says."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]


def linear(values: Sequence[float]) -> Axis:
    """From the least to the greatest; the measured values are written."""
    return Axis(_between(min(values), max(values), lambda v: v), tuple(sorted(set(values))))


def logarithmic(values: Sequence[float]) -> Axis:
    """The same by logarithms."""
    return Axis(_between(min(values), max(values), math.log), tuple(sorted(set(values))))


def from_zero(values: Sequence[float]) -> Axis:
    """From nothing to the greatest; written are some round values."""
    high = max(values)
    rough = math.log10(high / _MANY)
    step = min((d * 10.0 ** math.floor(rough) for d in (1, 2, 5, 10)), key=lambda s: abs(math.log10(s) - rough))
    ticks = tuple(step * n for n in range(int(high / step) + 1))
    return Axis(_between(0.0, high, lambda v: v), ticks)


def decades(values: Sequence[float]) -> Axis:
    """By logarithms; written are round values within, of 1, 2 and 5 where there are few."""
    low, high = min(values), max(values)
    if high < 1.5 * low:  # a line that is flat shall look so
        low, high = low / 1.5, high * 1.5
    ticks = _round_values(low, high, (1.0,))
    if len(ticks) < _FEW:
        ticks = _round_values(low, high, (1.0, 2.0, 5.0))
    return Axis(_between(low, high, math.log), ticks)


def _round_values(low: float, high: float, digits: Sequence[float]) -> tuple[float, ...]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = (digit * 10.0**power for power in range(first, last + 1) for digit in digits)
    return tuple(value for value in every if low <= value <= high)


def _between(low: float, high: float, form: Callable[[float], float]) -> Callable[[float], float]:
    start, length = form(low), form(high) - form(low)
    return lambda value: _EDGE + (1 - 2 * _EDGE) * ((form(value) - start) / length if length else 0.5)
