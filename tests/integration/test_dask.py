"""Targets sent to a real Dask cluster: done there as here, and every way in which the cluster can fail survived."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Any, NoReturn, cast

import pytest
from distributed import Client, Future
from distributed.comm import CommClosedError

from ehg_migrate.database.session import lock_key
from ehg_migrate.model import Address, RunStatus, Status
from ehg_migrate.rollout.dask import DaskExecutor, _hear, connected
from ehg_migrate.rollout.jobs import Event, EventKind, Job
from ehg_migrate.rollout.stop import Stop
from tests.support.dask import DaskCluster
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, code_of, make_fleet, step

MakeDatabase = Callable[[str], Address]
MakeFleet = Callable[..., Fleet]

REVISIONS = {"shared/s1": step("s1", label="shared"), "shared/s2": step("s2", "s1"), "shared/s3": step("s3", "s2")}


@pytest.fixture(scope="module")
def dask(pg: Cluster) -> Iterator[DaskCluster]:
    """Two workers that have the password."""
    with DaskCluster(2, **{PASSWORD_VARIABLE: pg.password}) as cluster:
        yield cluster


@pytest.fixture
def fleet_of(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFleet:
    """Makes fleets of some targets."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)

    def make(count: int, **more: str) -> Fleet:
        addresses = {f"t{n}": make_database(f"t{n}") for n in range(count)}
        return make_fleet(pg, tmp_path / "project", addresses, {**REVISIONS, **more})

    return make


def test_fleet(dask: DaskCluster, fleet_of: MakeFleet) -> None:
    """Every target is brought to its heads by the cluster's processes, told of while it goes; then nothing is to do."""
    code = "import os; print('process', os.getpid())"
    fleet = fleet_of(6, **{"shared/s3": step("s3", "s2", code)})
    run = fleet.upgrade(executor=dask.executor)
    assert {r.status for r in run.results} == {Status.SUCCEEDED}
    assert len({r.output for r in run.results}) == 6, "each target in a process of its own"
    assert [e.kind for e in fleet.events].count(EventKind.STEP_DONE) == 18
    fleet.check(holds=["s1", "s2", "s3"])
    fleet.check_secrets()
    assert {r.status for r in fleet.upgrade(executor=dask.executor).results} == {Status.UP_TO_DATE}


def test_failing_target(dask: DaskCluster, fleet_of: MakeFleet) -> None:
    """A revision that fails, or that ends its process, is that target's trouble, told as if it had been done here."""
    code = "db = context.get_context().config.attributes['ehg_migrate'].target.name\n"
    fleet = fleet_of(
        3,
        **{
            "shared/s3": step(
                "s3",
                "s2",
                "import os\nfrom alembic import context\n"
                + code
                + "if db == 't1': raise RuntimeError('no')\nif db == 't2': os._exit(7)",
            )
        },
    )
    run = fleet.upgrade(executor=dask.executor)
    assert {r.target: (r.status, code_of(r)) for r in run.results} == {
        "t0": (Status.SUCCEEDED, ""),
        "t1": (Status.FAILED, "revision_raised"),
        "t2": (Status.FAILED, "worker_died"),
    }
    fleet.check("t0", holds=["s1", "s2", "s3"])
    fleet.check("t1", "t2", holds=["s1", "s2"])


def test_secrets_are_found_where_the_work_is(pg: Cluster, fleet_of: MakeFleet) -> None:
    """The password does not travel: a worker whose variable is another one logs in with that."""
    fleet = fleet_of(1)
    with DaskCluster(1, **{PASSWORD_VARIABLE: "not the one"}) as wrong:
        result = fleet.upgrade(executor=wrong.executor).results[0]
    assert (result.status, code_of(result)) == (Status.FAILED, "wrong_password")
    with DaskCluster(1, **{PASSWORD_VARIABLE: None}) as none:
        result = fleet.upgrade(executor=none.executor).results[0]
    assert (result.status, code_of(result)) == (Status.REFUSED, "secret_missing")
    assert fleet.heads("t0") == []


def test_worker_killed(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """A worker killed in the middle of a target: another one goes on from where it came to, and no step runs twice."""
    gate = Gate(tmp_path / "gate")
    fleet = fleet_of(1, **{"shared/s2": step("s2", "s1", gate.code)})
    with DaskCluster(2, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor))
        dask.kill_worker_above(gate.pid)
        gate.open()
        result = run.result(60).results[0]
    assert (result.status, [s.revision for s in result.steps]) == (Status.SUCCEEDED, ["s1", "s2", "s3"])
    assert [r for r, _ in fleet.runs_of("t0")] == ["s1", "s2", "s3"]
    assert len({run for _, run in fleet.runs_of("t0")}) == 1
    fleet.check(holds=["s1", "s2", "s3"])


def test_worker_killed_and_the_other_has_other_files(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """It cannot go on, and does not know what was done before: the runner looks, and nobody says that nothing was."""
    gate = Gate(tmp_path / "gate")
    fleet = fleet_of(1, **{"shared/s2": step("s2", "s1", gate.code)})
    with DaskCluster(2, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor))
        pid = gate.pid
        fleet.write("shared/s3", step("s3", "s2", "edited = True"))
        dask.kill_worker_above(pid)
        os.kill(pid, signal.SIGKILL)  # it has the files as they were, and may do all of it meanwhile
        (result,) = run.result(60).results
    assert (result.status, code_of(result)) == (Status.FAILED, "worker_lost")
    assert result.problem is not None
    assert "has other files for s3" in result.problem.message
    assert "bring the runner's commit" in result.problem.hint
    assert list(result.heads_after) == fleet.heads("t0") == ["s1"]


def test_worker_killed_and_somebody_was_at_its_target(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """Where its lock was broken the run does not come back; where rows were moved nobody says that nothing was done; a
    step that had left its transaction is not done again.
    """
    gates = {name: Gate(tmp_path / name) for name in ("t0", "t1", "t2")}
    code = "from alembic import context\nname = context.get_context().config.attributes['ehg_migrate'].target.name\n"
    code += "if name == 't2':\n    with op.get_context().autocommit_block():\n        op.execute('SELECT 1')\n"
    code += "\n".join(f"if name == {name!r}:\n{indent(gate.code, '    ')}" for name, gate in gates.items())
    fleet = fleet_of(3, **{"shared/s2": step("s2", "s1", code)})
    with DaskCluster(4, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor))
        pids, project = [gate.pid for gate in gates.values()], fleet.load()
        (held,) = project.locks(("t0",))
        project.break_lock(held)
        with fleet.admin("t1") as c:
            c.execute("UPDATE ehg_migrate.alembic_version SET version_num = 'of_another'")
        for pid in pids:
            dask.kill_worker_above(pid)
            os.kill(pid, signal.SIGKILL)
        for gate in gates.values():
            gate.open()
        results = run.result(60).results
    assert {r.target: (r.status, code_of(r), list(r.heads_after)) for r in results} == {
        "t0": (Status.FAILED, "lock_broken", ["s1"]),
        "t1": (Status.INDETERMINATE, "stale_plan", ["of_another"]),
        "t2": (Status.INDETERMINATE, "worker_lost", ["s1"]),
    }
    fleet.check("t0", holds=["s1"])


def test_a_worker_that_wakes_up_when_its_run_is_over(fleet_of: MakeFleet, pg: Cluster) -> None:
    """It stood still before it had the lock; its target was given to another and then taken back: it does nothing."""
    fleet = fleet_of(1)
    make_fleet(pg, fleet.folder, fleet.addresses, REVISIONS, {"t0": {"queue_timeout": "5min"}})

    def waiting() -> list[int]:
        return sorted(fleet.backends("t0")) if any("another runner" in n for n in fleet.notices("t0")) else []

    with DaskCluster(2, **{PASSWORD_VARIABLE: pg.password}) as dask, fleet.connect("t0") as c:
        c.execute("SELECT pg_advisory_lock(%s)", (lock_key(fleet.load().fleet.by_name["t0"]),))
        c.commit()
        going = fleet.background(lambda: fleet.upgrade(executor=dask.executor))
        wait_until(lambda: len(waiting()) == 2, "nobody waits for the lock", 60)
        asked = "SELECT client_port FROM pg_stat_activity WHERE pid = ANY(%s)"
        ((port,), _) = c.execute(asked, (waiting(),)).fetchall()
        c.commit()
        asleep = dask.stop_worker_with(port)
        _give_up_busy_worker(dask)
        wait_until(lambda: len(waiting()) == 4, "its target was not given to the other worker", 60)
        c.execute("SELECT pg_advisory_unlock_all()")
        run = going.result(60)
        assert fleet.load().rollback(run.id).status is RunStatus.SUCCEEDED
        asleep.resume()
        wait_until(lambda: not fleet.backends("t0"), "it does not end", 60)
    assert [r.status for r in run.results] == [Status.SUCCEEDED]
    assert [r for r, by in fleet.runs_of("t0") if by == run.id] == ["s1", "s2", "s3"]
    fleet.check(holds=[])


def test_worker_killed_in_a_run_that_was_stopped(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """The other worker begins no step any more; what the first one left is looked at."""
    gate = Gate(tmp_path / "gate")
    fleet, stop = fleet_of(1, **{"shared/s2": step("s2", "s1", gate.code)}), Stop()
    with DaskCluster(2, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor, stop=stop))
        pid = gate.pid
        stop.ask()
        wait_until(lambda: _heard(dask, fleet), "the wish did not reach the task")
        dask.kill_worker_above(pid)
        os.kill(pid, signal.SIGKILL)
        (result,) = run.result(60).results  # whoever comes to the gate stays there
    assert (result.status, code_of(result), list(result.heads_after)) == (Status.FAILED, "worker_lost", ["s1"])
    fleet.check(holds=["s1"])


def test_scheduler_killed(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """Where the scheduler goes, the runner looks at the target itself; what it says is what the target is."""
    gate = Gate(tmp_path / "gate")
    fleet = fleet_of(1, **{"shared/s2": step("s2", "s1", gate.code)})
    with DaskCluster(1, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor))
        _ = gate.pid
        dask.scheduler.kill()
        gate.open()
        result = run.result(90).results[0]
    # the process of the target may have gone on to the end meanwhile, or have ended after its step
    assert result.status is (Status.SUCCEEDED if fleet.heads("t0") == ["s3"] else Status.FAILED)
    assert "worker_lost" in {p.code for p in (result.problem, *result.notes) if p}
    assert list(result.heads_after) == fleet.heads("t0") != []
    fleet.check()


def test_scheduler_killed_in_a_wave(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """What the runner's own look has found stands, whatever the next wave comes to; each target has one last word."""
    gate = Gate(tmp_path / "gate")
    fleet = fleet_of(2, **{"shared/s3": step("s3", "s2", gate.code)})
    (fleet.folder / "targets" / "waves.yaml").write_text("waves: [{name: canary, targets: [t1]}]\n")
    with DaskCluster(1, **{PASSWORD_VARIABLE: pg.password}) as dask:
        running = fleet.background(lambda: fleet.upgrade(executor=dask.executor))
        _ = gate.pid
        dask.scheduler.kill()
        gate.open()
        run = running.result(90)
    assert [e.target for e in fleet.events if e.result].count("t1") == 1
    # the process of the target may have ended with the cluster, before its step had
    whole = fleet.heads("t1") == ["s3"]
    assert {r.target: (r.status, list(r.heads_after)) for r in run.results} == {
        "t1": (Status.SUCCEEDED if whole else Status.FAILED, fleet.heads("t1")),
        "t0": (Status.FAILED if whole else Status.NOT_ATTEMPTED, []),
    }
    assert fleet.heads("t0") == []


@pytest.mark.parametrize("when", [EventKind.STEP_STARTED, None], ids=["at work", "before"])
def test_a_client_that_has_given_its_scheduler_up(
    dask: DaskCluster, fleet_of: MakeFleet, monkeypatch: pytest.MonkeyPatch, when: EventKind | None
) -> None:
    """It closes by itself after a while. What it was for is looked at from here, and the run has its end."""
    clients: list[Client] = []

    @contextmanager
    def kept(address: str) -> Iterator[Client]:
        with connected(address) as client:
            clients.append(client)
            if when is None:
                client.close()
            yield client

    def watch(event: Event) -> None:
        if event.kind is when and clients[0].status != "closed":
            clients[0].close()

    monkeypatch.setattr("ehg_migrate.rollout.dask.connected", kept)
    fleet = fleet_of(3)
    project = fleet.load()
    run = project.run(project.plan(), executor=dask.executor, parallel=1, watch=watch)
    assert run.status is RunStatus.FAILED
    assert len(run.results) == 3
    bad = [r for r in run.results if r.status is not Status.SUCCEEDED]  # one that was at work may have ended
    assert len(bad) >= 2
    assert {code_of(r) for r in bad} == {"worker_lost"}
    assert project.show(run.id).status is RunStatus.FAILED
    assert {r.status for r in fleet.upgrade().results} <= {Status.SUCCEEDED, Status.UP_TO_DATE}


def test_stop(dask: DaskCluster, fleet_of: MakeFleet, tmp_path: Path) -> None:
    """The wish to stop reaches the cluster: what runs finishes its step, and nothing new begins."""
    gate = Gate(tmp_path / "gate")
    fleet = fleet_of(2, **{"shared/s2": step("s2", "s1", gate.code)})
    stop = Stop()
    run = fleet.background(lambda: fleet.upgrade(executor=dask.executor, stop=stop, parallel=1))
    _ = gate.pid
    stop.ask()
    wait_until(lambda: _heard(dask, fleet), "the wish did not reach the task")
    gate.open()
    results = run.result(60).results
    assert [(r.status, list(r.heads_after)) for r in results] == [
        (Status.CANCELLED, ["s2"]),
        (Status.NOT_ATTEMPTED, []),
    ]
    fleet.check()


def test_a_task_whose_client_has_closed_itself_is_stopped(dask: DaskCluster) -> None:
    """Nobody is there any more who could want its next step."""
    stop = Stop()
    client = Client(dask.address, set_as_default=False)
    client.close()
    listening = threading.Thread(target=_hear, args=(client, "topic", stop, over := threading.Event()))
    listening.start()
    try:
        wait_until(lambda: bool(stop.asked), "it was not told to stop")
    finally:
        over.set()
        listening.join()


def test_a_result_that_is_on_its_way(dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task is with no worker any more, and it was done."""
    with Client(dask.address, set_as_default=False) as client:
        executor = DaskExecutor(client, 1)
        future = client.submit(int, key="done", pure=False)
        wait_until(lambda: client.who_has([future])["done"], "the task did not end")
        monkeypatch.setattr(future, "done", lambda: False)
        executor._doing["done"] = cast("Job", None), future
        executor._lose_orphans()
        assert list(executor._doing) == ["done"]


def test_stop_without_a_worker(fleet_of: MakeFleet) -> None:
    """A target that waits for a worker is not waited for: it has not begun, which is what is said of it."""
    fleet, stop = fleet_of(2), Stop()
    with DaskCluster(0) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor, stop=stop))
        wait_until(lambda: _queued(dask) == 2, "the tasks did not reach the scheduler")
        stop.ask()
        results = run.result(30).results
        assert [(r.status, code_of(r)) for r in results] == [(Status.NOT_ATTEMPTED, "not_attempted")] * 2
        wait_until(lambda: _queued(dask) == 0, "the tasks were left to the next worker")
    assert fleet.tables("t0") == []


def test_stop_while_the_scheduler_goes(fleet_of: MakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that was just seen not to have begun has its result, although its task cannot be taken back any more."""

    def gone(future: Future[object]) -> NoReturn:
        raise CommClosedError

    monkeypatch.setattr(Future, "cancel", gone)
    fleet, stop = fleet_of(1), Stop()
    with DaskCluster(0) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor, stop=stop))
        wait_until(lambda: _queued(dask) == 1, "the task did not reach the scheduler")
        stop.ask()
        assert [r.status for r in run.result(30).results] == [Status.NOT_ATTEMPTED]


def test_no_worker_yet(fleet_of: MakeFleet, pg: Cluster) -> None:
    """It is said that nothing can begin, once, and a worker that joins then does the work."""
    fleet = fleet_of(2)
    with DaskCluster(0, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor))
        wait_until(lambda: fleet.events, "nothing was said", 30)
        dask.add_worker()
        assert {r.status for r in run.result(60).results} == {Status.SUCCEEDED}
    notices = [e.text for e in fleet.events if e.kind is EventKind.NOTICE]
    assert notices == ["the cluster has no worker; waiting until one joins"]
    fleet.check()


def test_stop_where_the_only_worker_was_killed(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """There is nobody to give its target to: the runner looks at it itself."""
    gate = Gate(tmp_path / "gate")
    fleet, stop = fleet_of(1, **{"shared/s2": step("s2", "s1", gate.code)}), Stop()
    with DaskCluster(1, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor, stop=stop))
        dask.kill_worker_above(gate.pid)
        gate.open()
        wait_until(lambda: _workers(dask) == 0, "the scheduler did not notice")
        stop.ask()
        (result,) = run.result(60).results
    assert "worker_lost" in {p.code for p in (result.problem, *result.notes) if p}
    assert list(result.heads_after) == fleet.heads("t0") != []
    fleet.check()


def test_stop_while_the_scheduler_is_gone(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """Nobody can be told; the runner looks at the target itself when the client has given the scheduler up."""
    gate = Gate(tmp_path / "gate")
    fleet, stop = fleet_of(1, **{"shared/s2": step("s2", "s1", gate.code)}), Stop()
    with DaskCluster(1, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.background(lambda: fleet.upgrade(executor=dask.executor, stop=stop))
        _ = gate.pid
        dask.scheduler.kill()
        dask.scheduler.wait()
        stop.ask()
        gate.open()
        (result,) = run.result(90).results
    assert "worker_lost" in {p.code for p in (result.problem, *result.notes) if p}
    assert list(result.heads_after) == fleet.heads("t0") != []
    fleet.check()


def test_too_many_failures(dask: DaskCluster, fleet_of: MakeFleet) -> None:
    """No other target is sent to the cluster."""
    fleet = fleet_of(3)
    with fleet.connect("t0") as c:
        c.execute("CREATE TABLE s2 (n int)")
    run = fleet.upgrade(executor=dask.executor, parallel=1, max_failures=1)
    assert [r.status for r in run.results] == [Status.FAILED, Status.NOT_ATTEMPTED, Status.NOT_ATTEMPTED]


def test_too_many_failures_while_others_wait_for_a_worker(fleet_of: MakeFleet, pg: Cluster) -> None:
    """What the cluster has got and not begun does not begin."""
    fleet = fleet_of(5)
    for name in fleet.addresses:
        with fleet.connect(name) as c:
            c.execute("CREATE TABLE s1 (n int)")
    with DaskCluster(1, **{PASSWORD_VARIABLE: pg.password}) as dask:
        run = fleet.upgrade(executor=dask.executor, parallel=5, max_failures=1)
    assert Status.NOT_ATTEMPTED in {r.status for r in run.results}
    assert {r.status for r in run.results} == {Status.FAILED, Status.NOT_ATTEMPTED}


def test_waves(dask: DaskCluster, fleet_of: MakeFleet) -> None:
    """The cluster gets the next wave when the one before has ended well, and none of it where it has not."""
    fleet = fleet_of(3)
    (fleet.folder / "targets" / "waves.yaml").write_text("waves: [{name: canary, targets: [t2]}]\n")
    assert {r.status for r in fleet.upgrade(executor=dask.executor).results} == {Status.SUCCEEDED}
    assert next(e.target for e in fleet.events if e.kind is EventKind.STARTED) == "t2"
    fleet.write("shared/s4", step("s4", "s3"))
    with fleet.connect("t2") as c:
        c.execute("CREATE TABLE s4 (n int)")
    run = fleet.upgrade(executor=dask.executor)
    assert {r.target: r.status for r in run.results} == {
        "t0": Status.NOT_ATTEMPTED, "t1": Status.NOT_ATTEMPTED, "t2": Status.FAILED,
    }  # fmt: skip
    assert [fleet.heads(t) for t in ("t0", "t1", "t2")] == [["s3"], ["s3"], ["s3"]]


def test_other_files(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path) -> None:
    """A worker that has other files than the plan was made of refuses, and names them."""
    fleet = fleet_of(1)
    copy = tmp_path / "copy"
    shutil.copytree(fleet.folder, copy)
    file = next((copy / "versions" / "shared").glob("s2*"))
    file.write_text(file.read_text() + "\n# edited\n")
    with DaskCluster(1, **{PASSWORD_VARIABLE: pg.password}, EHG_PROJECT=str(copy)) as dask:
        result = fleet.upgrade(executor=dask.executor).results[0]
    assert (result.status, code_of(result)) == (Status.REFUSED, "other_files")
    assert "s2" in str(result.problem)
    assert "s1" not in str(result.problem)
    assert fleet.heads("t0") == []


@pytest.mark.parametrize(
    "more", [{"schema": "staging"}, {"x": {"tenant": "acme"}}, {"alembic": {"compare_type": False}}]
)
def test_other_entry(fleet_of: MakeFleet, pg: Cluster, tmp_path: Path, more: dict[str, object]) -> None:
    """So does one whose entry would do the steps elsewhere, or otherwise, on the same database."""
    fleet = fleet_of(1)
    copy = tmp_path / "copy"
    shutil.copytree(fleet.folder, copy)
    with fleet.connect("t0") as c:
        c.execute("CREATE SCHEMA staging")
    make_fleet(pg, fleet.folder, fleet.addresses, REVISIONS, {"t0": more})
    with DaskCluster(1, **{PASSWORD_VARIABLE: pg.password}, EHG_PROJECT=str(copy)) as dask:
        result = fleet.upgrade(executor=dask.executor).results[0]
    assert (result.status, code_of(result)) == (Status.REFUSED, "other_files")
    assert fleet.tables("t0") == []


def test_worker_that_may_not_start_processes(fleet_of: MakeFleet, pg: Cluster) -> None:
    """Dask's own keeper of workers forbids them children; that is said with what helps."""
    fleet = fleet_of(1)
    with DaskCluster(1, nanny=True, **{PASSWORD_VARIABLE: pg.password}) as dask:
        result = fleet.upgrade(executor=dask.executor).results[0]
    assert (result.status, code_of(result)) == (Status.REFUSED, "no_processes")
    variables = {PASSWORD_VARIABLE: pg.password, "DASK_DISTRIBUTED__WORKER__DAEMON": "false"}
    with DaskCluster(1, nanny=True, **variables) as dask:
        assert fleet.upgrade(executor=dask.executor).results[0].status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("executor", "words"),
    [
        ("dask://127.0.0.1:1", "no Dask scheduler answers at `dask://127.0.0.1:1`"),
        ("dask://tls://127.0.0.1:1", "TLS"),
        ("celery://x", "`celery://x` is not an executor"),
    ],
)
def test_no_cluster(fleet_of: MakeFleet, executor: str, words: str) -> None:
    """A run that has nowhere to work does not begin: exit 2, the reason, nothing in the ledger or a target."""
    fleet = fleet_of(1)
    said = fleet.cli("upgrade", "--yes", "--executor", executor)
    assert said.returncode == 2
    assert words in said.stderr
    assert fleet.load().runs() == ()
    assert fleet.heads("t0") == []


def _heard(dask: DaskCluster, fleet: Fleet) -> bool:
    """Whether the task has heard the wish, and so its process."""
    topic = f"ehg-{fleet.load().runs()[0].id}-t0"
    with Client(dask.address, set_as_default=False) as client:
        return bool(client.get_metadata([topic, "heard"], 0))


def _give_up_busy_worker(dask: DaskCluster) -> None:
    """What the scheduler does with one that has said nothing for long."""
    with Client(dask.address, set_as_default=False) as client:
        (address,) = [worker for worker, tasks in client.processing().items() if tasks]

        async def give_up(dask_scheduler: Any) -> None:
            await dask_scheduler.remove_worker(address, stimulus_id="asleep")

        client.run_on_scheduler(give_up)


def _queued(dask: DaskCluster) -> int:
    """How many tasks the scheduler has that no worker does."""
    with Client(dask.address, set_as_default=False) as client:
        return int(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


def _workers(dask: DaskCluster) -> int:
    with Client(dask.address, set_as_default=False) as client:
        return len(client.nthreads())
