"""Targets that upgrades leave alone for a while: what is said of them, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ehg_migrate.errors import GateError, Problem
from ehg_migrate.model import Skipped, Target


def today() -> str:
    """The date in UTC, as target files write it."""
    return datetime.now(UTC).date().isoformat()


def held(target: Target, day: str) -> Problem | None:
    """Why upgrades leave it alone on that day; None where nothing holds it, or not any more."""
    if not target.hold or (target.hold_until and day >= target.hold_until):
        return None
    until = f" until {target.hold_until}" if target.hold_until else ""
    hint = f"upgrades go on {'on that day, or ' if until else ''}when `hold` is taken out of its entry"
    return Problem("held", f"the target is held{until}: {target.hold}", hint, target.source)


def without_held(
    targets: Iterable[Target], selection: Iterable[Target], day: str
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """The names of those that may be upgraded, and the others with the reason.

    `selection` is what a shard is a part of. Raises GateError where there are only others in that.
    """
    reasons = {t.name: held(t, day) for t in targets}
    free = tuple(name for name, reason in reasons.items() if reason is None)
    others = tuple(Skipped(name, reason) for name, reason in reasons.items() if reason is not None)
    if others and not free and all(held(t, day) for t in selection):
        raise GateError([o.reason for o in others])
    return free, others
