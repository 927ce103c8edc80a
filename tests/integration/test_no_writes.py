"""A database that takes no writes any more in the middle of a run, as where its platform sees the disk run full.

What it holds can be read all the same, and so must be told.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ehg_migrate.model import Address, Result, Run, Status
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, code_of, make_fleet, result_of, step


@pytest.fixture
def fleet(pg: Cluster, database: Address, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """One target; its second step waits at the gate, in its transaction."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    steps = {"shared/1": step("s1", label="shared"), "shared/2": step("s2", "s1", gate.code)}
    return make_fleet(pg, tmp_path / "project", {"acme": database}, steps)


@contextmanager
def _closed(pg: Cluster) -> Iterator[None]:
    """For every transaction that begins from now on, in sessions of before too."""
    with pg.admin() as admin:
        try:
            admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            _heard(admin, "on")
            yield
        finally:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("RESET default_transaction_read_only")
            _heard(admin, "off")


def _heard(admin: psycopg.Connection, value: str) -> None:
    admin.execute("SELECT pg_reload_conf()")

    def heard() -> bool:
        (found,) = admin.execute("SHOW default_transaction_read_only").fetchone() or ("",)
        return bool(found == value)

    wait_until(heard, f"default_transaction_read_only is not {value}")


def _ended(future: Future[Run], fleet: Fleet) -> Result:
    result = result_of(future.result(60), "acme")
    fleet.check_no_lock()
    assert not [n for n in fleet.notices("acme") if "lock connection was lost" in n]
    return result


def test_the_next_step_fails_and_all_before_it_is_told(fleet: Fleet, pg: Cluster, gate: Gate) -> None:
    """It was `indeterminate`, and "cannot be read since": nobody could write down that somebody reads."""
    fleet.write("shared/3", step("s3", "s2"))
    future = fleet.background(lambda: fleet.upgrade("acme"))
    assert gate.pid
    with _closed(pg):
        gate.open()
        result = _ended(future, fleet)
    assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, "read_only", ("s2",))
    assert ([s.revision for s in result.steps], result.not_done) == (["s1", "s2"], ("s3",))
    assert result_of(fleet.upgrade("acme"), "acme").status is Status.SUCCEEDED
    fleet.check("acme", holds=["s1", "s2", "s3"])
    fleet.check_no_lease()


def test_the_last_step_was_done(fleet: Fleet, pg: Cluster, gate: Gate) -> None:
    """Only our own name cannot be taken off the door any more."""
    future = fleet.background(lambda: fleet.upgrade("acme"))
    assert gate.pid
    with _closed(pg):
        gate.open()
        result = _ended(future, fleet)
    assert (result.status, result.heads_after) == (Status.SUCCEEDED, ("s2",))


@pytest.mark.parametrize("how", ["session", "worker"])
def test_what_a_lost_one_has_left_is_read(how: str, fleet: Fleet, pg: Cluster, gate: Gate) -> None:
    """Who comes back cannot write down that he is there, and looks all the same."""
    future = fleet.background(lambda: fleet.upgrade("acme"))
    worker = gate.pid
    with _closed(pg):
        if how == "worker":
            os.kill(worker, signal.SIGKILL)
        else:
            fleet.terminate("acme", fleet.working("acme"))
            gate.open()
        result = _ended(future, fleet)
    code = "read_only" if how == "session" else "worker_killed"
    assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, code, ("s1",))
    assert ([s.revision for s in result.steps], result.not_done) == (["s1"], ("s2",))
