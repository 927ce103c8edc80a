"""Targets that have drifted, rehearsed as they are: the start of a rehearsal is brought to the facts of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.database.asking import ask_all
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.schema.clone import apart, bring_to
from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.drift import MOVED, Fleet, Look, differs, read_there
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.reference import References
from ehg_migrate.schema.scratch import Scratch
from ehg_migrate.schema.shelf import Reference

if TYPE_CHECKING:
    from ehg_migrate.schema.rehearsal import Case


def drifted(
    cases: Sequence[Case], looks: Mapping[str, Look | Problem], fleet: Fleet, references: References
) -> dict[str, tuple[Catalog, tuple[Difference, ...]] | Problem]:
    """By target what is there, and what of it its revisions do not produce; only those that differ are in the answer.

    Each case is of one target. One whose reference cannot be made is not in the answer: its rehearsal says so.
    """
    made = references.get(case.start for case in cases)
    expected = {case.targets[0]: (case.start.heads, made[case.start.key]) for case in cases}
    suspects = [t for t in fleet.targets if differs(looks.get(t.name), expected.get(t.name, ((), None))[1])]
    read = ask_all(suspects, fleet.passwords, fleet.at_once, read_there) if suspects else {}
    found: dict[str, tuple[Catalog, tuple[Difference, ...]] | Problem] = {}
    for name, answer in read.items():
        heads, reference = expected[name]
        assert isinstance(reference, Reference)
        if isinstance(answer, Problem):
            found[name] = answer
            continue
        assert isinstance(answer, tuple)
        catalog, held = answer
        try:
            found[name] = (catalog, differences(reference.catalog(), catalog)) if set(held) == set(heads) else MOVED
        except TargetError as e:
            found[name] = e.problem
    return found


def bring(scratch: Scratch, database: str, start: Recipe, there: Catalog) -> tuple[Difference, ...]:
    """Makes of a scratch database in the state `start` what is there; the answer is what could not be made so.

    Raises psycopg.Error, LocalServerError.
    """
    bring_to(scratch, database, there, start.scope)
    return apart(scratch, database, there, start.scope)
