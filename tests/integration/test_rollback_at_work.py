"""A run that is not over: nothing is said of what it has done before it cannot do more."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, RunStatus, Status, Verb
from ehg_migrate.rollout import book
from ehg_migrate.rollout.stop import Stop
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, code_of, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]


@pytest.fixture
def fleet(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    """Two targets, each with a step of its own; that of b waits in the gate."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    steps = {"a/a1": step("a1", label="a"), "b/b1": step("b1", label="b", code=gate.code)}
    return make_fleet(pg, tmp_path / "project", {name: make_database(name) for name in "ab"}, steps)


def test_a_run_that_is_still_at_work_is_not_taken_back(fleet: Fleet, gate: Gate) -> None:
    """It would do more after it was said to be undone; a target that it is done with can be taken back."""
    going = fleet.background(lambda: fleet.upgrade(parallel=1))
    assert gate.pid
    project = fleet.load()
    (seen,) = project.runs()
    wait_until(lambda: len(project.show(seen.id).results) == 1, "the result of `a` is not in the ledger")
    with pytest.raises(UsageError, match="is still at work: process"):
        project.plan_rollback(seen.id)
    assert [p.target for p in project.plan_rollback(seen.id, ["a"]).plans if p.steps] == ["a"]
    gate.open()
    run = going.result(60)
    assert {r.target: r.status for r in project.rollback(run.id).results} == dict.fromkeys("ab", Status.SUCCEEDED)
    fleet.check(holds=[])


def test_a_worker_that_a_dead_run_has_left_is_waited_for(fleet: Fleet, gate: Gate) -> None:
    """What it does is in no journal yet, so its target is not called untouched; then its step is taken back too."""
    with fleet.command("upgrade", "--yes", "--parallel", "1") as process:
        assert gate.pid
        process.kill()
        process.wait()
    project = fleet.load()
    (seen,) = project.runs()
    assert seen.status is RunStatus.DIED
    shown = fleet.cli("show", seen.id).stdout
    assert re.search(r"(1 succeeded \(a\), 1|2) without a result \((a, )?b\)$", shown.rstrip())
    back = project.rollback(seen.id)
    assert (result_of(back, "a").status, result_of(back, "b").status) == (Status.SUCCEEDED, Status.REFUSED)
    assert code_of(result_of(back, "b")) == "locked"
    assert code_of(result_of(project.rollback(seen.id, ["b"]), "b")) == "locked"  # of which alone nothing is known
    gate.open()
    wait_until(lambda: fleet.lock_holders("b") == [], "the worker has not ended", 60)
    assert fleet.tables("b") == ["b1"]
    again = project.rollback(seen.id)
    assert (result_of(again, "a").status, result_of(again, "b").status) == (Status.UP_TO_DATE, Status.SUCCEEDED)
    fleet.check(holds=[])


def test_a_run_at_work_that_another_ledger_has(fleet: Fleet, gate: Gate) -> None:
    """Each pipeline may have its own ledger: the targets tell that the run is at work, and it is not taken back."""
    going = fleet.background(lambda: fleet.upgrade(parallel=1))
    assert gate.pid
    (seen,) = fleet.load().runs()
    ledger, away = fleet.folder / ".ehg" / "ledger.sqlite", fleet.folder / "another.sqlite"
    wait_until(lambda: len(fleet.load().show(seen.id).results) == 1, "the result of `a` is not in the ledger")
    ledger.rename(away)
    with pytest.raises(UsageError, match=f"run `{seen.id}` is still at work: .*`b`"):
        fleet.load().plan_rollback(seen.id)
    assert [p.target for p in fleet.load().plan_rollback(seen.id, ["a"]).plans if p.steps] == ["a"]
    gate.open()
    assert {r.status for r in going.result(60).results} == {Status.SUCCEEDED}
    assert {r.status for r in fleet.load().rollback(seen.id).results} == {Status.SUCCEEDED}
    fleet.check(holds=[])


def test_a_run_that_was_taken_for_dead_stops_when_another_has_taken_it_over(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine slept while somebody elsewhere took it back: what it has not begun stays as that one left it."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    monkeypatch.setattr(book, "_HEARTBEAT", 0.05)
    steps = {f"{name}/1": step(f"{name}1", label=name, code=gate.code if name == "b" else "") for name in "abc"}
    fleet = make_fleet(pg, tmp_path / "project", {name: make_database(name) for name in "abc"}, steps)
    stop = Stop()
    going = fleet.background(lambda: fleet.upgrade(parallel=1, stop=stop))
    assert gate.pid
    (seen,) = fleet.load().runs()
    back = replace(seen, id="back", verb=Verb.ROLLBACK, undoes=seen.id, started_at=datetime.now(UTC))
    with fleet.load().ledger() as ledger:
        ledger.start(back)
    wait_until(lambda: bool(stop.asked), "it never heard", 60)
    gate.open()
    run = going.result(60)
    assert run.status is RunStatus.INTERRUPTED
    assert [n.code for n in run.notes] == ["taken_over"]
    assert {r.target: r.status for r in run.results} == {
        "a": Status.SUCCEEDED,
        "b": Status.SUCCEEDED,
        "c": Status.NOT_ATTEMPTED,
    }
    assert [fleet.tables(name) for name in "abc"] == [["a1"], ["b1"], []]
