"""What the ledger says of a target beside what the target says itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ehg_migrate.ledger import Seen
from ehg_migrate.model import State, StateKind, Status
from ehg_migrate.rollout.reconcile import with_ledger, with_lost

HOLDS = State("a", StateKind.UP_TO_DATE, ("s1",))
SAYS = Seen("r1", running=False, status=Status.SUCCEEDED, heads=("s2",), seconds=1.0)
UNREAD = [replace(HOLDS, kind=k) for k in (StateKind.UNREACHABLE, StateKind.REFUSED)]


@pytest.mark.parametrize(
    ("state", "last", "expected"),
    [
        (HOLDS, SAYS, ["ledger_disagrees"]),
        (HOLDS, replace(SAYS, heads=("s1",)), []),
        (HOLDS, replace(SAYS, heads=()), ["ledger_disagrees"]),
        (HOLDS, replace(SAYS, status=Status.FAILED), ["ledger_disagrees"]),
        (HOLDS, replace(SAYS, status=Status.FAILED, heads=()), []),
        (HOLDS, replace(SAYS, status=Status.INDETERMINATE), []),
        (HOLDS, replace(SAYS, status=Status.SKIPPED), []),
        (HOLDS, replace(SAYS, running=True), []),
        *((state, SAYS, []) for state in UNREAD),
        (HOLDS, replace(SAYS, status=Status.SCHEMA_DIFFERS), ["ledger_disagrees", "differed_before"]),
        (HOLDS, replace(SAYS, status=Status.SCHEMA_DIFFERS, heads=("s1",)), ["differed_before"]),
        (HOLDS, replace(SAYS, status=Status.SCHEMA_DIFFERS, running=True), []),
        *((state, replace(SAYS, status=Status.SCHEMA_DIFFERS), []) for state in UNREAD),
        (HOLDS, None, []),
    ],
)
def test_what_the_ledger_last_said(state: State, last: Seen | None, expected: list[str]) -> None:
    """It is noted where it is another word than the target's own; not where either does not know, or is not done."""
    (found,) = with_ledger((state,), {"a": last} if last else {}, lambda target, one, other: set(one) == set(other))
    assert [n.code for n in found.notes] == expected


def test_what_is_so_of_many_targets_is_said_once() -> None:
    """After one run the ledger says the same of all, and a report puts equal notes together."""
    last = dict.fromkeys("ab", replace(SAYS, status=Status.SCHEMA_DIFFERS))
    found = with_ledger((HOLDS, replace(HOLDS, target="b")), last, lambda target, one, other: set(one) == set(other))
    assert [n.code for n in found[0].notes] == ["ledger_disagrees", "differed_before"]
    assert found[0].notes == found[1].notes
    # who has mended it by hand is told how the note goes: `drift` alone writes nothing into the ledger
    assert "`ehg-migrate upgrade -t TARGET --verify always`" in found[0].notes[1].hint


def test_which_run_saw_a_schema_differ() -> None:
    """Where the last run did not look, it was an earlier one."""
    last = {"a": replace(SAYS, status=Status.SCHEMA_DIFFERS, heads=HOLDS.heads)}
    (found,) = with_ledger((HOLDS,), last, lambda target, one, other: set(one) == set(other), {"a": "r0"})
    assert [n.message.split("`")[1] for n in found.notes] == ["r0"]


@pytest.mark.parametrize("kind", StateKind)
@pytest.mark.parametrize("heads", [(), ("s1",)])
def test_a_target_that_holds_nothing_any_more(kind: StateKind, heads: tuple[str, ...]) -> None:
    """It is noted where all would be done again, and nowhere else."""
    state = State("a", kind, heads)
    (found,) = with_lost((state,), {"a": SAYS}, lambda target, one, other: set(one) == set(other))
    lost = kind is StateKind.PENDING and not heads
    assert [n.code for n in found.notes] == (["ledger_disagrees"] if lost else [])
