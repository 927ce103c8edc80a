"""One runner on a target at a time: the second waits, says for whom, goes on or is refused; the dead hold nobody up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from ehg_migrate.database.session import Session, lock_key
from ehg_migrate.database.statements import query
from ehg_migrate.errors import TargetError
from ehg_migrate.model import Address, Limits, Origin, Result, RunStatus, Status, Target
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, code_of, make_fleet, read_until, result_of, step

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def one(
    pg: Cluster, tmp_path: Path, make_database: Callable[[str], Address], monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeFleet]:
    """Makes a fleet of one target, `acme`, with the revisions s1 and s2; the code is s1's."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    made: list[Fleet] = []

    def make(code: str = "", **entry: object) -> Fleet:
        revisions = {"shared/s1": step("s1", code=code, label="shared"), "shared/s2": step("s2", "s1")}
        database = {"acme": make_database("acme")}
        made.append(make_fleet(pg, tmp_path / "project", database, revisions, {"acme": entry}))
        return made[-1]

    yield make
    for fleet in made:
        fleet.check(holds=["s1", "s2"])
        fleet.check_no_lease()
        fleet.check_secrets()


def refused(result: Result) -> str:
    """The message of a Result that was refused because of the lock, with nothing done."""
    assert (result.status, code_of(result), result.steps) == (Status.REFUSED, "locked", ())
    assert result.problem
    assert result.problem.hint.startswith("let it end, or raise `queue_timeout`; `ehg-migrate locks break TARGET` ends")
    return result.problem.message


def hold(fleet: Fleet, connection: psycopg.Connection) -> int:
    """Takes the lock of the target by hand; the backend that has it now."""
    key = lock_key(fleet.load().fleet.by_name["acme"])
    row = connection.execute("SELECT pg_backend_pid() FROM pg_advisory_lock(%s)", (key,)).fetchone()
    assert row
    return int(row[0])


def holder_pattern(run: str, pid: int) -> str:
    """Who is at work, as a second runner says it."""
    return (
        rf"run {run} of \S+ on {re.escape(os.uname().nodename)} \(process {pid}, commit \w+\) "
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    )


def test_the_second_runner_waits_for_the_first_and_finds_its_work_done(one: MakeFleet, gate: Gate) -> None:
    """Two processes: it says who holds the lock, and then that another did what it was to do."""
    fleet = one(gate.code)
    with fleet.command("upgrade", "--yes", "--json") as first:
        assert gate.pid
        with fleet.command("upgrade", "--yes", "--json") as second:
            said = read_until(second, "waiting for another runner")
            gate.open()
            waited, worked = fleet.end(second), fleet.end(first)
    runs = [json.loads(done.stdout)["data"] for done in (worked, waited)]
    assert re.search(holder_pattern(runs[0]["id"], first.pid), said)
    assert (worked.returncode, waited.returncode) == (0, 0)
    assert [run["results"][0]["status"] for run in runs] == ["succeeded", "up_to_date"]
    assert [note["code"] for note in runs[1]["results"][0]["notes"]] == ["done_by_another"]
    assert runs[1]["results"][0]["not_done"] == []
    assert fleet.journal("acme") == [("done", "s1"), ("done", "s2")]


def test_the_second_runner_is_refused_after_its_limit(one: MakeFleet, gate: Gate) -> None:
    """Nothing is done by it, its Result names the holder, and the first goes on undisturbed."""
    fleet = one(gate.code, queue_timeout="300ms")
    with fleet.command("upgrade", "--yes", "--json") as first:
        assert gate.pid
        run = fleet.upgrade()
        message = refused(result_of(run, "acme"))
        gate.open()
        done = fleet.end(first)
    assert done.returncode == 0
    assert re.search(holder_pattern(json.loads(done.stdout)["data"]["id"], first.pid), message)
    assert [n for n in fleet.notices("acme") if "waiting for another runner" in n]
    assert {run for _, run in fleet.runs_of("acme")} == {json.loads(done.stdout)["data"]["id"]}


def test_a_plan_made_before_another_runner_went_part_of_the_way_is_stale(one: MakeFleet) -> None:
    """Where the target is neither where the plan begins nor where it ends, nothing is done."""
    fleet = one()
    plan = fleet.plan()
    assert fleet.run(fleet.load().plan((), ("s1",))).status is RunStatus.SUCCEEDED
    result = result_of(fleet.run(plan), "acme")
    assert (result.status, code_of(result), result.heads_after) == (Status.REFUSED, "stale_plan", ("s1",))
    assert result.not_done == ("s1", "s2")
    assert fleet.upgrade().status is RunStatus.SUCCEEDED


def test_a_session_that_is_no_runner_is_described_too(one: MakeFleet) -> None:
    """By pid, application name, address and beginning."""
    fleet = one(queue_timeout="100ms")
    with fleet.connect("acme") as stranger:
        stranger.execute("SET application_name = 'psql at night'")
        pid = hold(fleet, stranger)
        message = refused(result_of(fleet.upgrade(), "acme"))
    assert re.search(rf"backend {pid} `psql at night` from 127\.0\.0\.1 since \d{{4}}-\d\d-\d\d ", message), message
    assert fleet.upgrade().status is RunStatus.SUCCEEDED


def test_who_has_the_lock_of_another_database_is_not_taken_for_the_holder(
    one: MakeFleet, pg: Cluster, make_database: Callable[[str], Address]
) -> None:
    """The key is the same in all of a server: nobody there is named or ended, nor who only waits."""
    fleet = one(queue_timeout="100ms")
    assert fleet.run(fleet.load().plan((), ("s1",))).status is RunStatus.SUCCEEDED
    project = fleet.load()
    key = lock_key(project.fleet.by_name["acme"])
    there = make_database("elsewhere").dbname
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(pg.connect(there)).execute("SELECT pg_advisory_lock_shared(%s)", (key,))
        halves = divmod(key, 2**32)  # which are another lock where they are given as two numbers
        beside = stack.enter_context(fleet.connect("acme"))
        beside.execute("SELECT pg_advisory_lock(%s, %s)", [n - 2**32 if n >= 2**31 else n for n in halves])
        (nobody,) = project.locks()
        assert (nobody.pids, nobody.problem) == ((), None)
        with pytest.raises(TargetError, match="nobody holds the lock"):
            project.break_lock(nobody)
        holder = stack.enter_context(fleet.connect("acme"))
        pid = hold(fleet, holder)
        waiting = stack.enter_context(contextlib.closing(fleet.connect("acme")))
        waiting.pgconn.send_query(b"SELECT pg_advisory_lock(%d)" % key)
        wait_until(lambda: bool(fleet.values("acme", "SELECT pid FROM pg_locks WHERE NOT granted")), "nobody waits")
        assert [held.pids for held in project.locks()] == [(pid,)]
        assert f"backend {pid} " in refused(result_of(fleet.upgrade(), "acme"))
        fleet.terminate("acme", waiting.info.backend_pid)
    assert fleet.upgrade().status is RunStatus.SUCCEEDED


def test_of_another_roles_session_is_said_what_the_server_tells(
    pg: Cluster, tmp_path: Path, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role without pg_read_all_stats learns neither where it comes from nor when it began."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    role = f"narrow_{database.dbname}"
    with pg.admin(database.dbname) as admin:
        password = sql.Literal(CANARY)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password))
        try:
            address = pg.address(database.dbname, role)
            revisions = {"shared/s1": step("s1", label="shared")}
            fleet = make_fleet(pg, tmp_path / "p", {"acme": address}, revisions, {"acme": {"queue_timeout": "100ms"}})
            admin.execute("SET application_name = 'psql at night'")
            pid = hold(fleet, admin)
            message = refused(result_of(fleet.upgrade(), "acme"))
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert message.endswith(f": backend {pid} `psql at night` from an unknown address")


def test_without_the_lock_of_its_session_a_running_step_still_keeps_others_out(one: MakeFleet, gate: Gate) -> None:
    """The lock connection is killed in the middle of a step: the working connection's own lock holds until it ends."""
    fleet = one(gate.code, queue_timeout="300ms")
    with fleet.command("upgrade", "--yes", "--json") as first:
        assert gate.pid
        fleet.terminate("acme", fleet.locking("acme"))
        message = refused(result_of(fleet.upgrade(), "acme"))
        gate.open()
        done = json.loads(fleet.end(first).stdout)["data"]
    assert f"`ehg_migrate {done['id']}@" in message
    assert done["results"][0]["status"] == "succeeded"
    assert fleet.journal("acme") == [("done", "s1"), ("done", "s2")]


def test_a_dead_run_holds_nobody_up(one: MakeFleet, gate: Gate) -> None:
    """Command and worker killed at once: the lock goes with them, the row that names them stays and hinders nothing."""
    fleet = one(gate.code, queue_timeout="2s")
    with fleet.command("upgrade", "--yes") as process:
        worker = gate.pid
        process.kill()
        os.kill(worker, signal.SIGKILL)
        process.wait()
    assert len(fleet.values("acme", "SELECT run FROM ehg_migrate.migration_lease")) == 1
    gate.open()
    run = fleet.upgrade()
    assert run.status is RunStatus.SUCCEEDED
    assert [r.status for r in fleet.load().runs()] == [RunStatus.SUCCEEDED, RunStatus.DIED]
    assert {run for _, run in fleet.runs_of("acme")} == {run.id}


def test_a_runner_that_stood_still_claims_nothing_of_who_came_after(one: MakeFleet, gate: Gate) -> None:
    """Its sessions were ended and another did the rest: what it says of itself is what the journal says."""
    fleet = one()
    fleet.write("shared/s2", step("s2", "s1", gate.code))
    going = fleet.background(fleet.upgrade)
    worker = psutil.Process(gate.pid)
    worker.suspend()
    for pid in fleet.backends("acme"):
        fleet.terminate("acme", pid)
    gate.open()
    with fleet.command("upgrade", "--yes") as other:
        assert fleet.end(other).returncode == 0
    worker.resume()
    late = going.result(60)
    result = result_of(late, "acme")
    assert (result.status, [s.revision for s in result.steps]) == (Status.SUCCEEDED, ["s1"])
    assert [n.code for n in result.notes] == ["done_by_another"]
    assert [r for r, run in fleet.runs_of("acme") if run == late.id] == ["s1"]


def test_the_lock_is_one_for_each_version_table(one: MakeFleet) -> None:
    """Two schemas of one database are two targets. The key never changes: all releases of the tool must agree on it."""
    fleet = one()
    target = fleet.load().fleet.by_name["acme"]
    assert lock_key(target) == 1_626_584_549_739_070_205
    assert lock_key(replace(target, name="another")) == lock_key(target)
    assert lock_key(replace(target, version_table_schema="another")) != lock_key(target)
    assert fleet.upgrade().status is RunStatus.SUCCEEDED


def test_no_lock_outlives_a_run(one: MakeFleet, gate: Gate) -> None:
    """While a step runs two backends hold one each; afterwards nobody holds any."""
    fleet = one(gate.code)
    future = fleet.background(fleet.upgrade)
    assert gate.pid
    assert len(fleet.lock_holders("acme")) == 2
    assert fleet.locking("acme") != fleet.working("acme")
    gate.open()
    assert future.result(30).status is RunStatus.SUCCEEDED
    wait_until(lambda: fleet.backends("acme") == {}, "a session is left", 2)


def test_who_came_since_somebody_looked_is_not_ended(one: MakeFleet) -> None:
    """What was shown and confirmed is what is ended: another holder is another matter."""
    fleet = one()
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    project = fleet.load()
    with fleet.connect("acme") as first:
        hold(fleet, first)
        (seen,) = project.locks()
    with fleet.connect("acme") as second:
        pid = hold(fleet, second)
        with pytest.raises(TargetError) as raised:
            project.break_lock(seen)
        assert raised.value.problem.code == "other_holder"
        assert second.execute("SELECT pg_backend_pid()").fetchone() == (pid,)


@pytest.mark.parametrize("alive", [True, False], ids=["alive", "dead"])
def test_breaking_a_lock_takes_no_lease_of_a_living_session(one: MakeFleet, alive: bool) -> None:
    """Whom the breaker has not ended is not said to have been; what a killed runner left behind is taken over."""
    fleet = one()
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    project = fleet.load()
    key = lock_key(project.fleet.by_name["acme"])
    with fleet.connect("acme") as holder, fleet.connect("acme") as another:
        holder.execute("SET application_name = 'ehg_migrate 20260101-000000-abcd@there'")
        hold(fleet, holder)
        another.execute(
            "INSERT INTO ehg_migrate.migration_lease (key, backend_pid, run, actor, host, pid, git_commit)"
            " VALUES (%s, pg_backend_pid(), 'another', '', '', 0, '')",
            (key,),
        )
        if not alive:
            fleet.terminate("acme", another.info.backend_pid)
        (seen,) = project.locks()
        project.break_lock(seen)
        said = fleet.values("acme", "SELECT run || ' ' || (broken_by <> '') FROM ehg_migrate.migration_lease")
        assert said == ["another false" if alive else "20260101-000000-abcd true"]
    with fleet.admin("acme") as c:
        c.execute("DELETE FROM ehg_migrate.migration_lease")


def test_breaking_what_the_role_may_not_end(one: MakeFleet) -> None:
    """It is said what may, and nobody is said to have ended the run: its lease is as it was."""
    fleet = one()
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    project = fleet.load()
    key = lock_key(project.fleet.by_name["acme"])
    with fleet.admin("acme") as holder:
        holder.execute("SET application_name = 'ehg_migrate 20260101-000000-abcd@there'")
        pid = hold(fleet, holder)
        holder.execute(
            "INSERT INTO ehg_migrate.migration_lease (key, backend_pid, run, actor, host, pid, git_commit)"
            " VALUES (%s, pg_backend_pid(), '20260101-000000-abcd', 'bob', 'there', 7, '')",
            (key,),
        )
        (seen,) = project.locks()
        with pytest.raises(TargetError) as raised:
            project.break_lock(seen)
        assert raised.value.problem.code == "no_privilege"
        assert f"`SELECT pg_terminate_backend({pid});`" in raised.value.problem.hint
        assert "pg_signal_backend" in raised.value.problem.hint
        assert project.locks() == (seen,)
        assert fleet.values("acme", "SELECT broken_by FROM ehg_migrate.migration_lease") == [""]
        holder.execute("DELETE FROM ehg_migrate.migration_lease")


def test_a_session_that_is_to_end_itself_ends_the_others_first(pg: Cluster, database: Address) -> None:
    """A pooler may have given us one of those that hold the lock."""
    with pg.connect(database.dbname) as first, pg.connect(database.dbname) as second, pg.admin() as c:
        pids = [first.info.backend_pid, second.info.backend_pid]
        with pytest.raises(psycopg.OperationalError):
            first.execute(query("end_holders"), {"pids": pids})
        left = "SELECT FROM pg_stat_activity WHERE pid = ANY(%s)"
        wait_until(lambda: not c.execute(left, (pids,)).fetchall(), "a session is left", 5)


@pytest.mark.parametrize("how", ["LOCK TABLE ehg_migrate.migration_lease", "DELETE FROM ehg_migrate.migration_lease"])
def test_a_lease_that_somebody_keeps_locked(pg: Cluster, make_database: Callable[[str], Address], how: str) -> None:
    """As a psql does, or a pg_restore in one transaction: the work is done, and nobody waits there without a limit."""
    address = make_database("kept")
    target = Target("acme", address, (), limits=Limits(lock=0.1))
    with pg.connect(address.dbname, autocommit=False) as other:
        session = Session(target, CANARY, "r1", Origin("me", "here", 1, "", "")).__enter__()
        other.execute(how.encode())
        with ThreadPoolExecutor(1) as pool:
            left = pool.submit(session.leave)
            try:
                assert left.result(20) == ()
            finally:
                other.rollback()
        session.__exit__(None, None, None)
    with Session(target, CANARY, "r2", Origin("me", "here", 1, "", "")) as session:
        assert session.broken_by == ""


def test_a_lock_whose_lease_somebody_has_dropped(one: MakeFleet) -> None:
    """It is held as before, which `locks` says, and is broken as any."""
    fleet = one()
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    project = fleet.load()
    with fleet.connect("acme") as holder:
        holder.execute("SET application_name = 'ehg_migrate 20260101-000000-abcd@there'")
        pid = hold(fleet, holder)
        holder.execute("DROP TABLE ehg_migrate.migration_lease")
        (seen,) = project.locks()
        assert (seen.pids, seen.run, seen.host) == ((pid,), "20260101-000000-abcd", "there")
        project.break_lock(seen)
        assert [held.pids for held in project.locks()] == [()]
    assert fleet.load().downgrade("acme", ["s1"]).status is RunStatus.SUCCEEDED
    assert fleet.upgrade().status is RunStatus.SUCCEEDED


def test_breaking_where_this_tool_has_never_been(one: MakeFleet) -> None:
    """Nobody is at work there, and that is said: not that a table is missing."""
    fleet = one()
    said = fleet.cli("locks", "break", "acme", "--yes")
    assert (said.returncode, "error: acme: nobody holds the lock of this target" in said.stderr) == (1, True), said
    assert fleet.upgrade().status is RunStatus.SUCCEEDED


def test_who_looks_on_is_no_blocker(pg: Cluster, make_database: Callable[[str], Address]) -> None:
    """CREATE INDEX CONCURRENTLY waits for every transaction that is older than it, be it only the look at it."""
    target = Target("acme", make_database("acme"), ("shared",))
    with Session(target, pg.password, "r1", Origin("ada", "here", 1, "", "0")) as session:
        pid = session.work.info.backend_pid
        session.work.autocommit = True
        session.work.execute("CREATE TABLE t (n int)")
        session.lock.execute("BEGIN; LOCK TABLE t")
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(session.work.execute, "TABLE t")
            with pg.admin() as other:
                asked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
                wait_until(lambda: other.execute(asked, (pid,)).fetchone() == (True,), "nobody waits")
            assert session.blockers() == {}
            session.lock.execute("ROLLBACK")
            waiting.result(30)
