"""What one host bears: no more of its targets at a time than an entry says, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.database.asking import Connection, ask_all
from ehg_migrate.database.hosts import Hosts
from ehg_migrate.model import Address, Limits, Target
from ehg_migrate.rollout.jobs import EventKind
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, make_fleet, step
from tests.support.wire import CountingProxy


def _target(name: str, host: str, at_once: int = 0, rate: float = 0.0) -> Target:
    limits = Limits(host_parallel=at_once, host_rate=rate)
    return Target(name, Address(host, 5432, "u", name, "disable"), ("shared",), limits=limits)


def test_the_least_of_a_host_counts() -> None:
    """Its targets may say different things; another host has nothing to do with it."""
    a, b, c = _target("a", "one", 2), _target("b", "one", 1), _target("c", "two")
    hosts = Hosts([a, b, c])
    hosts.begin(a)
    assert [hosts.may_begin(t) for t in (b, c)] == [False, True]
    hosts.end(a)
    assert hosts.may_begin(b)


def test_a_rate() -> None:
    """After one has begun, the next must wait, although there is a place for it; the least of the rates counts."""
    a, b, c = _target("a", "one", rate=0.001), _target("b", "one"), _target("c", "one", rate=1e9)
    hosts = Hosts([a, b, c])
    assert hosts.may_begin(b)
    hosts.begin(a)
    hosts.end(a)
    assert not hosts.may_begin(b)


def test_a_rate_counts_who_begins_out_of_turn() -> None:
    """A look at what a dead worker has left is a login like any other: whoever is next waits for both pauses."""
    a, b = _target("a", "one", rate=0.001), _target("b", "one")
    hosts = Hosts([a, b])
    hosts.begin(a)
    hosts.end(a)
    hosts.begin(a)
    assert 1900 < hosts.pause_left(5000) <= 2000


def test_some_go_ahead() -> None:
    """Until one of them has ended, of each host for itself; then as many as may."""
    a, b, c, d = (_target(name, "one") for name in "abcd")
    other = _target("other", "two")
    hosts = Hosts([a, b, c, d, other], ahead=2, lead=1000)
    for target in (a, b):
        assert hosts.may_begin(target)
        hosts.begin(target)
    assert [hosts.may_begin(t) for t in (c, other)] == [False, True]
    assert 900 < hosts.pause_left(5000) <= 1000
    hosts.end(a)
    for target in (c, d):
        assert hosts.may_begin(target)
        hosts.begin(target)
    assert hosts.pause_left(5000) == 5000


def test_what_those_ahead_were_to_find_out() -> None:
    """Where it is known, nobody waits until one of them has ended."""
    a, b = _target("a", "one"), _target("b", "one")
    hosts = Hosts([a, b], ahead=1, lead=1000)
    hosts.begin(a)
    assert not hosts.may_begin(b)
    hosts.led(a)
    assert hosts.may_begin(b)


def test_nobody_waits_longer_for_those_ahead() -> None:
    """Whoever is ahead may have long work to do."""
    a, b = _target("a", "one"), _target("b", "one")
    hosts = Hosts([a, b], ahead=1, lead=0.01)
    hosts.begin(a)
    wait_until(lambda: hosts.may_begin(b), "the lead is over")
    assert hosts.pause_left(5000) == 5000


def test_a_rate_holds_for_those_ahead_too() -> None:
    """Whatever is later."""
    a, b = _target("a", "one", rate=0.001), _target("b", "one")
    hosts = Hosts([a, b], ahead=1, lead=0.01)
    hosts.begin(a)
    assert 900 < hosts.pause_left(5000) <= 1000
    hosts.end(a)
    assert not hosts.may_begin(b)


def test_how_long_a_pause_is_left() -> None:
    """Where a host has a place; what is full, or has no rate, is no matter of time."""
    a, b, c = _target("a", "one", 1, rate=0.002), _target("b", "two", rate=0.001), _target("c", "three")
    hosts = Hosts([a, b, c])
    assert hosts.pause_left(5000) == 5000
    for target in (a, b, c):
        hosts.begin(target)
    assert 500 < hosts.pause_left(5000) <= 1000
    hosts.end(a)
    assert 0 < hosts.pause_left(5000) <= 500
    assert hosts.pause_left(0.01) == 0.01


def test_turns_of_a_rate() -> None:
    """Of coroutines, none begins before its moment: the nth is n pauses behind the first at least."""
    targets = [_target(str(n), "one", rate=50) for n in range(5)]

    async def moments() -> list[float]:
        hosts, start = Hosts(targets), time.monotonic()

        async def one(target: Target) -> float:
            async with hosts.turn(target):
                return time.monotonic() - start

        return sorted(await asyncio.gather(*map(one, targets)))

    began = asyncio.run(moments())
    assert [n for n, moment in enumerate(began) if moment < n / 50] == []


def test_what_follows_a_look_keeps_to_the_host_too(pg: Cluster, database: Address) -> None:
    """It is one more connection, and one more login."""
    targets = [Target(name, database, ("shared",), limits=Limits(host_parallel=1)) for name in "abc"]
    busy, most, followed = 0, 0, 0

    @asynccontextmanager
    async def at_work() -> AsyncIterator[None]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        yield
        busy -= 1

    async def ask(connection: Connection, target: Target) -> object:
        async with at_work():
            await connection.execute("SELECT pg_sleep(0.05)")
        return None

    async def follow() -> None:
        nonlocal followed
        async with at_work():
            await asyncio.sleep(0.05)  # the work
        followed += 1

    ask_all(targets, dict.fromkeys("abc", pg.password), 4, ask, lambda target, answer: follow())
    assert (most, followed) == (1, 3)


@pytest.fixture
def fleet(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    """Four targets, three of them behind one proxy, of which one says that it bears one at a time."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    return make_fleet(
        pg,
        tmp_path / "project",
        {f"t{n}": make_database(f"t{n}") for n in range(4)},
        {"shared/s1": step("s1", label="shared")},
    )


def test_a_full_host_holds_up_nobody(fleet: Fleet, tmp_path: Path, pg: Cluster) -> None:
    """Looking and working both keep to it, and a target of another host goes on while they wait."""
    gate = Gate(tmp_path / "gate")
    fleet.write("shared/s2", step("s2", "s1", gate.code))
    with CountingProxy(pg.host, pg.port) as proxy:
        behind = {n: replace(a, host=proxy.host, port=proxy.port) for n, a in fleet.addresses.items() if n != "t3"}
        entries = {"t1": {"host_parallel": 1}}
        addresses = {**fleet.addresses, **behind}
        fleet = make_fleet(pg, tmp_path / "other", addresses, _revisions(gate), entries)
        run = fleet.background(lambda: fleet.upgrade(parallel=4))
        _ = gate.pid
        _wait_for_two(fleet)
        assert len({e.target for e in fleet.events if e.kind is EventKind.STARTED} - {"t3"}) == 1
        gate.open()
        assert all(r.status.good for r in run.result(60).results)
    told = (e.kind for e in fleet.events if e.target != "t3" and e.kind in (EventKind.STARTED, EventKind.FINISHED))
    assert list(told) == [EventKind.STARTED, EventKind.FINISHED] * 3


def _revisions(gate: Gate) -> dict[str, str]:
    return {"shared/s1": step("s1", label="shared"), "shared/s2": step("s2", "s1", gate.code)}


def _wait_for_two(fleet: Fleet) -> None:
    """Until the target of the other host stands at the gate too."""
    wait_until(lambda: fleet.heads("t3") == ["s1"], "t3 did not come to its second step")


def test_the_longest_known_begins_first(fleet: Fleet) -> None:
    """By what the ledger has of the last time; a target that it does not know comes before all."""
    slow = "import time\nname = op.get_bind().exec_driver_sql('SELECT current_database()').scalar()\n"
    fleet.write("shared/s1", step("s1", code=f"{slow}if name.startswith('t2'): time.sleep(2)", label="shared"))
    fleet.upgrade("t1", "t2", "t3")
    fleet.write("shared/s2", step("s2", "s1"))
    fleet.upgrade(parallel=1)
    assert [e.target for e in fleet.events if e.kind is EventKind.STARTED][:2] == ["t0", "t2"]
