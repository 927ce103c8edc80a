"""What is tried again and what is not: connections, lost sessions, locks, deadlocks, steps outside a transaction."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ehg_migrate.cli import exits
from ehg_migrate.errors import named_in
from ehg_migrate.model import Address, Result, Run, RunStatus, StateKind, Status
from tests.conftest import REF_A
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import free_port, wait_until
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry, write_project
from tests.support.running import Fleet, Gate, code_of, make_fleet, result_of, step
from tests.support.standin import StandIn

MakeDatabase = Callable[[str], Address]


class Bench:
    """A fleet of `acme` with the revisions s1, s2 (with its code) and s3, and `other` with s1, s2 (idle) and s3."""

    def __init__(self, pg: Cluster, folder: Path, make_database: MakeDatabase) -> None:
        self.addresses = {name: make_database(name) for name in ("acme", "other")}
        self.gate = Gate(folder / "gate")
        self.pg, self._folder = pg, folder / "project"

    def fleet(self, code: str, after: str = "", **entry: object) -> Fleet:
        """`code` runs on `acme` only."""
        only = f"if context.get_x_argument(as_dictionary=True).get('acme'):\n{_indented(code)}" if code else ""
        revisions = {
            "shared/s1": step("s1", label="shared"),
            "shared/s2": step("s2", "s1", f"from alembic import context\n{only}"),
            "shared/s3": step("s3", "s2", after),
        }
        entries = {"acme": {"x": {"acme": "yes"}, **entry}}
        return make_fleet(self.pg, self._folder, self.addresses, revisions, entries)


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.strip("\n").splitlines())


@pytest.fixture
def bench(pg: Cluster, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Two databases and a gate, which is opened at the end."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    bench = Bench(pg, tmp_path, make_database)
    yield bench
    bench.gate.open()


def all_done(fleet: Fleet, result: Result) -> None:
    """The target is at its heads, and each step was done exactly once."""
    assert result.status is Status.SUCCEEDED, result
    assert [s.revision for s in result.steps] == ["s1", "s2", "s3"]
    assert (result.not_done, result.heads_after) == ((), ("s3",))
    done = [r for event, r in fleet.journal(result.target) if event == "done"]
    assert done == ["s1", "s2", "s3"]
    clean(fleet)


def clean(fleet: Fleet) -> None:
    """Version rows, journal and tables agree, nothing is left, no secret was told."""
    fleet.check()
    fleet.check_no_lease()
    fleet.check_secrets()


# --- connections that are lost

CUT_ONCE = """
CREATE SEQUENCE ehg_migrate.cuts;
CREATE FUNCTION ehg_migrate.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('ehg_migrate.cuts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER cut BEFORE INSERT ON ehg_migrate.migration_lease FOR EACH ROW EXECUTE FUNCTION ehg_migrate.cut();
"""


def test_a_session_cut_while_it_is_entered_is_begun_again(bench: Bench) -> None:
    """Nothing of a step has been sent, so it is like a connection that could not be had: with a pause, and told."""
    fleet = from_s1(bench)
    with fleet.connect("acme") as c:
        c.execute(CUT_ONCE)
    run = fleet.upgrade("acme")
    assert result_of(run, "acme").status is Status.SUCCEEDED, run
    cut = "attempt 1 of 5: terminating connection due to administrator command; again in "
    assert [n[: len(cut)] for n in fleet.notices("acme")] == [cut]
    fleet.check("acme", holds=["s1", "s2", "s3"])
    fleet.check_no_lease("acme")


ONE_ROW = "op.execute('INSERT INTO s2 VALUES (1)')"


def test_a_session_killed_in_a_step_is_looked_after_and_the_step_done_again(bench: Bench) -> None:
    """Rolled back, looked at, done once; the other target notices nothing."""
    fleet = bench.fleet(f"{ONE_ROW}\n{bench.gate.code}\nop.execute('SELECT 1')")
    future = fleet.background(fleet.upgrade)
    assert bench.gate.pid
    fleet.terminate("acme", fleet.working("acme"))
    bench.gate.open()
    run = future.result(30)
    all_done(fleet, result_of(run, "acme"))
    assert fleet.values("acme", "SELECT n FROM s2") == [1]
    assert any("looking what the target holds" in n for n in fleet.notices("acme"))
    assert fleet.notices("other") == []


_LATE = """
op.execute("CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
op.execute("INSERT INTO late VALUES (1), (1)")
"""


def test_a_step_that_fails_at_its_commit_is_not_done(bench: Bench) -> None:
    """What is looked at only then is this step's failure, although the next one's begin was sent with the COMMIT."""
    fleet = bench.fleet(_LATE)
    result = result_of(fleet.upgrade("acme"), "acme")
    assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, "statement_failed", ("s1",))
    assert ([s.revision for s in result.steps], result.not_done) == (["s1"], ("s2", "s3"))
    assert fleet.journal("acme") == [("done", "s1"), ("failed", "s2")]
    fleet.check("acme", holds=["s1"])


_LOCKS = """
op.execute("INSERT INTO s3 SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
           " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
"""


@pytest.mark.parametrize("last", [False, True])
def test_a_lock_that_is_lost_in_a_step_is_taken_again_before_the_next(bench: Bench, last: bool) -> None:
    """The step is committed, since its own session lives; nothing further is done without the lock."""
    fleet = bench.fleet("" if last else bench.gate.code, after=_on_acme(bench.gate.code) if last else _LOCKS)
    future = fleet.background(lambda: fleet.upgrade("acme"))
    assert bench.gate.pid
    fleet.terminate("acme", fleet.locking("acme"))
    bench.gate.open()
    run = future.result(30)
    result = result_of(run, "acme")
    assert result.status is Status.SUCCEEDED, result
    assert [r for event, r in fleet.journal("acme") if event == "done"] == ["s1", "s2", "s3"]
    assert any("looking what the target holds" in n for n in fleet.notices("acme"))
    if not last:
        assert fleet.values("acme", "SELECT n FROM s3") == [2]
    fleet.check("acme", holds=["s1", "s2", "s3"])
    fleet.check_no_lease("acme")


def _on_acme(code: str) -> str:
    return f"from alembic import context\nif context.get_x_argument(as_dictionary=True).get('acme'):\n{_indented(code)}"


# what a revision cannot do by itself: something right after its COMMIT, once
_AFTER_COMMIT = """
import pathlib, psycopg
driver, mark = op.get_bind().connection.driver_connection, pathlib.Path({mark!r})
commit = driver.commit
def committed():
    commit()
    if not mark.exists():
        mark.touch()
{then}
driver.commit = committed
"""
_ENDED_BY_THE_SERVER = """
        with psycopg.connect(driver.info.dsn, password=driver.info.password, autocommit=True) as second:
            second.execute("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))
"""
_ANSWER_LOST = """
        driver.close()
        raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")
"""


@pytest.mark.parametrize("then", [_ENDED_BY_THE_SERVER, _ANSWER_LOST], ids=["between steps", "answer to COMMIT lost"])
def test_a_step_that_was_committed_before_the_session_went_is_not_done_again(
    bench: Bench, tmp_path: Path, then: str
) -> None:
    """Whether the client saw the COMMIT succeed or not, the target is asked, and only the rest is done."""
    mark = str(tmp_path / "mark")
    fleet = bench.fleet(f"{ONE_ROW}\n" + _AFTER_COMMIT.format(mark=mark, then=then.strip("\n")))
    run = fleet.upgrade()
    all_done(fleet, result_of(run, "acme"))
    assert fleet.values("acme", "SELECT n FROM s2") == [1]
    assert any("looking what the target holds" in n for n in fleet.notices("acme"))


def test_a_step_that_kills_its_own_session_every_time_is_reported(bench: Bench) -> None:
    """It is tried a few times, each time from nothing, and then it has failed."""
    fleet = bench.fleet("op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")
    run = fleet.upgrade()
    result = result_of(run, "acme")
    assert (result.status, code_of(result), result.not_done) == (Status.FAILED, "connection_lost", ("s2", "s3"))
    assert result.problem
    assert result.problem.sqlstate == "57P01"
    assert re.fullmatch(r"versions/shared/s2\.py:\d+", result.problem.where)
    assert result_of(run, "other").status is Status.SUCCEEDED
    clean(fleet)


def test_a_step_that_fails_while_its_lock_is_lost_is_run_once(bench: Bench, tmp_path: Path) -> None:
    """It has failed by itself, and what it does elsewhere is in no transaction."""
    ran = tmp_path / "ran"
    code = f"with open({str(ran)!r}, 'a') as file:\n    file.write('once ')\n{bench.gate.code}\nraise RuntimeError"
    fleet = bench.fleet(code)
    future = fleet.background(lambda: fleet.upgrade("acme"))
    assert bench.gate.pid
    fleet.terminate("acme", fleet.locking("acme"))
    bench.gate.open()
    result = result_of(future.result(30), "acme")
    assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, "revision_raised", ("s1",))
    assert ran.read_text() == "once "
    fleet.check("acme", holds=["s1"])


def test_a_step_that_idles_for_too_long_is_not_tried_again(bench: Bench) -> None:
    """It would idle again: one attempt, and the hint names the setting."""
    idle = "select.select([op.get_bind().connection.driver_connection], [], [], 60)"  # until the server speaks
    code = f"import select\nop.execute('SELECT 1')\n{idle}\nop.execute('SELECT 1')"
    fleet = bench.fleet(code, idle_in_transaction_timeout="1s")
    result = result_of(fleet.upgrade(), "acme")
    assert (result.status, code_of(result)) == (Status.FAILED, "idle_in_transaction")
    assert result.problem
    assert "idle_in_transaction_timeout" in result.problem.hint
    assert fleet.notices("acme") == []
    clean(fleet)


# --- busy tables


def busy(fleet: Fleet, table: str = "s1") -> psycopg.Connection:
    """A session in a transaction that holds the table against everybody; it ends when it is closed."""
    session = fleet.connect("acme")
    session.execute("SET application_name = 'nightly report'")
    session.execute("BEGIN")
    session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
    return session


ALTER = "op.execute('ALTER TABLE s1 ADD COLUMN m int')"
# outside the transaction, after it: what an attempt before this one left behind must not tell of it too
THEN_OUTSIDE = "\nwith op.get_context().autocommit_block():\n    op.execute('CREATE INDEX CONCURRENTLY ON s1 (m)')"


def from_s1(bench: Bench, **entry: object) -> Fleet:
    """A fleet whose targets hold s1; s2 alters its table on `acme`."""
    fleet = bench.fleet(ALTER + THEN_OUTSIDE, lock_timeout="300ms", **entry)
    assert fleet.run(fleet.load().plan((), ("s1",))).status is RunStatus.SUCCEEDED
    return fleet


def test_a_step_waits_for_a_busy_table_and_says_for_whom(bench: Bench) -> None:
    """It gives up its place in the queue, waits, and tries again, until the table is free."""
    fleet = from_s1(bench)
    with busy(fleet) as session:
        pid = session.info.backend_pid
        future = fleet.background(fleet.upgrade)
        wait_until(lambda: any("again in" in n for n in fleet.notices("acme")), "no notice of a retry")
    result = result_of(future.result(30), "acme")
    attempts = {s.revision: s.attempts for s in result.steps}
    assert result.status is Status.SUCCEEDED
    assert attempts["s2"] > 1
    assert attempts["s3"] == 1
    blocked, again = fleet.notices("acme")[:2]
    who = rf"pid {pid} \(postgres, nightly report, idle in transaction for \d+\.\d s\): LOCK TABLE s1 IN"
    assert re.match(rf"blocked by {who}", blocked), blocked
    assert re.match(rf"step s2: canceling statement due to lock timeout; blocked by {who}.*; attempt 1 of 5, ", again)
    fleet.check("acme", holds=["s1", "s2", "s3"])
    events = [event for event, revision in fleet.journal("acme") if revision == "s2"]
    assert events == [*["failed"] * (attempts["s2"] - 1), "started", "done"]
    clean(fleet)


def test_a_table_that_stays_busy_fails_the_target_and_names_the_blocker(bench: Bench) -> None:
    """After the last attempt; the step is rolled back, and done by the next run when the table is free."""
    fleet = from_s1(bench, retries=1)
    with busy(fleet) as session:
        pid = session.info.backend_pid
        run = fleet.upgrade()
        result = result_of(run, "acme")
    assert (result.status, code_of(result), result.not_done) == (Status.FAILED, "lock_timeout", ("s2", "s3"))
    assert result.problem
    assert result.problem.sqlstate == "55P03"
    assert f"blocked by pid {pid} (postgres, nightly report" in result.problem.message
    assert (result_of(run, "other").status, exits.of_run(run)) == (Status.SUCCEEDED, 1)
    clean(fleet)
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    fleet.check("acme", holds=["s1", "s2", "s3"])


def test_a_stop_does_not_wait_for_a_busy_table(bench: Bench) -> None:
    """Between two attempts nothing runs, so the target is left as it is."""
    from ehg_migrate.rollout.stop import Stop

    fleet, stop = from_s1(bench, retries=50), Stop()
    with busy(fleet):
        future = fleet.background(lambda: fleet.upgrade("acme", stop=stop))
        wait_until(lambda: any("again in" in n for n in fleet.notices("acme")), "no notice of a retry")
        stop.ask()
        result = result_of(future.result(5), "acme")
    assert (result.status, result.not_done) == (Status.CANCELLED, ("s2", "s3"))
    clean(fleet)


def test_a_deadlock_is_tried_again(bench: Bench) -> None:
    """Two sessions lock two tables in two orders; the step is the one that the server ends."""
    code = "op.execute('LOCK TABLE s1')\n" + bench.gate.code + "\nop.execute('LOCK TABLE ground')"
    fleet = bench.fleet(code)
    with fleet.admin("acme") as c:
        c.execute(f"ALTER DATABASE {bench.addresses['acme'].dbname} SET deadlock_timeout = '100ms'".encode())
        c.execute("CREATE SCHEMA apart CREATE TABLE ground (n int)")
        c.execute("GRANT ALL ON SCHEMA apart TO postgres; GRANT ALL ON apart.ground TO postgres")
    fleet.write("shared/s2", step("s2", "s1", _on_acme(code.replace("ground", "apart.ground"))))
    with fleet.admin("acme") as rival:
        rival.execute("SET deadlock_timeout = '1min'")
        rival.execute("BEGIN")
        rival.execute("LOCK TABLE apart.ground")
        future = fleet.background(fleet.upgrade)
        assert bench.gate.pid
        waiting = fleet.background(lambda: _lock(rival, "public.s1"))
        wait_until(lambda: _waits(fleet, rival), "the rival does not wait")
        bench.gate.open()
        waiting.result(20)
    result = result_of(future.result(30), "acme")
    assert result.status is Status.SUCCEEDED
    assert {s.revision: s.attempts for s in result.steps}["s2"] == 2
    assert any("deadlock detected" in n and "attempt 1 of 5" in n for n in fleet.notices("acme"))
    fleet.check("acme", holds=["s1", "s2", "s3"])


def _lock(session: psycopg.Connection, table: str) -> Run:
    session.execute(f"LOCK TABLE {table}".encode())
    session.execute("COMMIT")
    return None


def _waits(fleet: Fleet, session: psycopg.Connection) -> bool:
    return fleet.values("acme", f"SELECT 1 WHERE cardinality(pg_blocking_pids({session.info.backend_pid})) > 0") == [1]


# --- outside a transaction

_CONCURRENTLY = """
with op.get_context().autocommit_block():
    op.execute("CREATE UNIQUE INDEX CONCURRENTLY s1_n ON s1 (n)")
"""


def test_an_index_that_cannot_be_built_is_named_until_it_is_dropped(bench: Bench) -> None:
    """Indeterminate with the DROP as its hint; refused while it is there; done when it is gone."""
    fleet = bench.fleet(_CONCURRENTLY)
    fleet.write("shared/s2", revision("s2", "s1", up_code=_on_acme(_CONCURRENTLY)))
    assert fleet.run(fleet.load().plan((), ("s1",))).status is RunStatus.SUCCEEDED
    with fleet.connect("acme") as c:
        c.execute("INSERT INTO s1 VALUES (1), (1)")
        c.execute("CREATE TABLE own (n int); INSERT INTO own VALUES (1), (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):  # one that was there before is nobody's of ours
            c.execute("CREATE UNIQUE INDEX CONCURRENTLY own_n ON own (n)")
    drop = "DROP INDEX CONCURRENTLY public.s1_n"

    run = fleet.upgrade()
    first = result_of(run, "acme")
    assert (first.status, code_of(first), first.not_done) == (Status.INDETERMINATE, "statement_failed", ("s2", "s3"))
    assert first.problem
    assert first.problem.sqlstate == "23505"
    assert first.problem.hint.startswith(f"{drop}; then: rows of this target are in the way: correct them")
    assert "INVALID indexes: public.s1_n" in first.problem.message
    assert (result_of(run, "other").status, exits.of_run(run)) == (Status.SUCCEEDED, 1)

    second = result_of(fleet.upgrade(), "acme")
    assert (second.status, code_of(second)) == (Status.REFUSED, "half_done")
    assert second.problem
    assert second.problem.hint == f"{drop}; then run again"
    (state,) = fleet.load().status(["acme"])
    assert (state.kind, [n.code for n in state.notes]) == (StateKind.PENDING, ["half_done"])

    with fleet.connect("acme") as c:
        c.execute(drop.encode())
        c.execute("DELETE FROM s1")
    assert result_of(fleet.upgrade(), "acme").status is Status.SUCCEEDED
    events = [e for e in fleet.journal("acme") if e[1] == "s2"]
    assert events == [("started", "s2"), ("failed", "s2"), ("started", "s2"), ("done", "s2")]
    assert fleet.values("acme", "SELECT indisvalid FROM pg_index WHERE indexrelid = 's1_n'::regclass") == [True]
    assert fleet.load().status(["acme"])[0].notes == ()
    fleet.check_no_lease()


def test_an_index_whose_lock_is_not_had_is_not_tried_again(bench: Bench) -> None:
    """What is left of it would be taken for the index by the second attempt."""
    again = _CONCURRENTLY.replace("UNIQUE INDEX CONCURRENTLY", "INDEX CONCURRENTLY IF NOT EXISTS")
    fleet = bench.fleet(again, lock_timeout="300ms")
    assert fleet.run(fleet.load().plan((), ("s1",))).status is RunStatus.SUCCEEDED
    with fleet.connect("acme") as c, c.transaction():
        c.execute("INSERT INTO s1 VALUES (1)")
        result = result_of(fleet.upgrade("acme"), "acme")
    assert (result.status, code_of(result), result.not_done) == (Status.INDETERMINATE, "lock_timeout", ("s2", "s3"))
    assert result.problem
    assert "INVALID indexes: public.s1_n" in result.problem.message
    assert fleet.journal("acme")[1:] == [("started", "s2"), ("failed", "s2")]


def test_a_deadline_outside_a_transaction_leaves_doubt(bench: Bench) -> None:
    """The client's own: a part of the step may be done."""
    sleeps = "with op.get_context().autocommit_block():\n    op.execute('SELECT pg_sleep(60)')"
    fleet = bench.fleet(sleeps, deadline="3s")
    result = result_of(fleet.upgrade("acme"), "acme")
    assert (result.status, code_of(result), result.heads_after) == (Status.INDETERMINATE, "deadline", ("s1",))
    assert ([s.revision for s in result.steps], result.not_done) == (["s1"], ("s2", "s3"))


def test_a_target_that_lets_nobody_in_after_a_loss_is_in_doubt(bench: Bench) -> None:
    """Nobody can say what became of the step, so nothing is said of what the target holds."""
    fleet = bench.fleet(f"{bench.gate.code}\nop.execute('SELECT 1')")
    database = fleet.addresses["acme"].dbname
    future = fleet.background(lambda: fleet.upgrade("acme"))
    assert bench.gate.pid
    pid = fleet.working("acme")
    with bench.pg.admin() as admin:
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false".encode())
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        bench.gate.open()
        result = result_of(future.result(60), "acme")
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true".encode())
    assert (result.status, code_of(result), result.heads_after) == (Status.INDETERMINATE, "indeterminate", ())
    assert fleet.upgrade("acme").status is RunStatus.SUCCEEDED


def test_an_index_that_cannot_be_built_is_not_passed_over_by_another_branch(bench: Bench) -> None:
    """The step that has left it is a later one in the next plan: it is refused as well, and nothing is done before."""
    again = _CONCURRENTLY.replace("CONCURRENTLY s1_n", "CONCURRENTLY IF NOT EXISTS s1_n")
    fleet = bench.fleet("")
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    with fleet.connect("acme") as c:
        c.execute("INSERT INTO s1 VALUES (1), (1)")
    fleet.write("acme/a1", revision("a1", label="acme", depends=["s1"], up_code=again))
    assert result_of(fleet.upgrade("acme"), "acme").status is Status.INDETERMINATE
    fleet.write("shared/s4", step("s4", "s3"))
    plan = fleet.load().plan(["acme"])
    assert [s.revision for s in plan.plans[0].steps] == ["s4", "a1"]

    refused = result_of(fleet.run(plan), "acme")
    assert (refused.status, code_of(refused), refused.steps) == (Status.REFUSED, "half_done", ())
    assert fleet.heads("acme") == ["s3"]


_DROPPED = """
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS s1_n")
    op.execute("SELECT 1 / (CASE WHEN to_regclass('poison') IS NULL THEN 1 ELSE 0 END)")
"""


def test_a_downgrade_that_was_cut_outside_a_transaction_is_no_state_to_upgrade_from(bench: Bench) -> None:
    """The row is there and the index is gone: status says so, upgrade is refused, finishing the downgrade mends it."""
    fleet = bench.fleet("")
    fleet.write("shared/s2", revision("s2", "s1", up_code=_CONCURRENTLY, down_code=_DROPPED))
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    with fleet.connect("acme") as c:
        c.execute("CREATE TABLE poison ()")

    cut = result_of(fleet.load().downgrade("acme", ["s1"]), "acme")
    assert (cut.status, code_of(cut), cut.not_done) == (Status.INDETERMINATE, "statement_failed", ("s2",))
    (state,) = fleet.load().status(["acme"])
    assert state.kind is StateKind.HALF_DONE
    assert state.problem
    assert state.problem.code == "half_taken_back"
    assert state.problem.hint.startswith("finish that with `ehg-migrate downgrade TARGET --to s1`")
    assert cut.problem
    assert "`ehg-migrate status -t TARGET` names what shows the rest of it" in cut.problem.hint
    refused = result_of(fleet.upgrade(), "acme")
    assert (refused.status, code_of(refused)) == (Status.REFUSED, "half_taken_back")

    with fleet.connect("acme") as c:
        c.execute("DROP TABLE poison")
    assert result_of(fleet.load().downgrade("acme", ["s1"]), "acme").status is Status.SUCCEEDED
    assert result_of(fleet.upgrade(), "acme").status is Status.SUCCEEDED
    assert fleet.values("acme", "SELECT indisvalid FROM pg_index WHERE indexrelid = 's1_n'::regclass") == [True]
    assert fleet.load().status(["acme"])[0].kind is StateKind.UP_TO_DATE


@pytest.mark.parametrize(
    ("file", "head", "below", "stamp"),
    [
        ("shared/s2", {"id_": "s2", "down": "s1"}, "s1", ["s1"]),
        ("acme/first", {"id_": "a1", "label": "acme", "depends": ["s1"]}, "acme@base", ["--purge", "s3"]),
    ],
)
def test_a_downgrade_that_was_cut_and_cannot_be_done_twice(
    bench: Bench, file: str, head: dict[str, Any], below: str, stamp: list[str]
) -> None:
    """Its index is gone, so finishing it fails for ever; what the hint says then, done to the letter, is a way out.

    The first revision of a branch has nothing below it that could be stamped.
    """
    fleet = bench.fleet("")
    once = _DROPPED.replace("IF EXISTS ", "")
    fleet.write(file, revision(**head, up_code=_CONCURRENTLY, down_code=once))
    fleet.upgrade()
    with fleet.connect("acme") as c:
        c.execute("CREATE TABLE poison ()")
    assert result_of(fleet.load().downgrade("acme", [below]), "acme").status is Status.INDETERMINATE
    with fleet.connect("acme") as c:
        c.execute("DROP TABLE poison")
    assert result_of(fleet.load().downgrade("acme", [below]), "acme").status is Status.INDETERMINATE

    (state,) = fleet.load().status(["acme"])
    assert state.problem
    hint = named_in(state.problem.hint, "acme")
    (compare,) = re.findall(r"`ehg-migrate (compare .+?)`", hint)
    left = ehg(fleet.folder, *compare.split())
    assert (left.code, f"no difference between `acme` and `heads:{stamp[-1]}`" in left.out) == (0, True)
    command = hint.rpartition(": ")[2].strip("`").split()
    assert command == ["alembic", "-x", "target=acme", "stamp", *stamp]
    assert ehg(fleet.folder, *command[1:], program=ALEMBIC).code == 0
    assert (fleet.load().status(["acme"])[0].kind, fleet.heads("acme")) == (StateKind.PENDING, stamp[-1:])
    assert result_of(fleet.upgrade(), "acme").status is Status.SUCCEEDED


def test_a_downgrade_that_was_cut_between_what_cannot_be_done_twice(bench: Bench) -> None:
    """A part is gone, so it fails for ever, and a part is left: the hint shows which, and what to do with it."""
    fleet = bench.fleet("")
    up = _CONCURRENTLY + "op.execute('CREATE TABLE rest (n int)')"
    down = _DROPPED.replace("IF EXISTS ", "") + "op.execute('DROP TABLE rest')"
    fleet.write("shared/s2", revision("s2", "s1", up_code=up, down_code=down))
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    with fleet.connect("acme") as c:
        c.execute("CREATE TABLE poison ()")
    for _ in range(2):
        assert result_of(fleet.load().downgrade("acme", ["s1"]), "acme").status is Status.INDETERMINATE
        with fleet.connect("acme") as c:
            c.execute("DROP TABLE IF EXISTS poison")

    (state,) = fleet.load().status(["acme"])
    assert state.problem
    assert "if it fails since a part is gone already, take the rest away by hand" in state.problem.hint
    hint = named_in(state.problem.hint, "acme")
    (compare,) = re.findall(r"`ehg-migrate (compare .+?)`", hint)
    assert "table public.rest" in ehg(fleet.folder, *compare.split()).out
    with fleet.connect("acme") as c:
        c.execute("DROP TABLE rest")
    assert "no difference between" in ehg(fleet.folder, *compare.split()).out
    command = hint.rpartition(": ")[2].strip("`").split()
    assert ehg(fleet.folder, *command[1:], program=ALEMBIC).code == 0
    assert result_of(fleet.upgrade(), "acme").status is Status.SUCCEEDED


def test_a_session_killed_outside_a_transaction_is_only_looked_at(bench: Bench) -> None:
    """A part of the step may be done: it is not done again, and what it left is named."""
    fleet = bench.fleet("")
    fleet.write("shared/s2", revision("s2", "s1", up_code=_on_acme(_CONCURRENTLY)))
    assert fleet.run(fleet.load().plan((), ("s1",))).status is RunStatus.SUCCEEDED
    with fleet.connect("acme") as reader:
        reader.execute("BEGIN")
        reader.execute("LOCK TABLE s1 IN ROW EXCLUSIVE MODE")  # CONCURRENTLY waits for such, after its first phase
        future = fleet.background(fleet.upgrade)
        wait_until(lambda: fleet.values("acme", _BUILDING) != [], "no index is being built")
        (builder,) = fleet.values("acme", _BUILDING)
        fleet.terminate("acme", builder)
        result = result_of(future.result(30), "acme")
    assert (result.status, code_of(result)) == (Status.INDETERMINATE, "connection_lost")
    assert result.problem
    assert result.problem.hint.startswith("DROP INDEX CONCURRENTLY public.s1_n; then: run again")
    assert [e for e in fleet.journal("acme") if e[1] == "s2"] == [("started", "s2")]
    fleet.check_no_lease("acme")


_BUILDING = "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()"


@pytest.mark.parametrize(
    "commit",
    ["op.execute('COMMIT')", "op.get_bind().exec_driver_sql('COMMIT')", "op.get_bind().commit()"],
    ids=["op.execute", "the driver", "SQLAlchemy"],
)
def test_a_commit_by_hand_is_noticed(bench: Bench, commit: str) -> None:
    """The journal says that the step left its transaction, so what then fails is not taken for rolled back."""
    fleet = bench.fleet(f"{commit}\nraise RuntimeError('half way')")
    result = result_of(fleet.upgrade(), "acme")
    assert (result.status, code_of(result)) == (Status.INDETERMINATE, "revision_raised")
    assert result.problem
    assert "a part of it may be done" in result.problem.message
    assert [e for e in fleet.journal("acme") if e[1] == "s2"] == [("started", "s2"), ("failed", "s2")]
    assert (fleet.heads("acme"), fleet.tables("acme")) == (["s1"], ["s1", "s2"]), "which is why it is indeterminate"


def test_what_comes_behind_a_commit_by_hand_is_kept(bench: Bench) -> None:
    """And the version row with it, which stock Alembic loses there."""
    fleet = bench.fleet("op.get_bind().commit()\nop.execute('CREATE TABLE late (n int)')")
    result = result_of(fleet.run(fleet.load().plan((), ("s2",))), "acme")  # no step comes behind it
    assert result.status is Status.SUCCEEDED, result
    assert (fleet.heads("acme"), "late" in fleet.tables("acme")) == (["s2"], True)
    assert [e for e in fleet.journal("acme") if e[1] == "s2"] == [("started", "s2"), ("done", "s2")]


# --- plans that no longer hold


def test_a_plan_whose_goal_another_reached_is_up_to_date(bench: Bench) -> None:
    """Nothing is done, nothing is lost, and a note says who did it."""
    fleet = bench.fleet("")
    plan = fleet.plan()
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    run = fleet.run(plan)
    for result in run.results:
        assert (result.status, result.steps, result.not_done) == (Status.UP_TO_DATE, (), ())
        assert [n.code for n in result.notes] == ["done_by_another"]
    assert exits.of_run(run) == 0
    fleet.check("acme", "other", holds=["s1", "s2", "s3"])


def test_a_plan_made_for_other_heads_is_refused(bench: Bench) -> None:
    """Exit code 4 where nothing worse happened; the Result says what the target holds now."""
    fleet = bench.fleet("")
    plan = fleet.plan("acme")
    assert fleet.run(fleet.load().plan(["acme"], ("s2",))).status is RunStatus.SUCCEEDED
    run = fleet.run(plan)
    result = result_of(run, "acme")
    assert (result.status, code_of(result), result.steps) == (Status.REFUSED, "stale_plan", ())
    assert (result.heads_before, result.heads_after) == ((), ("s2",))
    assert result.problem
    assert result.problem.message == "the plan was made for nothing, and the target holds `s2`"
    assert exits.of_run(run) == 4
    fleet.check("acme", holds=["s1", "s2"])


def test_needless_version_rows_are_taken_out_only_as_planned(bench: Bench) -> None:
    """A row that another implies goes before the first step, and the journal says so."""
    fleet = bench.fleet("")
    assert fleet.run(fleet.load().plan(["acme"], ("s2",))).status is RunStatus.SUCCEEDED
    with fleet.connect("acme") as c:
        c.execute("INSERT INTO ehg_migrate.alembic_version VALUES ('s1')")
    run = fleet.upgrade("acme")
    assert result_of(run, "acme").heads_after == ("s3",)
    assert fleet.journal("acme")[-2:] == [("normalized", "s1"), ("done", "s3")]
    fleet.check("acme", holds=["s1", "s2", "s3"])


# --- logins


def test_a_wrong_password_costs_one_attempt(
    standin: StandIn, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, pg: Cluster
) -> None:
    """Poolers ban those who try again: one login for a run, a message with a hint, and the other targets go on."""
    wrong, right = make_database("acme"), make_database("other")
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    monkeypatch.setenv("EHG_TEST_WRONG", "not-the-password-at-all")
    targets = {
        "acme": target_entry(standin.address(REF_A, wrong.dbname), password="env:EHG_TEST_WRONG"),
        "other": target_entry(right),
    }
    folder = write_project(tmp_path / "p", targets, {"shared/s1": step("s1", label="shared")})
    fleet = Fleet(pg, folder, {"acme": wrong, "other": right})
    run = fleet.upgrade()
    result = result_of(run, "acme")
    assert (result.status, code_of(result)) == (Status.FAILED, "wrong_password")
    assert result.problem
    assert "password authentication failed" in result.problem.message
    assert "no more will be" in result.problem.hint
    assert standin.attempts[REF_A] == 1
    assert (result_of(run, "other").status, exits.of_run(run)) == (Status.SUCCEEDED, 1)
    assert not [t for t in fleet.said if "not-the-password-at-all" in t]
    fleet.check("other", holds=["s1"])
    fleet.check_secrets()


def test_a_password_that_became_wrong_after_the_plan_costs_one_attempt_too(
    standin: StandIn, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, pg: Cluster
) -> None:
    """The worker's login fails once; nothing is done to the target."""
    database = make_database("acme")
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    targets = {"acme": target_entry(standin.address(REF_A, database.dbname))}
    folder = write_project(tmp_path / "p", targets, {"shared/s1": step("s1", label="shared")})
    fleet = Fleet(pg, folder, {"acme": database})
    plan = fleet.plan()
    before = standin.attempts[REF_A]
    monkeypatch.setenv(PASSWORD_VARIABLE, "not-the-password-at-all")
    result = result_of(fleet.run(plan), "acme")
    assert (result.status, code_of(result), result.not_done) == (Status.FAILED, "wrong_password", ("s1",))
    assert standin.attempts[REF_A] == before + 1
    fleet.check(holds=[])


def test_a_full_pool_is_waited_for_with_empty_hands(
    standin: StandIn, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, pg: Cluster
) -> None:
    """Three targets behind one pool of three sessions, two for each: nobody keeps one while waiting for the other."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    databases = {f"t{i}": make_database(f"t{i}") for i in range(3)}
    targets = {name: target_entry(standin.address(REF_A, a.dbname)) for name, a in databases.items()}
    fleet = Fleet(pg, write_project(tmp_path / "p", targets, {"shared/s1": step("s1", label="shared")}), databases)
    standin.set(pool_size=3)
    run = fleet.upgrade(parallel=3)
    assert [r.status for r in run.results] == [Status.SUCCEEDED] * 3
    assert standin.most[REF_A] <= 3
    fleet.check(holds=["s1"])
    fleet.check_secrets()


def test_a_server_that_is_not_there_is_tried_again_and_told(bench: Bench, tmp_path: Path) -> None:
    """With growing pauses; the worker says each time what it waits for, then the target has failed."""
    fleet = bench.fleet("")
    plan = fleet.plan("other")
    entries = fleet.folder / "targets" / "t.yaml"
    entries.write_text(entries.read_text().replace(f":{fleet.pg.port}/", f":{free_port()}/"))
    start = time.monotonic()
    result = result_of(fleet.run(plan), "other")
    assert (result.status, code_of(result)) == (Status.FAILED, "connection_refused")
    assert result.problem
    assert result.problem.hint
    notices = fleet.notices("other")
    assert [n.partition(":")[0] for n in notices] == [f"attempt {i} of 5" for i in range(1, 5)]
    pauses = [float(n.rpartition(" in ")[2].removesuffix(" s")) for n in notices]
    rounding = 0.05 * len(pauses)  # they are told in tenths of a second
    assert sum(pauses) - rounding <= time.monotonic() - start
    assert pauses[-1] > pauses[0]
    fleet.check_secrets()


def test_a_server_that_comes_back_in_time_is_migrated(
    pg_own: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting is tried until it answers."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    address = pg_own.create_database("acme")
    fleet = make_fleet(pg_own, tmp_path / "p", {"acme": address}, {"shared/s1": step("s1", label="shared")})
    plan = fleet.plan()
    pg_own.stop()
    future: Future[Run] = fleet.background(lambda: fleet.run(plan))
    wait_until(lambda: fleet.notices("acme") != [], "no attempt was told")
    pg_own.start()
    assert future.result(30).status is RunStatus.SUCCEEDED
    fleet.check(holds=["s1"])
