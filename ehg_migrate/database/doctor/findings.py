"""What the doctor says: a level, a message and a hint for each check of each target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # migrations work, and somebody should look at it
    ERROR = "error"  # migrations do not work, or must not be run
    SKIPPED = "skipped"  # could not be looked at, because of an earlier error


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found on one target; `check` is a stable name, `seconds` what it measured or else took."""

    target: str
    check: str
    level: Level
    message: str
    hint: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says, before it is known of which target; `seconds` only where the check measured something."""

    level: Level
    message: str
    hint: str = ""
    seconds: float | None = None


def good(message: str) -> Verdict:
    """Nothing to do."""
    return Verdict(Level.OK, message)


def warning(message: str, hint: str) -> Verdict:
    """Works, and somebody should look at it."""
    return Verdict(Level.WARNING, message, hint)


def error(message: str, hint: str) -> Verdict:
    """Does not work."""
    return Verdict(Level.ERROR, message, hint)


_ORDER = (Level.OK, Level.SKIPPED, Level.WARNING, Level.ERROR)


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """Several remarks of one check as one: the worst level, the worst remark first."""
    ordered = sorted(verdicts, key=lambda v: _ORDER.index(v.level), reverse=True)
    hints = dict.fromkeys(v.hint for v in ordered if v.hint)
    return Verdict(ordered[0].level, "; ".join(v.message for v in ordered), "; ".join(hints))


def span(seconds: float) -> str:
    """A length of time for people: `3 s`, `2 min`, `1.5 h`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{seconds * 1000:.3g} ms"
