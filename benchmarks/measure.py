"""Runs one command and measures it as a whole: a program of its own, so that nothing else is counted in.

Reads one JSON object from standard input (argv, cwd, env, output, watch, longest) and writes one to standard output:
code, wall and cpu in seconds, what of the cpu the first process used itself, and where it was asked to watch, memory in
bytes. Watching costs time: a watched wall says nothing. A command that takes longer than `longest` seconds is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_LONGEST = 3600.0  # seconds, where nothing is said
_INTERVAL = 0.02  # seconds between two looks at the memory


@dataclass
class Memory:
    """Peaks over the life of a tree of processes, from /proc (Linux)."""

    total: int = 0  # of all together: the sum of their proportional shares (PSS)
    first: int = 0  # what the command's own process has for itself
    worker: int = 0  # the most that one at the deepest level of the tree has for itself
    processes: int = 0
    depth: int = 0

    def look(self, root: int) -> None:
        """One sample."""
        levels = _levels(root)
        shares = {pid: _shares(pid) for level in levels for pid in level}
        self.total = max(self.total, sum(pss for pss, _ in shares.values()))
        self.first = max(self.first, shares[root][1])
        self.processes = max(self.processes, len(shares))
        if len(levels) > self.depth:  # what stood between was no worker: a shell, a fork server
            self.depth, self.worker = len(levels), 0
        if len(levels) == self.depth > 1:
            self.worker = max([self.worker, *(shares[pid][1] for pid in levels[-1])])


def _levels(root: int) -> list[list[int]]:
    """The processes below `root`, generation by generation, itself first."""
    levels = [[root]]
    while children := [child for pid in levels[-1] for child in _children(pid)]:
        levels.append(children)
    return levels


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            found += map(int, task.read_text().split())
    return found


def _shares(pid: int) -> tuple[int, int]:
    """Its proportional share and its private part; nothing for one that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes.get("Pss", 0), sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)


def _kill(root: int) -> None:
    """It and all below it."""
    for pid in (pid for level in _levels(root) for pid in level):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _watch(root: int, memory: Memory, ended: threading.Event) -> None:
    while not ended.wait(_INTERVAL):
        memory.look(root)


def _reap() -> None:
    """Waits for what the command left behind (a fork server, say): we are its parent now, so its time is counted."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def main() -> None:
    """One run."""
    job = json.load(sys.stdin)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    memory, ended = Memory(), threading.Event()
    with Path(job["output"]).open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            job["argv"], cwd=job["cwd"], env=job["env"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        overdue = threading.Timer(job.get("longest", _LONGEST), _kill, (process.pid,))
        overdue.daemon = True
        overdue.start()
        if job["watch"]:
            watcher = threading.Thread(target=_watch, args=(process.pid, memory, ended))
            watcher.start()
        _, status, own = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    overdue.cancel()
    ended.set()
    _reap()
    json.dump({"code": os.waitstatus_to_exitcode(status), "wall": wall, "own": _seconds(own),
               "cpu": _seconds(resource.getrusage(resource.RUSAGE_CHILDREN)), "memory": memory.total,
               "first": memory.first, "worker": memory.worker, "processes": memory.processes}, sys.stdout)  # fmt: skip


def _seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
