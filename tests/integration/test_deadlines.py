"""A server that takes connections and says nothing: each look at it and all work on it ends, and says what is known."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.database.probe import probe
from ehg_migrate.errors import Problem
from ehg_migrate.model import Address, RunStatus, StateKind, Status
from ehg_migrate.rollout import pool
from tests.faults.proxy import Act, Door, FaultProxy, Rule
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, code_of, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]

PROBE = "AS heads"
FOR_EVER = "1h"


@pytest.fixture
def proxy(pg: Cluster) -> Iterator[FaultProxy]:
    """Between the fleet of a test and its server."""
    with FaultProxy(pg.host, pg.port) as opened:
        yield opened


@pytest.fixture
def make(
    pg: Cluster, proxy: FaultProxy, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Fleet]:
    """A fleet of `acme`, reached through the proxy; the arguments are further fields of its entry; `code` is s1's."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    address = replace(make_database("acme"), host=proxy.host, port=proxy.port)

    def fleet(code: str = "", **entry: str) -> Fleet:
        revisions = {"shared/s1": step("s1", code=code, label="shared"), "shared/s2": step("s2", "s1")}
        return make_fleet(pg, tmp_path / "project", {"acme": address}, revisions, {"acme": entry})

    return fleet


def connections(proxy: FaultProxy) -> int:
    """How many the proxy has seen, those at a shut door among them."""
    return sum("connects to" in line or "meets a door" in line for line in proxy.log)


# --- looking


@pytest.mark.parametrize("moment", ["startup", PROBE])
def test_a_probe_without_an_answer_ends_at_its_one_limit_and_is_not_repeated(
    make: Callable[..., Fleet], proxy: FaultProxy, moment: str
) -> None:
    """Stalled while it logs in or while it asks, the target is unreachable after one attempt; the limit is named."""
    fleet = make(connect_timeout="2s", answer_timeout="500ms")
    proxy.rules = [Rule(Act.STALL, match=moment, per_connection=True, times=10)]
    (state,) = fleet.load().status()
    assert state.kind is StateKind.UNREACHABLE
    assert state.problem
    if moment == PROBE:
        assert state.problem.code == "no_answer"
        assert "no answer within 2.5 s" in state.problem.message
        assert "`answer_timeout`" in state.problem.hint
    else:
        assert state.problem.code == "connect_timeout"
    assert connections(proxy) == 1


def test_a_probe_of_others_goes_on_beside_one_that_hangs(make: Callable[..., Fleet], proxy: FaultProxy) -> None:
    """The stalled target is the only one without a Reading."""
    fleet = make(connect_timeout="2s", answer_timeout="500ms")
    (target,) = fleet.load().targets()
    direct = replace(target, name="direct", address=replace(target.address, host=fleet.pg.host, port=fleet.pg.port))
    proxy.rules = [Rule(Act.STALL, match=PROBE)]
    found = probe([target, direct], {"acme": CANARY, "direct": CANARY}, 2)
    assert isinstance(found["acme"], Problem)
    assert not isinstance(found["direct"], Problem)


@pytest.mark.parametrize("verb", ["status", "upgrade", "locks"])
@pytest.mark.parametrize("moment", ["startup", r"SELECT"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_a_look_that_hangs(
    make: Callable[..., Fleet], proxy: FaultProxy, verb: str, moment: str, number: signal.Signals
) -> None:
    """With limits of an hour it ends by the first one, does not ask the silent server to cancel, and says no more."""
    fleet = make(connect_timeout=FOR_EVER, answer_timeout=FOR_EVER)
    proxy.rules = [Rule(Act.STALL, match=moment, door=Door.SILENT)]
    with fleet.command(verb, "--yes" if verb == "upgrade" else "--json") as process:
        wait_until(lambda: any("fault: stall" in line for line in proxy.log), "nothing was stalled", 20)
        os.killpg(process.pid, number)
        ended = fleet.end(process)
    assert ended.returncode == 130, ended
    assert ended.stderr.split() == ["interrupted"]
    assert connections(proxy) == 1


def test_a_resolver_that_hangs_ends_with_the_look(make: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is never resolved; the look ends at its limit, while the thread that asks is still waiting."""
    fleet = make(connect_timeout="300ms", answer_timeout="200ms")
    (target,) = fleet.load().targets()
    asked, answer = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        asked.set()
        answer.wait(60)
        raise OSError("nobody knows")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    found = probe([replace(target, address=replace(target.address, host="db.example.test"))], {}, 1)["acme"]
    assert isinstance(found, Problem)
    assert found.code == "no_answer"
    assert asked.is_set()
    assert not answer.is_set()
    answer.set()


# --- working

RUNNER = "ehg_migrate 2"


def test_who_waits_for_nobody_waits_for_the_session_that_he_has_lost_himself(make: Callable[..., Fleet]) -> None:
    """It holds the lock until the server notices: that is no other runner, and what the target holds is found out."""
    fleet = make("op.execute('SELECT pg_sleep(60)')", queue_timeout="0s", deadline="3s")
    result = result_of(fleet.upgrade("acme"), "acme")
    assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, "deadline", ())
    assert not any("another runner" in n for n in fleet.notices("acme"))


@pytest.mark.parametrize("moment", ["startup", "pg_backend_pid", "LISTEN", "pg_try_advisory_lock", "take_lease|INSERT"])
def test_the_deadline_holds_while_a_worker_enters_its_target(
    make: Callable[..., Fleet], proxy: FaultProxy, moment: str
) -> None:
    """Whatever hangs before the first step, the target fails at its deadline, unchanged, and no lock is left."""
    fleet = make(connect_timeout=FOR_EVER, answer_timeout=FOR_EVER, deadline="1s")
    plan = fleet.plan()
    proxy.rules = [Rule(Act.STALL, match=moment, application=RUNNER)]
    result = result_of(fleet.run(plan), "acme")
    assert (result.status, code_of(result)) == (Status.FAILED, "deadline"), result
    assert result.problem
    assert result.problem.message == "the deadline of 1 s was reached, before the target could be entered"
    assert (result.heads_after, result.not_done) == ((), ("s1", "s2"))
    proxy.reset()
    fleet.check("acme", holds=[])
    assert make().upgrade().status is RunStatus.SUCCEEDED


def test_a_target_that_falls_silent_in_a_step_is_indeterminate_and_the_run_ends(
    make: Callable[..., Fleet], proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline ends the step, nobody can look, and neither look waits longer than it may; later all is mended."""
    monkeypatch.setattr(pool, "_GRACE", 0.5)
    fleet = make(connect_timeout="2s", answer_timeout="500ms", queue_timeout="0s", deadline="5s")
    proxy.rules = [Rule(Act.STALL, match="CREATE TABLE s2", application=RUNNER, door=Door.SILENT)]
    result = result_of(fleet.upgrade(), "acme")
    assert (result.status, code_of(result)) == (Status.INDETERMINATE, "deadline"), result
    assert result.heads_after == ()
    proxy.reset()
    assert make().upgrade().status is RunStatus.SUCCEEDED
    fleet.check("acme", holds=["s1", "s2"])


def test_what_was_committed_unheard_is_no_doubt(make: Callable[..., Fleet], proxy: FaultProxy) -> None:
    """The answer to the COMMIT of a step that had left its transaction is lost: it is done, and the next not begun."""
    fleet = make(
        "with op.get_context().autocommit_block():\n    op.execute('CREATE INDEX CONCURRENTLY i1 ON s1 (n)')",
        deadline="5s",
    )
    proxy.rules = [Rule(Act.STALL, nth=2, match=r"SELECT CASE WHEN \$1 THEN", application=RUNNER)]
    result = result_of(fleet.upgrade(), "acme")  # what is stalled was sent together with the COMMIT
    assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, "deadline", ("s1",)), result
    assert result.not_done == ("s2",)
    proxy.reset()
    assert make().upgrade().status is RunStatus.SUCCEEDED
    fleet.check("acme", holds=["s1", "s2"])
