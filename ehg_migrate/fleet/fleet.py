"""The fleet: all targets of a project, in the order of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from ehg_migrate.fleet.selectors import select
from ehg_migrate.model import Target, Wave


@dataclass(frozen=True)
class Fleet:
    """All targets of a project: files sorted by name, then the order within the file."""

    targets: tuple[Target, ...]
    waves: tuple[Wave, ...] = ()  # every target is in one of them, or there are none

    @cached_property
    def by_name(self) -> Mapping[str, Target]:
        """The targets by their names; read only."""
        return MappingProxyType({target.name: target for target in self.targets})

    def select(self, selectors: Sequence[str] = ()) -> tuple[Target, ...]:
        """The targets that the selectors name, in the fleet's order; all for no selector.

        Raises UsageError with every selector that is wrong or matches nothing. The language is in `selectors`.
        """
        return select(self.targets, selectors)
