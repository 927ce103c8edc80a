"""Two people, or two pipelines, on one target at once: nobody does again what another has just taken back."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, RunStatus, Status
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, code_of, make_fleet, result_of, step

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def fleet_of(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeFleet:
    """Makes a fleet of as many targets, `t0` and so on, with these revisions."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)

    def make(count: int, revisions: dict[str, str]) -> Fleet:
        return make_fleet(pg, tmp_path / "project", {f"t{i}": make_database(f"t{i}") for i in range(count)}, revisions)

    return make


def line(code: str = "") -> dict[str, str]:
    """Three revisions; the code is the last one's."""
    return {"shared/1": step("s1", label="shared"), "shared/2": step("s2", "s1"), "shared/3": step("s3", "s2", code)}


def lose_sessions(fleet: Fleet) -> None:
    """As a server does that is started anew, or a network that is gone for a while."""
    for pid in fleet.backends("t0"):
        fleet.terminate("t0", pid)


@pytest.mark.parametrize(("to", "back"), [("s1", ["s2"]), ("shared@base", ["s1", "s2"])])
def test_what_was_taken_back_while_a_run_had_lost_its_session(
    fleet_of: MakeFleet, gate: Gate, to: str, back: list[str]
) -> None:
    """It comes back, and does nothing again: somebody has just told its target to be without that."""
    fleet = fleet_of(1, line(gate.code))
    going = fleet.background(fleet.upgrade)
    assert gate.pid
    lose_sessions(fleet)
    project = fleet.load()
    assert project.downgrade("t0", [to]).status is RunStatus.SUCCEEDED
    left = fleet.heads("t0")
    gate.open()
    result = result_of(going.result(60), "t0")
    assert (result.status, code_of(result)) == (Status.INDETERMINATE, "taken_back")
    assert result.problem
    assert all(f"`{r}`" in result.problem.message for r in back)
    assert ([s.revision for s in result.steps], list(result.heads_after)) == (["s1", "s2"], left)
    fleet.check(holds=[r for r in ("s1", "s2") if r not in back])
    fleet.check_no_lease()


def test_what_no_ledger_knows_to_be_taken_back_is_not_resumed(fleet_of: MakeFleet) -> None:
    """As by stock Alembic: the journal has it. That of a restored database has not even the run, and it is gone on."""
    fleet = fleet_of(2, line("raise RuntimeError"))
    run = fleet.upgrade()
    by = fleet.load().downgrade("t0", ["shared@base"]).id
    with closing(sqlite3.connect(fleet.folder / ".ehg" / "ledger.sqlite")) as ledger:
        ledger.executescript(f"DELETE FROM results WHERE run_id = '{by}'; DELETE FROM runs WHERE id = '{by}'")
    with pytest.raises(UsageError) as raised:
        fleet.load().plan_resume(run.id)
    (problem,) = raised.value.problems
    assert (problem.code, problem.message) == ("taken_back", f"run `{run.id}` was taken back since, on `t0` by `{by}`")
    assert "without it: `ehg-migrate upgrade -t t1`" in problem.hint
    with fleet.admin("t0") as c:
        c.execute("DELETE FROM ehg_migrate.migration_journal")
    assert [len(p.steps) for p in fleet.load().plan_resume(run.id).plans] == [3, 1]


def test_what_was_taken_back_while_nobody_looked_after_a_dead_worker(fleet_of: MakeFleet, gate: Gate) -> None:
    """The runner's own look at what it left says so, too."""
    fleet = fleet_of(1, line(gate.code))
    going = fleet.background(fleet.upgrade)
    pid = gate.pid
    lose_sessions(fleet)
    assert fleet.load().downgrade("t0", ["s1"]).status is RunStatus.SUCCEEDED
    os.kill(pid, signal.SIGKILL)
    result = result_of(going.result(60), "t0")
    assert (result.status, code_of(result), result.heads_after) == (Status.INDETERMINATE, "worker_killed", ("s1",))
    assert result.problem
    assert "`s2`, which it had done here, was taken back" in result.problem.message
    fleet.check(holds=["s1"])


def test_a_rollback_that_waited_for_its_answer(fleet_of: MakeFleet) -> None:
    """Meanwhile the run was taken back and the release done again: that is another's, though the rows are the same."""
    fleet = fleet_of(1, line())
    run = fleet.upgrade()
    shown = fleet.load().plan_rollback(run.id)
    assert fleet.load().rollback(run.id).status is RunStatus.SUCCEEDED
    again = fleet.upgrade()
    result = result_of(fleet.run(shown), "t0")
    assert (result.status, code_of(result), result.steps) == (Status.REFUSED, "stale_plan", ())
    assert result.problem
    assert f"`{again.id}`" in result.problem.message
    fleet.check(holds=["s1", "s2", "s3"])
    assert fleet.load().rollback(again.id).status is RunStatus.SUCCEEDED
    fleet.check(holds=[])


def test_a_rollback_that_waited_while_others_changed_nothing(fleet_of: MakeFleet) -> None:
    """A run that failed at once has left the target as the rollback was shown for."""
    fleet = fleet_of(1, line())
    run = fleet.upgrade()
    shown = fleet.load().plan_rollback(run.id)
    fleet.write("shared/4", step("s4", "s3", "raise RuntimeError"))
    assert fleet.upgrade().status is RunStatus.FAILED
    assert result_of(fleet.run(shown), "t0").status is Status.SUCCEEDED
    fleet.check(holds=[])


def test_a_run_is_not_taken_back_while_another_completes_it(fleet_of: MakeFleet, gate: Gate) -> None:
    """Nothing of the run is there yet, and is about to be: it was called `up_to_date`, and then came."""
    own = {f"{t}/1": step(f"of_{t}", label=t, code="raise RuntimeError" if t == "t1" else "") for t in ("t0", "t1")}
    fleet = fleet_of(2, own)
    run = fleet.upgrade()
    assert [r.status for r in run.results] == [Status.SUCCEEDED, Status.FAILED]
    fleet.write("t1/1", step("of_t1", label="t1", code=gate.code))
    completing = fleet.background(lambda: fleet.run(fleet.load().plan_resume(run.id)))
    assert gate.pid
    with pytest.raises(UsageError, match=f"which completes `{run.id}`, is still at work"):
        fleet.load().plan_rollback(run.id)
    assert [p.target for p in fleet.load().plan_rollback(run.id, ["t0"]).plans if p.steps] == ["t0"]
    gate.open()
    by = completing.result(60)
    back = fleet.load().rollback(run.id)
    assert (result_of(back, "t0").status, code_of(result_of(back, "t1"))) == (Status.SUCCEEDED, "rollback_inexact")
    assert fleet.load().rollback(by.id).status is RunStatus.SUCCEEDED
    fleet.check(holds=[])


def test_what_a_dead_completion_has_left_at_work(fleet_of: MakeFleet, gate: Gate) -> None:
    """Its worker goes on with the step: the target is not called untouched."""
    fleet = fleet_of(1, {"shared/1": step("s1", label="shared", code="raise RuntimeError")})
    run = fleet.upgrade()
    fleet.write("shared/1", step("s1", label="shared", code=gate.code))
    with fleet.command("resume", run.id, "--yes") as process:
        assert gate.pid
        process.kill()
        process.wait()
    result = result_of(fleet.load().rollback(run.id), "t0")
    assert (result.status, code_of(result)) == (Status.REFUSED, "locked")
    gate.open()
    wait_until(lambda: fleet.lock_holders("t0") == [], "the worker has not ended", 60)
    fleet.check(holds=["s1"])


def test_two_checkouts_with_different_files(fleet_of: MakeFleet, pg: Cluster, gate: Gate, tmp_path: Path) -> None:
    """Who comes second finds the step done, and says that it was done from another file than his."""
    fleet = fleet_of(1, line(gate.code))
    other = Fleet(pg, tmp_path / "copy", fleet.addresses)
    shutil.copytree(fleet.folder, other.folder)
    other.write("shared/3", step("s3", "s2", "op.execute('CREATE INDEX ON s3 (n)')"))
    first = fleet.background(fleet.upgrade)
    assert gate.pid
    second = other.background(other.upgrade)
    wait_until(lambda: any("another runner" in n for n in other.notices("t0")), "the second does not wait", 60)
    gate.open()
    done, found = (result_of(of.result(60), "t0") for of in (first, second))
    assert (done.status, [n.code for n in done.notes]) == (Status.SUCCEEDED, [])
    assert (found.status, [n.code for n in found.notes]) == (Status.UP_TO_DATE, ["done_by_another", "edited_file"])
    assert "`s3`" in found.notes[1].message
    assert found.notes[1:] == other.load().status()[0].notes
    fleet.check(holds=["s1", "s2", "s3"])
