"""A worker may do what it likes: its target's Result says so, the target is consistent, and the others never notice."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from ehg_migrate.cli import exits
from ehg_migrate.model import Address, Run, RunStatus, Status
from ehg_migrate.rollout import pool
from ehg_migrate.rollout.jobs import Event, Job
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.rollout.workforce import Worker, Workforce
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import (
    CANARY_PARTS,
    Fleet,
    Gate,
    code_of,
    exposed,
    interrupt,
    make_fleet,
    read_until,
    result_of,
    step,
)

MakeDatabase = Callable[[str], Address]


@dataclass(frozen=True)
class Case:
    """One revision after `s1`, what it does, and what is to be said of it."""

    code: str
    status: Status
    problem: str = ""
    message: str = ""  # a pattern
    output: str = ""  # a pattern
    sqlstate: str | None = None
    line: int = 0  # of the revision's file, where it is known


_SPOIL = """
op.execute("SET lock_timeout = 0"); op.execute("SET statement_timeout = '1h'")
op.execute("SELECT set_config('search_path', '', false)")
"""
_DISCARD = """
with op.get_context().autocommit_block():
    op.execute("DISCARD ALL")
"""
_SAY = """
import os, subprocess, sys
print("printed out"); print("printed beside", file=sys.stderr)
os.write(1, b"written below python\\n"); subprocess.run(["echo", "said by a program"], check=True)
print("password=open-sesame", op.get_bind().engine.url)
"""
# a process that outlives the worker, with everything that was open there, until the tests of the cases are over
_FORK = """
import os, pathlib, time
if os.fork() == 0:
    while pathlib.Path("alembic.ini").exists() and not pathlib.Path("over").exists():
        time.sleep(0.05)
    os._exit(0)
"""

# the same, of a worker that then dies: its sessions, and their locks, do not live on in that process
_FORK_AND_DIE = f"{_FORK}os._exit(3)"

# a fork server that does not start before somebody opens this pipe for writing
_HANGS = """
import pathlib, sys
if "forkserver" in " ".join(sys.orig_argv):
    pathlib.Path({mark!r}).touch()
    open({door!r}).close()
"""

CASES = {
    "fine": Case("", Status.SUCCEEDED),
    "raises": Case(
        'raise RuntimeError("the roof is on fire")',
        Status.FAILED,
        "revision_raised",
        "RuntimeError: the roof is on fire",
        r"Traceback[^$]*the roof is on fire",
        line=13,
    ),
    "sql_error": Case(
        'op.execute("INSERT INTO sql_error_1 VALUES (1/0)")',
        Status.FAILED,
        "statement_failed",
        "division by zero",
        sqlstate="22012",
        line=13,
    ),
    "sys_exit": Case("import sys; sys.exit(0)", Status.FAILED, "revision_raised", "SystemExit: 0", line=13),
    "system_exit": Case("raise SystemExit", Status.FAILED, "revision_raised", "SystemExit", line=13),
    "os_exit": Case(
        'print("last words"); import os; os._exit(3)',
        Status.FAILED,
        "worker_died",
        "exit code 3",
        "last words",
    ),
    "segfault": Case(
        "import ctypes; ctypes.string_at(0)",
        Status.FAILED,
        "worker_killed",
        "SIGSEGV",
        r"Segmentation fault[^$]*segfault_1\.py",
    ),
    "closed_bind": Case("op.get_bind().close()", Status.FAILED, "revision_raised", "closed"),
    "no_privilege": Case(
        "op.execute(\"COPY no_privilege_1 FROM PROGRAM 'true'\")",
        Status.FAILED,
        "no_privilege",
        "must be superuser|permission denied to COPY",  # until PostgreSQL 15, and since
        sqlstate="42501",
        line=13,
    ),
    "prints": Case(
        _SAY,
        Status.SUCCEEDED,
        output=r"printed out\nprinted beside\nwritten below python\nsaid by a program\npassword=\*\*\* ",
    ),
    "mute": Case("import sys; sys.stdout.close(); sys.stderr = None", Status.SUCCEEDED),
    "thread": Case(
        "import threading; threading.Thread(target=threading.Event().wait).start()",
        Status.SUCCEEDED,
    ),
    "forks": Case(_FORK, Status.SUCCEEDED),
    "forks_and_dies": Case(_FORK_AND_DIE, Status.FAILED, "worker_died", "exit code 3"),
    "spoils": Case(_SPOIL, Status.SUCCEEDED),
    "resets": Case('op.execute("RESET ALL")', Status.SUCCEEDED),
    "discards": Case(_DISCARD, Status.SUCCEEDED),
}


_NOTE = """
op.execute(\"\"\"DO $$ BEGIN EXECUTE format('COMMENT ON TABLE {table} IS %L', concat_ws(' ',
    current_setting('lock_timeout'), current_setting('statement_timeout'),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
    current_setting('search_path'))); END $$\"\"\")
"""


def _own(name: str, case: Case) -> dict[str, str]:
    """The branch of a case: the revision that it is about, and one that notes what settings it finds."""
    first, second = f"{name}_1", f"{name}_2"
    return {
        f"{name}/{first}.py": step(first, None, case.code, label=name, depends=("s1",)),
        f"{name}/{second}.py": step(second, first, _NOTE.format(table=second)),
    }


@pytest.fixture(scope="module")
def fleet(pg: Cluster, make_module_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A target for each case, all upgraded in one run."""
    revisions = {"shared/s1.py": step("s1", label="shared")}
    for name, case in CASES.items():
        revisions |= _own(name, case)
    addresses = {name: make_module_database(name) for name in CASES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD_VARIABLE, CANARY)
        fleet = make_fleet(pg, tmp_path_factory.mktemp("fleet"), addresses, revisions)
        yield fleet
        (fleet.folder / "over").touch()


@pytest.fixture(scope="module")
def run(fleet: Fleet) -> Run:
    """The run of all cases."""
    return fleet.upgrade(parallel=4)


@pytest.mark.parametrize("name", CASES)
def test_a_result_says_what_a_revision_did(fleet: Fleet, run: Run, name: str) -> None:
    """Status, code, message, place and output; what was rolled back is not there, what was committed is."""
    case, result = CASES[name], result_of(run, name)
    assert (result.status, code_of(result)) == (case.status, case.problem), result
    done = case.status is Status.SUCCEEDED
    if result.problem:
        assert re.search(case.message, result.problem.message)
        assert result.problem.sqlstate == case.sqlstate
        assert result.problem.hint
        place = f"versions/{name}/{name}_1.py:{case.line}" if case.line else result.problem.where
        assert result.problem.where == place
    assert re.search(case.output, result.output), result.output
    steps = ["s1", f"{name}_1", f"{name}_2"]
    assert [s.revision for s in result.steps] == (steps if done else steps[:1])
    assert list(result.not_done) == ([] if done else steps[1:])
    assert list(result.heads_after) == fleet.heads(name) == ([f"{name}_2"] if done else ["s1"])
    fleet.check(name, holds=steps if done else steps[:1])
    fleet.check_no_lease(name)
    fleet.check_secrets()


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.status is Status.SUCCEEDED])
def test_the_next_step_has_our_settings_again(fleet: Fleet, run: Run, name: str) -> None:
    """Timeouts, the search path and the lock of the working connection, whatever the step before did to them."""
    assert result_of(run, name).status is Status.SUCCEEDED
    (found,) = fleet.values(name, f"SELECT obj_description('{name}_2'::regclass)")
    assert found == '5s 15min 1 "$user", public, extensions, ehg_migrate'


def test_a_run_with_failures_says_so(fleet: Fleet, run: Run) -> None:
    """Its status, its exit code, and one Result for each target, in the ledger too."""
    assert (run.status, exits.of_run(run)) == (RunStatus.FAILED, 1)
    assert sorted(r.target for r in run.results) == sorted(CASES)
    recorded = fleet.load().show(run.id)
    assert {r.target: r.status for r in recorded.results} == {r.target: r.status for r in run.results}
    assert run.notes == ()


def test_when_the_files_are_corrected_exactly_what_is_missing_is_done(fleet: Fleet, run: Run) -> None:
    """Every target ends at its heads; each step has been done once."""
    for name, case in CASES.items():
        if case.status is not Status.SUCCEEDED:
            for path, text in _own(name, replace(case, code="")).items():
                fleet.write(path, text)
    again = fleet.upgrade(parallel=4)
    assert exits.of_run(again) == 0
    for name in CASES:
        was_done = result_of(run, name).status is Status.SUCCEEDED
        steps = [s.revision for s in result_of(again, name).steps]
        assert steps == ([] if was_done else [f"{name}_1", f"{name}_2"])
        done = [revision for event, revision in fleet.journal(name) if event == "done"]
        assert done == ["s1", f"{name}_1", f"{name}_2"]
    fleet.check()


# --- one at a time


@pytest.fixture
def two(
    pg: Cluster, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Fleet]]:
    """Makes a fleet of `acme` (revisions a1, a2 with these codes) and `other` (o1), beside `shared` (s1)."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    made: list[Fleet] = []

    def make(first: str = "", second: str = "", **entry: object) -> Fleet:
        revisions = {
            "shared/s1": step("s1", label="shared"),
            "acme/a1": step("a1", None, first, label="acme", depends=("s1",)),
            "acme/a2": step("a2", "a1", second),
            "other/o1": step("o1", None, label="other", depends=("s1",)),
        }
        addresses = {name: make_database(name) for name in ("acme", "other")}
        made.append(make_fleet(pg, tmp_path / "project", addresses, revisions, {"acme": entry}))
        return made[-1]

    yield make
    for fleet in made:
        fleet.check_secrets()


def test_a_file_that_cannot_be_imported_stops_its_own_target(two: Callable[..., Fleet]) -> None:
    """Its syntax is good, so it can be planned; the worker cannot load it, and says which line of which file."""
    fleet = two()
    fleet.write("acme/a2", "import no_such_module_anywhere\n" + step("a2", "a1"))
    run = fleet.upgrade()
    acme = result_of(run, "acme")
    assert (acme.status, code_of(acme)) == (Status.FAILED, "revision_raised")
    assert acme.problem
    assert "No module named 'no_such_module_anywhere'" in acme.problem.message
    assert acme.problem.where == "versions/acme/a2.py:1"
    assert result_of(run, "other").status is Status.SUCCEEDED
    fleet.check("acme", holds=[])
    fleet.write("acme/a2", step("a2", "a1"))
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    fleet.check("acme", holds=["a1", "a2", "s1"])


_ASKS = """
assert op.get_context().get_current_heads() == ("a1",)
bind = op.get_bind()
asked = "SELECT pg_backend_pid(), to_regclass('a2')::text, current_setting('lock_timeout')"
pid, table, limit = bind.exec_driver_sql(asked).one()
with bind.engine.connect() as other:
    beside = other.exec_driver_sql(asked).one()
assert (beside[0] != pid, *beside[1:]) == (True, None, limit), beside
assert tuple(bind.exec_driver_sql(asked).one()) == (pid, "a2", limit) and table == "a2"
"""


def test_what_a_revision_asks_for(two: Callable[..., Fleet]) -> None:
    """The version rows as they are by then, and a connection beside its own, with its limits, that it may close."""
    fleet = two(second=_ASKS, lock_timeout="7s")
    acme = result_of(fleet.upgrade("acme"), "acme")
    assert acme.status is Status.SUCCEEDED, acme
    fleet.check("acme", holds=["a1", "a2", "s1"])


def test_what_revisions_print_is_never_among_the_data(two: Callable[..., Fleet]) -> None:
    """`--json` stays JSON, the words stand in the result; at the top of a file too."""
    fleet = two('print("{]"); import os; os.system("echo {]")')
    fleet.write("acme/a2", 'print("[} at the top")\n' + step("a2", "a1"))
    done = fleet.cli("upgrade", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    (acme,) = [r for r in json.loads(done.stdout)["data"]["results"] if r["target"] == "acme"]
    assert acme["output"] == "[} at the top\n{]\n{]\n"
    fleet.check()


@pytest.mark.parametrize("number", [signal.SIGKILL, getattr(signal, "SIGRTMIN", signal.SIGHUP) + 1])
def test_a_worker_that_is_killed_is_looked_after(two: Callable[..., Fleet], gate: Gate, number: int) -> None:
    """A signal in the middle of a step, named or not: it is rolled back, another says what the target holds."""
    fleet = two(second=gate.code)
    future = fleet.background(fleet.upgrade)
    os.kill(gate.pid, number)
    run = future.result(30)
    acme = result_of(run, "acme")
    assert (acme.status, code_of(acme), acme.not_done) == (Status.FAILED, "worker_killed", ("a2",))
    assert [s.revision for s in acme.steps] == ["s1", "a1"]
    assert result_of(run, "other").status is Status.SUCCEEDED
    assert any("looking what the target holds" in n for n in fleet.notices("acme"))
    fleet.check("acme", holds=["a1", "s1"])
    fleet.check_no_lease()
    gate.open()
    assert [s.revision for s in result_of(fleet.upgrade(), "acme").steps] == ["a2"]
    fleet.check("acme", holds=["a1", "a2", "s1"])


def test_what_a_worker_has_done_that_dies_behind_its_last_commit(two: Callable[..., Fleet]) -> None:
    """Nobody has heard of it: another one looks, and finds that nothing is missing."""
    fleet = two(
        second="import os, signal\nfrom ehg_migrate.database.session import Session\n"
        "Session.leave = lambda self: os.kill(os.getpid(), signal.SIGKILL)"
    )
    acme = result_of(fleet.upgrade(), "acme")
    assert (acme.status, acme.heads_after, acme.not_done) == (Status.SUCCEEDED, ("a2",), ())
    assert [s.revision for s in acme.steps] == ["s1", "a1", "a2"]
    assert [n.code for n in acme.notes] == ["worker_killed"]
    fleet.check("acme", holds=["a1", "a2", "s1"])
    fleet.check_no_lease()


@pytest.mark.parametrize("dying", [ConnectionRefusedError, ConnectionResetError, EOFError])
def test_where_the_machine_has_not_enough_for_all_they_take_turns(
    dying: type[Exception], two: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target whose worker cannot be started beside another waits for that one; a dying fork server fails nobody."""
    forked, lacking = Workforce._forked, [dying()]
    alive: list[Worker] = []

    def short(self: Workforce, job: Job) -> Worker:
        if lacking:
            raise lacking.pop()
        if any(w.process.is_alive() for w in alive):
            raise OSError(errno.EMFILE, "Too many open files")
        alive.append(forked(self, job))
        return alive[-1]

    fleet = two()
    monkeypatch.setattr(Workforce, "_forked", short)
    run = fleet.upgrade()
    assert run.status is RunStatus.SUCCEEDED
    assert any("waiting until another target is done" in n for n in (*fleet.notices("acme"), *fleet.notices("other")))
    fleet.check()


def test_a_look_that_waits_for_a_place_is_done_although_the_run_is_stopped(
    two: Callable[..., Fleet], gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed worker has left is asked for: that its target was not attempted would not be true."""
    fleet, beside = two(second=gate.code), Gate(tmp_path / "beside")
    fleet.write("other/o1", step("o1", None, beside.code, label="other", depends=("s1",)))
    forked, stop, refused = Workforce._forked, Stop(), []

    def short(self: Workforce, job: Job) -> Worker:
        if job.look and not refused:
            stop.ask()
            refused.append(job)
            raise OSError(errno.EMFILE, "Too many open files")
        return forked(self, job)

    monkeypatch.setattr(Workforce, "_forked", short)
    future = fleet.background(lambda: fleet.upgrade(stop=stop))
    assert beside.pid
    os.kill(gate.pid, signal.SIGKILL)
    wait_until(lambda: bool(refused), "nobody wanted to look")
    beside.open()
    acme = result_of(future.result(30), "acme")
    assert (acme.status, code_of(acme), acme.heads_after) == (Status.FAILED, "worker_killed", ("a1",))


@pytest.mark.parametrize("how", ["dies too", "is not started"])
def test_a_look_that_cannot_be_done(
    how: str, two: Callable[..., Fleet], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies in its step, and so does the one that was to look: nobody knows what the target holds."""
    fleet = two(second=gate.code)
    forked, looks = Workforce._forked, []

    def short(self: Workforce, job: Job) -> Worker:
        if job.look:
            looks.append(job)
            if how == "is not started":
                raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        worker = forked(self, job)
        if job.look and len(looks) == 1:
            worker.process.terminate()
        return worker

    monkeypatch.setattr(Workforce, "_forked", short)
    future = fleet.background(lambda: fleet.upgrade("acme"))
    os.kill(gate.pid, signal.SIGKILL)
    acme = result_of(future.result(30), "acme")
    why = "worker_killed" if how == "dies too" else "worker_not_started"
    assert (acme.status, code_of(acme), acme.heads_after) == (Status.INDETERMINATE, why, ())
    assert len(looks) == 1
    assert how != "dies too" or "SIGKILL" in str(acme.problem), "it is said why the first one died"
    gate.open()
    assert fleet.upgrade("acme").status is RunStatus.SUCCEEDED
    fleet.check("acme", holds=["a1", "a2", "s1"])


def test_where_no_worker_can_be_started_at_all_each_target_says_so(
    two: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is waited for, and each holds what it held."""

    def never(self: Workforce, job: Job) -> NoReturn:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    fleet = two()
    monkeypatch.setattr(Workforce, "_forked", never)
    run = fleet.upgrade()
    assert {(r.status, code_of(r), r.heads_after) for r in run.results} == {(Status.FAILED, "worker_not_started", ())}


def test_the_server_has_ended_a_dead_workers_statement_before_its_target_is_looked_at(
    two: Callable[..., Fleet], gate: Gate
) -> None:
    """A statement outlives its client for a moment: until then the working connection's own lock keeps others out."""
    fleet = two(second="import os, pathlib\npathlib.Path(os.environ['EHG_TEST_MARK']).write_text(str(os.getpid()))\n"
                "op.execute('SELECT pg_sleep(600)')")  # fmt: skip
    mark = fleet.folder / "mark"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EHG_TEST_MARK", str(mark))
        future = fleet.background(fleet.upgrade)
        wait_until(lambda: "active" in fleet.backends("acme").values() and mark.exists(), "nobody sleeps", 20)
        os.kill(int(mark.read_text()), signal.SIGKILL)
        acme = result_of(future.result(30), "acme")
    left = fleet.backends("acme")
    assert (acme.status, left) == (Status.FAILED, {}), "the look came after the end of the statement"
    fleet.check("acme", holds=["a1", "s1"])


def test_a_worker_that_hangs_ends_although_its_runner_has_gone(two: Callable[..., Fleet], gate: Gate) -> None:
    """A machine without memory may take the runner alone; its worker stayed for good, in a revision's endless loop."""
    fleet = two(second=gate.code, deadline="2s")
    with fleet.command("upgrade", "--targets", "acme", "--yes") as process:
        worker = psutil.Process(gate.pid)
        process.kill()
        process.wait()
        wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "it stays", 60)
    fleet.check("acme", holds=["a1", "s1"])


def test_deadlines_end_what_hangs_in_python_and_in_sql(
    pg: Cluster, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement is ended on the server by closing its connection; a loop in Python by killing the worker."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    monkeypatch.setattr(pool, "_GRACE", 0.5)
    loop = "import time\nwhile True:\n    time.sleep(0.1)"
    revisions = {
        "shared/s1": step("s1", label="shared"),
        "python/p1": step("p1", None, loop, label="python", depends=("s1",)),
        "sql/q1": step("q1", None, "op.execute('SELECT pg_sleep(600)')", label="sql", depends=("s1",)),
    }
    addresses = {name: make_database(name) for name in ("python", "sql")}
    short = {"deadline": "1s"}
    fleet = make_fleet(pg, tmp_path / "p", addresses, revisions, {"python": short, "sql": short})
    run = fleet.upgrade()
    for name, left, within in (("python", "p1", 3.0), ("sql", "q1", 2.0)):
        result = result_of(run, name)
        assert (result.status, code_of(result), result.not_done) == (Status.FAILED, "deadline", (left,))
        assert result.seconds < within
        assert fleet.backends(name) == {}, "the server has ended it too"
        fleet.check(name, holds=["s1"])
    fleet.write("python/p1", step("p1", None, label="python", depends=("s1",)))
    fleet.write("sql/q1", step("q1", None, label="sql", depends=("s1",)))
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    fleet.check()
    fleet.check_secrets()


def test_a_watcher_that_fails_does_not_end_the_work(two: Callable[..., Fleet]) -> None:
    """A terminal that has gone: all is done all the same, and the run says that it was not shown."""
    fleet = two()

    def watch(event: Event) -> None:
        raise BrokenPipeError("nobody reads")

    project = fleet.load()
    run = project.run(project.plan(), watch=watch)
    assert run.status is RunStatus.SUCCEEDED
    assert [n.code for n in run.notes] == ["watcher_failed"]
    fleet.check("acme", holds=["a1", "a2", "s1"])


# --- stopping


def test_asked_to_stop_the_running_step_ends_and_nothing_begins(two: Callable[..., Fleet], gate: Gate) -> None:
    """Through Python: the step is committed, its target cancelled, the others not attempted."""
    fleet, stop = two(gate.code), Stop()
    future = fleet.background(lambda: fleet.upgrade(parallel=1, stop=stop))
    assert gate.pid
    stop.ask()
    gate.open()
    run = future.result(30)
    acme, other = result_of(run, "acme"), result_of(run, "other")
    assert (acme.status, code_of(acme), acme.not_done) == (Status.CANCELLED, "cancelled", ("a2",))
    assert (other.status, other.not_done) == (Status.NOT_ATTEMPTED, ("s1", "o1"))
    assert (run.status, exits.of_run(run)) == (RunStatus.INTERRUPTED, 130)
    fleet.check("acme", holds=["a1", "s1"])
    fleet.check("other", holds=[])


def test_asked_twice_nothing_is_waited_for(two: Callable[..., Fleet], gate: Gate) -> None:
    """The worker is killed in its step, and it is said that it was: not that somebody else might have done it."""
    fleet, stop = two(gate.code), Stop()
    future = fleet.background(lambda: fleet.upgrade(parallel=1, stop=stop))
    assert gate.pid
    stop.ask()
    stop.ask()
    acme = result_of(future.result(30), "acme")
    assert (acme.status, code_of(acme), acme.heads_after) == (Status.INDETERMINATE, "stopped", ())
    assert acme.problem is not None
    assert "resume" in acme.problem.hint
    gate.open()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_between_steps(two: Callable[..., Fleet], gate: Gate, number: int) -> None:
    """Ctrl-C reaches the whole process group, SIGTERM the command alone; both mean the same."""
    fleet = two(gate.code)
    with fleet.command("upgrade", "--yes", "--json", "--parallel", "1") as process:
        assert gate.pid
        interrupt(process) if number == signal.SIGINT else process.send_signal(number)
        read_until(process, "stopping")
        gate.open()
        done = fleet.end(process)
    data = json.loads(done.stdout)["data"]
    statuses = {r["target"]: r["status"] for r in data["results"]}
    assert (done.returncode, statuses) == (130, {"acme": "cancelled", "other": "not_attempted"})
    assert fleet.load().show(data["id"]).status is RunStatus.INTERRUPTED
    fleet.check("acme", holds=["a1", "s1"])
    fleet.check_no_lease("acme")
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    fleet.check("acme", holds=["a1", "a2", "s1"])


@pytest.mark.parametrize("numbers", [(signal.SIGHUP, signal.SIGHUP), (signal.SIGTERM,)], ids=["terminal", "timeout"])
def test_a_signal_to_everybody_ends_a_command_between_steps(
    two: Callable[..., Fleet], gate: Gate, numbers: tuple[signal.Signals, ...]
) -> None:
    """A terminal that closes tells the whole group, often twice, and `timeout` does; no worker is cut in its step."""
    fleet = two(gate.code)
    with fleet.command("upgrade", "--yes", "--json", "--parallel", "1") as process:
        assert gate.pid
        for number in numbers:
            os.killpg(process.pid, number)
        read_until(process, "stopping")
        gate.open()
        done = fleet.end(process)
    statuses = {r["target"]: r["status"] for r in json.loads(done.stdout)["data"]["results"]}
    assert (done.returncode, statuses) == (130, {"acme": "cancelled", "other": "not_attempted"})
    fleet.check("acme", holds=["a1", "s1"])
    fleet.check_no_lease("acme")


def test_a_signal_that_the_command_was_started_deaf_to(two: Callable[..., Fleet], gate: Gate) -> None:
    """As with `nohup`, and by a script's `&`: it goes on through Ctrl-C and the end of the terminal."""
    fleet = two(gate.code)
    deaf_to = (signal.SIGINT, signal.SIGHUP)
    with ExitStack() as opened:
        with _ignored(*deaf_to):
            process = opened.enter_context(fleet.command("upgrade", "--yes"))
        assert gate.pid
        for number in deaf_to:
            os.killpg(process.pid, number)
        gate.open()
        done = fleet.end(process)
    assert (done.returncode, "stopping" in done.stderr) == (0, False)
    fleet.check("acme", holds=["a1", "a2", "s1"])


@contextmanager
def _ignored(*numbers: signal.Signals) -> Iterator[None]:
    """By this process, and by those that it starts meanwhile."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def test_a_second_signal_kills_the_workers(two: Callable[..., Fleet], gate: Gate) -> None:
    """The step is rolled back by the server; what the run can say of the target is that somebody must look."""
    fleet = two(gate.code)
    with fleet.command("upgrade", "--yes", "--json", "--parallel", "1") as process:
        worker = gate.pid
        interrupt(process)
        read_until(process, "stopping")
        interrupt(process)
        done = fleet.end(process)
    assert not psutil.pid_exists(worker)
    statuses = {r["target"]: r["status"] for r in json.loads(done.stdout)["data"]["results"]}
    assert (done.returncode, statuses) == (130, {"acme": "indeterminate", "other": "not_attempted"})
    fleet.check("acme", holds=["s1"])
    (state,) = fleet.load().status(["acme"])
    assert (state.heads, state.pending) == (("s1",), ("a1", "a2"))
    gate.open()
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    fleet.check_no_lease()


def test_ctrl_c_while_the_workers_are_being_started(two: Callable[..., Fleet]) -> None:
    """The fork server does not hear it, so no target is lost in the middle of nothing."""
    fleet = two()
    with fleet.command("upgrade", "--yes", "--json") as process:
        # the tracker of resources, and the fork server, which is busy importing for half a second, also after the look
        wait_until(lambda: len(psutil.Process(process.pid).children()) > 1, "no fork server", 20)
        ledger = fleet.folder / ".ehg" / "ledger.sqlite"
        wait_until(lambda: ledger.exists() and fleet.load().runs() != (), "no run", 20)
        interrupt(process)
        done = fleet.end(process)
    assert done.returncode == 130
    statuses = {r["status"] for r in json.loads(done.stdout)["data"]["results"]}
    assert statuses <= {"cancelled", "not_attempted", "succeeded"}, done.stderr
    fleet.check()
    assert fleet.upgrade().status is not RunStatus.FAILED
    fleet.check("acme", holds=["a1", "a2", "s1"])


def test_ctrl_c_while_workers_start_and_targets_still_answer(two: Callable[..., Fleet]) -> None:
    """There is no run yet, nothing is begun, and the fork server goes with the command."""
    fleet = two()
    fleet.upgrade()
    fleet.write("shared/s2", step("s2", "s1"))
    with fleet.connect("acme") as c, c.transaction():
        c.execute("LOCK TABLE ehg_migrate.migration_journal")  # `other` has answered that it has something to do
        with fleet.command("upgrade", "--yes") as process:
            wait_until(lambda: len(psutil.Process(process.pid).children()) > 1, "no fork server", 20)
            children = psutil.Process(process.pid).children()
            interrupt(process)
            done = fleet.end(process)
    assert done.returncode == 130
    wait_until(lambda: not any(child.is_running() for child in children), "the fork server ends")
    assert len(fleet.load().runs()) == 1
    assert fleet.heads("other") == ["o1"]


def test_a_stopped_command_holds_no_pipe(two: Callable[..., Fleet]) -> None:
    """A fork server that still imports has ended with it: what reads both would wait for it."""
    fleet = two()
    fleet.upgrade()
    fleet.write("shared/s2", step("s2", "s1"))
    beside = fleet.folder / "beside"
    beside.mkdir()
    os.mkfifo(beside / "go")
    (beside / "sitecustomize.py").write_text(_HANGS.format(mark=str(beside / "there"), door=str(beside / "go")))
    try:
        with fleet.connect("acme") as c, c.transaction():
            c.execute("LOCK TABLE ehg_migrate.migration_journal")
            with fleet.command("upgrade", "--yes", PYTHONPATH=str(beside)) as process:
                wait_until((beside / "there").exists, "no fork server", 20)
                interrupt(process)
                assert fleet.end(process).returncode == 130
    finally:
        os.close(os.open(beside / "go", os.O_RDWR))  # also where nobody reads there any more


def test_workers_of_a_killed_command_begin_no_further_step(two: Callable[..., Fleet], gate: Gate) -> None:
    """The running step ends, the run is seen to have died, and the next one does the rest."""
    fleet = two(gate.code)
    with fleet.command("upgrade", "--yes", "--parallel", "1") as process:
        worker = gate.pid
        process.kill()
        process.wait()
        gate.open()
        wait_until(lambda: not psutil.pid_exists(worker), "the worker goes on", 20)
    fleet.check("acme", holds=["a1", "s1"])
    fleet.check("other", holds=[])
    (run,) = fleet.load().runs()
    assert run.status is RunStatus.DIED
    assert "died" in fleet.cli("runs").stdout
    assert [s.revision for s in result_of(fleet.upgrade(), "acme").steps] == ["a2"]
    fleet.check_no_lease()


# --- the password


def test_a_password_from_a_file_is_in_no_list_of_processes(two: Callable[..., Fleet], gate: Gate) -> None:
    """Neither in the arguments nor in the environment of the command, the fork server or a worker."""
    fleet = two(gate.code)
    secret = fleet.folder.parent / "secret"
    secret.write_text(CANARY)
    secret.chmod(0o600)
    entries = fleet.folder / "targets" / "t.yaml"
    entries.write_text(entries.read_text().replace(f"env:{PASSWORD_VARIABLE}", f"file:{secret}"))
    with fleet.command("upgrade", "--yes", **{PASSWORD_VARIABLE: "another"}) as process:
        assert gate.pid
        seen = exposed(process)
        gate.open()
        assert fleet.end(process).returncode == 0
    assert "forkserver" in seen
    assert not [part for part in CANARY_PARTS if part in seen]
    fleet.check()


def test_a_password_from_a_variable_stays_with_the_command_that_got_it(two: Callable[..., Fleet], gate: Gate) -> None:
    """Neither the fork server nor a worker was started with it, nor with a URL that holds one; a revision has both."""
    fleet = two(f"import os\nassert os.environ[{PASSWORD_VARIABLE!r}] and os.environ['EHG_URL']\n{gate.code}")
    more = {"EHG_TEST_COPY": f"x{CANARY}x", "EHG_URL": "postgresql://u:pw-of-url@h/d", "EHG_OTHER": "is-still-there"}
    with fleet.command("upgrade", "--yes", **more) as process:
        assert gate.pid
        seen = exposed(process, below=True)
        gate.open()
        assert fleet.end(process).returncode == 0
    assert "forkserver" in seen
    assert seen.count("is-still-there") >= 3
    assert not [part for part in (*CANARY_PARTS, "pw-of-url") if part in seen]
    fleet.check()


def test_an_error_that_quotes_the_passwords_of_others_too(
    two: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every password that the run knows is masked in the journal of each target."""
    monkeypatch.setenv("EHG_OTHER_PASSWORD", "of-another-target")
    fleet = two("import os; raise ValueError(os.environ['EHG_OTHER_PASSWORD'])")
    file = fleet.folder / "targets" / "t.yaml"
    acme, other, rest = file.read_text().partition("  other:")
    file.write_text(acme + other + rest.replace(PASSWORD_VARIABLE, "EHG_OTHER_PASSWORD"))
    acme = result_of(fleet.upgrade(), "acme")
    assert acme.problem
    assert acme.problem.message == "ValueError: ***"
    (detail,) = fleet.values("acme", "SELECT detail FROM ehg_migrate.migration_journal WHERE event = 'failed'")
    assert detail == "ValueError: ***"


def test_an_error_that_quotes_the_password_is_told_without_it(two: Callable[..., Fleet]) -> None:
    """In messages, output, events, journal and ledger."""
    fleet = two(f"import os; secret = os.environ[{PASSWORD_VARIABLE!r}]; print(secret); raise ValueError(secret)")
    acme = result_of(fleet.upgrade(), "acme")
    assert acme.problem
    assert acme.problem.message == "ValueError: ***"
    assert acme.output.startswith("***\n")
    (detail,) = fleet.values("acme", "SELECT detail FROM ehg_migrate.migration_journal WHERE event = 'failed'")
    assert detail == "ValueError: ***"


# --- the ledger


@pytest.mark.parametrize("trouble", ["a folder in its place", "nothing may be written"])
def test_a_ledger_that_cannot_be_written_stops_nothing(two: Callable[..., Fleet], trouble: str) -> None:
    """The run succeeds and says what was not recorded."""
    fleet = two()
    file = fleet.folder / ".ehg" / "ledger.sqlite"
    if trouble == "a folder in its place":
        file.mkdir(parents=True)
    else:
        _refuse_results(fleet, file)
    run = fleet.upgrade()
    assert run.status is RunStatus.SUCCEEDED
    unread = [n for n in run.notes if n.code == "ledger_unread"]
    assert len(unread) == (trouble == "a folder in its place")
    why, what = (n for n in run.notes if n not in unread)
    assert why.code.startswith("ledger")
    assert why.hint
    assert what.code == "ledger_incomplete"
    assert all(f"the result of `{r.target}`" in what.message for r in run.results)
    fleet.check("acme", holds=["a1", "a2", "s1"])


def _refuse_results(fleet: Fleet, file: Path) -> None:
    """What SQLite says of a file that became read-only; a mode does not keep root from writing."""
    import sqlite3

    fleet.load().runs()
    with sqlite3.connect(file) as ledger:
        ledger.execute(
            "CREATE TRIGGER no BEFORE INSERT ON results "
            "BEGIN SELECT RAISE(ABORT, 'attempt to write a readonly database'); END"
        )


def test_a_thousand_lines_of_output_are_kept_to_their_end(two: Callable[..., Fleet]) -> None:
    """The end only, and quickly."""
    start = time.monotonic()
    fleet = two("for i in range(100_000):\n    print('line', i)")
    acme = result_of(fleet.upgrade(), "acme")
    assert acme.output.endswith("line 99999\n")
    assert len(acme.output) <= 8000
    assert time.monotonic() - start < 10


def test_what_is_done_leaves_no_output_on_the_disk(
    two: Callable[..., Fleet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of targets that print a lot, or whose workers die, it would fill it before the run is over."""
    fleet = two("import os; print('dying', flush=True); os._exit(3)")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left: list[tuple[str, int]] = []

    def watch(event: Event) -> None:
        if event.result:
            left.append((event.target, len([*tmp_path.glob("ehg-run-*/*.out")])))

    run = fleet.load().run(fleet.plan(), parallel=1, watch=watch)
    assert result_of(run, "acme").output == "dying\n"
    assert result_of(run, "other").status is Status.SUCCEEDED
    assert sorted(left) == [("acme", 0), ("other", 0)]
