"""The simulation on cases whose answer is known exactly: it keeps the runner's rules, and adds nothing of its own."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import simpy

from benchmarks.simulation.cores import Cores
from benchmarks.simulation.model import Costs, Site, Task, Use, fleet
from benchmarks.simulation.phases import CORES, HOST_RATE, LEDGER, PARALLEL, THREAD
from benchmarks.simulation.runner import simulate
from benchmarks.simulation.waiting import Host, Waiting
from ehg_migrate.database.hosts import Hosts
from ehg_migrate.model import Address, Limits, Target
from ehg_migrate.rollout.pool import take_next

STEP = Costs(step=Use(server=1.0))  # a step takes the target's own server a second, everything else nothing
LOOK = Costs(probe=Use(server=1.0))
WIDE = Site(parallel=100, probes=100, cores=100)


def _equal(number: int, steps: int = 1, hosts: int = 1) -> list[Task]:
    return [Task(n % hosts, steps) for n in range(number)]


CASES = {
    "as many rounds as targets over `--parallel`": (STEP, replace(WIDE, parallel=4), _equal(10), 3.0),
    "steps one after the other": (STEP, WIDE, _equal(10, steps=3), 3.0),
    "nothing to do costs no worker": (STEP, WIDE, _equal(10, steps=0), 0.0),
    "looks: as many at once as `parallel` in alembic.ini allows": (LOOK, replace(WIDE, probes=4), _equal(10, 0), 3.0),
    "a round trip for each wait": (Costs(probe=Use(trips=4)), replace(WIDE, delay=0.5), _equal(3, 0), 2.0),
    "handshakes of a look": (Costs(probe=Use(trips=4)), replace(WIDE, delay=0.5, handshakes=2), _equal(3, 0), 3.0),
    "handshakes of a worker's two connections": (
        replace(STEP, enter=Use(trips=6)), replace(WIDE, delay=0.5, handshakes=2), _equal(3), 3.0 + 2.0 + 1.0 + 1.0),
    "one connection and fewer trips after a host's first target": (
        Costs(enter=Use(trips=4), step=Use(trips=1), first_trips=6),
        replace(WIDE, parallel=1, delay=0.5, handshakes=2), _equal(2, 3), 0.5 * (2 + (10 + 4 + 3) + (4 + 2 + 3))),
    "a look is also taken where there is work": (replace(STEP, probe=Use(server=2.0)), WIDE, _equal(3), 3.0),
    "the fork server starts beside the looks": (
        replace(STEP, start=1.0, workers=5.0, probe=Use(server=3.0)), WIDE, _equal(3), 1.0 + 5.0 + 1.0),
    "looks that take longer than its start": (
        replace(STEP, workers=2.0, probe=Use(server=3.0)), WIDE, _equal(3), 3.0 + 1.0),
    "places of a host": (STEP, replace(WIDE, host_parallel=2), _equal(6), 3.0),
    "places of two hosts": (STEP, replace(WIDE, host_parallel=2, hosts=2), _equal(8, hosts=2), 2.0),
    "a full host does not hold up another": (
        STEP, replace(WIDE, parallel=2, host_parallel=1, hosts=2), [Task(0, 1), Task(0, 1), Task(1, 2)], 2.0),
    "rate of a host: the tenth look is nine pauses late": (LOOK, replace(WIDE, host_rate=2), _equal(10, 0), 5.5),
    "rate of two hosts": (LOOK, replace(WIDE, host_rate=2, hosts=2), _equal(10, 0, hosts=2), 3.0),
    "cores: two for four workers": (Costs(step=Use(client=1.0)), replace(WIDE, cores=2), _equal(4), 2.0),
    "a worker is never faster than one core": (Costs(step=Use(client=1.0)), WIDE, _equal(1), 1.0),
    "servers on the runner's cores": (STEP, replace(WIDE, cores=2, shared=True), _equal(4), 2.0),
    "the command does one thing at a time": (Costs(probe=Use(client=1.0)), WIDE, _equal(4, 0), 4.0),
    "the proxy too": (Costs(probe=Use(proxy=1.0)), replace(WIDE, proxied=True), _equal(4, 0), 4.0),
    "start, and every target of the fleet": (Costs(start=1.0, target=0.5), WIDE, _equal(4, 0), 3.0),
    "workers are handed their work in turn": (replace(STEP, hand=1.0, fork=1.0), WIDE, _equal(3), 7.0),
    "workers are made once": (replace(STEP, fork=1.0), replace(WIDE, parallel=1), _equal(3), 4.0),
    "results are written together, and workers do not wait": (
        replace(STEP, record=5.0), replace(WIDE, parallel=1), _equal(4), 1.0 + 5.0 + 5.0),
    "a far ledger": (
        replace(STEP, record=9.0, write_trips=3, result_trips=2), replace(WIDE, ledger_delay=0.1), _equal(4),
        1.0 + (0.3 + 0.2) + (0.3 + 3 * 0.2)),
    "each shard has a machine": (STEP, replace(WIDE, parallel=1, shards=2), _equal(10), 5.0),
    "what takes longest begins first": (
        STEP, replace(WIDE, parallel=2), [Task(0, 1, took=1)] * 4 + [Task(0, 4, took=4)], 4.0),
    "what is not known does not wait for what is short": (
        STEP, replace(WIDE, parallel=2), [Task(0, 1, took=1)] * 4 + [Task(0, 4)], 4.0),
    "where nothing is known the last may be the longest": (
        STEP, replace(WIDE, parallel=2), [Task(0, 1)] * 4 + [Task(0, 4)], 6.0),
    "a slow server": (STEP, WIDE, [Task(0, 1), Task(0, 1, extra=7.0)], 8.0),
}  # fmt: skip


@pytest.mark.parametrize(("costs", "site", "tasks", "seconds"), CASES.values(), ids=CASES)
def test_exact(costs: Costs, site: Site, tasks: list[Task], seconds: float) -> None:
    """The seconds that one can work out by hand."""
    outcome = simulate(costs, site, tasks)
    assert outcome.seconds == pytest.approx(seconds)
    assert (outcome.succeeded, outcome.failed) == (len(tasks), 0)


def test_a_pause_ends_by_itself() -> None:
    """Ten a second may begin there, and nothing happens meanwhile."""
    outcome = simulate(STEP, replace(WIDE, host_rate=10), _equal(3))
    assert outcome.probed == pytest.approx(0.2)  # the third look has waited for two pauses
    assert outcome.seconds == pytest.approx(0.2 + 2 * 0.1 + 1.0)


@pytest.mark.parametrize(
    ("costs", "site", "steps", "limit"),
    [
        (replace(STEP, hand=1.0), WIDE, 1, THREAD),
        (replace(STEP, record=2.0), replace(WIDE, parallel=1), 1, LEDGER),
        (STEP, replace(WIDE, parallel=2), 1, PARALLEL),
        (Costs(step=Use(client=1.0)), replace(WIDE, cores=2), 1, CORES),
        (LOOK, replace(WIDE, host_rate=0.5), 0, HOST_RATE),
    ],
)
def test_the_limit_is_named(costs: Costs, site: Site, steps: int, limit: str) -> None:
    """What was busy all the time is what holds the run up."""
    assert simulate(costs, site, _equal(20, steps)).limit == limit


def test_every_attempt_fails() -> None:
    """Three attempts to look, two waits between them, and no worker: 0.2 and 0.4 s, and up to 0.3 more each."""
    outcome = simulate(replace(STEP, probe=Use(server=1.0)), replace(WIDE, failures=1.0, delay=0.1), _equal(50))
    assert (outcome.succeeded, outcome.failed) == (0, 50)
    assert 3 * 0.1 + 0.6 <= outcome.seconds <= 3 * 0.1 + 0.6 + 2 * 0.3


def test_failures_are_tried_again_and_the_same_each_time() -> None:
    """With one in ten attempts failing hardly a target is lost; the seed decides which."""
    site = replace(WIDE, failures=0.1, seed=5)
    outcome = simulate(STEP, site, _equal(500))
    assert outcome.failed <= 5
    assert outcome == simulate(STEP, site, _equal(500))
    assert outcome.seconds != simulate(STEP, replace(site, seed=6), _equal(500)).seconds


def test_connections_of_a_host() -> None:
    """A look is one, a worker too, but for the first, of all shards together."""
    site = replace(WIDE, host_parallel=3, shards=2)
    assert simulate(LOOK, site, _equal(20, 0)).connections == 6
    assert simulate(STEP, site, _equal(20)).connections == 2 * (2 + 1 + 1)


def test_a_fleet_is_spread_evenly_and_the_same_each_time() -> None:
    """As many on each host, slow ones are as many as was said and known to the ledger; the seed decides which."""
    site = Site(hosts=4, seed=1)
    tasks = fleet(100, 2, site, spread=(0.5, 1.5), slow=0.05, slow_seconds=60)
    assert [sum(t.host == host for t in tasks) for host in range(4)] == [25] * 4
    assert {t.factor for t in tasks} == {0.5, 1.5}
    assert sorted(t.took for t in tasks)[-5:] == pytest.approx([t.factor + 60 for t in sorted(
        (t for t in tasks if t.extra), key=lambda t: t.factor)])  # fmt: skip
    assert tasks == fleet(100, 2, site, spread=(0.5, 1.5), slow=0.05, slow_seconds=60)


def test_cores_are_shared_equally() -> None:
    """One that comes later slows the others down, and has as much as they from then on."""
    env = simpy.Environment()
    cores, ended = Cores(env, 1), {}

    def user(name: str, begins: float, seconds: float):
        yield env.timeout(begins)
        yield cores.use(seconds)
        ended[name] = env.now

    for user_ in (("long", 0.0, 3.0), ("late", 1.0, 1.0)):
        env.process(user(*user_))
    env.run()
    assert ended == pytest.approx({"late": 3.0, "long": 4.0})


def test_the_same_order_as_the_pool() -> None:
    """Random fleets, hosts with few places, and ends in any order: each next target is the one that the pool takes."""
    for seed in range(200):
        dice = random.Random(seed)
        site = Site(hosts=dice.randint(1, 4), host_parallel=dice.randint(1, 3))
        tasks = [Task(dice.randrange(site.hosts), 1, took=dice.choice((1.0, 2.0, math.inf))) for _ in range(30)]
        hosts = [Host(simpy.Environment(), site) for _ in range(site.hosts)]
        waiting, running = Waiting(tasks, hosts), []
        ordered = sorted(tasks, key=lambda t: -t.took)
        jobs = [SimpleNamespace(target=_target(n, t.host, site), task=t) for n, t in enumerate(ordered)]
        real = Hosts(job.target for job in jobs)
        while jobs or running:
            job, task = take_next(jobs, real), waiting.take()
            assert (job and job.task) is task
            if job and task:
                real.begin(job.target)
                hosts[task.host].begin()
                running.append(job)
            if running and (job is None or dice.random() < 0.5):
                done = running.pop(dice.randrange(len(running)))
                real.end(done.target)
                hosts[done.task.host].busy -= 1


def _target(number: int, host: int, site: Site) -> Target:
    address, limits = (
        Address(f"host{host}", 5432, "u", f"d{number}", "disable"),
        Limits(host_parallel=site.host_parallel),
    )
    return Target(f"t{number}", address, ("shared",), limits=limits)
