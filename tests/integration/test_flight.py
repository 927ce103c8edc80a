"""Statements that are sent together, on a real connection."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import PipelineStatus, TransactionStatus

from ehg_migrate.database.connections import connect_bare
from ehg_migrate.database.faults import is_lost
from ehg_migrate.database.flight import Flight, Kept, Sent, text_with
from ehg_migrate.database.leaving import TargetConnection
from ehg_migrate.model import Address, Limits, Target
from tests.support.postgres import Cluster
from tests.support.wire import CountingProxy


@pytest.fixture
def proxy(pg: Cluster) -> Iterator[CountingProxy]:
    with CountingProxy(pg.host, pg.port) as proxy:
        yield proxy


@pytest.fixture
def connection(
    pg: Cluster, make_database: Callable[[str], Address], proxy: CountingProxy
) -> Iterator[TargetConnection]:
    address = replace(make_database("flight"), host=proxy.host, port=proxy.port)
    connection = connect_bare(Target("flight", address, ("shared",), limits=Limits(connect=5)), pg.password, "test")
    with closing(connection):
        yield connection


def test_all_of_it_is_one_wait(connection: TargetConnection, proxy: CountingProxy) -> None:
    before = proxy.round_trips
    with Flight(connection) as flight:
        begun = flight.send(b"BEGIN")
        made = flight.send(b"CREATE TABLE t (a text)")
        asked = flight.ask(
            sql.SQL("SELECT %(word)s || '%%', %(list)s::text[], %(none)s::int, %(word)s = 'it''s', %(yes)s, '%'"),
            {"word": "it's", "list": ["a,b", '"c"'], "none": None, "yes": True, "other": 1},
        )
        committed = flight.send(b"COMMIT")
    assert proxy.round_trips == before + 1
    assert statuses(begun, made, asked, committed) == ["BEGIN", "CREATE TABLE", "SELECT 1", "COMMIT"]
    assert asked.rows == [("it's%", ["a,b", '"c"'], None, True, True, "%")]
    assert begun.rows == made.rows == []
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_behind_what_fails_nothing_is_done(connection: TargetConnection) -> None:
    sent, error = fly(connection, "BEGIN", "CREATE TABLE t ()", "SELECT FROM nowhere", "SELECT 1/0", "COMMIT")
    assert isinstance(error, psycopg.errors.UndefinedTable)
    assert statuses(*sent) == ["BEGIN", "CREATE TABLE", None, None, None]
    assert connection.info.transaction_status is TransactionStatus.INERROR
    connection.rollback()
    assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)


def test_what_is_asked_again_is_parsed_once(connection: TargetConnection, proxy: CountingProxy) -> None:
    kept = Kept()

    def more_than(number: int, *before: bytes) -> list[tuple[int, ...]]:
        with Flight(connection, kept) as flight:
            for statement in before:
                flight.send(statement)
            asked = flight.ask(sql.SQL("SELECT %(number)s + 1"), {"number": number})
        return asked.rows

    for number in (1, 2, 3, 4, 70000, 70001, 70002):
        assert more_than(number) == [(number + 1,)]
    # a larger number is of another type; each was once asked by no name
    assert proxy.statements.count("SELECT $1 + 1") == 4
    names = [row[0] for row in connection.execute("SELECT name FROM pg_prepared_statements").fetchall()]
    assert len(set(names)) == 2
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        more_than(1, b"DEALLOCATE ALL")
    assert more_than(1) == [(2,)]


def test_what_was_to_be_kept_behind_a_failure_is_asked_as_if_new(connection: TargetConnection) -> None:
    kept, question = Kept(), sql.SQL("SELECT %(number)s + 1")
    for fails in (False, True, False, False, False):
        with contextlib.suppress(psycopg.errors.DivisionByZero), Flight(connection, kept) as flight:
            if fails:
                flight.send(b"SELECT 1/0")
            asked = flight.ask(question, {"number": 1})
        assert asked.rows == ([] if fails else [(2,)])


def test_what_is_raised_between_statements_is_what_is_heard_of(connection: TargetConnection) -> None:
    sent, error = fly(connection, "SELECT 1/0", raising=LookupError())
    assert isinstance(error, LookupError)
    assert statuses(*sent) == [None]
    assert connection.info.pipeline_status is PipelineStatus.OFF
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_ends_in_between(connection: TargetConnection) -> None:
    """What was done before is known."""
    sent, error = fly(connection, "BEGIN", "COMMIT", "SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
    assert isinstance(error, psycopg.OperationalError)
    assert statuses(*sent) == ["BEGIN", "COMMIT", None, None]
    assert is_lost(connection)


def test_on_a_connection_that_is_closed(connection: TargetConnection) -> None:
    connection.close()
    sent, error = fly(connection, "SELECT 1")
    assert isinstance(error, psycopg.OperationalError)
    assert sent == []


def fly(
    connection: TargetConnection, *statements: str, raising: Exception | None = None
) -> tuple[list[Sent], Exception | None]:
    """What was sent, and what was raised."""
    sent: list[Sent] = []
    try:
        with Flight(connection) as flight:
            sent += [flight.send(s.encode()) for s in statements]
            if raising:
                raise raising
    except (psycopg.Error, LookupError) as e:
        return sent, e
    return sent, None


def statuses(*sent: Sent) -> list[str | None]:
    return [s.status for s in sent]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("SELECT '50 %'",), b"SELECT '50 %'"), (("SELECT '50 %%'", ()), b"SELECT '50 %'")],
    ids=["without arguments", "with none"],
)
def test_a_text_is_what_the_driver_would_send(
    connection: TargetConnection, proxy: CountingProxy, arguments: tuple[str, ...], text: bytes
) -> None:
    assert text_with(connection, *arguments) == text
    connection.execute(*arguments)  # type: ignore[arg-type]  # a text that was made elsewhere
    assert proxy.statements[-1] == text.decode()
