"""Hosts that let nobody in or say nothing: their targets hold up neither each other nor those of other hosts."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ehg_migrate.database import hosts
from ehg_migrate.database.asking import Connection, _in_time, ask_all
from ehg_migrate.database.hosts import Places
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Address, Limits, Target
from tests.support.postgres import Cluster


@contextmanager
def _dead_host(*, speaks: bool) -> Iterator[tuple[int, list[socket.socket]]]:
    """Its port, and the connections that it has taken: it closes each at once, or says nothing on any."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return
                if speaks:
                    taken[-1].close()

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield server.getsockname()[1], taken
        finally:
            server.shutdown(socket.SHUT_RDWR)  # else `accept` waits for ever
            thread.join()
            for connection in taken:
                connection.close()


def _dead(count: int, port: int) -> list[Target]:
    """With time for one attempt each that nobody answers."""
    address, limits = Address("127.0.0.1", port, "u", "d", "disable"), Limits(connect=2, answer=1)
    return [Target(f"dead{n}", address, ("shared",), limits=limits) for n in range(count)]


def _attempts_before(pg: Cluster, database: Address, dead: list[Target], taken: list[socket.socket], most: int) -> int:
    """How many connections a dead host has been asked for when a living target, the last of all, is asked."""
    before: list[int] = []

    async def ask(connection: Connection, target: Target) -> object:
        before.append(len(taken))
        return "alive"

    living = Target("living", database, ("shared",))
    answers = ask_all([*dead, living], {"living": pg.password}, most, ask)
    assert answers["living"] == "alive"
    assert all(isinstance(answers[t.name], Problem) for t in dead)
    return before[0]


def test_who_waits_for_another_attempt_has_no_place(pg: Cluster, database: Address) -> None:
    """With one place for two targets the other one is asked before the first is tried again; then it is."""
    with _dead_host(speaks=True) as (port, taken):
        assert _attempts_before(pg, database, _dead(1, port), taken, 1) == 1
        assert len(taken) == 3


def test_a_silent_host_does_not_take_all_places(pg: Cluster, database: Address) -> None:
    """Two places, four targets of a host that says nothing: they get one of the places when that is known."""
    with _dead_host(speaks=False) as (port, taken):
        assert _attempts_before(pg, database, _dead(4, port), taken, 2) < 4
        assert len(taken) == 4


def test_a_host_that_says_nothing_to_anybody_is_waited_for_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """After those who have waited their whole time, and the message says so."""
    monkeypatch.setattr(hosts, "_BRIEF", 0.2)

    async def ask(connection: Connection, target: Target) -> object:
        raise AssertionError(target)

    with _dead_host(speaks=False) as (port, taken):
        dead = _dead(40, port)
        answers = ask_all(dead, {}, 8, ask)
        said = Counter(p.message.partition(";")[0] for p in answers.values() if isinstance(p, Problem))
        long, brief = "connection timeout expired", "no answer within 0.2 s"
        assert said.keys() == {long, brief}
        assert said[long] + said[brief] == len(dead) == len(taken)
        assert 8 <= said[long] <= 8 + 8
        hint = "said nothing to any"
        assert any(hint in p.message for p in answers.values() if isinstance(p, Problem))


def test_how_long_a_host_is_waited_for() -> None:
    """As long as its targets say, until it has said nothing to many; then again when it has said something."""
    places, silent, other = Places(2), _dead(1, 1)[0], _dead(1, 2)[0]
    for _ in range(8):
        assert places.patience(silent, 30) == 30
        places.heard(silent, silent=True)
    assert places.patience(silent, 30) == 2
    assert places.patience(silent, 1) == 1
    assert places.patience(silent, math.inf) == math.inf
    assert places.patience(other, 30) == 30
    places.heard(silent, silent=False)
    assert places.patience(silent, 30) == 30


def test_a_host_that_says_nothing_to_anybody_is_not_tried_for_each_again() -> None:
    """Until it says something; another host has nothing to do with it."""
    places, silent, other = Places(2), _dead(1, 1)[0], _dead(1, 2)[0]
    for _ in range(8):
        assert places.worth_another(silent)
        places.heard(silent, silent=True)
    assert (places.worth_another(silent), places.worth_another(other)) == (False, True)
    places.heard(silent, silent=False)
    assert places.worth_another(silent)


def test_a_silent_host_leaves_a_place_to_the_others() -> None:
    """However many of its targets are waited for: three of four places."""
    silent, other = _dead(1, 1)[0], _dead(1, 2)[0]

    async def dead(places: Places, over: asyncio.Event, inside: list[Target]) -> None:
        async with places.taken(silent):
            inside.append(silent)
            await over.wait()

    async def all_of_them() -> int:
        places, over, inside = Places(4), asyncio.Event(), list[Target]()
        places.heard(silent, silent=True)
        waiting = [asyncio.create_task(dead(places, over, inside)) for _ in range(8)]
        while len(inside) < 3:
            await asyncio.sleep(0)
        async with asyncio.timeout(10), places.taken(other):
            found = len(inside)
        over.set()
        await asyncio.gather(*waiting)
        return found

    assert asyncio.run(all_of_them()) == 3


def test_a_host_that_has_said_nothing_is_not_asked_again_by_each_of_its_targets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They have time for more attempts, and one of them has found out."""
    monkeypatch.setattr(hosts, "_SILENT", 1)

    async def ask(connection: Connection, target: Target) -> object:
        raise AssertionError(target)

    with _dead_host(speaks=False) as (port, taken):
        dead = [replace(t, limits=Limits(connect=2, answer=60)) for t in _dead(3, port)]
        answers = ask_all(dead, {}, 3, ask)
        assert {p.code for p in answers.values() if isinstance(p, Problem)} == {"connect_timeout"}
        assert len(taken) == 3


def test_all_attempts_have_one_limit_together() -> None:
    """What is left of it is the next one's, which may be nothing: then no connection is waited for."""

    async def ask(connection: Connection, target: Target) -> object:
        raise AssertionError(target)

    with _dead_host(speaks=False) as (port, _):
        (target,) = _dead(1, port)
        with pytest.raises(TargetError) as raised:
            asyncio.run(_in_time(target, None, Places(2), ask, spent=target.limits.look))
    assert raised.value.problem.code == "no_answer"


def test_no_limit_is_no_limit(pg: Cluster, database: Address) -> None:
    """0 is not at once."""

    async def ask(connection: Connection, target: Target) -> object:
        return "alive"

    target = Target("living", database, ("shared",), limits=Limits(answer=0))
    assert ask_all([target], {"living": pg.password}, 1, ask) == {"living": "alive"}


@pytest.mark.parametrize("fails", [False, True])
def test_a_look_leaves_no_connection(pg: Cluster, database: Address, fails: bool) -> None:
    """Whatever came of it; poolers have few places."""
    used: list[Connection] = []

    async def ask(connection: Connection, target: Target) -> object:
        used.append(connection)
        return 1 // (not fails)

    ask_all([Target("living", database, ("shared",))], {"living": pg.password}, 1, ask)
    assert [connection.closed for connection in used] == [True]
