"""Single pieces of a runner, measured by themselves: a worker made, a worker watched, a result written down."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path
from statistics import median

from benchmarks.peers.base import PASSWORD, USER
from benchmarks.scene import Scene
from ehg_migrate.ledger import Ledger, open_ledger
from ehg_migrate.model import Origin, Result, Run, Status, Verb
from tests.support.wire import CountingProxy

_WATCHED = 64  # workers
_LOOKS = 200
_FORKS = 12
_QUESTIONS = 20
_NAMES = tuple(f"app{n}" for n in range(12))


def fork() -> float:
    """Seconds that whoever starts a worker waits for the fork server, of the quicker ones: others may be in turn."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ehg_migrate.rollout.preload"])
    waited = []
    for _ in range(_FORKS):
        process = context.Process(target=_nothing)
        with _not_working() as seconds:
            process.start()
        waited += seconds
        process.join()
    return sorted(waited)[_FORKS // 4]


def watch() -> float:
    """CPU seconds of one look at a worker: at its pipe, and whether it has ended."""
    pipes = [multiprocessing.Pipe() for _ in range(2 * _WATCHED)]
    pipes[0][1].send("something to hear")
    used = time.process_time()
    for _ in range(_LOOKS):
        wait([ours for ours, _ in pipes], timeout=1)
    return (time.process_time() - used) / _LOOKS / _WATCHED


def ledger_file(folder: Path) -> float:
    """Seconds without CPU of a result written into a ledger in a file of this folder's disk."""
    with tempfile.TemporaryDirectory(dir=folder) as place, open_ledger(f"sqlite:///{place}/ledger.sqlite") as ledger:
        return median(_written(ledger, _begun(ledger)))


def ledger_trips(scene: Scene) -> tuple[float, float]:
    """Waits for the wire of a write into a ledger in PostgreSQL, and for each result of it."""
    scene.cluster.create_plain_database("ledger")
    with (
        CountingProxy(scene.cluster.host, scene.cluster.port) as proxy,
        open_ledger(f"postgresql://{USER}@{proxy.host}:{proxy.port}/ledger", password=PASSWORD) as ledger,
    ):
        run = _begun(ledger)
        before = proxy.round_trips
        _written(ledger, run)
        one = (proxy.round_trips - before) / len(_NAMES)
        before = proxy.round_trips
        ledger.record(run, *(Result(name, Status.SUCCEEDED) for name in _NAMES))
        further = (proxy.round_trips - before - one) / (len(_NAMES) - 1)
        return one - further, further


def trip(scene: Scene, delay: float) -> float:
    """Seconds that a round trip takes longer through a proxy with this delay: its timer is not exact."""
    with CountingProxy(scene.cluster.host, scene.cluster.port, delay=delay) as proxy:
        far, near = (_asked(scene, port) for port in (proxy.port, scene.cluster.port))
    return far - near


def _asked(scene: Scene, port: int) -> float:
    address = replace(scene.cluster.superuser_address("postgres"), port=port)
    seconds = []
    with scene.cluster.open(address) as connection:
        for _ in range(_QUESTIONS):
            begun = time.perf_counter()
            connection.execute("SELECT 1")
            seconds.append(time.perf_counter() - begun)
    return median(seconds)


def _begun(ledger: Ledger) -> str:
    origin = Origin("benchmark", "here", os.getpid(), "", "")
    ledger.start(Run("pieces", Verb.UPGRADE, "", origin, datetime.now(UTC), targets=_NAMES))
    return "pieces"


def _written(ledger: Ledger, run: str) -> list[float]:
    waited: list[float] = []
    for name in _NAMES:
        with _not_working() as seconds:
            ledger.record(run, Result(name, Status.SUCCEEDED))
        waited += seconds
    return waited


@contextmanager
def _not_working() -> Iterator[list[float]]:
    """In the list's one place afterwards the seconds that passed without this process being at work."""
    seconds: list[float] = []
    begun, used = time.perf_counter(), time.process_time()
    yield seconds
    seconds.append(time.perf_counter() - begun - (time.process_time() - used))


def _nothing() -> None:
    """What a worker does that is made to see how long making one takes."""
