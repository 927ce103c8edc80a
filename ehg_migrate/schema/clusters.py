"""A fleet grouped by what its schemas are, with no expected state at hand. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.facts import Catalog


@dataclass(frozen=True, slots=True)
class Cluster:
    """Targets whose schemas are the same, and what separates them from the majority (left); nothing for itself."""

    fingerprint: str
    targets: tuple[str, ...]
    differences: tuple[Difference, ...] = ()


def grouped(fingerprints: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """fingerprint -> the targets that have it; the largest group first, equal ones in the order of their targets."""
    groups: dict[str, list[str]] = defaultdict(list)
    for target, fingerprint in fingerprints.items():
        groups[fingerprint].append(target)
    return {f: tuple(groups[f]) for f in sorted(groups, key=lambda f: -len(groups[f]))}


def clusters(groups: Mapping[str, tuple[str, ...]], catalogs: Mapping[str, Catalog]) -> tuple[Cluster, ...]:
    """The groups of `grouped`, each with what separates it from the first; `catalogs` has one of each fingerprint.

    A group whose catalogue is missing, since its target could not be read any more, has no differences.
    """
    majority = catalogs.get(next(iter(groups), ""))
    return tuple(
        Cluster(f, targets, differences(majority, catalogs[f]) if majority and f in catalogs else ())
        for f, targets in groups.items()
    )
