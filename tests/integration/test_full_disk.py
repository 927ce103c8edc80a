"""A disk that is really full under the ledger: a small file system of this test's own, filled to its last block."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ehg_migrate.model import Address, RunStatus, Status
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, make_fleet, result_of, step


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB in the place of the project's `.ehg`; unmounted whatever happens."""
    place = tmp_path / "project" / ".ehg"
    place.mkdir(parents=True, mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode and os.geteuid() != 0:
        # only root may mount; a ledger that may not grow is tried as any user in the fault laboratory (RLIMIT_FSIZE)
        pytest.skip(f"no file system may be mounted by this user: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # lazy: also with a file still open


@pytest.fixture
def fleet(disk: Path, pg: Cluster, make_database: Callable[[str], Address], monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """One target."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    return make_fleet(pg, disk.parent, {"acme": make_database("full")}, {"shared/s1": step("s1")})


def _fill(disk: Path) -> Path:
    """Takes every block that is left."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        room = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_bsize)
    assert os.statvfs(disk).f_bavail == 0
    return filler


def _integrity(disk: Path) -> str:
    with sqlite3.connect(disk / "ledger.sqlite") as ledger:
        (word,) = ledger.execute("PRAGMA integrity_check").fetchone()
    ledger.close()
    return str(word)


def test_full_before_the_run(fleet: Fleet, disk: Path) -> None:
    """Not even the ledger's file can be made: the target is migrated all the same, and the run says what it lacks."""
    filler = _fill(disk)
    run = fleet.upgrade()
    assert (result_of(run, "acme").status, run.status) == (Status.SUCCEEDED, RunStatus.SUCCEEDED)
    assert [n.code for n in run.notes] == ["ledger_disk_full", "ledger_incomplete"]
    assert [n.message for n in run.notes][1] == "the ledger lacks the result of `acme`"
    fleet.check("acme", holds=["s1"])
    filler.unlink()
    fleet.write("shared/s2", step("s2", "s1"))
    assert fleet.upgrade().notes == ()
    assert [r.target for r in fleet.load().runs()[0].results] == ["acme"]


def test_full_in_the_middle(fleet: Fleet, disk: Path, tmp_path: Path) -> None:
    """The run's start is in the ledger and no more: later that run has died for it, `resume` finds nothing missing."""
    gate = Gate(tmp_path / "gate")
    fleet.write("shared/s2", step("s2", "s1", gate.code))
    with fleet.command("upgrade", "--yes", "--json") as process:
        assert gate.pid
        filler = _fill(disk)
        gate.open()
        done = fleet.end(process)
    said = json.loads(done.stdout)["data"]
    assert (done.returncode, [r["status"] for r in said["results"]]) == (0, ["succeeded"])
    assert [n["code"] for n in said["notes"]] == ["ledger_disk_full", "ledger_incomplete"]
    filler.unlink()
    assert _integrity(disk) == "ok"
    (found,) = fleet.load().runs()
    assert (found.id, found.status, found.results) == (said["id"], RunStatus.DIED, ())
    fleet.check("acme", holds=["s1", "s2"])
    assert [r.status for r in fleet.run(fleet.load().plan_resume(found.id)).results] == [Status.UP_TO_DATE]
