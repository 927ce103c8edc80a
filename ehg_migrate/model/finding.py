"""`Finding`: one thing about a revision that somebody should know before it runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding weighs: an error stops `upgrade` unless it is allowed by name."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of one revision, and on which targets. Where a size decides, each target has its own."""

    rule: str  # `effect:rewrite`, `sql:ban-drop-column`, `second_head`
    level: Level
    message: str
    hint: str
    docs: str  # `docs/lint.md#effectrewrite`
    revision: str = ""
    path: str = ""  # relative to the project
    line: int = 0  # of the statement in that file; 0 where it is not known
    targets: tuple[str, ...] = ()
    identity: str = ""  # the object: `table public.orders`
    allowed: str = ""  # why it stops nothing although it is an error: the reason in the revision, or `--allow`

    @property
    def stops(self) -> bool:
        """Whether `upgrade` refuses its targets."""
        return self.level is Level.ERROR and not self.allowed
