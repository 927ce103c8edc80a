"""The table in docs/schema.md of the mutations that statements cannot take back, or cannot make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ehg_migrate.schema.proof import Correction, Left
from tests.integration.schema.mutations import Mutation

TABLE = "corrections"
"""Its name in the page."""


@dataclass(frozen=True)
class Corrected:
    """What came of one mutation: its way back to the base schema, and the way there."""

    back: Correction
    forth: Correction


def table(done: Mapping[Mutation, Corrected], of: int) -> str:
    """How many of all were exact, and a line for each that was not; `done` has at least those that were not."""
    back = of - sum(not c.back.proven for c in done.values())
    forth = of - sum(not c.forth.proven for c in done.values())
    counts = f"Of {of} mutations {back} are taken back exactly, and {forth} are made exactly. The others:\n"
    lines = [
        f"| {m} | {way} | {_left(correction)} |"
        for m, c in done.items()
        for way, correction in (("taking it back", c.back), ("making it", c.forth))
        if not correction.proven
    ]
    return "\n".join([counts, "| mutation | | what is left, and why |", "|---|---|---|", *lines]) + "\n"


def _left(correction: Correction) -> str:
    reasons: dict[str, list[str]] = {}
    for left in correction.left:
        name = f"{left.difference.kind} `{left.difference.identity}`"
        reasons.setdefault(left.reason or _clauses(left), []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _clauses(left: Left) -> str:
    return ", ".join(c.name for c in left.difference.clauses)
