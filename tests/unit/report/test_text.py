"""States, plans, runs and journals as text: word for word, where people read it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ehg_migrate.database.locks import Held
from ehg_migrate.errors import Problem
from ehg_migrate.model import Address, JournalEntry, RunStatus, Skipped, State, StateKind, Status, Target, Verb
from ehg_migrate.report import records, text
from tests.unit.report.nouns import NOON, done, failed, fleet_plan, plan, result, run, step, unreachable

NOTE = Problem("edited_file", "it was edited", "restore it", "versions/a.py")


def test_a_table() -> None:
    """Columns as wide as their widest cell, two blanks between, no blanks at the end, a row on one line."""
    assert text.table(("A", "LONGER", "C"), [("1", "2", ""), ("wide one", "x\n y", "z")]) == [
        "A         LONGER  C",
        "1         2",
        "wide one  x y     z",
    ]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], "no targets"),
        ([("succeeded", "a")], "1 succeeded (a)"),
        ([("succeeded", "a"), ("failed", "b"), ("succeeded", "c")], "2 succeeded (a, c), 1 failed (b)"),
        ([("failed", f"t{i}") for i in range(10)], "10 failed (t0, t1, t2, t3, t4, t5, t6, t7 and 2 more)"),
    ],
)
def test_counted(pairs: list[tuple[str, str]], said: str) -> None:
    """Numbers with names, in the order in which the words came."""
    assert text.counted(pairs) == said


def test_a_rollback_says_why_it_has_nothing_to_do() -> None:
    """A customer's database that was restored is not the same as one that the run never touched."""
    back = Problem("taken_back", "run `R` is taken back here already")
    restored = Problem("no_trace", "its journal has no trace", "it was restored")
    plans = (plan("a"), plan("b", notes=(back, NOTE)), plan("c", notes=(back,)), plan("d", notes=(restored,)))
    assert list(text.plan_lines(fleet_plan(*plans, verb=Verb.ROLLBACK))) == [
        "nothing to do for a, b, c, d",
        "b, c: run `R` is taken back here already",
        "d: its journal has no trace",
        "d:   hint: it was restored",
        "rollback: 0 steps on 0 targets, nothing to do on 4",
    ]


def test_a_command_in_a_hint_has_the_name_of_the_target() -> None:
    """Where it is said of one; of several, whoever copies it chooses."""
    problem = Problem("not_adopted", "not ours", "`ehg-migrate adopt TARGET` takes it over; `-x target=TARGET` too")
    one, two = (State(name, StateKind.NOT_ADOPTED, problem=problem) for name in ("acme", "beta"))
    assert "acme:   hint: `ehg-migrate adopt acme` takes it over; `-x target=acme` too" in text.status_lines([one])
    assert f"acme, beta:   hint: {problem.hint}" in text.status_lines([one, two])
    assert "    hint: `ehg-migrate adopt acme` takes it over; `-x target=acme` too" in text.plan_lines(
        fleet_plan(blocked=(one,))
    )
    said = "\n".join(text.result_lines(result("acme", Status.FAILED, problem=problem, notes=(problem,))))
    assert said.count("hint: `ehg-migrate adopt acme`") == 2


def test_status_of_many_alike() -> None:
    """What is to be said of many is said once; who is meant the table says, and where it does not, all are named."""
    down = [unreachable(f"t{i}") for i in range(10)]
    noted = [State(f"n{i}", StateKind.UP_TO_DATE, notes=(NOTE,)) for i in range(10)]
    assert list(text.status_lines([*down, *noted]))[21:] == [
        "",
        "t0, t1, t2, t3, t4, t5, t6, t7 and 2 more:",
        "  connection refused",
        "    hint: start it",
        "",
        "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9:",
        "  it was edited",
        "    at versions/a.py",
        "    hint: restore it",
        "",
        "10 unreachable (t0, t1, t2, t3, t4, t5, t6, t7 and 2 more), "
        "10 up_to_date (n0, n1, n2, n3, n4, n5, n6, n7 and 2 more)",
    ]
    assert list(text.status_lines(down[:2]))[3:6] == ["", "t0, t1: connection refused", "t0, t1:   hint: start it"]


def test_a_plan_of_many_alike() -> None:
    """Who cannot be planned for, and who is left out, for one reason together."""
    names = [f"t{i}" for i in range(10)]
    blocked = replace(fleet_plan(), blocked=tuple(map(unreachable, names)))
    assert list(text.plan_lines(blocked))[:3] == [
        "t0, t1, t2, t3, t4, t5, t6, t7 and 2 more: unreachable",
        "  connection refused",
        "    hint: start it",
    ]
    skipped = replace(fleet_plan(), skipped=tuple(Skipped(name, NOTE) for name in names[:2]))
    assert next(text.plan_lines(skipped)) == "t0, t1: skipped, it was edited"


def test_a_run_that_names_many_targets() -> None:
    """A `resume` is of each of its targets by name; nobody reads a line of hundreds, nor a table as wide."""
    many = replace(run(result("t0")), selector=",".join(f"t{i}" for i in range(500)))
    said = "t0,t1,t2,t3,t4,t5,t6,t7 and 492 more"
    assert f" on `{said}` by " in next(text.run_lines(many))
    assert f"  {said}  " in text.runs_lines([many])[1]


def test_status() -> None:
    """A row each, what is to be said about some, the sum; pending is not known where it cannot be."""
    states = (
        State("a", StateKind.UP_TO_DATE, ("r1", "r2")),
        State("b", StateKind.PENDING, (), ("r1",), notes=(NOTE,)),
        unreachable("c"),
    )
    assert list(text.status_lines(states)) == [
        "TARGET  STATE        HEADS  PENDING",
        "a       up_to_date   r1,r2  0",
        "b       pending      -      1",
        "c       unreachable  -      ?",
        "",
        "b: it was edited",
        "b:   at versions/a.py",
        "b:   hint: restore it",
        "",
        "c: connection refused",
        "c:   hint: start it",
        "",
        "1 up_to_date (a), 1 pending (b), 1 unreachable (c)",
    ]


def test_a_plan() -> None:
    """Equal plans are shown once with their targets; then who is blocked, left out, or has nothing to do; the sum."""
    steps = (step("r1"), step("longer", "crm"))
    skipped = Skipped("e", Problem("no_such_revision", "there is no revision `r9` here"))
    found = fleet_plan(plan("a", *steps), plan("b", *steps), plan("c"), blocked=(unreachable("d"),), skipped=(skipped,))
    digest = found.plans[0].digest
    assert list(text.plan_lines(found)) == [
        f"plan {digest} for a, b",
        "  from  -",
        "  up    r1      shared  about r1",
        "  up    longer  crm     about longer",
        "  to    longer",
        "",
        "d: unreachable",
        "  connection refused",
        "    hint: start it",
        "",
        "e: skipped, there is no revision `r9` here",
        "nothing to do for c",
        "upgrade: 4 steps on 2 targets, nothing to do on 1, 1 skipped (e), 1 blocked (d)",
    ]


def test_plans_with_different_notes_are_not_one() -> None:
    """What is to be said about one target is not said about another."""
    found = fleet_plan(plan("a", step("r1")), plan("b", step("r1"), notes=(NOTE,)))
    lines = list(text.plan_lines(found))
    assert [line for line in lines if line.startswith("plan ")] == [
        f"plan {found.plans[0].digest} for {n}" for n in "ab"
    ]
    assert "  note: it was edited" in lines


def test_an_adoption_is_not_nothing() -> None:
    """It has no steps, and is not said to do nothing."""
    assert list(text.plan_lines(fleet_plan(plan("a", verb=Verb.ADOPT), verb=Verb.ADOPT))) == ["adopt: 1 target"]


def test_a_good_result() -> None:
    """One line; notes below it."""
    found = result("a", steps=(done("r1"), done("r2")), notes=(NOTE,))
    assert list(text.result_lines(found)) == [
        "a: succeeded in 0.50 s, 2 steps",
        "  note: it was edited",
        "  note:   at versions/a.py",
        "  note:   hint: restore it",
    ]


def test_a_failed_result() -> None:
    """What, where, what to do, what it holds, and the end of what the revisions printed."""
    output = "".join(f"line {i}\n" for i in range(20))
    found = failed("a", steps=(done("r1"),), not_done=("r2", "r3"), heads_after=("r1",), output=output)
    lines = list(text.result_lines(found))
    assert lines[:6] == [
        "a: failed in 0.50 s, 1 step, 2 not done",
        "  it broke (SQLSTATE 42P07)",
        "    at versions/a.py:3",
        "    hint: mend it",
        "  holds r1",
        "  output of its revisions (the end):",
    ]
    assert lines[6:] == [f"    | line {i}" for i in range(8, 20)]


def test_a_failure_before_the_first_step() -> None:
    """The heads may not have been read: nothing is claimed about them."""
    assert "  holds what it held" in list(text.result_lines(failed("a", not_done=("r1",))))


def test_a_target_that_was_emptied_meanwhile() -> None:
    """It was read, and does not hold what it held."""
    assert "  holds nothing" in list(text.result_lines(failed("a", heads_before=("r1",), not_done=("r2",))))


def test_a_target_that_could_not_be_looked_at() -> None:
    """Whatever was done before, nothing is claimed about its heads: not that they stayed, nor that there are none."""
    for steps in ((), (done("r1"),)):
        found = replace(failed("a", steps=steps, not_done=("r2",)), status=Status.INDETERMINATE)
        assert "  what it holds is not known" in list(text.result_lines(found))


def test_what_several_have_in_common_is_said_once_for_all() -> None:
    """Not what one has alone."""
    other = replace(failed("e"), problem=Problem("deadline", "too long"))
    results = (failed("a"), result("b"), failed("c"), failed("d"), other)
    assert list(text.alike_lines(results)) == [
        "",
        "3 failed alike (a, c, d):",
        "  it broke (SQLSTATE 42P07)",
        "    at versions/a.py:3",
        "    hint: mend it",
    ]


@pytest.mark.parametrize(("names", "said"), [("f", "1 not_attempted (f):"), ("fg", "2 not_attempted alike (f, g):")])
def test_why_a_run_did_not_come_to_some_is_said(names: str, said: str) -> None:
    """Of a single one too: no work on it began, so nobody has told of it."""
    stopped = [result(n, Status.NOT_ATTEMPTED, problem=Problem("not_attempted", "enough", "mend it")) for n in names]
    assert list(text.alike_lines([failed("a"), *stopped])) == ["", said, "  enough", "    hint: mend it"]


def test_a_run() -> None:
    """Who, what, when; a row each; problems; what the run itself could not do; the sum."""
    found = run(result("a", heads_after=("r1",), steps=(done("r1"),)), failed("b"), notes=(NOTE,), undoes="20260101-x")
    lines = list(text.run_lines(found))
    assert lines[:6] == [
        "run 20260131-120000-abcd: upgrade of run 20260101-x on `all` by ada on laptop",
        "  commit 0123456789abcdef, started 2026-01-31 12:00:00Z, failed",
        "",
        "TARGET  STATUS     HEADS BEFORE  HEADS AFTER  STEPS  SECONDS",
        "a       succeeded  -             r1           1      0.50",
        "b       failed     -             -            0      0.50",
    ]
    assert "note: it was edited" in lines
    assert lines[-1] == "run 20260131-120000-abcd: 1 succeeded (a), 1 failed (b)"


def test_what_a_dead_run_has_not_said_is_said() -> None:
    """It was to work on them, and nobody knows what it did there."""
    found = replace(run(result("a")), targets=("a", "b", "c"), status=RunStatus.DIED)
    assert list(text.run_lines(found))[-1].endswith(": 1 succeeded (a), 2 without a result (b, c)")


@pytest.mark.parametrize(
    ("changes", "way"),
    [
        ({}, "`ehg-migrate resume 20260131-120000-abcd` completes it"),
        ({"saved_plan": "ab" * 32}, "`ehg-migrate upgrade --plan FILE` with the file of its plan completes it"),
        ({"verb": Verb.SEED}, "`ehg-migrate schema seed` said again completes it"),
    ],
)
def test_what_completes_a_dead_run_is_said(changes: dict[str, Any], way: str) -> None:
    """Where it can be resumed at all."""
    dead = replace(run(result("a")), status=RunStatus.DIED, **changes)
    hint = f"note:   hint: {way}; `ehg-migrate show 20260131-120000-abcd` tells how far it came"
    assert hint in list(text.run_lines(dead))


def test_runs() -> None:
    """How many targets are done, and which are not good; what was not attempted is neither done nor bad."""
    going = run(result("a"), result("b", Status.NOT_ATTEMPTED))
    lines = text.runs_lines([run(result("a"), failed("b")), going])
    assert lines[0].split() == ["RUN", "VERB", "STATUS", "STARTED", "ACTOR", "SELECTION", "TARGETS"]
    assert lines[1].endswith("ada    all        2 of 2, not good: b")
    assert lines[2].endswith("1 of 2")
    assert RunStatus.FAILED.value in lines[1]


def test_runs_of_one_rollout() -> None:
    """Stand together, whatever ran between them, and have its name."""
    shard = [replace(run(result("a")), id=f"run{n}", rollout="r7", selector=f"shard:{n}/2") for n in (1, 2)]
    lines = text.runs_lines([shard[0], replace(run(result("a")), id="other"), shard[1]])
    assert [line.split()[0] for line in lines] == ["RUN", "run1", "run2", "other"]
    assert [line.split()[-1] for line in lines[:3]] == ["ROLLOUT", "r7", "r7"]
    said = text.runs_lines(shard, {"r7": ("shard:3/4", "shard:4/4")})
    assert said[3:] == ["rollout r7: no run of shard:3/4, shard:4/4"]


def test_a_history() -> None:
    """A row for each entry of the journal; with the target's name of that time, where it was another."""
    entry = JournalEntry(
        1,
        "run1",
        "done",
        "r1",
        "up",
        "shared",
        "c",
        (),
        ("r1",),
        NOON,
        0.25,
        "ada",
        "laptop",
        "0123456789abcdef",
        "1.0",
        target="acme",
    )
    row = [
        "2026-01-31", "12:00:00Z", "run1", "done", "up", "r1", "shared", "0.25", "ada@laptop", "0123456789ab", "r1",
    ]  # fmt: skip
    assert records.history_lines([entry], "acme")[1].split() == row
    assert [line.split()[-1] for line in records.history_lines([entry], "beta")] == ["TARGET", "acme"]
    both = records.history_lines([entry, replace(entry, target="beta")], "beta")
    assert [line.split()[-1] for line in both] == ["TARGET", "acme", "beta"]


def test_times_are_utc_whatever_zone_a_database_has() -> None:
    """What ends with Z is UTC; a time that has none there is shown as it came."""
    east = timezone(timedelta(hours=14))
    assert text.when(NOON.astimezone(east)) == text.when(NOON) == "2026-01-31 12:00:00Z"
    west = timezone(-timedelta(hours=5))
    assert text.when(datetime(9999, 12, 31, 23, tzinfo=west)) == "9999-12-31 23:00:00-0500"


def test_locks() -> None:
    """Who holds what, for how long, doing what; free; or why that cannot be known."""
    held = (
        Held("a", (7, 8), since=NOON, state="active", doing="SELECT 1", run="r", actor="ada", host="laptop", process=3),
        Held("b"),
        Held("c", problem=Problem("x", "connection refused", "start it")),
        Held("d", (9,), application="psql", state="idle"),
        Held("e", (10,), state="active", run="r", host="laptop"),  # it has no lease, as a runner with one connection
    )
    assert list(records.locks_lines(held)) == [
        "a: run r of ada on laptop (process 3) since 2026-01-31 12:00:00Z, backends 7, 8 active",
        "  SELECT 1",
        "b: free",
        "c: connection refused",
        "c:   hint: start it",
        "d: `psql`, backend 9 idle",
        "e: run r on laptop, backend 10 active",
    ]
    many = [*held, *(Held(f"t{n}") for n in range(9)), Held("z", problem=held[2].problem)]
    assert [line for line in records.locks_lines(many) if line.split(":")[0] not in "ade"] == [
        "  SELECT 1",
        "c, z: connection refused",
        "c, z:   hint: start it",
    ]
    assert records.locks_summary(held) == "3 held (a, d, e), 1 free (b), 1 not known (c)"


def test_targets() -> None:
    """The fleet as its files say; never a password."""
    address = Address("h", 5432, "u", "d", "disable")
    lines = text.targets_lines([Target("a", address, ("shared", "a"), env="prod", tags=("x", "y"), purpose="it\nis")])
    assert lines == [
        "TARGET  ENV   BRANCHES  TAGS  ADDRESS     PURPOSE",
        "a       prod  shared,a  x,y   u@h:5432/d  it is",
    ]


def test_a_run_that_failed_alike_on_many_is_told_once() -> None:
    """At night nobody scrolls through fifty times the same; what a revision has printed stands at its own target."""
    why = Problem("x", "it is there", "`ehg-migrate history TARGET`")
    alike = [result(f"t{i}", status=Status.FAILED, problem=why) for i in range(10)]
    talks = replace(alike[0], target="talks", output="what it said")
    said = list(text.run_lines(run(*alike, talks)))
    assert said.count("  it is there") == 2
    at = said.index("10 failed alike (t0, t1, t2, t3, t4, t5, t6, t7 and 2 more):")
    assert said[at + 1 : at + 3] == ["  it is there", "    hint: `ehg-migrate history TARGET`"]
    assert "    hint: `ehg-migrate history talks`" in said
    few = list(text.run_lines(run(*alike[:8])))
    assert few.count("  it is there") == 8
