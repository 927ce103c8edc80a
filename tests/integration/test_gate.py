"""The gate of an upgrade: which steps are rehearsed unasked, and that each target is judged by those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.database import origin
from ehg_migrate.model import Address, FleetPlan, Result
from ehg_migrate.project import linting
from ehg_migrate.schema import linting as rehearsals
from ehg_migrate.schema import rehearsal
from tests.acceptance.test_drift import scratch_url
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import make_fleet, step
from tests.support.wire import CountingProxy

TARGETS = ("one", "two")
STEPS = {f"{name}/a": step(name[0], None, label=name) for name in TARGETS}


@pytest.fixture(autouse=True)
def variables(pg: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets' password, and the tests' own server as the scratch server."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    monkeypatch.setenv("EHG_SCRATCH_URL", scratch_url(pg))


def test_targets_are_asked_only_where_something_can_come_of_it(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more goals than cases, of which none is known, no target is; where one was rehearsed before, they are."""
    monkeypatch.setattr(linting, "_CASES", 1)
    with CountingProxy(pg.host, pg.port) as proxy:
        here = {name: replace(make_database(name), host=proxy.host, port=proxy.port) for name in TARGETS}
        project = make_fleet(pg, tmp_path, here, STEPS).load()
        plan = project.plan()

        def judged(plan: FleetPlan, lint: str) -> tuple[int, list[str]]:
            proxy.reset()
            found = project.judged(plan, lint)
            return len(proxy.traffic), [n.code for n in found.notes]

        assert judged(plan, "auto") == (0, ["not_linted"])
        assert judged(plan, "always") == (2, ["linted"])
        assert judged(plan, "auto") == (2, ["linted"])


def test_a_long_history_on_nothing_is_rehearsed_where_it_is_asked_for(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that lags behind has what its steps may harm: they are rehearsed, however many they are."""
    monkeypatch.setattr(rehearsals, "MANY", 1)
    steps = {"shared/a": step("a", None, label="shared"), "shared/b": step("b", "a"), "shared/c": step("c", "b")}
    fleet = make_fleet(pg, tmp_path, {name: make_database(name) for name in ("new", "lags")}, steps)
    project = fleet.load()
    project.run(project.plan(["lags"], ["a"]))
    left, looked_at = project.judged(project.plan(), "auto").notes
    assert (left.code, looked_at.code) == ("not_linted", "linted")
    told, _, _ = left.message.partition(", and")
    assert told == "not rehearsed: new: all 3 steps are new to a target that holds nothing yet"
    assert "of 1 target were" in looked_at.message
    assert [n.code for n in project.judged(project.plan(["new"]), "always").notes] == ["linted"]
    assert [n.code for n in project.judged(project.plan(["new"]), "auto").notes] == ["linted"]  # it is known now


@pytest.mark.parametrize(("near", "behind"), [("a", "b"), ("b", "a")])
def test_who_lags_behind_is_judged_by_all_its_steps(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    near: str, behind: str,
) -> None:  # fmt: skip
    """And who has done a step is not judged by it, though both come to the same state, whoever is first.

    One rehearsal shows the steps of both, so that they are one of those that are done unasked; git is asked once.
    """
    monkeypatch.setattr(linting, "_CASES", 1)
    steps = {
        "shared/s1": step("s1", None, 'op.execute("CREATE TABLE t (id int, lost int)")', label="shared"),
        "shared/s2": step("s2", "s1", 'op.execute("ALTER TABLE t DROP COLUMN lost")'),
        "shared/s3": step("s3", "s2"),
    }
    project = make_fleet(pg, tmp_path, {name: make_database(name) for name in ("a", "b")}, steps).load()
    project.run(project.plan([near], ["s2"]))
    project.run(project.plan([behind], ["s1"]))
    rehearsed: list[str] = []
    run_on_scratch = rehearsal.run_on_scratch

    def watched(*arguments: Any) -> Iterator[Result]:
        rehearsed.extend(s.revision for work in arguments[2] for s in work.steps)
        yield from run_on_scratch(*arguments)

    monkeypatch.setattr(rehearsal, "run_on_scratch", watched)
    commits: list[Path] = []
    monkeypatch.setattr(origin, "_commit", lambda root: commits.append(root) or "")
    found = {(f.revision, f.targets) for f in project.judged(project.plan(), "auto").findings}
    assert {(revision, tuple(sorted(names))) for revision, names in found} == {("s2", (behind,)), ("s3", ("a", "b"))}
    assert rehearsed == ["s2", "s3"]
    assert commits == [tmp_path]


def test_a_file_that_a_revision_reads_is_a_part_of_it(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path
) -> None:
    """What was found and made with other SQL in it holds no longer: neither for the gate nor for drift."""
    reads = 'import pathlib; op.execute((pathlib.Path(__file__).parent / "s2.sql").read_text())'
    steps = {
        "shared/s1": step("s1", None, 'op.execute("CREATE TABLE t (id int, lost int)")', label="shared"),
        "shared/s2": step("s2", "s1", reads),
    }
    fleet = make_fleet(pg, tmp_path, {name: make_database(name) for name in ("a", "b")}, steps)
    file = fleet.folder / "versions" / "shared" / "s2.sql"

    def lost() -> bool:
        project = fleet.load()
        found = project.judged(project.plan(["a"]), "always").findings
        return "effect:lost_data" in {f.rule for f in found}

    def verdict(target: str) -> str:
        (drift,) = fleet.load().drift([target])
        return str(drift.verdict)

    def upgrade(target: str, *to: str) -> None:
        project = fleet.load()
        project.run(project.plan([target], to))

    upgrade("a", "s1")
    file.write_text("ALTER TABLE t ALTER lost SET DEFAULT 1")
    assert not lost()
    upgrade("b")
    assert verdict("b") == "matches"
    file.write_text("ALTER TABLE t DROP COLUMN lost")
    assert lost()
    upgrade("a")
    assert (verdict("a"), verdict("b")) == ("matches", "drifted")


def test_who_waits_long_is_told_how_far_it_is(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that import much take seconds each, three times: nobody is to think that it hangs."""
    monkeypatch.setattr(rehearsal, "TELLS_EVERY", 0)
    steps = {"shared/a": step("a", None, label="shared"), "shared/b": step("b", "a"), "shared/c": step("c", "b")}
    project = make_fleet(pg, tmp_path, {"one": make_database("one")}, steps).load()
    told: list[str] = []
    project.judged(project.plan(), "always", notice=told.append)
    assert told == ["rehearsing 3 steps for one", "rehearsed 1 of 3 steps", "rehearsed 2 of 3 steps"]
