"""Real runs of `ehg-migrate` on a server of the benchmark, behind as many hosts as are wanted, and what they used."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cases import Scale, busy_seconds, run_command
from benchmarks.history import OWN, History
from benchmarks.peers.base import BIN, USER, Command, Work
from benchmarks.peers.ours import Ours
from benchmarks.scene import Scene
from benchmarks.simulation.model import Site
from tests.support.wire import CountingProxy

HISTORY = 20
"""Shared revisions; each target has some of its own."""
_YOUNG = 2.1  # seconds; see `revisions.kept`
STEPS = {"nothing": 0, "one": 1, "full": HISTORY + OWN}
"""By case, what is pending on each target."""


class Hosted(Ours):
    """Targets turn by turn on several hosts, each of which bears so much.

    Nothing is rehearsed before or checked afterwards, which is no part of the simulation.
    """

    def __init__(self, tools: Path, places: Sequence[tuple[str, int]], site: Site) -> None:
        super().__init__(tools)
        self._places = places
        self._site = site

    def entry(self, work: Work, name: str) -> str:
        """With what its host bears."""
        host, port = self._places[work.targets.index(name) % len(self._places)]
        fields = {
            "url": f"'postgresql://{USER}@{host}:{port}/{name}'",
            "password": "'env:BENCHMARK_PASSWORD'",
            "sslmode": "disable",
            **({"host_parallel": self._site.host_parallel} if self._site.host_parallel else {}),
            **({"host_rate": self._site.host_rate} if self._site.host_rate else {}),
        }
        return f"  {name}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}\n"


@dataclass(frozen=True, slots=True)
class Measured:
    """One command: seconds of wall, and of CPU of the runner, its workers, the server and the proxies; `others` used
    so many cores meanwhile; `waits` of all connections, those at the same time counted once."""

    wall: float
    runner: float
    workers: float
    server: float
    proxy: float
    others: float
    waits: int = 0


class Stage:
    """A project and its databases; each method is one command on all of them."""

    def __init__(self, scene: Scene, peer: Hosted, work: Work, proxies: Sequence[CountingProxy]) -> None:
        self._scene, self._peer, self._work, self._proxies = scene, peer, work, proxies
        self._later = 0

    def load(self) -> Measured:
        """Reads the project and shows its targets; what is kept of its files is warm from now on."""
        self._let_settle()
        return self._measure(self._work, Command([str(BIN / "ehg-migrate"), "targets"]))

    def case(self, name: str) -> Measured:
        """`full`, `nothing` or `one`, in this order; each `one` brings another revision."""
        work = self._work
        if name == "one":
            self._later += 1
            work = replace(work, history=replace(work.history, later=self._later))
            self._peer.write(work)
            self._let_settle()
            self._measure(work, Command([str(BIN / "ehg-migrate"), "targets"]))
        return self._measure(work, self._peer.command(work))

    def _let_settle(self) -> None:
        """Until no file is so young that nothing is kept of it; where some are, the next command calls those new."""
        files = (self._work.folder / "versions").rglob("*.py")
        newest = max(file.stat().st_ctime for file in files)
        time.sleep(max(0.0, newest + _YOUNG - time.time()))  # an age comes with time alone: no event tells of it

    def _measure(self, work: Work, command: Command) -> Measured:
        for proxy in self._proxies:
            proxy.reset()
        before, busy, mine = self._scene.server_seconds(), busy_seconds(), time.process_time()
        got = run_command(command, work)
        proxied, server = time.process_time() - mine, self._scene.server_seconds() - before
        return Measured(
            wall=got["wall"],
            runner=got["own"],
            workers=round(got["cpu"] - got["own"], 3),  # the kernel rounds each by itself: microseconds say nothing
            server=server,
            proxy=proxied,
            others=max(0.0, busy_seconds() - busy - server - got["cpu"]) / got["wall"],
            waits=max((proxy.waits for proxy in self._proxies), default=0),
        )


@contextmanager
def stage(scene: Scene, folder: Path, site: Site, targets: int) -> Iterator[Stage]:
    """New databases behind `site.hosts` proxies, or all on the server's own address where it is not proxied."""
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as opened:
        cluster, proxies = scene.cluster, []
        if site.proxied:
            proxies = [
                opened.enter_context(CountingProxy(cluster.host, cluster.port, delay=site.delay))
                for _ in range(site.hosts)
            ]
        places = [(p.host, p.port) for p in proxies] or [(cluster.host, cluster.port)]
        peer = Hosted(folder, places, site)
        names = Scale(targets).names
        opened.enter_context(scene.databases(peer, names))
        work = Work(folder, cluster.host, cluster.port, names, History(HISTORY), site.parallel)
        peer.write(work)
        yield Stage(scene, peer, work, proxies)
