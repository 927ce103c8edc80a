"""What orchestrators and images are to a command: told to end at any moment."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ehg_migrate.model import Address
from tests.acceptance.test_drift import scratch_url
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Gate, make_fleet, step

SCRATCH = "SELECT datname FROM pg_database WHERE datname LIKE 'ehg\\_scratch\\_%'"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_before_the_run(
    pg: Cluster,
    make_database: Callable[[str], Address],
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """A rehearsal ends, with its worker and its scratch database, and no run begins after it."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    address = make_database("acme")
    fleet = make_fleet(pg, tmp_path / "project", {"acme": address}, {"shared/s1": step("s1", None, gate.code)})
    with pg.connect("postgres") as c:
        before = c.execute(SCRATCH).fetchall()
        with fleet.command("upgrade", "--yes", "--lint", "auto", EHG_SCRATCH_URL=scratch_url(pg)) as process:
            worker = psutil.Process(gate.pid)
            process.send_signal(number)
            said = fleet.end(process)
            assert (said.returncode, said.stdout) == (130, "")
            assert said.stderr.endswith("interrupted\n")
            worker.wait(10)
        assert c.execute(SCRATCH).fetchall() == before
    assert fleet.heads("acme") == []
