"""What `drift` of a whole fleet costs on the wire: one connection and one message a target, one replay a state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from ehg_migrate.model import Address
from tests.acceptance.test_drift import REVISIONS as NOTES
from tests.acceptance.test_drift import Fleet, scratch_url, spoil
from tests.conftest import MakeProject
from tests.integration.fleets import entries, execute, making
from tests.support.postgres import Cluster
from tests.support.wire import CountingProxy

REVISIONS = {"shared/1": NOTES["shared/1"], "shared/2": making("later", "notes1"), "crm/1": making("crm1", label="crm")}
STATES = {"old": 6, "new": 10, "crm": 8}
"""How many targets hold only the first shared revision, both, or both and those of a group."""


class Wide:
    """24 targets of three states behind a proxy that counts; the scratch server is not behind it."""

    def __init__(self, fleet: Fleet, proxy: CountingProxy) -> None:
        self.fleet = fleet
        self._proxy = proxy

    def drift(self, *options: str) -> tuple[str, str, int, list[str]]:
        """What is said last and on standard error, then how many connections and which messages."""
        self._proxy.reset()
        said = self.fleet.run("drift", *options)
        assert said.code == 0, said
        assert self._proxy.queries == len(self._proxy.statements), "each is one simple query"
        return said.out.splitlines()[-1], said.err, self._proxy.connections, self._proxy.statements


@pytest.fixture
def wide(tmp_path: Path, make_project: MakeProject, pg: Cluster) -> Iterator[Wide]:
    """One target of each state is migrated, and the others are copies of it."""
    first = {state: pg.create_database(f"wide_{state}_0") for state in STATES}
    names = {f"{state}_{n}": f"wide_{state}_{n}" for state, count in STATES.items() for n in range(count)}
    try:
        groups = {name: {"branches": ["crm"]} for name in names if name.startswith("crm")}
        with CountingProxy(pg.host, pg.port) as proxy:
            addresses = {
                name: replace(first["old"], host=proxy.host, port=proxy.port, dbname=database)
                for name, database in names.items()
            }
            make_project(tmp_path, entries(addresses, **groups), REVISIONS)
            for name in names:
                (tmp_path / "versions" / name).rmdir()
            fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
            assert fleet.run("upgrade", "-t", "new_0,crm_0", "--yes").code == 0
            assert fleet.run("upgrade", "-t", "old_0", "--to", "notes1", "--yes").code == 0
            _copy(pg, first)
            yield Wide(fleet, proxy)
    finally:
        pg.drop_databases(names.values())


def _copy(pg: Cluster, first: dict[str, Address]) -> None:
    create = sql.SQL("CREATE DATABASE {} OWNER postgres TEMPLATE {} STRATEGY file_copy")
    with pg.admin() as c:
        for state, count in STATES.items():
            for n in range(1, count):
                c.execute(create.format(*map(sql.Identifier, (f"wide_{state}_{n}", first[state].dbname))))


def test_one_connection_and_one_message_a_target(wide: Wide, pg: Cluster) -> None:
    """Three replays and then none; the second time no schema is hashed; a change costs that target more, no other."""
    last, told, connections, messages = wide.drift()
    assert last.startswith("24 matches (")
    assert told == "replaying the revisions of 3 states on a scratch server\n"
    assert (connections, len(messages)) == (24, 24)
    assert all("AS fingerprint" in m for m in messages)
    last, told, connections, messages = wide.drift()
    assert (last[:10], told, connections, len(messages)) == ("24 matches", "", 24, 24)
    assert not [m for m in messages if "AS fingerprint" in m], "nothing was changed, as each target says"
    last, _, connections, messages = wide.drift("--full")
    assert (last[:10], connections, len(messages)) == ("24 matches", 24, 24)
    execute(pg, replace(wide.fleet.addresses["new_3"], host=pg.host, port=pg.port), "CREATE TABLE passing (id int)")
    execute(pg, replace(wide.fleet.addresses["new_3"], host=pg.host, port=pg.port), "DROP TABLE passing")
    spoil(pg, replace(wide.fleet.addresses["crm_2"], host=pg.host, port=pg.port))
    last, told, connections, messages = wide.drift()
    assert last.endswith("1 drifted (crm_2)")
    # a target that drifted is read whole, on a connection of its own: its heads, then its facts
    assert (told, connections, len(messages)) == ("", 24 + 1, 24 + len(["crm_2 hashed"]) + len(["heads", "facts"]))
