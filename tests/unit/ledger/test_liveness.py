"""A process is told from another by its number, its start and the space in which numbers count."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ehg_migrate.ledger import liveness
from ehg_migrate.ledger.liveness import Process, identity, is_gone

_FRESH = timedelta(seconds=1)
_OLD = timedelta(seconds=61)

# what these hold is of /proc itself: elsewhere psutil looks, and nothing tells one space of numbers from another
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


def test_this_process_is_here() -> None:
    """The running process has an identity, by which it is found alive whatever the age of its heartbeat."""
    here = socket.gethostname()
    started = identity(here, os.getpid())
    assert started.partition("@")[0]
    assert not is_gone(Process(here, os.getpid(), started), _OLD)


@pytest.mark.parametrize(("age", "gone"), [(_FRESH, False), (_OLD, True)])
@pytest.mark.parametrize("host", ["elsewhere.invalid", socket.gethostname()])
def test_without_an_identity_the_heartbeat_decides(host: str, age: timedelta, gone: bool) -> None:
    """Where we cannot look, or could not at the start, the age of the heartbeat says it."""
    assert identity("elsewhere.invalid", os.getpid()) == ""
    assert is_gone(Process(host, os.getpid(), ""), age) is gone


def test_both_ways_of_looking_see_the_same() -> None:
    """/proc (on Linux) and psutil (elsewhere) both see a living process and neither sees one that ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    looks = [liveness._start_time, liveness._start_time_from_psutil]
    alive = [look(child.pid) for look in looks]
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = [look(child.pid) for look in looks]
    child.communicate()
    assert all(alive)
    assert [*zombie, *(look(child.pid) for look in looks)] == [None] * 4


@on_linux
def test_another_machine_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are not looked for among ours, as on machines that are copies of one: the heartbeat decides."""
    boot = tmp_path / "boot_id"
    boot.write_text("a6f0b5a5-0000-4000-8000-000000000000\n")
    with monkeypatch.context() as there:
        there.setattr(liveness, "_BOOT_ID", boot)
        started = identity(socket.gethostname(), os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not is_gone(Process(socket.gethostname(), child.pid, started), _FRESH)
    assert is_gone(Process(socket.gethostname(), child.pid, started), _OLD)
    assert is_gone(Process(socket.gethostname(), child.pid, identity(socket.gethostname(), os.getpid())), _FRESH)


@on_linux
def test_a_program_with_brackets_in_its_name(tmp_path: Path) -> None:
    """A program's name in /proc may look like the fields after it."""
    program = tmp_path / ") Z 1 (2"
    program.symlink_to(Path(sys.executable).resolve())
    child = subprocess.Popen([program, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1)
    try:
        assert child.stdout is not None
        child.stdout.readline()  # it is past exec, so it has its name
        assert (") Z 1 (2)" in Path(f"/proc/{child.pid}/stat").read_text(), liveness._start_time(child.pid)) == (
            True,
            str(_ticks(child.pid)),
        )
    finally:
        child.kill()
        child.communicate()


def _ticks(pid: int) -> int:
    """Field 22 as `ps` would count it: from the last bracket."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[19])
