"""One worker for several targets: only where the revisions that it ran cannot have left anything behind in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.model import Address, Status
from tests.support.postgres import Cluster
from tests.support.project import revision
from tests.support.running import Fleet, Workers, make_fleet

MakeDatabase = Callable[[str], Address]

TARGETS = ("a", "b", "c")
_PRINTS = 'op.execute("SELECT 1")\nprint("seen", hasattr(op, "left"))\nop.left = True'
_TELLS = 'import os\nop.execute("SELECT 1")\nprint(os.getpid())'
_SOMETIMES = 'op.execute("CREATE TABLE kept (id int)")'


@pytest.fixture
def fleet(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Three empty targets, which get one revision; the test writes it."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    return make_fleet(pg, tmp_path, {name: make_database(name) for name in TARGETS}, {})


def test_plain_revisions_share_a_process(fleet: Fleet) -> None:
    """One after the other, so one process; it is gone when the run is over."""
    fleet.write("shared/s1", revision("s1", None, up_code=_SOMETIMES))
    workers = Workers({})
    project = fleet.load()
    before = workers.alive()
    run = project.run(project.plan(), parallel=1, watch=workers)
    assert [r.status for r in run.results] == [Status.SUCCEEDED] * 3
    assert [r.output for r in run.results] == [""] * 3
    assert len(set.union(*workers.seen.values()) - before) == 1
    assert workers.alive() == before


def test_any_other_code_gets_a_process_of_its_own(fleet: Fleet) -> None:
    """What a revision leaves in its process, another target's does not find."""
    fleet.write("shared/s1", revision("s1", None, up_code=_PRINTS))
    run = fleet.upgrade(parallel=1)
    assert [r.output for r in run.results] == ["seen False\n"] * 3


def test_after_any_other_code_not_even_plain_revisions_are_run(fleet: Fleet) -> None:
    """They share a process with one another, and not with the target that was done before them."""
    fleet.write("shared/s1", revision("s1", None, up_code=_SOMETIMES))
    fleet.write("a/x1", revision("x1", None, label="a", up_code=_TELLS))
    workers = Workers({})
    project = fleet.load()
    before = workers.alive()
    run = project.run(project.plan(), parallel=1, watch=workers)
    assert [r.status for r in run.results] == [Status.SUCCEEDED] * 3
    first = int(run.results[0].output)  # it may have ended when its step is heard of
    (shared,) = (workers.seen["b"] | workers.seen["c"]) - before - {first}
    assert {shared} == workers.seen["c"] - before


def test_a_process_that_failed_serves_nobody(fleet: Fleet) -> None:
    """The target after the one that failed has a process of its own, and is done."""
    fleet.write("shared/s1", revision("s1", None, up_code=_SOMETIMES))
    with fleet.connect("b") as c:
        c.execute("CREATE TABLE kept (id int)")
    workers = Workers({})
    project = fleet.load()
    before = workers.alive()
    run = project.run(project.plan(), parallel=1, watch=workers)
    assert [r.status for r in run.results] == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert len(set.union(*workers.seen.values()) - before) == 2
