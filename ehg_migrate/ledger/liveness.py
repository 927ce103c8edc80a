"""Whether the process behind a run that says `running` still exists."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

STALE = timedelta(seconds=60)
"""A run on another machine whose heartbeat is older than this has died."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Process:
    """Where a run's process was when it started. `started` is what `identity` gave there, perhaps empty."""

    host: str
    pid: int
    started: str


def identity(host: str, pid: int) -> str:
    """What tells the process `pid` from a later one with the same number: `START@SPACE`; empty if it is not here."""
    if host != socket.gethostname():
        return ""
    start = _start_time(pid)
    return "" if start is None else f"{start}@{_pid_space()}"


def is_gone(process: Process, heartbeat_age: timedelta) -> bool:
    """Whether the process has ended: by looking where we can see it, else by the age of its heartbeat."""
    start, _, space = process.started.partition("@")
    # two containers or machines may share a host name and see different processes: then a missing pid says nothing
    if process.host == socket.gethostname() and start and space == _pid_space():
        return _start_time(process.pid) != start
    return heartbeat_age > STALE


def _start_time(pid: int) -> str | None:
    """When the process started, in a form that only serves comparison; None if it has ended."""
    if sys.platform == "linux":
        return _start_time_from_proc(pid)
    return _start_time_from_psutil(pid)


def _start_time_from_proc(pid: int) -> str | None:
    """In clock ticks since boot. Not through psutil, whose start times move when somebody sets the clock."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no such process, or it ended while we read
        return None
    state, *rest = stat.rpartition(")")[2].split()  # the program's name in field 2 may hold spaces and brackets
    return None if state in "ZX" else rest[18]  # field 22; a zombie has ended, only nobody has asked for it yet


def _start_time_from_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.Error:
        return None


def _pid_space() -> str:
    """The name of the space in which pids count, on Linux: containers have their own, and each start of a machine."""
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()  # machines number their spaces alike
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
