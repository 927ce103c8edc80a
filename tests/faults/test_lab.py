"""Whatever is broken on purpose: no target lies, nothing runs twice, and everything can be brought to its heads.

The short form has fixed seeds. The long form: `make faults CASES=2000 SEED=1`, of one kind with EHG_FAULT_KIND; what
is printed at a failing case does it again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults import clocks, invariants
from tests.faults.bench import Bench
from tests.faults.driver import Report, run_case
from tests.faults.kinds import FAULTS
from tests.faults.seeds import SHORT, batches


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The servers and proxies of this process; they go before other files' tests come."""
    with Bench() as opened:
        yield opened


@pytest.mark.parametrize("cases", batches(), ids=lambda cases: f"{cases[0][0]}-{cases[-1][0]}")
def test_nothing_is_lost_and_every_status_is_true(bench: Bench, cases: list[tuple[int, str]]) -> None:
    """After the fault every database is consistent and every result true; after healing all is as if undisturbed."""
    bad = []
    for seed, kind in cases:
        report = run_case(bench, seed, kind)
        _record(report)
        bad += [report] if report.violations else []
    if bad:
        pytest.fail("\n\n".join(_told(r) for r in bad), pytrace=False)


def test_the_short_form_has_every_kind() -> None:
    """A kind that is added gets a fixed seed."""
    assert set(SHORT) == {entry.name for entry in FAULTS}


def test_a_case_with_a_violation_leaves_what_may_explain_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's sessions, locks, processes, sockets and log, the run's output and the times of what happened."""
    monkeypatch.setenv("EHG_FAULT_KEPT", str(tmp_path))
    no_secret = invariants.no_secret
    monkeypatch.setattr(invariants, "no_secret", lambda texts: ["on purpose"])
    report = run_case(bench, 123, "nothing")
    assert report.violations == ["on purpose"]
    kept = {file.name: file.read_text() for file in Path(report.kept).iterdir()}
    assert Path(report.kept).parent == tmp_path
    assert kept["case.txt"].startswith("on purpose\n")
    assert {"run.out", "run.err", "targets-proxy.log", "targets-server.log", "found.txt"} <= kept.keys()
    for said in ("postgres: checkpointer", "activity:\n", "backend_type=client backend", "locks:\n", "mode=", "0A "):
        assert said in kept["found.txt"], said
    assert list(no_secret(kept)) == []


def test_a_run_can_be_given_another_clock(tmp_path: Path) -> None:
    """A process sees the clock that is set for it, also when it is set again, and its monotonic one stays real."""
    file = tmp_path / "clock"
    clocks.set_clock(file, 86400)
    script = "import time; print(time.time(), time.monotonic(), flush=True); input(); print(time.time())"
    argv = [sys.executable, "-c", script]
    environ = {**os.environ, **clocks.environment(file)}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        wall, monotonic = map(float, process.stdout.readline().split())
        clocks.set_clock(file, -86400)
        process.stdin.write("\n")
        process.stdin.flush()
        later = float(process.stdout.readline())
    now, running = time.time(), time.monotonic()
    assert wall - now > 80000
    assert now - later > 80000
    assert abs(running - monotonic) < 3600


def _told(report: Report) -> str:
    lines = [f"{report.kind} during {report.verb}; again with:", f"  {report.command}", f"kept in {report.kept}"]
    return "\n".join([*lines, *(f"  - {v}" for v in report.violations), *report.story])


def _record(report: Report) -> None:
    """For the numbers at the end; see conftest.py."""
    name = os.environ.get("EHG_FAULT_RECORD")
    if name:
        with Path(name).open("a") as file:
            file.write(
                json.dumps(asdict(report) | {"story": [], "command": report.command, "at": time.monotonic()}) + "\n"
            )
