"""Sending the statements of a plain step ahead gives what waiting for each gives: schema, journal, every problem."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.model import Address, Result, Status
from tests.support.postgres import Cluster
from tests.support.project import revision
from tests.support.running import code_of, make_fleet, result_of
from tests.support.wire import CountingProxy

MakeDatabase = Callable[[str], Address]

_JOURNAL = """
SELECT event, revision, direction, heads_before, heads_after, detail FROM ehg_migrate.migration_journal ORDER BY seq
"""
_BASE = "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE held (id int)"


@dataclass(frozen=True)
class Case:
    """A plain revision after one that has made two tables, and what is to come of it both times."""

    code: str
    problem: str = ""  # its code; empty where the step is done
    line: int = 0  # of the revision, where it is known
    before: str = ""  # done to the database after the first revision, by the role that migrates
    entry: tuple[tuple[str, Any], ...] = ()  # further fields of the target


_NO_UPDATE = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing BEFORE UPDATE ON ehg_migrate.alembic_version FOR EACH ROW EXECUTE FUNCTION nothing()
"""
_DEFERRED = """
CREATE TABLE child (id int REFERENCES kept DEFERRABLE INITIALLY DEFERRED);
"""

CASES = {
    "ordinary": Case(
        """
        op.create_table("town", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, index=True))
        op.add_column("town", sa.Column("kept", sa.Integer, sa.ForeignKey("kept.id")))
        op.alter_column("town", "name", nullable=False, server_default="?")
        op.create_check_constraint("short", "town", "length(name) < 100")
        op.execute("COMMENT ON TABLE town IS '100% of them'")
        op.rename_table("held", "free")
        """
    ),
    "answers_in_between": Case(
        """
        op.create_table("person", sa.Column("mood", sa.Enum("sad", "glad", name="mood")))
        op.execute("INSERT INTO person VALUES ('glad'); INSERT INTO person VALUES ('sad')")
        op.create_index("person_mood", "person", ["mood"])
        op.execute("SELECT set_config('search_path', 'nowhere', true)")
        op.execute("CREATE VIEW public.moods AS SELECT mood FROM public.person")
        op.execute("UPDATE public.person SET mood = 'glad'")
        """
    ),
    "several_in_one": Case(
        """
        op.execute("CREATE TABLE a (id int); CREATE TABLE b (id int)")
        op.execute("CREATE TABLE c (id int) ; ")
        op.execute("ALTER TABLE a ADD COLUMN t text DEFAULT 'x;y'")
        """,
    ),
    "notices": Case(
        """
        op.execute("DROP TABLE IF EXISTS nowhere")
        op.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
        """
    ),
    "fails_in_the_middle": Case(
        """
        op.create_table("a", sa.Column("id", sa.Integer))
        op.execute("CREATE TABLE kept (id int)")
        op.create_table("b", sa.Column("id", sa.Integer))
        """,
        "exists_already",
        line=14,
    ),
    "fails_at_once": Case(
        """
        op.execute("CREATE TABEL a (id int)")
        op.drop_table("held")
        """,
        "statement_failed",
        line=13,
    ),
    "fails_at_the_end": Case(
        """
        op.drop_table("held")
        op.alter_column(
            "kept",
            "nothing",
            nullable=False,
        )
        """,
        "statement_failed",
        line=14,
    ),
    "fails_before_an_answer": Case(
        """
        op.drop_column("kept", "nothing")
        op.execute("INSERT INTO nowhere VALUES (1)")
        """,
        "statement_failed",
        line=13,
    ),
    "fails_after_an_answer": Case(
        """
        op.drop_table("held")
        op.execute("INSERT INTO kept VALUES (1)")
        op.execute("INSERT INTO kept VALUES (1)")
        """,
        "statement_failed",
        line=15,
    ),
    "python_after_sql": Case(
        """
        op.drop_table("nowhere")
        op.create_table("a", sa.Column("b"))
        """,
        "statement_failed",
        line=13,
    ),
    "python": Case(
        """
        op.drop_table("held")
        op.create_table("a", sa.Column("b"))
        """,
        "revision_raised",
        line=14,
    ),
    "no_transaction": Case(
        """
        op.drop_table("held")
        op.create_index("k", "kept", ["id"], postgresql_concurrently=True)
        """,
        "needs_autocommit",
        line=14,
    ),
    "at_the_commit": Case(
        """
        op.drop_table("held")
        op.execute("INSERT INTO child VALUES (1)")
        op.execute("COMMENT ON TABLE kept IS ''")
        """,
        "statement_failed",
        before=_DEFERRED,
    ),
    "a_limit_for_each": Case(
        """
        op.execute("CREATE TABLE a AS SELECT pg_sleep(0.6)::text")
        op.execute("CREATE TABLE b AS SELECT pg_sleep(0.6)::text")
        op.execute("CREATE TABLE c AS SELECT pg_sleep(0.6)::text")
        """,
        entry=(("statement_timeout", "1s"),),
    ),
    "a_limit_passed": Case(
        """
        op.drop_table("held")
        op.execute("CREATE TABLE a AS SELECT pg_sleep(5)::text")
        op.execute("CREATE TABLE b AS SELECT 1")
        """,
        "statement_timeout",
        line=14,
        entry=(("statement_timeout", "300ms"),),
    ),
    "rows_not_as_assumed": Case('op.drop_table("held")', "revision_raised", before=_NO_UPDATE),
    "rows_out_of_reach": Case(
        """
        op.drop_table("held")
        op.drop_table("alembic_version", schema="ehg_migrate")
        """,
        "statement_failed",
    ),
    "journal_out_of_reach": Case(
        """
        op.drop_table("held")
        op.execute("DROP TABLE ehg_migrate.migration_journal CASCADE")
        """,
        "statement_failed",
    ),
}


def _text(case: Case, *, plain: bool) -> str:
    code = "\n".join(line.removeprefix("        ") for line in case.code.strip("\n").splitlines()).strip()
    text = revision("s2", "s1", up_code=code).replace("import op\n", "import op\nimport sqlalchemy as sa\n")
    # a parameter makes it a function that is not plain, and moves no line
    return text if plain else text.replace("def upgrade():", "def upgrade(*nothing):")


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
            {"shared/1": revision("s1", up=_BASE)},
            {"one": {"retries": 1, **dict(case.entry)}},
        )
        fleet.upgrade()
        fleet.write("shared/2", _text(case, plain=plain))
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
