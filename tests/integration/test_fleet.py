"""Many targets at once: each gets exactly what is its own, and trouble with one stays with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from ehg_migrate.cli import exits
from ehg_migrate.errors import ConfigurationError, UsageError
from ehg_migrate.model import Address, RunStatus, StateKind, Status
from ehg_migrate.project import Project
from ehg_migrate.rollout.jobs import Event, EventKind
from tests.conftest import MakeProject
from tests.integration.fleets import (
    SHARED,
    by_target,
    entries,
    execute,
    journal,
    making,
    own,
    rows,
    statuses,
    tables,
)
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project
from tests.support.wire import CountingProxy

MakeDatabase = Callable[[str], Address]

NAMES = tuple(f"t{n:02d}" for n in range(1, 15))
GROUPS = {"crm": NAMES[0:5], "eu": NAMES[3:9]}
OWN = NAMES[:10]
"""The targets that have revisions of their own; the others have an empty folder."""

DATABASES = 100


def expected(name: str) -> set[str]:
    """The tables of a target of the large fleet."""
    groups = [group for group, members in GROUPS.items() if name in members]
    return {"s1", "s2", "s3"} | {f"{b}_{n}" for b in (*groups, *([name] if name in OWN else [])) for n in (1, 2)}


@pytest.fixture(scope="module")
def addresses(make_module_database: MakeDatabase) -> dict[str, Address]:
    """A database for each of the fourteen."""
    return {name: make_module_database(name) for name in NAMES}


@pytest.fixture(scope="module")
def fleet(
    pg: Cluster, addresses: dict[str, Address], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, list[Event], dict[str, Status]]]:
    """Fourteen targets of two groups, upgraded once: the project, what was told, and how it ended."""
    revisions = dict(SHARED)
    for branch in (*GROUPS, *OWN):
        revisions |= own(branch)
    more = {n: {"branches": [g for g, members in GROUPS.items() if n in members]} for n in NAMES}
    root = write_project(tmp_path_factory.mktemp("fleet"), entries(addresses, **more), revisions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD_VARIABLE, pg.password)
        events: list[Event] = []
        project = Project.load(root)
        yield project, events, statuses(project.upgrade(watch=events.append))


Fleet = tuple[Project, list[Event], dict[str, Status]]


def test_fourteen_targets_at_once(pg: Cluster, fleet: Fleet, addresses: dict[str, Address]) -> None:
    """Each ends with shared, its groups and its own, and with no table of another; the catalogues say so."""
    project, events, ended = fleet
    assert ended == dict.fromkeys(NAMES, Status.SUCCEEDED)
    assert {name: tables(pg, a) for name, a in addresses.items()} == {name: expected(name) for name in NAMES}
    for name, address in addresses.items():
        done = [r for event, direction, r in journal(pg, address) if (event, direction) == ("done", "up")]
        assert sorted(done) == sorted(expected(name))
        assert len([e for e in events if e.target == name and e.kind is EventKind.STEP_DONE]) == len(done)
    assert {s.kind for s in project.status()} == {StateKind.UP_TO_DATE}


def test_a_second_upgrade_does_nothing(pg: Cluster, fleet: Fleet, addresses: dict[str, Address]) -> None:
    """No worker is started, no journal row written, nothing is taken or changed."""
    project, _, _ = fleet
    before = {name: journal(pg, a) for name, a in addresses.items()}
    events: list[Event] = []
    run = project.upgrade(watch=events.append)
    assert statuses(run) == dict.fromkeys(NAMES, Status.UP_TO_DATE)
    assert events == []
    assert {name: journal(pg, a) for name, a in addresses.items()} == before
    assert exits.of_run(run) == 0


# --- one broken target


def test_one_broken_target_fails_alone(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """It keeps what was committed and says where and why; the others succeed; the exit code is 1."""
    addresses = {name: make_database(name) for name in ("bad", "clash", "good", "well")}
    execute(pg, addresses["clash"], "CREATE TABLE s2 (by_hand text)")
    bad = {
        "bad/1": making("bad_1", label="bad", depends=["s1"]),
        "bad/2": revision("bad_2", "bad_1", up="CREATE TABLE half ()", up_code="op.execute('SELECT 1 / 0')"),
    }
    project = Project.load(make_project(tmp_path, entries(addresses), SHARED | bad | own("good")))
    run = project.upgrade()
    results = {r.target: r for r in run.results}
    assert statuses(run) == {
        "bad": Status.FAILED,
        "clash": Status.FAILED,
        "good": Status.SUCCEEDED,
        "well": Status.SUCCEEDED,
    }
    assert (run.status, exits.of_run(run)) == (RunStatus.FAILED, 1)

    problem = results["bad"].problem
    assert problem is not None
    assert (problem.sqlstate, problem.message, problem.hint) == (
        "22012",
        "division by zero",
        "correct the revision and run again",
    )
    assert problem.where == "versions/bad/2.py:13"
    assert "half" not in tables(pg, addresses["bad"])
    assert tables(pg, addresses["bad"]) == {s.revision for s in results["bad"].steps}
    assert results["bad"].not_done[0] == "bad_2"
    assert set(results["bad"].heads_after) == rows(pg, addresses["bad"])

    problem = results["clash"].problem
    assert problem is not None
    assert (problem.code, problem.sqlstate, problem.hint) == (
        "exists_already",
        "42P07",
        "somebody made it by hand, or a version row was lost (`ehg-migrate history TARGET`). If `ehg-migrate compare "
        "TARGET heads:s2` shows no difference in what this step makes, `alembic -x target=TARGET stamp s2` says that "
        "it is applied; else move it out of the way, with the rows that it may hold, and run again",
    )
    assert results["clash"].heads_after == ("s1",)
    assert tables(pg, addresses["good"]) == {"s1", "s2", "s3", "good_1", "good_2"}


def test_a_mended_target_goes_on_where_it_stopped(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """The next run does only what is left."""
    address = make_database("mend")
    execute(pg, address, "CREATE TABLE s2 (by_hand text)")
    project = Project.load(make_project(tmp_path, entries({"one": address}), SHARED))
    assert statuses(project.upgrade()) == {"one": Status.FAILED}
    execute(pg, address, "DROP TABLE s2")
    run = project.upgrade()
    assert [s.revision for s in run.results[0].steps] == ["s2", "s3"]
    assert [e[0] for e in journal(pg, address)] == ["done", "failed", "done", "done"]


def test_a_target_that_is_not_there_fails_alone(
    make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """Its State says why; nothing was tried on it."""
    address = make_database("there")
    gone = Address(address.host, address.port, address.user, "not_there", address.sslmode)
    project = Project.load(make_project(tmp_path, entries({"gone": gone, "here": address}), SHARED))
    run = project.upgrade()
    assert statuses(run) == {"gone": Status.FAILED, "here": Status.SUCCEEDED}
    problem = next(r.problem for r in run.results if r.target == "gone")
    assert problem is not None
    assert (problem.code, problem.hint) == ("no_database", "create it, or correct `database` in the entry")
    assert exits.of_run(run) == 1


# --- selection


@pytest.fixture
def selectable(make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path) -> Project:
    """Five targets with tags and environments, none of them touched."""
    more: dict[str, dict[str, Any]] = {
        "eu_a": {"tags": ["prod", "canary"]},
        "eu_b": {"tags": ["prod"]},
        "us_a": {"env": "staging"},
        "us_b": {"env": "staging", "tags": ["prod"]},
        "us_c": {},
    }
    addresses = {name: make_database(name) for name in more}
    return Project.load(make_project(tmp_path, entries(addresses, **more), SHARED))


@pytest.mark.parametrize(
    ("selectors", "chosen"),
    [
        (["tag:canary"], {"eu_a"}),
        (["env:staging"], {"us_a", "us_b"}),
        (["eu_*"], {"eu_a", "eu_b"}),
        (["tag:prod", "!us_b"], {"eu_a", "eu_b"}),
        (["!us_*,!tag:canary"], {"eu_b"}),
        (["us_c", "tag:canary"], {"eu_a", "us_c"}),
    ],
)
def test_only_the_selected_are_touched(selectable: Project, selectors: list[str], chosen: set[str]) -> None:
    """The others hold nothing afterwards, and stand in no result."""
    run = selectable.upgrade(selectors)
    assert statuses(run) == dict.fromkeys(chosen, Status.SUCCEEDED)
    assert {s.target for s in selectable.status() if s.heads} == chosen


# --- goals


@pytest.fixture
def grouped(make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path) -> Project:
    """`a` has the group crm, `b` has not; `pinned` wants only the shared branch, `old` one revision of it."""
    more: dict[str, dict[str, Any]] = {
        "a": {"branches": ["crm"]},
        "b": {},
        "pinned": {"branches": ["crm"], "upgrade_to": ["shared@head"]},
        "old": {"upgrade_to": ["s1"]},
    }
    addresses = {name: make_database(name) for name in more}
    revisions = SHARED | own("crm") | own("a") | own("pinned")
    return Project.load(make_project(tmp_path, entries(addresses, **more), revisions))


def heads(project: Project) -> dict[str, tuple[str, ...]]:
    """The version rows of all targets."""
    return {s.target: s.heads for s in project.status()}


def test_to_a_branch_brings_what_it_needs_and_skips_who_lacks_it(grouped: Project) -> None:
    """Only as much of the shared branch as the group depends on."""
    run = grouped.upgrade(to=["crm@head"])
    assert statuses(run) == {
        "a": Status.SUCCEEDED,
        "pinned": Status.SUCCEEDED,
        "b": Status.SKIPPED,
        "old": Status.SKIPPED,
    }
    assert heads(grouped) == {"a": ("crm_2",), "b": (), "pinned": ("crm_2",), "old": ()}
    notes = {r.target: [str(n) for n in r.notes] for r in run.results if r.status is Status.SKIPPED}
    assert notes["b"] == ["there is no branch `crm` here\n  hint: branches here: `shared`"]
    assert exits.of_run(run) == 0


def test_upgrade_to_is_the_targets_own_goal(grouped: Project) -> None:
    """Pending is what the goal needs, and after the run nothing is; `--to` wins over it."""
    states = by_target(grouped.status())
    assert {n: s.pending for n, s in states.items() if n != "a"} == {
        "b": ("s1", "s2", "s3"),
        "pinned": ("s1", "s2", "s3"),
        "old": ("s1",),
    }
    grouped.upgrade()
    assert heads(grouped) == {"a": ("a_2", "crm_2", "s3"), "b": ("s3",), "pinned": ("s3",), "old": ("s1",)}
    assert {s.kind for s in grouped.status()} == {StateKind.UP_TO_DATE}
    grouped.upgrade(to=["heads"])
    assert heads(grouped) == {
        "a": ("a_2", "crm_2", "s3"),
        "b": ("s3",),
        "pinned": ("crm_2", "pinned_2", "s3"),
        "old": ("s3",),
    }


def test_a_release_point_is_what_it_was(grouped: Project) -> None:
    """Revisions that came after it stay out; branches that a target lacks are left out."""
    grouped.release("v1")
    root = grouped.settings.root
    add_revision(root, "shared/4", making("s4", "s3"))
    add_revision(root, "crm/3", making("crm_3", "crm_2"))
    project = Project.load(root)
    project.upgrade(to=["release:v1"])
    assert heads(project) == {
        "a": ("a_2", "crm_2", "s3"),
        "b": ("s3",),
        "pinned": ("crm_2", "pinned_2", "s3"),
        "old": ("s3",),
    }
    project.upgrade(["a"])
    assert heads(project)["a"] == ("a_2", "crm_3", "s4")


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("nothing", "no_such_revision"),
        ("nobody@head", "unknown_branch"),
        ("release:v9", "unknown_release"),
        ("crm", "revision_spec"),
        ("+1", "revision_spec"),
    ],
)
def test_a_goal_that_nobody_has_is_a_mistake(grouped: Project, to: str, code: str) -> None:
    """Not a run in which everybody is skipped; a name that is wrong for one is not skipped for the others either."""
    with pytest.raises(UsageError) as caught:
        grouped.plan(to=[to])
    assert [p.code for p in caught.value.problems] == [code]


def test_a_wrong_upgrade_to_is_said_before_any_connection(
    pg: Cluster, make_project: MakeProject, tmp_path: Path
) -> None:
    """For all targets at once, with their places; not even one that would be right is connected to."""
    with CountingProxy(pg.host, pg.port) as proxy:
        address = Address(proxy.host, proxy.port, "postgres", "postgres", "disable")
        other = Address(proxy.host, proxy.port, "postgres", "template1", "disable")
        third = Address(proxy.host, proxy.port, "postgres", "third", "disable")
        more = {"x": {"upgrade_to": ["shared@haed"]}, "y": {"upgrade_to": ["s3", "crm@head"]}}
        targets = entries({"x": address, "y": other, "z": third}, **more)
        project = Project.load(make_project(tmp_path, targets, SHARED))
        with pytest.raises(ConfigurationError) as caught:
            project.status()
        assert proxy.connections == 0
    assert str(caught.value) == (
        "targets/t.yaml: targets.x.upgrade_to: there is no revision `haed` here\n"
        "  hint: `ehg-migrate plan` and `ehg-migrate history TARGET` show the ids\n"
        "targets/t.yaml: targets.y.upgrade_to: there is no branch `crm` here\n"
        "  hint: branches here: `shared`"
    )


# --- a hundred


def test_a_hundred_databases(pg_own: Cluster, make_project: MakeProject, tmp_path: Path) -> None:
    """Eight at a time all are upgraded; a status then takes one connection and one query for each, no more."""
    names = [f"db{n:03d}" for n in range(DATABASES)]
    _create(pg_own, names)
    with CountingProxy(pg_own.host, pg_own.port) as proxy:
        targets = {n: target_entry(Address(proxy.host, proxy.port, "postgres", n, "disable")) for n in names}
        project = Project.load(make_project(tmp_path, targets, {"shared/1": SHARED["shared/1"]}))
        run = project.upgrade(parallel=8)
        assert statuses(run) == dict.fromkeys(names, Status.SUCCEEDED)

        proxy.reset()
        states = project.status()
        assert {(s.kind, s.heads) for s in states} == {(StateKind.UP_TO_DATE, ("s1",))}
        assert [s.target for s in states] == names
        assert (proxy.connections, proxy.queries) == (DATABASES, DATABASES)
        assert {(t.start_ups, t.messages["Q"] + t.messages["E"]) for t in proxy.traffic} == {(1, 1)}

        proxy.reset()
        assert statuses(project.upgrade(parallel=8)) == dict.fromkeys(names, Status.UP_TO_DATE)
        assert (proxy.connections, proxy.queries) == (DATABASES, DATABASES)


def _create(pg: Cluster, names: list[str]) -> None:
    """Small ones, by one connection; copied page by page where the server can, which spares a checkpoint for each."""
    with pg.admin() as c:
        strategy = " STRATEGY wal_log" if c.info.server_version >= 150000 else ""
        create = sql.SQL(f"CREATE DATABASE {{}} OWNER postgres TEMPLATE template0{strategy}")
        for name in names:
            c.execute(create.format(sql.Identifier(name)))
