"""What one target was sent is sent to the next: the same schema, journal and problems as when the function is run.

By a session of two connections, and by one that has only one: it knows the statements from the target before, or by a
dry run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ehg_migrate.environment import replaying
from ehg_migrate.model import Address, Origin, Result, Status
from ehg_migrate.rollout import execution
from ehg_migrate.rollout.execution import Execution
from ehg_migrate.rollout.jobs import EventKind, Job
from ehg_migrate.rollout.runner import Reach, Work, run_plans
from ehg_migrate.rollout.stop import Stop
from tests.support.plain_steps import BASE, CASES, Case, text_of
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision
from tests.support.running import Fleet, code_of, make_fleet
from tests.support.wire import CountingProxy

MakeDatabase = Callable[[str], Address]

SENT_AGAIN = (
    "ordinary", "notices", "fails_in_the_middle", "fails_at_once", "fails_at_the_end", "no_transaction",
    "a_limit_passed", "rows_not_as_assumed", "rows_out_of_reach", "journal_out_of_reach",
    "journal_swallowed", "another_encoding",
)  # fmt: skip
MADE_AGAIN = ("answers_in_between", "python", "rows_that_are_taken", "no_parameter")
"""Steps that were told something by their target, or never ended."""

_JOURNAL = """
SELECT event, revision, direction, heads_before, heads_after, detail FROM ehg_migrate.migration_journal ORDER BY seq
"""
_DELAY = 0.03  # seconds
_ORIGIN = Origin("somebody", "here", 1, "", "0")


class Quiet:
    """Tells nobody."""

    def tell(self, kind: EventKind, text: str = "", step: int = 0) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def share(self) -> None:
        """Nothing."""

    def asked_to_stop(self) -> bool:
        """Never."""
        return False

    def end_copies(self) -> None:
        """There are none."""


def here(jobs: Iterable[Job], watch: object, stop: Stop) -> Iterator[Result]:
    """Does the jobs in this process, as a worker does one after the other."""
    for job in jobs:
        yield Execution(job, Quiet(), _never).run()


def _never(result: Result) -> NoReturn:
    raise AssertionError(result)


@dataclass
class Bench:
    """Two targets alike, which hold the first revision."""

    fleet: Fleet
    password: str

    def prepare(self, case: Case, folder: Path) -> None:
        """The case's revision is the next."""
        add_revision(folder, "shared/2", text_of(case, plain=True))
        for name in ("one", "two"):
            with self.fleet.connect(name) as c:
                c.execute(case.before.encode() or b"SELECT")

    def run(self, name: str) -> tuple[Result, list[Any], str]:
        """One target, in this process: everything that could tell one way from the other."""
        project = self.fleet.load()
        (target,) = project.targets((name,))
        reach = Reach({name: target}, {name: self.password}, lambda t: project.revisions.graph(t.branches))
        work = Work("run", _ORIGIN, project.plan((name,)).plans, reach)
        (result,) = run_plans(project.settings, work, here, lambda e: None, Stop())
        with self.fleet.admin(name) as c:
            journal = c.execute(_JOURNAL).fetchall()
        steps = tuple(replace(s, seconds=0.0) for s in result.steps)
        schema = self.fleet.pg.dump_schema(self.fleet.addresses[name].dbname)
        return replace(result, target="", seconds=0.0, steps=steps), journal, schema


@pytest.fixture
def bench(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Bench]]:
    """For one case. The first target is behind a proxy, so that its function can end before it hears of errors."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    monkeypatch.setattr(replaying, "made", {})

    def made(case: Case) -> Bench:
        addresses = {name: make_database(name) for name in ("one", "two")}
        entries = {name: {"retries": 1, **dict(case.entry)} for name in addresses}
        one = replace(addresses["one"], host=proxy.host, port=proxy.port)
        history = {"shared/1": revision("s1", up=BASE)}
        fleet = make_fleet(pg, tmp_path, {**addresses, "one": one}, history, entries)
        bench = Bench(fleet, pg.password)
        for name in addresses:
            assert bench.run(name)[0].status is Status.SUCCEEDED
        bench.prepare(case, tmp_path)
        proxy.delay = _DELAY if case.problem else 0
        return bench

    with CountingProxy(pg.host, pg.port) as proxy:
        yield made


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """No endpoint may be taken for proven, so that every target has two connections."""
    monkeypatch.setattr(execution, "is_proven", lambda target: False)


@pytest.mark.usefixtures("unproven")
@pytest.mark.parametrize("name", [*SENT_AGAIN, *MADE_AGAIN])
def test_sent_again_or_made_again(name: str, bench: Callable[..., Bench]) -> None:
    """The second target's outcome is the first one's to the letter and the line."""
    case = CASES[name]
    two = bench(case)
    kept = len(replaying.made)
    first = two.run("one")
    assert len(replaying.made) - kept == (name in SENT_AGAIN)
    known = dict(replaying.made)
    assert two.run("two") == first
    assert replaying.made == known
    assert code_of(first[0]) == case.problem, first


@pytest.mark.parametrize("known", [True, False], ids=["known", "dry"])
@pytest.mark.parametrize("name", [*SENT_AGAIN, *MADE_AGAIN])
def test_by_one_connection(
    name: str, bench: Callable[..., Bench], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same outcome as by two, whether or not a target before was sent it."""
    case = CASES[name]
    two = bench(case)
    with monkeypatch.context() as m:
        m.setattr(execution, "is_proven", lambda target: False)
        first = two.run("one")
    if not known:
        replaying.made.clear()
    assert two.run("two") == first
