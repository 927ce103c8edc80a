"""Revisions resolved into a graph: what steps say, and everything that cannot be resolved."""

from __future__ import annotations

import pytest

from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Direction, Step
from ehg_migrate.revisions.building import build
from ehg_migrate.revisions.graph import Revision
from tests.unit.revisions.trees import graph_of, rev


def test_a_step_says_what_its_file_says() -> None:
    """Branch, checksum, first line of the docstring and path come from the revision."""
    graph = graph_of(rev("s1"), rev("a1", depends="s1", branch="app"))
    assert graph.steps((), ("a1",))[1] == Step(
        "a1", Direction.UP, "app", "sum-a1", "about a1", "versions/app/a1.py", ("s1",), ("a1",)
    )


def test_a_label_in_depends_on_is_the_first_revision_of_its_branch() -> None:
    """As in stock Alembic: not its head."""
    graph = graph_of(rev("s1", labels=["shared"]), rev("s2", "s1"), rev("a1", depends="shared", branch="app"))
    assert graph.canonical(("a1",)) == ("a1",)
    assert graph.ids(graph.closure(("a1",))) == ("a1", "s1")


def test_a_parent_that_is_named_twice_counts_once() -> None:
    """In `down_revision` and `depends_on`, or by id and by label."""
    graph = graph_of(rev("s1", labels=["shared"]), rev("s2", "s1", ("s1", "shared")))
    assert graph.edges[1] == (0,)
    assert [s.heads_after for s in graph.steps((), ("s2",))] == [("s1",), ("s2",)]


@pytest.mark.parametrize(
    ("revision", "now", "goal", "problem"),
    [
        (
            rev("s1", has_downgrade=False),
            ("s1",),
            (),
            Problem(
                "no_downgrade",
                "revision `s1` has no `downgrade()`, so it cannot be taken back",
                "write one in the file, or restore the target from a backup",
                "versions/shared/s1.py",
            ),
        ),
        (
            rev("s1", has_upgrade=False),
            (),
            ("s1",),
            Problem(
                "no_upgrade",
                "revision `s1` has no `upgrade()`, so it cannot be applied",
                "write one in the file; `pass` does nothing",
                "versions/shared/s1.py",
            ),
        ),
    ],
)
def test_a_step_without_its_function_is_refused(
    revision: Revision, now: tuple[str, ...], goal: tuple[str, ...], problem: Problem
) -> None:
    """Before anything runs; the other direction is planned all the same."""
    graph = graph_of(revision)
    with pytest.raises(TargetError) as caught:
        graph.steps(now, goal)
    assert caught.value.problem == problem
    assert len(graph.steps(goal, now)) == 1


MISTAKES = {
    "missing parent": (
        (rev("s1"), rev("s2", "s0")),
        "missing_revision",
        "versions/shared/s2.py: `down_revision` of revision `s2` names `s0`, which is in none of the folders it is "
        "used with\n  hint: restore the missing file, or correct the name",
    ),
    "missing dependency": (
        (rev("a1", depends="b1", branch="app"),),
        "missing_revision",
        "versions/app/a1.py: `depends_on` of revision `a1` names `b1`, which is in none of the folders it is used "
        "with\n  hint: restore the missing file, or correct the name",
    ),
    "label as parent": (
        (rev("s1", labels=["shared"]), rev("s2", "shared")),
        "missing_revision",
        "versions/shared/s2.py: `down_revision` of revision `s2` names `shared`, which is a label, not an id\n"
        "  hint: write the id: `s1`",
    ),
    "id twice": (
        (rev("s1"), rev("s1", branch="app")),
        "duplicate_id",
        "versions/app/s1.py: revision id `s1` is used twice: in `versions/shared/s1.py` and in `versions/app/s1.py`\n"
        "  hint: give one of them another name",
    ),
    "label twice": (
        (rev("s1", labels=["x"]), rev("a1", labels=["x"], branch="app")),
        "duplicate_label",
        "versions/app/a1.py: branch label `x` is used twice: in `versions/shared/s1.py` and in `versions/app/a1.py`\n"
        "  hint: give one of them another name",
    ),
    "label that is an id": (
        (rev("s1"), rev("a1", labels=["s1"], branch="app")),
        "duplicate_label",
        "versions/app/a1.py: branch label `s1` is used twice: in `versions/shared/s1.py` and in `versions/app/a1.py`\n"
        "  hint: give one of them another name",
    ),
    "label that is its own id": (
        (rev("s1", labels=["s1"]),),
        "duplicate_label",
        "versions/shared/s1.py: branch label `s1` is used twice: "
        "`versions/shared/s1.py` has it as its revision id, too\n"
        "  hint: give one of them another name",
    ),
    "self-dependency": (
        (rev("s1", depends="s1"),),
        "cycle",
        "versions/shared/s1.py: revisions need one another in a circle: `s1` needs `s1`\n"
        "  hint: correct `down_revision` or `depends_on` in one of them",
    ),
    "circle": (
        # s4 stands on the circle and is not in it; so does s0 below it
        (rev("s4", "s3"), rev("s0"), rev("s1", "s0", "s3"), rev("s2", "s1"), rev("s3", "s2")),
        "cycle",
        "versions/shared/s3.py: revisions need one another in a circle: `s3` needs `s2` needs `s1` needs `s3`\n"
        "  hint: correct `down_revision` or `depends_on` in one of them",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_cannot_be_resolved_is_said(case: str) -> None:
    """Exactly one problem, with its place and the next action."""
    revisions, code, text = MISTAKES[case]
    _, problems = build(revisions)
    assert [(p.code, str(p)) for p in problems] == [(code, text)]


def test_all_mistakes_are_said_at_once() -> None:
    """Not only the first."""
    _, problems = build((rev("s1"), rev("s1"), rev("s2", "gone", "gone2"), rev("s3", "s3")))
    assert [p.code for p in problems] == ["duplicate_id", "missing_revision", "missing_revision", "cycle"]
