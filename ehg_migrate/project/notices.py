"""Who hears what takes its time."""

from __future__ import annotations

from collections.abc import Callable

Notice = Callable[[str], None]
"""Told in words what takes its time."""


def nobody(text: str) -> None:
    """Hears nothing."""
