"""What a simulated run is told: what work takes, where it is done, and on which targets. Pure values."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Use:
    """What a piece of work takes: CPU seconds of who does it, of the server and of a proxy, and waits for the wire."""

    client: float = 0.0
    server: float = 0.0
    trips: float = 0.0  # one after the other
    proxy: float = 0.0

    def times(self, factor: float) -> Use:
        """So much of it."""
        return Use(self.client * factor, self.server * factor, self.trips * factor, self.proxy * factor)

    def plus(self, other: Use) -> Use:
        """One after the other."""
        return Use(
            self.client + other.client,
            self.server + other.server,
            self.trips + other.trips,
            self.proxy + other.proxy,
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """The recorded times of a runner, seconds of CPU where nothing else is said."""

    start: float = 0.0  # of the command, whatever there is to do
    target: float = 0.0  # of the command for each target of the fleet: its entry, its plan, its line
    probe: Use = Use()
    workers: float = 0.0  # until there is a fork server; beside the looks
    fork: float = 0.0  # of the fork server for each worker; the runner waits for it
    hand: float = 0.0  # of the runner for each target with steps
    hear: float = 0.0  # of the runner for each step
    watch: float = 0.0  # of the runner for each event, times the workers that it has
    enter: Use = Use()  # of a worker for each target, beside its steps: the connection, the look at what is there
    step: Use = Use()
    first_trips: float = 0.0  # more for a host's first target: the proof, on two connections
    record: float = 0.0  # seconds of a write into the ledger's file, however many results
    write_trips: float = 0.0  # waits of a write into a ledger in PostgreSQL
    result_trips: float = 0.0  # more for each result of it
    spread: tuple[float, ...] = (1.0,)  # how many times the mean each recorded target took


@dataclass(frozen=True, slots=True)
class Site:
    """How and where a run is done. Rates are of a second, delays seconds of a round trip."""

    parallel: int = 8  # `--parallel`
    probes: int = 16  # connections of the looks at once: twice `parallel` of alembic.ini
    cores: float = 2.0  # of each runner's machine
    shared: bool = False  # the servers run on the runner's cores too; else each target's is its own
    proxied: bool = False  # through one process of the benchmark, which is on those cores as well
    delay: float = 0.0
    hosts: int = 1
    host_parallel: int = 0  # 0: no limit
    host_rate: float = 0.0
    shards: int = 1  # runners, each on a machine of its own
    failures: float = 0.0  # the share of attempts to connect that fail
    ledger_delay: float | None = None  # of a ledger in PostgreSQL; None for a file
    handshakes: float = 0.0  # trips more for each connection: TCP's own, and TLS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A target: its host, its pending steps, how many times the mean its steps take, and what the ledger knows."""

    host: int
    steps: int = 0
    factor: float = 1.0
    extra: float = 0.0  # seconds that the server takes longer
    took: float = math.inf  # seconds the last time; infinity where nothing is known


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a simulated run: seconds until a phase was over, and how busy what may limit it was (0 to 1)."""

    seconds: float
    probed: float
    succeeded: int
    failed: int
    connections: int  # the most at once on one host, of all runners
    busy: dict[str, float] = field(default_factory=dict)

    @property
    def limit(self) -> str:
        """What was busiest in the longer phase, so what more of would help."""
        return max(self.busy, key=lambda name: self.busy[name], default="")


def fleet(
    targets: int, steps: int, site: Site, spread: Sequence[float] = (1.0,), slow: float = 0.0, slow_seconds: float = 0.0
) -> list[Task]:
    """Targets evenly over the hosts, in no order; a share of them is slow, which the ledger knows."""
    dice = random.Random(site.seed)  # noqa: S311 - a simulation that must be the same each time
    hosts = [n % site.hosts for n in range(targets)]
    dice.shuffle(hosts)
    tasks = [Task(host, steps, dice.choice(spread)) for host in hosts]
    late = set(dice.sample(range(targets), round(slow * targets)))
    return [
        replace(t, extra=slow_seconds if n in late else 0.0, took=t.factor + (slow_seconds if n in late else 0.0))
        for n, t in enumerate(tasks)
    ]
