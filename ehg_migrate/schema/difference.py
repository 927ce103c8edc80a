"""Facts held against facts: what is missing, extra or changed, clause by clause. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ehg_migrate.schema.facts import NOTES, Catalog, Fact


class Change(StrEnum):
    """What became of an object on the way from left to right."""

    MISSING = "missing"  # stands left only
    EXTRA = "extra"  # stands right only
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause that differs; None where a side does not have it. `grants.anon` is one of a clause's own parts."""

    name: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that differs. The clauses of a missing or extra object are all of its clauses."""

    kind: str
    identity: str
    change: Change
    clauses: tuple[Clause, ...]

    def __str__(self) -> str:
        return f"{self.change.value} {self.kind} {self.identity}"


def differences(left: Catalog, right: Catalog) -> tuple[Difference, ...]:
    """What separates two catalogues of the same scope, by kind and identity; none exactly if fingerprints are equal."""
    return tuple(_differences(left, right, notes=False))


def notes(left: Catalog, right: Catalog) -> tuple[Difference, ...]:
    """What is worth a word and makes no difference: columns that both have and that stand in another order."""
    return tuple(d for d in _differences(left, right, notes=True) if _reordered(d))


def _differences(left: Catalog, right: Catalog, *, notes: bool) -> Iterator[Difference]:
    for name in sorted({*left.by_name, *right.by_name}):
        one, other = left.by_name.get(name), right.by_name.get(name)
        if (name[0] in NOTES) is not notes or one == other:
            continue
        clauses = tuple(_clauses(_definition(one), _definition(other)))
        if one is None or other is None:
            yield Difference(*name, Change.EXTRA if one is None else Change.MISSING, clauses)
        elif clauses:
            yield Difference(*name, Change.CHANGED, clauses)


def _definition(fact: Fact | None) -> Mapping[str, Any]:
    return {} if fact is None else fact.definition


def _clauses(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> Iterator[Clause]:
    for name in sorted({*left, *right}):
        one, other = left.get(name), right.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) or isinstance(other, Mapping):
            yield from _clauses(one or {}, other or {}, f"{prefix}{name}.")
        else:
            yield Clause(f"{prefix}{name}", one, other)


def _reordered(difference: Difference) -> bool:
    if difference.change is not Change.CHANGED:
        return False
    left, right = difference.clauses[0].left, difference.clauses[0].right
    return [c for c in left if c in right] != [c for c in right if c in left]
