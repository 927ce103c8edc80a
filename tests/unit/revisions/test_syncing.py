"""Which revisions bring one target to what another holds, and what a rollback makes of what is in no revision."""

from __future__ import annotations

import pytest

from ehg_migrate.errors import TargetError
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.rollback import plan_rollback
from ehg_migrate.revisions.syncing import plan_sync
from tests.unit.revisions.trees import Book, graph_of, rev, steps

SHARED = (rev("s1", labels=["shared"]), rev("s2", "s1"), rev("s3", "s2"))
APP = (rev("a1", depends="s2", branch="app", labels=["app"]),)


def graph(*more: str) -> Graph:
    """Of a target with these branches beside `shared`; `own` is the source's alone, `app` may be the target's alone."""
    own = (rev("o1", depends="s1", branch="own", labels=["own"]),)
    return graph_of(*SHARED, *(APP if "app" in more else ()), *(own if "own" in more else ()))


@pytest.mark.parametrize(
    ("heads", "held", "expected", "goal"),
    [
        ((), ("s2",), ["+s1", "+s2"], ("s2",)),
        (("s3",), ("s3",), [], ("s3",)),
        (("s3",), ("s1",), ["-s3", "-s2"], ("s1",)),
        (("a1", "s3"), ("s2",), ["-s3"], ("a1",)),  # what the source knows nothing of stays ...
        (("a1",), ("s1",), ["-a1", "-s2"], ("s1",)),  # ... unless it needs what goes
        (("a1",), ("s3",), ["+s3"], ("a1", "s3")),
        (("s1",), (), ["-s1"], ()),
        ((), ("o1", "s2"), ["+s1", "+s2"], ("s2",)),
    ],
)
def test_a_target_comes_to_hold_what_the_source_holds(
    heads: tuple[str, ...], held: tuple[str, ...], expected: list[str], goal: tuple[str, ...]
) -> None:
    """Of the branches that both have, up or down; a note names what is of the source's own branches."""
    plan = plan_sync(graph("app"), "t", heads, graph("own"), held)
    assert (steps(plan), plan.goal) == (expected, goal)
    assert [n.message.split(":")[0] for n in plan.notes] == (["`o1`"] if "o1" in held else [])


def test_sql_of_no_revision_ends_what_can_be_taken_back() -> None:
    """Of its own run and of those before it; rows that another run brought are in nobody's way."""
    book = Book()
    book.add("A", "done", "s1", after=("s1",))
    book.add("B", "seeded", "")
    assert steps(plan_rollback(graph(), "t", ("s1",), "A", book.entries)) == ["-s1"]
    with pytest.raises(TargetError, match="it brought rows from a file, which has no way back"):
        plan_rollback(graph(), "t", ("s1",), "B", book.entries)
    book.add("C", "corrected", "")
    with pytest.raises(TargetError, match="run `C` changed the schema by SQL of `schema sync`, which has no way back"):
        plan_rollback(graph(), "t", ("s1",), "A", book.entries)
