"""A run in simulated time: one command for each shard, its looks, its workers, its ledger."""

from __future__ import annotations

import random
from collections.abc import Sequence

import simpy

from benchmarks.simulation.cores import Asking, Cores, Doing
from benchmarks.simulation.model import Costs, Outcome, Site, Task, Use
from benchmarks.simulation.phases import CORES, HOST_PARALLEL, HOST_RATE, LEDGER, LOOKS, PARALLEL, THREAD, Phase
from benchmarks.simulation.waiting import Host, Waiting

_PROBE_ATTEMPTS, _PROBE_LONGEST, _PROBE_JITTER = 3, 2.0, 0.3  # `database/asking.py`
_ATTEMPTS, _LONGEST, _JITTER = 5, 10.0, 0.5  # `database/connections.py`
_FIRST_WAIT = 0.2
_EVENTS, _STEP_EVENTS = 2, 2  # that a worker sends: the pool wakes for each, and looks at all workers


def simulate(costs: Costs, site: Site, tasks: Sequence[Task]) -> Outcome:
    """Runs all shards at once. The same arguments give the same outcome."""
    env = simpy.Environment()
    crowd = _Crowd([0] * site.hosts, [0] * site.hosts)
    runners = [_Runner(env, costs, site, tasks[n :: site.shards], crowd, n) for n in range(site.shards)]
    for ended in [env.process(runner.run()) for runner in runners]:
        env.run(ended)
    last = max(runners, key=lambda r: r.work.ended)
    return Outcome(
        seconds=last.work.ended,
        probed=last.looks.ended,
        succeeded=sum(r.succeeded for r in runners),
        failed=sum(r.failed for r in runners),
        connections=max(crowd.most),
        busy=max((last.looks, last.work), key=lambda phase: phase.seconds).busy(),
    )


class _Crowd:
    """How many connections each host has, of all runners together."""

    def __init__(self, now: list[int], most: list[int]) -> None:
        self.now, self.most = now, most

    def add(self, host: int, number: int) -> None:
        self.now[host] += number
        self.most[host] = max(self.most[host], self.now[host])


class _Thread:
    """A process that does one thing at a time."""

    def __init__(self, env: simpy.Environment, cores: Cores) -> None:
        self._turn = simpy.Resource(env, 1)
        self._cores = cores

    def do(self, seconds: float) -> Doing:
        with self._turn.request() as turn:
            yield turn
            yield self._cores.use(seconds)


class _Runner:
    """One command, on a machine of its own."""

    def __init__(
        self, env: simpy.Environment, costs: Costs, site: Site, tasks: Sequence[Task], crowd: _Crowd, number: int
    ) -> None:
        self._env, self._costs, self._site, self._tasks, self._crowd = env, costs, site, tasks, crowd
        self._dice = random.Random(f"{site.seed} {number}")  # noqa: S311 - the same each time
        self._cores = Cores(env, site.cores)
        self._main, self._proxy = _Thread(env, self._cores), _Thread(env, self._cores)
        self._hosts = self._new_hosts()
        self._gate = simpy.Resource(env, site.probes)
        self._ended: list[Task] = []
        self._woken = env.event()
        self._started = env.event()  # the fork server
        self._unwritten, self._came = 0, env.event()  # results, for the thread that writes the ledger
        self.looks = self.work = self._phase = Phase(0.0)
        self.succeeded = self.failed = 0

    def run(self) -> Doing:
        """From the start of the command to its end."""
        yield from self._think(self._costs.start + self._costs.target * len(self._tasks))
        if any(task.steps for task in self._tasks):
            self._started = self._use(self._costs.workers)  # beside the looks
        looks = [self._env.process(self._look(task)) for task in self._tasks]
        yield self._env.all_of(looks)
        busy = [task for task, look in zip(self._tasks, looks, strict=True) if look.value and task.steps]
        self.failed = sum(not look.value for look in looks)
        self.succeeded = len(self._tasks) - self.failed - len(busy)
        self.looks.ended = self._env.now
        self.work = self._phase = Phase(self._env.now)
        if busy:
            yield from self._work(busy)
        self.work.ended = self._env.now

    def _new_hosts(self) -> list[Host]:
        return [Host(self._env, self._site) for _ in range(self._site.hosts)]

    # --- the looks

    def _look(self, task: Task) -> Asking:
        """Whether the target was reached; `hosts.turn` and the gate of `database/asking.py`."""
        host = self._hosts[task.host]
        with host.places.request() as place:
            yield place
            taken = self._env.now
            pause = host.turn()
            if pause:
                yield self._env.timeout(pause)
            with self._gate.request() as gate:
                yield gate
                begun = self._env.now
                reached = yield from self._connected(1, (_PROBE_ATTEMPTS, _PROBE_LONGEST, _PROBE_JITTER))
                if reached:
                    self._crowd.add(task.host, 1)
                    yield from self._think(self._costs.probe.client)
                    yield from self._wait(self._costs.probe, connections=1)
                    self._crowd.add(task.host, -1)
            self._phase.use(LOOKS, self._env.now - begun, self._site.probes)
            self._use_host(host, self._env.now - taken - pause)
        return reached

    def _use_host(self, host: Host, seconds: float) -> None:
        self._phase.use(HOST_PARALLEL, seconds, host.at_once * len(self._hosts))
        self._phase.use(HOST_RATE, host.pause, len(self._hosts))

    # --- the workers

    def _work(self, tasks: Sequence[Task]) -> Doing:
        """`Pool.run`, and `Book` beside it."""
        self._hosts = self._new_hosts()  # the pool knows nothing of the looks
        waiting, running, made, begun = Waiting(tasks, self._hosts), 0, 0, set[int]()
        written = self._env.process(self._write(len(tasks)))
        yield self._started
        while waiting.left or running:
            while running < self._site.parallel and (task := waiting.take()):
                is_new = running == made  # nobody is free
                running, made = running + 1, made + is_new
                is_first = task.host not in begun
                begun.add(task.host)
                self._hosts[task.host].begin()
                yield from self._think(self._costs.hand)
                if is_new:
                    self._phase.use(THREAD, self._costs.fork)  # it waits
                    yield self._use(self._costs.fork)
                self._env.process(self._worker(task, is_first=is_first))
            if not self._ended:
                left = waiting.pause_left(self._env.now) if running < self._site.parallel else None
                yield from self._listen(left)
            for task in self._heard():
                yield from self._settle(task, running)
                running -= 1
        yield written

    def _write(self, results: int) -> Doing:
        """All that has come since the last write, together."""
        while results:
            if not self._unwritten:
                self._came = self._env.event()
                yield self._came
            number, self._unwritten = self._unwritten, 0
            seconds, delay = self._costs.record, self._site.ledger_delay
            if delay is not None:
                seconds = (self._costs.write_trips + self._costs.result_trips * number) * delay
            self._phase.use(LEDGER, seconds)
            yield self._env.timeout(seconds)
            results -= number

    def _listen(self, pause_left: float | None) -> Doing:
        self._woken = self._env.event()
        if pause_left is None:
            yield self._woken
        else:  # it ends by itself
            yield self._woken | self._env.timeout(pause_left)

    def _heard(self) -> list[Task]:
        ended, self._ended = self._ended, []
        for task in ended:
            self._hosts[task.host].busy -= 1
        return ended

    def _settle(self, task: Task, running: int) -> Doing:
        events = _EVENTS + _STEP_EVENTS * task.steps
        yield from self._think(self._costs.hear * task.steps + self._costs.watch * events * running)
        self._unwritten += 1
        if not self._came.triggered:
            self._came.succeed()

    def _worker(self, task: Task, *, is_first: bool) -> Doing:
        begun, connections = self._env.now, 2 if is_first else 1
        enter, step = self._costs.enter, self._costs.step.times(task.factor)
        if is_first:
            enter = enter.plus(Use(trips=self._costs.first_trips))
        reached = yield from self._connected(connections, (_ATTEMPTS, _LONGEST, _JITTER))
        if reached:
            self._crowd.add(task.host, connections)
            yield from self._process(enter, connections)
            for _ in range(task.steps):
                yield from self._process(step)
            yield self._env.timeout(task.extra)
            self._crowd.add(task.host, -connections)
        self.succeeded += reached
        self.failed += not reached
        self._phase.use(PARALLEL, self._env.now - begun, self._site.parallel)
        self._use_host(self._hosts[task.host], self._env.now - begun)
        self._ended.append(task)
        self._wake()

    def _wake(self) -> None:
        if not self._woken.triggered:
            self._woken.succeed()

    # --- what work is made of

    def _connected(self, connections: int, patience: tuple[int, float, float]) -> Asking:
        """Whether a connection could be had; a failed attempt costs a trip, and a wait before the next."""
        attempts, longest, jitter = patience
        for attempt in range(attempts):
            if all(self._dice.random() >= self._site.failures for _ in range(connections)):
                return True
            yield self._env.timeout(self._site.delay * (1 + self._site.handshakes))
            if attempt < attempts - 1:
                yield self._env.timeout(min(longest, _FIRST_WAIT * 2**attempt) + self._dice.uniform(0, jitter))
        return False

    def _process(self, use: Use, connections: int = 0) -> Doing:
        yield self._use(use.client)
        yield from self._wait(use, connections)

    def _wait(self, use: Use, connections: int = 0) -> Doing:
        """For the wire and the server."""
        trips = use.trips + connections * self._site.handshakes
        yield self._env.timeout(trips * self._site.delay + (0.0 if self._site.shared else use.server))
        if self._site.shared:
            yield self._use(use.server)
        if self._site.proxied:
            yield from self._proxy.do(use.proxy)

    def _think(self, seconds: float) -> Doing:
        self._phase.use(THREAD, seconds)
        self._phase.use(CORES, seconds, self._site.cores)
        yield from self._main.do(seconds)

    def _use(self, seconds: float) -> simpy.Event:
        self._phase.use(CORES, seconds, self._site.cores)
        return self._cores.use(seconds)
