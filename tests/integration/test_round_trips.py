"""What a worker costs on the wire: how often it waits for the server, and how much it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ehg_migrate.model import Address, FleetPlan, Status
from tests.support.postgres import Cluster
from tests.support.project import revision
from tests.support.running import Fleet, make_fleet
from tests.support.wire import CountingProxy

MakeDatabase = Callable[[str], Address]

_DELAY = 0.1  # seconds: what is sent together arrives together, even where others keep all cores busy
_UP = """
op.create_table("{0}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
op.create_index("{0}_name", "{0}", ["name"])
op.add_column("{0}", sa.Column("born", sa.Date))
op.execute("COMMENT ON TABLE {0} IS 'who lives here'")
"""
_DOWN = 'op.drop_index("{0}_name")\nop.drop_table("{0}")'
_WAITING = "if True:\n    op.execute('CREATE VIEW v_{0} AS SELECT 1')"  # `if`: no plain list of operations


def _ordinary(id_: str, down: str | None) -> str:
    """A handful of statements."""
    text = revision(id_, down, up_code=_UP.format(id_), down_code=_DOWN.format(id_))
    return text.replace("from alembic import op\n", "import sqlalchemy as sa\nfrom alembic import op\n")


def _waiting(id_: str, down: str) -> str:
    """One statement, which is waited for."""
    return revision(id_, down, up_code=_WAITING.format(id_), down_code=f"op.execute('DROP VIEW v_{id_}')")


HISTORY = {"shared/a": _ordinary("a", None)}
FOUR = {
    "shared/b": _ordinary("b", "a"),
    "shared/c": _ordinary("c", "b"),
    "shared/d": _ordinary("d", "c"),
    "shared/e": _waiting("e", "d"),
}


@dataclass
class Wire:
    """A fleet of one target behind a proxy that counts."""

    fleet: Fleet
    proxy: CountingProxy

    def costs(self, plan: FleetPlan) -> tuple[int, int]:
        """Of running a plan: how often somebody waits, one wait after the other, and messages that are sent.

        The question who blocks a step is left out: it is asked beside a step that takes more than a second.
        """
        self.proxy.delay = _DELAY
        self.proxy.reset()
        run = self.fleet.run(plan)
        self.proxy.delay = 0
        assert [r.status for r in run.results] == [Status.SUCCEEDED], run
        # a pooler that hears of the client's end in between would take the server for idle, and keep it with its lock
        assert self.proxy.hasty == 0
        return self.proxy.waits, self.proxy.messages


@pytest.fixture
def wire(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The target holds revision `a`."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    with CountingProxy(pg.host, pg.port) as proxy:
        address = replace(make_database("wire"), host=proxy.host, port=proxy.port)
        fleet = make_fleet(pg, tmp_path, {"one": address}, HISTORY)
        fleet.upgrade()
        yield Wire(fleet, proxy)


def test_one_ordinary_revision(wire: Wire) -> None:
    """Twelve waits: two connections (the proof of session mode begins during the second), and one each for the rest of
    the proof, lock and tables, settings, the step, its commit, and the rows at the end.
    """
    wire.fleet.write("shared/b", FOUR["shared/b"])
    assert wire.costs(wire.fleet.plan()) == (12, 73)


def test_two_more_for_each_further_revision(wire: Wire) -> None:
    """The step, and its commit with the settings for the next one."""
    for path in ("shared/b", "shared/c", "shared/d"):
        wire.fleet.write(path, FOUR[path])
    assert wire.costs(wire.fleet.plan()) == (12 + 2 * 2, 191)


def test_a_revision_whose_statements_are_waited_for(wire: Wire) -> None:
    """A wait each for its statement, the version row, and the journal's entry."""
    for path, text in FOUR.items():
        wire.fleet.write(path, text)
    wire.fleet.upgrade()
    wire.fleet.write("shared/f", _waiting("f", "e"))
    assert wire.costs(wire.fleet.plan()) == (14, 54)


def test_an_empty_database(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, wire: Wire) -> None:
    """The tables of ours are made on the way."""
    address = replace(make_database("empty"), host=wire.proxy.host, port=wire.proxy.port)
    fleet = make_fleet(pg, tmp_path / "empty", {"one": address}, HISTORY)
    assert Wire(fleet, wire.proxy).costs(fleet.plan()) == (17, 87)


def test_a_downgrade_and_a_rollback(wire: Wire) -> None:
    """They cost what the upgrade did; a rollback asks who came since it was planned, too."""
    for path in ("shared/b", "shared/c", "shared/d"):
        wire.fleet.write(path, FOUR[path])
    run = wire.fleet.upgrade()
    assert wire.costs(wire.fleet.load().plan_downgrade("one", ["c"])) == (12, 65)
    assert wire.costs(wire.fleet.load().plan_rollback(run.id)) == (15, 121)


def test_nothing_to_do_and_a_look(wire: Wire) -> None:
    """Four waits on one connection: three of the login, one question. No worker is started."""
    wire.proxy.delay = _DELAY
    for look in (lambda: wire.fleet.load().status(), wire.fleet.upgrade):
        wire.proxy.reset()
        look()
        assert (wire.proxy.connections, wire.proxy.waits, wire.proxy.hasty) == (1, 4, 0)
