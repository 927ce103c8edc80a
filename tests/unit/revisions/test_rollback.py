"""Plans of rollbacks, from rows and journals."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from ehg_migrate.errors import TargetError
from ehg_migrate.model import Plan, Verb
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.planner import plan_downgrade, plan_upgrade
from ehg_migrate.revisions.rollback import plan_rollback
from tests.unit.revisions.trees import Book, fleet_graph, graph_of, rev, steps


def upgraded(*goals: Sequence[str], graph: Graph | None = None) -> Book:
    """A target that runs `A`, `B`, ... brought to these heads, one after the other."""
    book, graph = Book(), graph or fleet_graph()
    for run, goal in zip("ABCD", goals, strict=False):
        book.does(run, plan_upgrade(graph, "t", book.heads, goal, {}))
    return book


def taken_back(book: Book, run: str, by: str, *, count: int | None = None) -> None:
    """Run `by` takes `run` back, or the first steps of it."""
    book.does(by, plan_rollback(fleet_graph(), "t", book.heads, run, book.entries), steps=count)


def rollback(book: Book, run: str, graph: Graph | None = None) -> Plan:
    """The plan."""
    return plan_rollback(graph or fleet_graph(), "t", book.heads, run, book.entries)


def test_a_rollback_is_the_run_reversed() -> None:
    """Back to the rows before it."""
    plan = rollback(upgraded(["s1"], ["heads"]), "B")
    assert sorted(steps(plan)) == ["-a1", "-a2", "-s2", "-s3"]
    assert (plan.verb, plan.goal, plan.undoes, plan.notes) == (Verb.ROLLBACK, ("s1",), "B", ())


def test_a_rollback_of_a_downgrade_goes_up() -> None:
    """A run is taken back in whichever direction it went."""
    book = upgraded(["heads"])
    book.does("D", plan_downgrade(fleet_graph(), "t", book.heads, ["s1"], {}))
    plan = rollback(book, "D")
    assert sorted(steps(plan)) == ["+a2", "+s2", "+s3"]
    assert plan.goal == ("a2", "s3")


def test_a_run_that_did_nothing_here_leaves_nothing_to_do() -> None:
    """Unknown to the journal, or failed in its first step."""
    book = upgraded(["s1"])
    book.add("F", "failed", "s2")
    for run in ("F", "never"):
        assert (steps(rollback(book, run)), rollback(book, run).goal) == ([], ("s1",))


def test_what_a_run_failed_at_and_another_has_done_is_not_called_taken_back() -> None:
    """It is as before the run once that is back, too; what the run never came to is in nobody's way."""
    book = upgraded(["s1"])
    book.add("F", "failed", "s2")
    book.does("own", plan_upgrade(fleet_graph(), "t", book.heads, ["a1"], {}))
    assert steps(rollback(book, "F")) == []
    book.does("again", plan_upgrade(fleet_graph(), "t", book.heads, ["heads"], {}))
    with pytest.raises(TargetError) as caught:
        rollback(book, "F")
    assert str(caught.value) == (
        "run `F` cannot be taken back exactly: it did nothing here, and what it failed at was done since: by `again`\n"
        "  hint: `ehg-migrate rollback again -t TARGET` takes that back"
    )
    taken_back(book, "again", "R")
    assert steps(rollback(book, "F")) == []


def test_a_part_of_a_failed_run_is_taken_back() -> None:
    """What it had committed before the step that failed."""
    book = upgraded(["s1"])
    book.does("F", plan_upgrade(fleet_graph(), "t", book.heads, ["heads"], {}), steps=2)
    book.add("F", "failed", "s3")
    assert len(rollback(book, "F").steps) == 2
    assert rollback(book, "F").goal == ("s1",)


def test_runs_are_taken_back_one_after_the_other() -> None:
    """What was taken back is no later change; after the newest run the one before can go."""
    book = upgraded(["s1"], ["s2"], ["heads"])
    for run, by, goal in (("C", "R1", ("s2",)), ("B", "R2", ("s1",)), ("A", "R3", ())):
        assert rollback(book, run).goal == goal
        taken_back(book, run, by)
        assert book.heads == goal


def test_a_rollback_that_was_cut_goes_on() -> None:
    """What is left of the run is taken back; when nothing is left, that is said and nothing is done."""
    book = upgraded(["s1"], ["heads"])
    taken_back(book, "B", "R1", count=1)
    assert len(rollback(book, "B").steps) == 3
    taken_back(book, "B", "R2")
    again = rollback(book, "B")
    assert (again.steps, again.goal, [str(n) for n in again.notes]) == (
        (),
        ("s1",),
        ["run `B` is taken back here already, by run `R2`"],
    )


def test_a_rollback_of_a_rollback_goes_forward() -> None:
    """And then the first run can be taken back once more, as often as that is done."""
    book = upgraded(["s1"], ["heads"])
    for back, forth in (("R1", "R2"), ("R3", "R4")):
        taken_back(book, "B", back)
        taken_back(book, back, forth)
        assert book.heads == ("a2", "s3")
        assert rollback(book, "B").goal == ("s1",)
    taken_back(book, "R4", "R5")
    assert book.heads == ("s1",)
    taken_back(book, "R5", "R6")
    assert rollback(book, "B").goal == ("s1",)


def test_a_rollback_of_a_downgrade_leaves_the_work_to_who_did_it() -> None:
    """What the downgrade took away, and what came back, is still of the first run."""
    book = upgraded(["s1"], ["heads"])
    book.does("D", plan_downgrade(fleet_graph(), "t", book.heads, ["s2"], {}))
    taken_back(book, "D", "R")
    assert book.heads == ("a2", "s3")
    assert rollback(book, "B").goal == ("s1",)


NOTHING_LEFT = """\
nothing of it is left, and later runs changed the target: `{0}`
  hint: there is nothing to take back: `ehg-migrate history TARGET` shows who did, and what was done since"""


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "later runs changed the target: `C`\n  hint: run `ehg-migrate rollback C -t TARGET` first"),
        (None, NOTHING_LEFT.format("C")),
    ],
)
def test_a_rollback_that_is_said_once_more_leaves_a_later_upgrade_alone(count: int | None, said: str) -> None:
    """A pipeline may repeat an old job: steps that it took back were applied again since, by another run.

    That one is to be taken back first only where something of the old one is left to take back.
    """
    book = upgraded(["s1"], ["heads"])
    taken_back(book, "B", "R1", count=count)
    book.does("C", plan_upgrade(fleet_graph(), "t", book.heads, ["heads"], {}))
    with pytest.raises(TargetError) as caught:
        rollback(book, "B")
    assert str(caught.value) == f"run `B` cannot be taken back exactly: {said}"
    taken_back(book, "C", "R2")
    assert len(rollback(book, "B").steps) == (3 if count else 0)


def test_hints_do_not_lead_in_a_circle() -> None:
    """What took the run back took away more; to take that back would bring back what is to go."""
    book = upgraded(["s1"], ["heads"])
    book.does("D", plan_downgrade(fleet_graph(), "t", book.heads, ["base"], {}))
    with pytest.raises(TargetError) as caught:
        rollback(book, "B")
    assert str(caught.value) == f"run `B` cannot be taken back exactly: {NOTHING_LEFT.format('D')}"


def test_a_step_that_was_cut_and_mended_is_taken_back() -> None:
    """What counts is the file with which it ended; and rows that a later run brought are in nobody's way."""
    book = upgraded(["s1"])
    book.add("B", "started", "s2", checksum="f" * 64)
    book.does("B", plan_upgrade(fleet_graph(), "t", book.heads, ["s2"], {}))
    book.add("S", "seeded", "", "")
    assert steps(rollback(book, "B")) == ["-s2"]


def test_needless_rows_are_not_brought_back() -> None:
    """A run that took them out first is rolled back to the same state, without them."""
    book = Book(("a1", "s1"))
    book.add("N", "normalized", "s1", "", ("a1",))
    book.does("N", plan_upgrade(fleet_graph(), "t", book.heads, ["a2"], {}))
    plan = rollback(book, "N")
    assert (plan.goal, plan.steps[-1].heads_after) == (("a1",), ("a1",))


def later_run() -> tuple[Book, Graph]:
    return upgraded(["s1"], ["s2"]), fleet_graph()


def edited_file() -> tuple[Book, Graph]:
    edited = [rev(r.id, r.parents, checksum="0" * 64) for r in (rev("s1"), rev("s2", "s1"))]
    return upgraded(["s2"]), graph_of(*edited)


def edited_between() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.add("B", "done", "s1", "down", ())
    book.add("C", "done", "s1", "up", ("s1",), checksum="f" * 64, detail="undoes B")
    return book, fleet_graph()


def unknown_revision() -> tuple[Book, Graph]:
    return upgraded(["s2"]), graph_of(rev("s1"))


def unknown_branch() -> tuple[Book, Graph]:
    return upgraded(["heads"]), graph_of(rev("s1"), rev("s2", "s1"), rev("s3", "s2"))


def graph_changed() -> tuple[Book, Graph]:
    book = upgraded(["s1"], ["s2"])
    spliced = graph_of(rev("s1"), rev("s15", "s1"), rev("s2", "s15"))
    return book, spliced


def taken_out_below() -> tuple[Book, Graph]:
    return upgraded(["s3"]), graph_of(rev("s1"), rev("s3", "s1"))


def half_done() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.does("A", plan_upgrade(fleet_graph(), "t", book.heads, ["s2"], {}))
    book.add("A", "started", "s3")
    return book, fleet_graph()


def half_done_later() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.add("B", "started", "s2")
    return book, fleet_graph()


def half_done_again() -> tuple[Book, Graph]:
    book = Book()
    book.does("N", plan_upgrade(fleet_graph(), "t", (), ["s2"], {}))
    book.does("A", plan_downgrade(fleet_graph(), "t", book.heads, ["s1"], {}))
    book.add("B", "started", "s2")
    return book, fleet_graph()


def half_done_beside_unknown() -> tuple[Book, Graph]:
    book, (_, graph) = upgraded(["heads"]), unknown_branch()
    book.add("A", "started", "s3")
    return book, graph


def done_again() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.add("B", "done", "s1", after=("s1",))
    return book, fleet_graph()


def corrected() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.add("A", "corrected", "", "")
    return book, fleet_graph()


def corrected_later() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.add("S", "corrected", "", "")
    return book, fleet_graph()


def seeded() -> tuple[Book, Graph]:
    book = Book()
    book.add("A", "seeded", "", "")
    return book, fleet_graph()


def adopted() -> tuple[Book, Graph]:
    book = Book()
    book.add("A", "adopted", "s1", after=("s1",))
    return book, fleet_graph()


def stamped_later() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.add("S", "stamped", "s2", after=("s2",))
    return book, fleet_graph()


def heads_moved() -> tuple[Book, Graph]:
    book = upgraded(["s2"])
    book.heads = ("s1",)
    return book, fleet_graph()


def heads_gone() -> tuple[Book, Graph]:
    book = upgraded(["s1"])
    book.heads = ()
    return book, fleet_graph()


REFUSALS: dict[Callable[[], tuple[Book, Graph]], str] = {
    later_run: "later runs changed the target: `B`\n  hint: run `ehg-migrate rollback B -t TARGET` first",
    edited_file: "`versions/shared/s1.py` was edited after it was applied (checksum sum-s1)\n"
    "  hint: use the file as it was (git commit c0ffee), or `ehg-migrate downgrade TARGET --to base`",
    edited_between: "`versions/shared/s1.py` was edited after it was applied (checksum ffffffffffff)\n"
    "  hint: use the file as it was (git commit c0ffee), or `ehg-migrate downgrade TARGET --to base`",
    unknown_revision: "revision `s2` is not in versions/ of this checkout\n  hint: use the checkout that applied it",
    unknown_branch: "revision `a1` is not in versions/ of this checkout\n  hint: use the checkout that applied it",
    taken_out_below: "revision `s2` is not in versions/ of this checkout\n  hint: use the checkout that applied it",
    half_done: "revision `s3` ran outside a transaction and did not end\n"
    "  hint: run `ehg-migrate upgrade -t TARGET` to finish it and roll that back too, or repair it by hand and use "
    "`ehg-migrate downgrade TARGET --to base`",
    half_done_later: "revision `s2` ran outside a transaction and did not end\n"
    "  hint: run `ehg-migrate upgrade -t TARGET` to finish it and roll that back too, or repair it by hand and use "
    "`ehg-migrate downgrade TARGET --to base`",
    half_done_again: "revision `s2` ran outside a transaction and did not end\n"
    "  hint: run `ehg-migrate upgrade -t TARGET` to finish it and roll that back too, or repair it by hand and use "
    "`ehg-migrate downgrade TARGET --to REV`",
    half_done_beside_unknown: "revision `s3` ran outside a transaction and did not end\n"
    "  hint: run `ehg-migrate upgrade -t TARGET` to finish it and roll that back too, or repair it by hand and use "
    "`ehg-migrate downgrade TARGET --to REV`",
    done_again: NOTHING_LEFT.format("B"),
    corrected: "it changed the schema by SQL of `schema sync`, which has no way back\n"
    "  hint: `ehg-migrate downgrade TARGET --to base` takes back revisions alone",
    corrected_later: "run `S` changed the schema by SQL of `schema sync`, which has no way back\n"
    "  hint: `ehg-migrate downgrade TARGET --to base` takes back revisions alone",
    seeded: "it brought rows from a file, which has no way back\n"
    "  hint: by its version rows it is back already; mend by hand what is not, which `ehg-migrate drift "
    "-t TARGET` shows; where that shows nothing, nothing is left to do",
    adopted: "it declared revisions to be applied and did not run them\n"
    "  hint: `alembic -x target=TARGET stamp --purge REV ...` declares others, of every branch, or none with `base`",
    stamped_later: "run `S` declared revisions to be applied and did not run them\n"
    "  hint: `ehg-migrate downgrade TARGET --to base` runs their `downgrade()`, after showing what it would do",
    heads_moved: "the target holds `s1`, and run `A` left `s2`\n"
    "  hint: somebody set its version rows by hand, or one was lost: `ehg-migrate status -t TARGET` tells; then "
    "`ehg-migrate downgrade TARGET --to base`, which shows what it would do",
    heads_gone: "the target holds nothing, and run `A` left `s1`\n"
    "  hint: somebody set its version rows by hand, or one was lost: `ehg-migrate status -t TARGET` tells; then "
    "`ehg-migrate downgrade TARGET --to REV`, which shows what it would do",
}


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.__name__)
def test_a_rollback_that_would_not_be_exact_is_refused(case: Callable[[], tuple[Book, Graph]]) -> None:
    """With the reason and the way out; it is a gate, not a failure."""
    book, graph = case()
    with pytest.raises(TargetError) as caught:
        rollback(book, "A", graph)
    assert caught.value.problem.code == "rollback_inexact"
    assert str(caught.value) == f"run `A` cannot be taken back exactly: {REFUSALS[case]}"


def test_a_changed_graph_is_refused() -> None:
    """A revision spliced in below the run's own would go down with it, and was never applied by it."""
    book, graph = graph_changed()
    with pytest.raises(TargetError) as caught:
        rollback(book, "B", graph)
    assert str(caught.value) == (
        "run `B` cannot be taken back exactly: the steps back are not the run's own steps reversed: `down_revision` or "
        "`depends_on` changed since, or a script of `ehg-migrate plan --sql`, which no journal tells of, has done a "
        "part of them\n"
        "  hint: use the checkout that applied it, or "
        "`ehg-migrate downgrade TARGET --to s1`, which shows what it would do"
    )


def test_the_way_out_names_each_branch_and_leads_there() -> None:
    """The downgrade of the hint leaves what was there before the run, if nothing has taken a part of that away."""
    book = upgraded(["s2"])
    heads = book.heads
    book.does("N", plan_upgrade(fleet_graph(), "t", book.heads, ["heads"], {}))
    book.add("S", "stamped", book.heads[0], after=book.heads)
    with pytest.raises(TargetError) as caught:
        rollback(book, "N")
    found = re.search(r"`ehg-migrate downgrade TARGET --to (.+?)`", caught.value.problem.hint)
    assert found
    to = found[1].split(" --to ")
    assert sorted(to) == ["app@base", "s2"]
    assert plan_downgrade(fleet_graph(), "t", book.heads, to, {}).goal == heads


def test_the_way_out_leaves_what_somebody_has_declared_since() -> None:
    """On another branch, which the run did not touch: what a customer has made himself is in it, perhaps."""
    book = upgraded(["s2"])
    book.does("N", plan_upgrade(fleet_graph(), "t", book.heads, ["s3"], {}))
    book.add("S", "stamped", "a1", after=("a1", "s3"))
    with pytest.raises(TargetError) as caught:
        rollback(book, "N")
    assert "`ehg-migrate downgrade TARGET --to s2`" in caught.value.problem.hint


def test_who_has_gone_the_way_out_is_told_so() -> None:
    """And not to go it once more: where a step was cut before any other, too."""
    book = upgraded(["s1"])
    book.add("B", "started", "s2")
    with pytest.raises(TargetError) as caught:
        rollback(book, "B")
    assert caught.value.problem.code == "rollback_inexact"
    assert caught.value.problem.hint.startswith("by its version rows it is back already; mend by hand what is not")

    book = upgraded(["s1"])
    book.does("B", plan_upgrade(fleet_graph(), "t", book.heads, ["s2"], {}))
    book.add("S", "stamped", "s3", after=("s3",))
    book.heads = ("s3",)
    book.does("D", plan_downgrade(fleet_graph(), "t", book.heads, ["s1"], {}))
    with pytest.raises(TargetError) as caught:
        rollback(book, "B")
    assert caught.value.problem.hint.startswith("by its version rows it is back already")


def test_a_rollback_that_lacks_a_downgrade_names_what_takes_a_written_one() -> None:
    """The file is another one by then, so the rollback is not exact any more, and would send in a circle."""
    book = upgraded(["s1"])
    book.does("B", plan_upgrade(fleet_graph(), "t", book.heads, ["s2"], {}))
    graph = graph_of(rev("s1"), rev("s2", "s1", has_downgrade=False))
    with pytest.raises(TargetError) as caught:
        rollback(book, "B", graph)
    assert caught.value.problem.code == "no_downgrade"
    assert "`ehg-migrate downgrade TARGET --to s1`" in caught.value.problem.hint


def test_what_was_left_half_done_before_the_run_does_not_stop_it() -> None:
    """The rollback restores what was there before the run, the half included."""
    book = Book()
    book.add("Z", "started", "s3")
    book.does("A", plan_upgrade(fleet_graph(), "t", book.heads, ["s1"], {}))
    assert steps(rollback(book, "A")) == ["-s1"]


def test_a_started_step_that_ended_is_taken_back() -> None:
    """`started` beside `done` is the ordinary journal of a CONCURRENTLY."""
    book = Book()
    book.add("A", "started", "s1")
    book.does("A", plan_upgrade(fleet_graph(), "t", book.heads, ["s1"], {}))
    assert steps(rollback(book, "A")) == ["-s1"]
