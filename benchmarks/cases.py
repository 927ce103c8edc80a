"""One peer at one scale: new databases, the three cases one after the other, and the look at what came of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.history import History
from benchmarks.peers.base import PASSWORD, Command, Peer, Work
from benchmarks.scene import Scene
from tests.support.wire import CountingProxy

CASES = ("full", "nothing", "one")
"""Full history from empty, nothing to do, one new revision on all."""
_NOTHINGS = 3  # this case is short, and its goal the narrowest: measured so often where another is measured once
_MANY = 200  # targets; of more it is long enough to be measured once
_LONGEST = 1800.0  # seconds of a command, before it is held to hang
_MEASURE = Path(__file__).with_name("measure.py")
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
_KEPT = 2000  # characters of a failing command's output


class Failed(Exception):
    """A command of a peer ended badly, or left another schema than the others; the text says which and how."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much: targets, shared revisions, seconds of each round trip, targets at a time."""

    targets: int = 50
    history: int = 20
    delay: float = 0.0
    parallel: int = 8

    @property
    def names(self) -> tuple[str, ...]:
        """Of the targets."""
        return tuple(f"app{n:04d}" for n in range(self.targets))


@dataclass(frozen=True, slots=True)
class Sample:
    """One command measured. Memory (bytes), connections and round trips are 0 where nobody looked at them.

    Seconds of wall and of CPU: of the whole command, of its first process alone, of the server. `others` is how many
    cores everybody else on the machine used meanwhile.
    """

    wall: float
    cpu: float
    own: float
    server: float
    others: float = 0.0
    memory: int = 0
    first: int = 0
    worker: int = 0
    processes: int = 0
    connections: int = 0
    round_trips: float = 0.0  # for each target


Samples = dict[str, list[Sample]]
"""By case."""


@dataclass
class Bench:
    """Runs peers on a scene. `reference` is what the targets of a scale must hold in the end, by whoever was first."""

    scene: Scene
    folder: Path
    reference: dict[Scale, dict[str, str]] = field(default_factory=dict)

    def run(self, peer: Peer, scale: Scale, *, watch: bool = False) -> Samples:
        """All cases, once. Watched, through a proxy and a memory watcher: then times say nothing. Raises Failed."""
        with self.scene.databases(peer, scale.names), self._wire(scale, watch=watch) as (host, port, proxy):
            folder = self.folder / _folder(peer, scale)
            shutil.rmtree(folder, ignore_errors=True)  # the round before has left a revision more, and its caches
            work = Work(folder, host, port, scale.names, History(scale.history), scale.parallel)
            peer.write(work)
            peer.set_up(work)
            samples = {"full": [self._measure(peer, work, proxy, watch=watch)]}
            times = 1 if watch or peer.slow or scale.targets > _MANY else _NOTHINGS
            samples["nothing"] = [self._measure(peer, work, proxy, watch=watch) for _ in range(times)]
            later = replace(work, history=History(scale.history, later=1))
            peer.write(later)
            samples["one"] = [self._measure(peer, later, proxy, watch=watch)]
            self._compare(peer, scale)
        return samples

    @contextmanager
    def _wire(self, scale: Scale, *, watch: bool) -> Iterator[tuple[str, int, CountingProxy | None]]:
        cluster = self.scene.cluster
        if not (watch or scale.delay):
            yield cluster.host, cluster.port, None
            return
        with CountingProxy(cluster.host, cluster.port, delay=scale.delay) as proxy:
            yield proxy.host, proxy.port, proxy

    def _measure(self, peer: Peer, work: Work, proxy: CountingProxy | None, *, watch: bool) -> Sample:
        if proxy:
            proxy.reset()
        before, busy = self.scene.server_seconds(), busy_seconds()
        with self.scene.watched() if watch else _unwatched() as connections:
            got = run_command(peer.command(work), work, watch=watch)
        server = self.scene.server_seconds() - before
        return Sample(
            **got,
            server=server,
            others=max(0.0, busy_seconds() - busy - server - got["cpu"]) / got["wall"],
            connections=connections[0],
            round_trips=proxy.round_trips / len(work.targets) if proxy else 0.0,
        )

    def _compare(self, peer: Peer, scale: Scale) -> None:
        key = replace(scale, delay=0.0)
        found = self.scene.catalogues(peer, scale.names)
        wrong = [name for name, text in self.reference.setdefault(key, found).items() if found[name] != text]
        if wrong:
            raise Failed(f"left another schema than the first peer on {len(wrong)} targets, such as `{wrong[0]}`")


def busy_seconds() -> float:
    """CPU seconds that all cores of the machine have spent, without those of this process."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle) - time.process_time()


def run_command(command: Command, work: Work, *, watch: bool = False) -> dict[str, Any]:
    """What `measure.py` says of it, but for its exit code: Raises Failed for another one than 0."""
    output = work.folder / "output"
    # only what a user's shell has: PYTHONDONTWRITEBYTECODE, say, would make every Python tool compile each time
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    env = {**inherited, "PGPASSWORD": PASSWORD, "BENCHMARK_PASSWORD": PASSWORD, **command.env}
    job = {"argv": [*command.argv], "cwd": str(work.folder), "env": env, "output": str(output),
           "watch": watch, "longest": _LONGEST}  # fmt: skip
    argv: Sequence[str] = [sys.executable, "-I", "-S", str(_MEASURE)]
    done = subprocess.run(argv, input=json.dumps(job), capture_output=True, text=True, check=True)
    got: dict[str, Any] = json.loads(done.stdout)
    if code := got.pop("code"):
        raise Failed(f"ended with {code}: {output.read_text(errors='replace')[-_KEPT:].strip()}")
    return got


@contextmanager
def _unwatched() -> Iterator[list[int]]:
    yield [0]


def _folder(peer: Peer, scale: Scale) -> str:
    return f"{type(peer).__name__.lower()}-{scale.targets}-{scale.history}"
