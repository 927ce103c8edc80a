"""Sending the statements of a plain step ahead gives what waiting for each gives: schema, journal, every problem."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.model import Address, Result, Status
from tests.support.plain_steps import BASE, CASES, Case, text_of
from tests.support.postgres import Cluster
from tests.support.project import revision
from tests.support.running import code_of, make_fleet, result_of
from tests.support.wire import CountingProxy

MakeDatabase = Callable[[str], Address]

_JOURNAL = """
SELECT event, revision, direction, heads_before, heads_after, detail FROM ehg_migrate.migration_journal ORDER BY seq
"""


@dataclass
class Outcome:
    """Everything that could tell one way from the other, and how many statements were sent on their own."""

    result: Result
    journal: list[Any]
    schema: str
    alone: int


def _comparable(result: Result) -> Result:
    steps = tuple(replace(s, seconds=0.0) for s in result.steps)
    return replace(result, seconds=0.0, steps=steps, output="")


class Bench:
    """Runs revisions on databases of their own, behind a proxy that counts."""

    def __init__(self, pg: Cluster, make_database: MakeDatabase, folder: Path, proxy: CountingProxy) -> None:
        self._pg = pg
        self._make_database = make_database
        self._folder = folder
        self._proxy = proxy

    def outcome(self, case: Case, *, plain: bool, hold: str = "") -> Outcome:
        """Of the case's revision, while another session may `hold` a lock."""
        address = self._make_database("ahead")
        fleet = make_fleet(
            self._pg,
            self._folder / ("ahead" if plain else "waiting"),
            {"one": replace(address, host=self._proxy.host, port=self._proxy.port)},
            {"shared/1": revision("s1", up=BASE)},
            {"one": {"retries": 1, **dict(case.entry)}},
        )
        fleet.upgrade()
        fleet.write("shared/2", text_of(case, plain=plain))
        self._proxy.reset()
        with fleet.connect("one") as other:
            other.execute(case.before.encode() or b"SELECT")
            other.execute(b"BEGIN; " + hold.encode())
            result = result_of(fleet.upgrade(), "one")
        alone = sum(t.messages["Q"] for t in self._proxy.traffic)
        with fleet.admin("one") as c:
            journal = c.execute(_JOURNAL).fetchall()
        return Outcome(result, journal, self._pg.dump_schema(address.dbname), alone)


@pytest.fixture
def bench(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """One for this test."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    with CountingProxy(pg.host, pg.port) as proxy:
        yield Bench(pg, make_database, tmp_path, proxy)


@pytest.mark.parametrize("name", CASES)
def test_sent_ahead_or_waited_for(name: str, bench: Bench) -> None:
    """The same result to the letter and the line, the same journal, the same schema."""
    case = CASES[name]
    waiting, ahead = bench.outcome(case, plain=False), bench.outcome(case, plain=True)
    assert _comparable(ahead.result) == _comparable(waiting.result)
    assert ahead.journal == waiting.journal
    assert ahead.schema == waiting.schema
    assert ahead.alone != waiting.alone
    assert code_of(waiting.result) == case.problem, waiting.result
    assert waiting.result.status is (Status.FAILED if case.problem else Status.SUCCEEDED)
    if case.line:
        assert waiting.result.problem
        assert waiting.result.problem.where == f"versions/shared/2.py:{case.line}"


def test_a_lock_timeout(bench: Bench) -> None:
    """Each attempt waits once, the step is tried again, and who was in the way is told."""
    code = 'op.drop_table("held")\nop.add_column("kept", sa.Column("n", sa.Integer))\nop.execute("CREATE TABLE a ()")'
    case = Case(code, entry=(("lock_timeout", "500ms"),))
    waiting, ahead = (bench.outcome(case, plain=p, hold="LOCK TABLE kept") for p in (False, True))
    assert [_without_numbers(e) for e in ahead.journal] == [_without_numbers(e) for e in waiting.journal]
    for result in (waiting.result, ahead.result):
        assert (code_of(result), result.status, result.heads_after) == ("lock_timeout", Status.FAILED, ("s1",))
        assert result.problem
        assert result.problem.where == "versions/shared/2.py:14"
        assert "blocked by pid" in result.problem.message
    assert [e[0] for e in ahead.journal] == ["done", "failed", "failed"]


def _without_numbers(entry: Sequence[object]) -> str:
    return re.sub(r"[0-9.]+", "N", str(entry))


def test_a_step_that_says_how_its_transaction_is_to_be(bench: Bench) -> None:
    """Nothing of it is sent ahead: it goes to the server as one does that is not plain."""
    says = 'op.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")\n'
    case = Case(f'{says}op.drop_table("held")\nop.execute("CREATE TABLE a ()")')
    waiting, ahead = (bench.outcome(case, plain=p) for p in (False, True))
    assert _comparable(ahead.result) == _comparable(waiting.result)
    assert (ahead.journal, ahead.schema, ahead.alone) == (waiting.journal, waiting.schema, waiting.alone)
    assert waiting.result.status is Status.SUCCEEDED


_HOOK = """
from pathlib import Path
from sqlalchemy import Engine, event

def note(cursor, statement, parameters, context):
    cursor.execute(statement, parameters)
    with Path({file!r}).open("a") as file:
        print(cursor.statusmessage, file=file)
    return True

event.listen(Engine, "do_execute", note)
"""


def test_somebody_in_between_who_wants_to_know_how_a_statement_went(
    pg: Cluster, database: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook that a step before has left behind: it is told of what was done, so that is waited for."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    noted = tmp_path / "noted"
    plain = 'op.execute("CREATE TABLE a ()")\nop.execute("COMMENT ON TABLE a IS NULL")'
    steps = {
        "shared/1": revision("s1", up_code=_HOOK.format(file=str(noted))),
        "shared/2": revision("s2", "s1", up_code=plain),
    }
    fleet = make_fleet(pg, tmp_path / "project", {"one": database}, steps)
    assert result_of(fleet.upgrade(), "one").status is Status.SUCCEEDED
    assert {"CREATE TABLE", "COMMENT"} <= set(noted.read_text().splitlines())
