"""What is found out while targets still answer: that work is needed, and that an endpoint is in session mode."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from psycopg import sql

from ehg_migrate.database import proof
from ehg_migrate.database.hosts import Places
from ehg_migrate.database.proof import is_in_session_mode
from ehg_migrate.model import Address, Limits, Run, RunStatus, Target
from ehg_migrate.rollout import pool
from ehg_migrate.rollout.jobs import EventKind
from tests.support.hostile import HostileServer, probed, rows
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.running import Fleet, code_of, make_fleet, step
from tests.support.wire import CountingProxy

MakeDatabase = Callable[[str], Address]

_DELAY = 0.1  # seconds: what is sent at once waits once, also where others keep all cores busy
_LOOK, _PROOF = 4, 6  # waits: of the proof are three of the login, and one each for LISTEN, NOTIFY and UNLISTEN
_WORK = 5  # three of the login, what the target holds, the step
HISTORY = {"shared/a": step("a", None, label="shared")}


@dataclass
class Line:
    """Targets behind one proxy, of which all hold the first revision and none the second."""

    fleet: Fleet
    proxy: CountingProxy

    def upgrade(self, parallel: int = 1) -> Run:
        """As the command does it."""
        self.fleet.events.clear()
        return self.fleet.load().upgrade(parallel=parallel, watch=self.fleet.events.append)

    def applications(self) -> list[str]:
        """Who has connected, without the number of the run."""
        return sorted(t.parameters["application_name"].partition(" ")[2][:5] for t in self.proxy.traffic)


@pytest.fixture
def line(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Two targets."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    with CountingProxy(pg.host, pg.port) as proxy:
        here = {n: replace(make_database(n), host=proxy.host, port=proxy.port) for n in ("one", "two")}
        fleet = make_fleet(pg, tmp_path, here, HISTORY)
        assert fleet.upgrade().status is RunStatus.SUCCEEDED
        proxy.reset()
        yield Line(fleet, proxy)


def test_an_endpoint_is_proven_beside_the_looks(line: Line) -> None:
    """One target is asked for all; then each is worked on by one connection, the first as well."""
    line.fleet.write("shared/b", step("b", "a"))
    line.proxy.delay = _DELAY
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert line.applications().count("probe") == 2 + 2
    assert len(line.applications()) == 2 + 2 + 2
    assert line.proxy.hasty == 0
    assert line.proxy.waits == _LOOK + _PROOF + _WORK + _WORK
    assert line.fleet.heads("one") == line.fleet.heads("two") == ["b"]


def test_where_nothing_is_to_be_done_nothing_is_proven(line: Line) -> None:
    """A connection and a question each."""
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert line.applications() == ["probe", "probe"]


def test_where_two_connections_are_needed_nothing_is_proven(line: Line) -> None:
    """It would cost two connections more: the workers prove it in any case."""
    line.fleet.write("shared/b", step("b", "a", code="if True:\n    op.get_bind()"))
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert line.applications().count("probe") == 2


def test_an_endpoint_without_a_place_for_a_second_connection(line: Line, pg: Cluster) -> None:
    """What the look has found stands; the worker tells what is the matter."""
    role = line.fleet.limit_role()
    with pg.admin() as c:
        c.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(role)))
    entries = line.fleet.folder / "targets" / "t.yaml"
    entries.write_text(entries.read_text() + "defaults: {host_parallel: 1}\n")
    line.fleet.write("shared/b", step("b", "a"))
    found = dict.fromkeys(("one", "two"), "pending")
    project = line.fleet.load()
    assert {s.target: s.kind for s in project.status()} == found
    assert [len(p.steps) for p in project.plan(soon=True).plans] == [1, 1]


@pytest.mark.parametrize(
    ("limits", "longest"), [(Limits(), 0.5), (Limits(connect=0.3, answer=0.2), 1000)], ids=["ours", "the_targets"]
)
def test_a_proof_that_is_not_answered_ends(
    line: Line, pg: Cluster, limits: Limits, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections with it. Looks wait for it, so it has no longer than they have."""
    address = line.fleet.addresses["one"]
    target = Target("one", address, ("shared",), limits=limits)
    monkeypatch.setattr(proof, "_LONGEST", longest)
    assert asyncio.run(is_in_session_mode(target, pg.password))
    line.proxy.delay = 0.3  # the login alone takes longer
    began = time.monotonic()
    assert not asyncio.run(is_in_session_mode(target, pg.password))
    assert time.monotonic() - began < 5
    line.proxy.delay = 0
    asked = sql.SQL("SELECT count(*) FROM pg_stat_activity WHERE datname = {} AND application_name ~ 'probe'")

    def gone() -> bool:
        with pg.admin() as c:
            return c.execute(asked.format(address.dbname)).fetchone() == (0,)

    wait_until(gone, "its connections end")


def test_a_proof_that_is_answered_with_nonsense(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its look has found stands, and so do the others'."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)

    async def answer(statement: str) -> AsyncIterator[bytes]:
        yield probed("a") if "AS heads" in statement else rows([("nonsense", 25)], [[b"1"]])

    with HostileServer(answer) as server:
        here = {"good": make_database("good"), "strange": replace(make_database("strange"), port=server.port)}
        fleet = make_fleet(pg, tmp_path, here, HISTORY | {"shared/b": step("b", "a")})
        plans = fleet.load().plan(soon=True).plans
    assert {p.target: len(p.steps) for p in plans} == {"good": 2, "strange": 1}


@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
def test_an_endpoint_is_proven_for_one_run(
    verb: str, pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps a Project may use it again much later, when the pooler is set up otherwise."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    database = make_database("one")
    with PgBouncer(pg, "session") as bouncer:
        history = HISTORY | {"shared/b": step("b", "a")}
        project = make_fleet(pg, tmp_path, {"one": bouncer.address(database.dbname)}, history).load()
        assert project.upgrade(to=["a"]).status is RunStatus.SUCCEEDED
        bouncer.console("SET pool_mode = transaction")
        run = project.upgrade() if verb == "upgrade" else project.downgrade("one", ["base"])
        assert code_of(run.results[0]) == "transaction_pooler"


def test_an_endpoint_is_proven_for_no_longer_than_a_wave_soaks(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may be a day."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    with PgBouncer(pg, "session") as bouncer:
        here = {n: bouncer.address(make_database(n).dbname) for n in ("one", "two")}
        fleet = make_fleet(pg, tmp_path, here, HISTORY)
        waves = "waves: [{name: canary, targets: [one], soak: 0.01}]\n"
        (fleet.folder / "targets" / "waves.yaml").write_text(waves)

        def notice(text: str) -> None:
            if "is done" in text:
                bouncer.console("SET pool_mode = transaction")

        run = fleet.load().upgrade(notice=notice)
    assert [code_of(r) for r in run.results] == ["", "transaction_pooler"]


def test_the_others_begin_when_the_first_has_made_the_statements(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not wait until it has ended."""
    monkeypatch.setattr(pool, "_AHEAD", 1)
    monkeypatch.setattr(pool, "_LEAD_PROVEN", 1000)
    code = 'op.execute("CREATE TABLE slow AS SELECT 1 AS n FROM pg_advisory_xact_lock_shared(7)")'
    line.fleet.write("shared/b", step("b", "a", code=code))
    with line.fleet.connect("one") as other, line.fleet.connect("two") as another:
        for c in (other, another):
            c.execute("SELECT pg_advisory_lock(7)")
        run = line.fleet.background(lambda: line.upgrade(parallel=2))

        def begun() -> set[str]:
            return {e.target for e in line.fleet.events if e.kind is EventKind.STEP_STARTED}

        wait_until(lambda: begun() == {"one", "two"}, "the second target begins while the first one waits")
        for c in (other, another):
            c.execute("SELECT pg_advisory_unlock(7)")
        assert run.result(60).status is RunStatus.SUCCEEDED


def test_two_places_are_never_waited_for_by_all() -> None:
    """Nor are there ever more than there are; whoever wants one has his turn in between."""
    busy, most = 0, 0

    async def use(number: int) -> None:
        nonlocal busy, most
        busy += number
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= number

    async def all_of_them() -> None:
        places = Places(4)
        target = Target("t", Address("h", 5432, "u", "d", "disable"), ("shared",))

        async def one() -> None:
            async with places.taken(target):
                await use(1)

        async def two() -> None:
            async with places.two():
                await use(2)

        await asyncio.wait_for(asyncio.gather(*(work() for _ in range(20) for work in (one, two))), 30)

    asyncio.run(all_of_them())
    assert most == 4


def test_places_that_come_free_at_once_are_not_one_each_of_who_wants_two() -> None:
    """Each would wait for another one's for ever."""
    target = Target("t", Address("h", 5432, "u", "d", "disable"), ("shared",))

    async def all_of_them() -> int:
        places, over, had = Places(4), asyncio.Event(), 0

        async def one() -> None:
            async with places.taken(target):
                await over.wait()

        async def two() -> None:
            nonlocal had
            async with places.two():
                had += 1

        async def free() -> None:
            over.set()

        # in this order: all places are taken, then waited for, then free
        works = (*(one() for _ in range(4)), *(two() for _ in range(4)), free())
        await asyncio.wait_for(asyncio.gather(*works), 30)
        return had

    assert asyncio.run(all_of_them()) == 4
