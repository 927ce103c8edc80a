"""Plans of upgrades, downgrades and adoptions, from version rows."""

from __future__ import annotations

import pytest

from ehg_migrate.errors import TargetError, UsageError
from ehg_migrate.model import Verb
from ehg_migrate.revisions.planner import plan_adoption, plan_downgrade, plan_upgrade, refuse_base
from tests.unit.revisions.trees import fleet_graph, steps

RELEASES = {"v1": {"shared": ("s2",), "app": ("a1",), "other": ("x9",)}}


# --- upgrade


@pytest.mark.parametrize(
    ("heads", "to", "expected", "goal"),
    [
        ((), ["heads"], ["+s1", "+s2", "+s3", "+a1", "+a2"], ("a2", "s3")),
        ((), ["app@head"], ["+s1", "+s2", "+a1", "+a2"], ("a2",)),
        ((), ["shared@head"], ["+s1", "+s2", "+s3"], ("s3",)),
        (("s1",), ["a1"], ["+a1"], ("a1",)),
        (("a1", "s3"), ["s2"], [], ("a1", "s3")),
        (("a1",), ["release:v1"], ["+s2"], ("a1", "s2")),
        (("s3",), ["base"], [], ("s3",)),
        ((), ["s1", "a1"], ["+s1", "+a1"], ("a1",)),
    ],
)
def test_an_upgrade_adds_what_is_named_and_takes_nothing(
    heads: tuple[str, ...], to: list[str], expected: list[str], goal: tuple[str, ...]
) -> None:
    """Also where what is named lies below what is applied."""
    plan = plan_upgrade(fleet_graph(), "t", heads, to, RELEASES)
    assert sorted(steps(plan)) == sorted(expected)
    assert (plan.verb, plan.heads, plan.goal, plan.notes) == (Verb.UPGRADE, heads, goal, ())
    assert (plan.steps[-1].heads_after if plan.steps else plan.heads) == goal


def test_rows_that_overlap_are_said_and_planned_from() -> None:
    """The first step starts from the rows without the needless one."""
    plan = plan_upgrade(fleet_graph(), "t", ("a1", "s1"), ["heads"], {})
    assert plan.heads == ("a1", "s1")
    assert plan.steps[0].heads_before == ("a1",)
    assert [str(n) for n in plan.notes] == [
        "the version table holds `s1` although another row implies it\n"
        "  hint: they do no harm; the next run that has a step here takes them out before it"
    ]


@pytest.mark.parametrize("to", ["base", " app@base "])
def test_an_upgrade_leads_to_no_base(to: str) -> None:
    """It would do nothing, and every target would be called up to date."""
    with pytest.raises(UsageError) as caught:
        refuse_base(["s1", to])
    assert [(p.code, p.hint) for p in caught.value.problems] == [
        ("to_base", f"`ehg-migrate downgrade TARGET --to {to.strip()}` takes back")
    ]
    refuse_base(["heads", "app@head", "s1"])


# --- downgrade


@pytest.mark.parametrize(
    ("heads", "to", "expected", "goal"),
    [
        (("a2", "s3"), ["s2"], ["-s3"], ("a2",)),
        (("a2", "s3"), ["s1"], ["-s3", "-a2", "-s2"], ("a1",)),
        (("a2", "s3"), ["shared@base"], ["-s3", "-a2", "-s2", "-a1", "-s1"], ()),
        (("a2", "s3"), ["app@base"], ["-a2", "-a1"], ("s3",)),
        (("a2", "s3"), ["app@a1"], ["-a2"], ("a1", "s3")),
        (("a2", "s3"), ["a1", "s2"], ["-a2", "-s3"], ("a1", "s2")),
        (("a2", "s3"), [" base "], ["-s3", "-a2", "-s2", "-a1", "-s1"], ()),
        (("a2", "s3"), ["release:v1"], ["-s3", "-a2"], ("a1", "s2")),
        (("a2",), ["s2"], [], ("a2",)),
        (("a2",), ["app@head"], [], ("a2",)),
    ],
)
def test_a_downgrade_takes_what_stands_above_and_what_needs_it(
    heads: tuple[str, ...], to: list[str], expected: list[str], goal: tuple[str, ...]
) -> None:
    """On the named line, and elsewhere only what cannot stay."""
    plan = plan_downgrade(fleet_graph(), "t", heads, to, RELEASES)
    assert sorted(steps(plan)) == sorted(expected)
    assert (plan.verb, plan.goal) == (Verb.DOWNGRADE, goal)


def test_a_downgrade_to_what_is_not_applied_is_refused() -> None:
    """Instead of doing nothing without a word."""
    with pytest.raises(TargetError) as caught:
        plan_downgrade(fleet_graph(), "t", ("s2",), ["s3"], {})
    assert str(caught.value) == (
        "revision `s3` is not applied, so there is nothing above it to take back\n"
        "  hint: `ehg-migrate history TARGET` shows what is applied"
    )


@pytest.mark.parametrize(("to", "code"), [("nothing", "no_such_revision"), ("none@base", "unknown_branch")])
def test_a_downgrade_to_what_does_not_exist_is_a_mistake(to: str, code: str) -> None:
    """Of the one who asks, not of the target."""
    with pytest.raises(UsageError) as caught:
        plan_downgrade(fleet_graph(), "t", ("s2",), [to], {})
    assert [p.code for p in caught.value.problems] == [code]


# --- adopt


def test_adopting_takes_rows_over_or_declares() -> None:
    """Rows of the old table without needless ones; or the revisions that are named; no step either way."""
    graph = fleet_graph()
    taken = plan_adoption(graph, "t", ("a1", "s1"), (), {})
    assert (taken.verb, taken.heads, taken.goal, taken.steps) == (Verb.ADOPT, (), ("a1",), ())
    assert [n.code for n in taken.notes] == ["old_table_stays"]
    (note,) = plan_adoption(graph, "t", ("a1",), (), {}, "staging").notes
    assert note.message == "`staging.alembic_version` stays as it is and is no longer read"
    declared = plan_adoption(graph, "t", (), ["shared@head", "a1"], {})
    assert (declared.goal, declared.notes) == (("a1", "s3"), ())


@pytest.mark.parametrize(
    ("foreign", "text"),
    [
        (
            ("s1", "zz"),
            "`public.alembic_version` holds `zz`, which this target's branches do not have\n"
            "  hint: bring its revision files into versions/, or declare what is applied with `--heads`",
        ),
        (
            (),
            "there is no `public.alembic_version` with rows to take over\n"
            "  hint: declare what is applied with `--heads REV`; where nothing is, `ehg-migrate upgrade -t TARGET` is "
            "enough",
        ),
    ],
)
def test_adopting_what_nothing_explains_is_refused(foreign: tuple[str, ...], text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(TargetError) as caught:
        plan_adoption(fleet_graph(), "t", foreign, (), {})
    assert (caught.value.problem.code, str(caught.value)) == ("unknown_revision", text)
