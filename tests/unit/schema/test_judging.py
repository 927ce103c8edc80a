"""Findings from effects: levels by rule, project and target, and what the words say of a size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.database.sizes import Size
from ehg_migrate.errors import Problem
from ehg_migrate.model import Direction, Level, Step
from ehg_migrate.revisions.rules import RULES, Weight
from ehg_migrate.schema.difference import Change, Difference
from ehg_migrate.schema.effects import Effect, effect
from ehg_migrate.schema.judging import Judge, Seen, weighed_tables
from ehg_migrate.schema.lint_shelf import Kept, Known
from ehg_migrate.schema.linting import outcome
from ehg_migrate.schema.rehearsed import Rehearsal, RehearsedStep, on_former_tables
from ehg_migrate.settings import Settings

STEP = Step("r1", Direction.UP, "shared", "c", "doc", "versions/shared/r1.py", (), ("r1",))
SETTINGS = Settings(Path(), False, "", "", frozenset(), 1, large_table=100 << 20)
REWRITE = effect("rewrite", "table public.t", ("public.t",), 7)
GRANTED = effect("granted", "table public.t")
LOST = effect("lost_data", "table public.t", ("public.t",))


def judged(one: Effect, size: Size | Problem | None, settings: Settings = SETTINGS) -> list[tuple[Level, str]]:
    """Level and message of what is found on one target."""
    sizes = {"acme": size if isinstance(size, Problem) else {"public.t": size}}
    found = Judge(settings, lambda rule, revision: "").findings([Seen(STEP, (one,))], ("acme",), sizes)
    return [(f.level, f.message.removeprefix(f"table public.t: {one.message}; ")) for f in found]


SIZES = {
    "large": (REWRITE, Size(3 << 30, 2 << 30, 4_000_000), Level.ERROR,
              "on `acme` `public.t` has about 4,000,000 rows, 3 GB"),
    "at the threshold": (REWRITE, Size(100 << 20, 1, 5), Level.ERROR, "on `acme` `public.t` has about 5 rows, 100 MB"),
    "below": (REWRITE, Size((100 << 20) - 1, 1, 5), Level.NOTE, "on `acme` `public.t` has about 5 rows, 100 MB"),
    "never counted": (REWRITE, Size(8192, 0, None), Level.NOTE,
                      "on `acme` `public.t` has a number of rows that nobody has counted (ANALYZE), 8 kB"),
    "not there": (REWRITE, None, Level.WARNING, "`acme` has no table `public.t`, although its revisions make one"),
    "not read": (REWRITE, Problem("x", "locked"), Level.WARNING,
                 "how large `public.t` is on `acme` cannot be read: locked"),
    "a few rows lost": (LOST, Size(16384, 8192, 1), Level.ERROR, "on `acme` `public.t` has about 1 rows, 16 kB"),
    "none lost": (LOST, Size(8192, 0, 0), Level.NOTE, "on `acme` `public.t` has about 0 rows, 8 kB"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_a_size_decides(name: str) -> None:
    """The same effect weighs more where the table is large, or holds anything; what is not known is a warning."""
    one, size, level, words = SIZES[name]
    assert judged(one, size) == [(level, words)]


def test_a_project_decides() -> None:
    """`lint_levels` gives a rule another level where it weighs, `lint_ignore` takes it out."""
    large = Size(3 << 30, 2 << 30, 4_000_000)
    mild = replace(SETTINGS, lint_levels=(("effect:rewrite", "warning"), ("effect:granted", "error")))
    assert [level for level, _ in judged(REWRITE, large, mild)] == [Level.WARNING]
    assert [level for level, _ in judged(REWRITE, Size(0, 0, 0), mild)] == [Level.NOTE]
    assert [level for level, _ in judged(GRANTED, None, mild)] == [Level.ERROR]
    assert judged(REWRITE, large, replace(SETTINGS, lint_ignore=frozenset({"effect:rewrite"}))) == []


def test_one_finding_for_all_where_no_size_has_a_say() -> None:
    """Else one for each; where nobody has asked, a note that says so."""
    judge = Judge(SETTINGS, lambda rule, revision: "a reason" if rule == "effect:granted" else "")
    steps = [Seen(STEP, (GRANTED, REWRITE))]
    sizes = {"acme": {"public.t": Size(0, 0, 0)}, "beta": {"public.t": Size(1 << 40, 1, 1)}}
    found = list(judge.findings(steps, ("acme", "beta"), sizes))
    assert [(f.rule, f.targets, f.level, f.stops) for f in found] == [
        ("effect:granted", ("acme", "beta"), Level.WARNING, False),
        ("effect:rewrite", ("acme",), Level.NOTE, False),
        ("effect:rewrite", ("beta",), Level.ERROR, True),
    ]
    assert (found[0].allowed, found[2].line, found[2].revision) == ("a reason", 7, "r1")
    _, unasked = judge.findings(steps, ("acme", "beta"), None)
    assert (unasked.level, unasked.targets) == (Level.NOTE, ("acme", "beta"))
    assert "`plan --lint` finds out on each target" in unasked.message
    assert weighed_tables(steps) == {"public.t"}


def test_rules_that_a_size_decides_name_their_table() -> None:
    """One table each: the query for sizes is made from them."""
    assert {name for name, rule in RULES.items() if rule.weight is not Weight.NOTHING} == {
        "rewrite", "scan", "index_build", "held_lock", "backfill", "lost_data", "truncate", "delete",
        "detached",
    }  # fmt: skip


def test_the_way_back() -> None:
    """No downgrade is a note; one that does not restore, or drops what was there, is a warning that names it."""

    def missing(kind: str, identity: str) -> Difference:
        return Difference(kind, identity, Change.MISSING, ())

    lost = (missing("column", "s.t.c"), missing("column", "s.u.c"), missing("index", "s.i"), missing("table", "s.u"))
    view = (missing("column", "s.v.c"), missing("view", "s.v"), missing("column", "s.w.c"), missing("column", "s.m.c"))
    changed = (Difference(k, f"s.{n}", Change.CHANGED, ()) for k, n in (("view", "w"), ("materialized view", "m")))
    lost = (*lost, *view, *changed)  # what a view shows is in its tables
    steps = (RehearsedStep(STEP, reversible=False), RehearsedStep(STEP, not_restored=lost), RehearsedStep(STEP))
    found = outcome(Rehearsal(("acme",), (), ("r1",), steps))
    assert [[(e.rule, e.identity) for e in s.effects] for s in found.steps] == [
        [("no_downgrade", "revision r1")],
        [
            ("not_restored", "revision r1 (missing column s.t.c, missing column s.u.c, missing index s.i)"),
            ("downgrade_loses", "column s.t.c"),
            ("downgrade_loses", "table s.u"),
        ],
        [],
    ]


def tables(*steps: RehearsedStep) -> list[list[tuple[str, tuple[str, ...]]]]:
    """Rule and tables of all that is found, step by step."""
    rehearsal = Rehearsal(("acme",), (), ("r1",), tuple(on_former_tables(steps)))
    return [[(e.rule, e.tables) for e in s.effects] for s in outcome(rehearsal).steps]


def test_tables_that_the_plan_makes() -> None:
    """What an earlier step of the same plan has made holds nothing on any target: nothing is lost or long there."""
    both = effect("many_locks", "public.t, public.u", ("public.t", "public.u"))
    steps = (
        RehearsedStep(STEP, effects=(LOST,), made=("public.t",)),
        RehearsedStep(STEP, effects=(LOST, both, GRANTED)),
    )
    assert tables(*steps) == [[("lost_data", ("public.t",))], [("granted", ())]]
    assert [[e.rule for e in s.effects] for s in on_former_tables(steps)][1] == ["lost_data", "granted"]


def test_tables_that_the_plan_renames() -> None:
    """They are asked for by the name that targets know, also where another has that name by now."""
    old = (
        effect("rewrite", "table public.old", ("public.old",)),
        effect("lost_data", "table public.old", ("public.old",)),
    )
    away = RehearsedStep(STEP, renamed=(("public.t", "public.old"),))
    new = RehearsedStep(STEP, made=("public.t",))
    found = [("rewrite", ("public.t",)), ("lost_data", ("public.t",))]
    assert tables(away, new, RehearsedStep(STEP, effects=(*old, REWRITE)))[2] == found
    assert tables(new, away, RehearsedStep(STEP, effects=old))[2] == []


def test_what_is_kept(tmp_path: Path) -> None:
    """Found again by plan and case, and for a target by the plan and its own case; a file that is wrong is none."""
    known = Known(replace(SETTINGS, root=tmp_path))
    steps, others = (Seen(STEP, (REWRITE, GRANTED)),), (Seen(STEP, (REWRITE,)),)
    known.keep("plan", "case", ("one", "two"), Kept(steps, ", on another"), back=False)
    assert known.find("plan", [STEP], "case") == Kept(steps, ", on another")
    assert known.last("plan", [STEP], "two") == steps
    assert known.find("plan", [STEP], "other") is None
    assert known.find("plan", [STEP], "case", back=True) is None
    assert known.last("plan", [STEP], "three") is None, "nobody has looked at it"
    known.keep("plan", "case", ("one", "two"), Kept(steps), back=True)
    assert known.find("plan", [STEP], "case", back=True) == Kept(steps)
    known.keep("plan", "other", ("three",), Kept(others), back=True)
    known.met("plan", "other", ("one",))
    assert [known.last("plan", [STEP], name) for name in ("one", "two", "three")] == [others, steps, others]
    known.met("plan", "case", ("one",))
    assert known.last("plan", [STEP], "one") == steps, "it is as it was before"
    for text in (
        "",
        "{}",
        "[1",
        '{"form": 4, "elsewhere": "", "back": true, "at": {"one": 1.0}, "steps": [[["no_rule", "", [], 0]]]}',
    ):
        for file in (tmp_path / ".ehg" / "lint").iterdir():
            file.write_text(text)
        assert known.find("plan", [STEP], "case") is known.last("plan", [STEP], "one") is None
