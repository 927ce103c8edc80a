"""The language that chooses targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.fleet import Fleet
from ehg_migrate.fleet.selectors import missing_shards
from ehg_migrate.model import Address, Plan, State, Target, Verb
from ehg_migrate.rollout.planning import fleet_plan
from tests.support.counting import grows_with


def _target(name: str, env: str = "", *tags: str) -> Target:
    return Target(name, Address("h", 5432, "u", name, "disable"), ("shared",), env=env, tags=tags)


FLEET = Fleet(
    (
        _target("eu-1", "production", "prod", "eu"),
        _target("eu-2", "staging", "eu"),
        _target("us-1", "production", "prod", "us"),
        _target("acme", "", "canary"),
    )
)


@pytest.mark.parametrize(
    ("selectors", "names"),
    [
        ([], "eu-1 eu-2 us-1 acme"),
        (["all"], "eu-1 eu-2 us-1 acme"),
        (["*"], "eu-1 eu-2 us-1 acme"),
        (["acme"], "acme"),
        (["acme", "eu-1"], "eu-1 acme"),
        (["acme, eu-1"], "eu-1 acme"),
        (["eu-*"], "eu-1 eu-2"),
        (["??-1"], "eu-1 us-1"),
        (["tag:prod"], "eu-1 us-1"),
        (["tag:?u"], "eu-1 eu-2"),
        (["env:staging"], "eu-2"),
        (["env:prod*"], "eu-1 us-1"),
        (["tag:eu,acme"], "eu-1 eu-2 acme"),
        (["!acme"], "eu-1 eu-2 us-1"),
        (["!tag:eu", "!acme"], "us-1"),
        (["tag:eu,!env:staging"], "eu-1"),
        (["!eu-2", "tag:eu"], "eu-1"),
        (["all,!tag:*n*"], "eu-1 eu-2 us-1"),
        (["shard:1/2"], "eu-2 acme"),
        (["shard:2/2"], "eu-1 us-1"),
        (["tag:eu", "shard:2/2"], "eu-2"),
        (["acme", "shard:2/2"], ""),
    ],
)
def test_select(selectors: list[str], names: str) -> None:
    """Selectors add up, exclusions are taken away wherever they stand, and the fleet's order is kept."""
    assert " ".join(t.name for t in FLEET.select(selectors)) == names


@pytest.mark.parametrize("sign", ["", "!"])
def test_many_names(sign: str) -> None:
    """A `resume` or `rollback` of thousands of targets names each: twice as many cost twice as much."""

    def chosen(count: int) -> Callable[[], object]:
        fleet = Fleet(tuple(_target(f"t{i}") for i in range(count)))
        names = [f"{sign}t{i}" for i in range(count - 1)]
        return lambda: fleet.select(names)

    assert grows_with(chosen, 200) < 2.3


def test_waves() -> None:
    """They are chosen by as targets are by their env; in a fleet that has none the word says so."""
    fleet = Fleet(tuple(replace(t, wave="canary" if t.name == "acme" else "rest") for t in FLEET.targets))
    assert [t.name for t in fleet.select(["wave:can*"])] == ["acme"]
    assert [t.name for t in fleet.select(["eu-*", "acme", "!wave:canary"])] == ["eu-1", "eu-2"]
    with pytest.raises(UsageError, match="no target is in a wave that matches `canari`") as caught:
        fleet.select(["wave:canari"])
    assert caught.value.problems[0].hint.startswith("did you mean `wave:canary`?")
    assert caught.value.problems[0].hint.endswith("; waves: rest, canary")
    with pytest.raises(UsageError, match="no target is in a wave that matches `canary`"):
        FLEET.select(["wave:canary"])


@pytest.mark.parametrize(("count", "of"), [(1, 1), (10, 3), (1000, 7), (3, 8)])
def test_shards(count: int, of: int) -> None:
    """Every target is in exactly one shard, their sizes differ by at most one, and the files' order is no matter."""
    names = [f"t{i * 7919 % count}" for i in range(count)]
    fleet, reordered = (Fleet(tuple(_target(n) for n in order)) for order in (names, sorted(names)))
    shards = [{t.name for t in fleet.select([f"shard:{i}/{of}"])} for i in range(1, of + 1)]
    assert shards == [{t.name for t in reordered.select([f"shard:{i}/{of}"])} for i in range(1, of + 1)]
    assert sorted(n for shard in shards for n in shard) == sorted(names)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


_SHARD = "write `shard:I/N` with I from 1 to N, the same N for all jobs"
_ALL = "targets: eu-1, eu-2, us-1, acme; tags: canary, eu, prod, us; envs: production, staging"


@pytest.mark.parametrize(
    ("selectors", "problems"),
    [
        (["eu-3"], [("no_match", "no target matches `eu-3`", f"did you mean `eu-2` or `eu-1` or `tag:eu`?; {_ALL}")]),
        (["ACME"], [("no_match", "no target matches `ACME`", f"did you mean `acme`?; {_ALL}")]),
        (["canary"], [("no_match", "no target matches `canary`", f"did you mean `tag:canary`?; {_ALL}")]),
        (["zzz*"], [("no_match", "no target matches `zzz*`", _ALL)]),
        (
            ["tag:prd"],
            [("no_match", "no target with the tag matches `prd`", f"did you mean `tag:prod`?; {_ALL}")],
        ),
        (
            ["env:stage"],
            [("no_match", "no target with the env matches `stage`", f"did you mean `env:staging`?; {_ALL}")],
        ),
        (["all,!acm"], [("no_match", "no target matches `acm`", f"did you mean `!acme`?; {_ALL}")]),
        ([""], [("empty_selector", "a selector is empty", None)]),
        (["acme,"], [("empty_selector", "a selector is empty", None)]),
        (["!"], [("empty_selector", "the selector `!` names nothing", None)]),
        (["tag:"], [("empty_selector", "the selector `tag:` names nothing", None)]),
        (["shard:3/2"], [("bad_shard", "`shard:3/2` is not a shard", _SHARD)]),
        (["shard:0/2"], [("bad_shard", "`shard:0/2` is not a shard", _SHARD)]),
        (["shard:a"], [("bad_shard", "`shard:a` is not a shard", _SHARD)]),
        (["shard:1/2", "shard:2/2"], [("bad_shard", "a selection has more than one `shard:`", "keep one")]),
        (
            ["group:crm"],
            [
                (
                    "bad_selector",
                    "`group:crm` is not a selector",
                    "use a name, a glob like `eu-*`, `tag:...`, `env:...` or `wave:...`",
                )
            ],
        ),
        (["acme,!acme"], [("empty_selection", "`acme,!acme` leaves no target", "take away one of the `!` selectors")]),
        (["!*"], [("empty_selection", "`!*` leaves no target", "take away one of the `!` selectors")]),
        (
            ["qqq", "acme", "!tag:www", "a:b"],
            [
                ("no_match", "no target matches `qqq`", None),
                ("no_match", "no target with the tag matches `www`", None),
                ("bad_selector", "`a:b` is not a selector", None),
            ],
        ),
    ],
)
def test_wrong_selectors(selectors: list[str], problems: list[tuple[str, str, str | None]]) -> None:
    """Every selector that is wrong or matches nothing is reported at once, with what may have been meant."""
    with pytest.raises(UsageError) as caught:
        FLEET.select(selectors)
    assert [(p.code, p.message) for p in caught.value.problems] == [(code, text) for code, text, _ in problems]
    for found, (_, _, hint) in zip(caught.value.problems, problems, strict=True):
        assert found.hint
        assert hint is None or found.hint == hint


def test_long_lists_are_shortened() -> None:
    """Of a large fleet the hint names eight targets and says how many more there are."""
    fleet = Fleet(tuple(_target(f"t{i}") for i in range(500)))
    with pytest.raises(UsageError) as caught:
        fleet.select(["zzz"])
    assert caught.value.problems[0].hint == "targets: t0, t1, t2, t3, t4, t5, t6, t7 and 492 more"


def _nothing(state: State) -> Plan:
    raise AssertionError(state)


def test_a_text_is_one_item() -> None:
    """A text in place of a list is one item, not its letters: also in what a plan and the ledger say was selected."""
    assert [t.name for t in FLEET.select("acme")] == ["acme"]
    assert fleet_plan(Verb.UPGRADE, "acme, tag:eu", (), _nothing).selector == "acme,tag:eu"
    assert fleet_plan(Verb.UPGRADE, (), (), _nothing).selector == "all"


@pytest.mark.parametrize(
    ("selections", "missing"),
    [
        (["all"], []),
        (["shard:1/1"], []),
        (["all,shard:2/3", "all"], ["all,shard:1/3", "all,shard:3/3"]),
        (["tag:a,!b,shard:1/2", "tag:a,!b,shard:2/2"], []),
        (["tag:a,shard:1/2", "tag:b,shard:2/2"], ["tag:a,shard:2/2", "tag:b,shard:1/2"]),
        (["shard:1/2", "shard:1/3"], ["shard:2/2", "shard:2/3", "shard:3/3"]),
        (["acme,bolt", "shard:9/2", "", "shard:1/2,tag:a"], []),
    ],
)
def test_parts_that_nobody_has_begun(selections: list[str], missing: list[str]) -> None:
    """Of each selection that others have cut into as many; who has completed one by names counts for none."""
    assert list(missing_shards(selections)) == missing
