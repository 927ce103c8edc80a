"""The benchmark suite in its smallest form: it runs, it compares schemas, and it hides nothing. No time is asserted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cases import CASES, Bench, Failed, Scale
from benchmarks.history import History
from benchmarks.peers.base import Absent, Command, Peer, Work
from benchmarks.peers.ours import Ours
from benchmarks.peers.raw import Raw
from benchmarks.peers.stock import StockLoop
from benchmarks.picture import draw
from benchmarks.scene import Scene
from benchmarks.simulation import check, pieces
from benchmarks.simulation.model import Costs, Site, Use
from benchmarks.simulation.real import stage
from benchmarks.suite import installed, run_scale
from benchmarks.tables import markdown

SMALL = Scale(targets=2, history=6)


class Missing(Raw):
    """A peer that cannot be had."""

    name = "missing"

    def install(self) -> None:
        """Never works."""
        raise Absent("there is none")


class Forgetful(Raw):
    """A peer that leaves the last shared revision out."""

    name = "forgetful"

    def write(self, work: Work) -> None:
        """All but one."""
        shorter = Work(work.folder, work.host, work.port, work.targets, History(5, work.history.later), work.parallel)
        super().write(shorter)


class Broken(Raw):
    """A peer whose command fails."""

    name = "broken"

    def command(self, work: Work) -> Command:
        """Says why, too."""
        return Command(["sh", "-c", "echo no such thing; exit 3"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A server of the suite's own."""
    with Scene() as scene:
        yield Bench(scene, tmp_path_factory.mktemp("benchmarks"))


def test_the_same_schema_and_every_figure(bench: Bench, tmp_path: Path) -> None:
    """The limit, ours and stock Alembic leave one schema; each case is timed and watched; an absent peer is shown."""
    peers: list[Peer] = [kind(tmp_path) for kind in (Raw, Ours, StockLoop, Missing)]
    table = run_scale(bench, peers, installed(peers), SMALL, 1)
    for row in table.rows[:3]:
        assert not row.problem, row.problem
        assert set(row.timed) == set(row.watched) == set(CASES)
        assert all(s.round_trips >= 4 and s.memory and s.connections for s in row.watched["full"])
    assert table.rows[0].watched["nothing"][0].round_trips == 4  # three to log in, one question
    text = markdown([table])
    assert "| missing | absent |" in text
    assert "- missing: absent: there is none" in text
    assert draw([table, table]).endswith("</svg>\n")


def test_a_peer_that_leaves_another_schema_is_told(bench: Bench, tmp_path: Path) -> None:
    """One revision less, and the peer counts as failed; so does one whose command fails, with what it said."""
    bench.run(Raw(tmp_path), SMALL)
    with pytest.raises(Failed, match="another schema than the first peer on 2 targets"):
        bench.run(Forgetful(tmp_path), SMALL)
    with pytest.raises(Failed, match="ended with 3: no such thing"):
        bench.run(Broken(tmp_path), SMALL)


def test_real_runs_for_the_simulation(bench: Bench, tmp_path: Path) -> None:
    """Two targets on two hosts behind a delay: what each part used is there, and what waited at once is one wait.

    A prediction is held against one of them; nothing is said of how near it is.
    """
    site = Site(parallel=2, shared=True, proxied=True, delay=0.005, hosts=2, host_parallel=1, host_rate=50)
    with stage(bench.scene, tmp_path / "project", site, 2) as found:
        loaded, full, nothing = found.load(), found.case("full"), found.case("nothing")
    assert loaded.runner
    assert not loaded.waits
    assert all((full.runner, full.workers, full.server, full.proxy))
    assert not nothing.workers
    assert 12 <= full.waits <= 120
    assert nothing.waits == 4  # of both targets together: they were looked at in the same moment
    setting = check.Setting("two hosts", site)
    held = check.hold(full, "full", Costs(step=Use(trips=1)), setting, 2, delay=0.5)
    assert (held.predicted, held.real) == (pytest.approx(11.0), full.wall)
    assert "| two hosts | 2 | full from empty | 11.00 |" in check.markdown([held])


def test_pieces(bench: Bench, tmp_path: Path) -> None:
    """Each can be measured by itself; a result in a ledger far away waits a counted number of times."""
    assert pieces.fork() > 0
    assert pieces.watch() > 0
    assert pieces.ledger_file(tmp_path) >= 0
    write, result = pieces.ledger_trips(bench.scene)
    assert write >= 2
    assert result == 1
    assert pieces.trip(bench.scene, 0.01) >= 0.005
