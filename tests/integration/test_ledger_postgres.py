"""The ledger in PostgreSQL: the same contract as in SQLite, and what only a server can get wrong."""

from __future__ import annotations

import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NoReturn
from urllib.parse import quote, urlencode

import pytest
from psycopg import sql

from ehg_migrate.errors import LedgerError
from ehg_migrate.ledger import open_ledger
from ehg_migrate.ledger.postgres import POSTGRES_SCHEMA, open_postgres
from ehg_migrate.model import Address
from tests.faults.proxy import Act, FaultProxy, Rule
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.unit.ledger.contract import CHECKS, NOON, Opener, a_result, a_run, as_the_first_schema, opened, refused


@pytest.fixture
def address(pg: Cluster, make_database: Callable[[str], Address]) -> Address:
    """A database of this test alone, like a Supabase project's, over TLS with the server's certificate verified."""
    return pg.secured(make_database("ledger"))


@pytest.fixture
def opener(pg: Cluster, address: Address) -> Opener:
    """Opens the same database each time, without migrating it."""
    return partial(open_postgres, url(address), pg.password)


def url(address: Address, user: str = "", dbname: str = "") -> str:
    """The ledger's URL for an address, perhaps with another user or database."""
    query = urlencode({"sslmode": address.sslmode, "sslrootcert": address.sslrootcert})
    place = f"{address.host}:{address.port}/{quote(dbname or address.dbname)}"
    return f"postgresql://{quote(user or address.user)}@{place}?{query}"


@pytest.fixture
def stranger(pg: Cluster, address: Address) -> Iterator[str]:
    """A login role with no rights but to connect, and the cluster's password."""
    role = f"stranger_{uuid.uuid4().hex[:12]}"
    name = sql.Identifier(role)
    with pg.admin(address.dbname) as connection:
        connection.execute(sql.SQL("create role {} login password {}").format(name, sql.Literal(pg.password)))
        yield role
        connection.execute(sql.SQL("drop owned by {}").format(name))
        connection.execute(sql.SQL("drop role {}").format(name))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[Opener], None], opener: Opener) -> None:
    """Each promise of `contract.py` holds on PostgreSQL."""
    check(opener)


def test_nothing_in_public(pg: Cluster, address: Address, opener: Opener) -> None:
    """All tables stand in the ledger's own schema, and no other schema got one."""
    query = "select schemaname, tablename from pg_tables"
    with pg.connect(address.dbname) as connection:
        before = set(connection.execute(query))
        opened(opener).close()
        made = set(connection.execute(query)) - before
    assert made == {(POSTGRES_SCHEMA, name) for name in ("ledger_schema", "results", "runs")}


def test_closed_to_the_public(pg: Cluster, address: Address, opener: Opener, stranger: str) -> None:
    """Nobody else may read it, even where the server's defaults grant new tables and schemas to everybody."""
    with pg.connect(address.dbname) as connection:
        connection.execute("alter default privileges grant all on tables to public")
        connection.execute("alter default privileges grant all on schemas to public")
        opened(opener).close()
        rights = connection.execute(
            "select has_schema_privilege(%(who)s, %(schema)s, 'usage'),"
            " bool_or(has_table_privilege(%(who)s, oid, 'select'))"
            " from pg_class where relnamespace = %(schema)s::regnamespace and relkind = 'r'",
            {"who": stranger, "schema": POSTGRES_SCHEMA},
        ).fetchone()
    assert rights == (False, False)


def test_a_user_with_rights_on_the_tables_alone(pg: Cluster, address: Address, opener: Opener, stranger: str) -> None:
    """Once its owner has made it, a user who may neither create nor own anything works with it."""
    opened(opener).close()
    with pg.connect(address.dbname) as connection:
        who, schema = sql.Identifier(stranger), sql.Identifier(POSTGRES_SCHEMA)
        connection.execute(sql.SQL("grant usage on schema {} to {}").format(schema, who))
        connection.execute(sql.SQL("grant select, insert, update on all tables in schema {} to {}").format(schema, who))
    with open_ledger(url(address, user=stranger), password=pg.password) as ledger:
        ledger.start(a_run("r-1"))
        assert [run.id for run in ledger.runs()] == ["r-1"]


def test_a_user_without_rights(pg: Cluster, address: Address, opener: Opener, stranger: str) -> None:
    """A user without rights is told which ones to ask for, for a ledger to be made and for one that is there."""
    for _ in ("no ledger yet", "a ledger of somebody else"):
        with refused(LedgerError, "does not allow it", f"grant usage on schema {POSTGRES_SCHEMA}"):
            open_ledger(url(address, user=stranger), password=pg.password)
        opened(opener).close()


def test_a_wrong_password(pg: Cluster, address: Address, stranger: str) -> None:
    """A wrong password is told as a refused login and stands nowhere in the error."""
    wrong = "wr0ng-p4ssw0rd-canary"
    with refused(LedgerError, "refused the login", "check its user and password"):
        try:
            open_ledger(url(address, user=stranger), password=wrong)
        except LedgerError as e:
            assert wrong not in "".join(traceback.format_exception(e))  # noqa: PT017  `refused` asserts that it comes
            assert e.problems[0].code == "ledger_login"  # noqa: PT017
            raise


def test_no_database(pg: Cluster, address: Address) -> None:
    """A database that does not exist is told by name; it is not created."""
    word = "there_is_no_such_database"
    with refused(LedgerError, word, "does not exist", "create the database first"):
        open_ledger(url(address, dbname=word), password=pg.password)


def test_a_standby(pg: Cluster, address: Address, opener: Opener) -> None:
    """A server that accepts no writes is told as read-only; what it holds is still read."""
    with opened(opener) as ledger:
        ledger.start(a_run("r-1"))
        with pg.connect(address.dbname) as connection:
            connection.execute(
                sql.SQL("alter database {} set default_transaction_read_only = on").format(
                    sql.Identifier(address.dbname)
                )
            )
        assert [run.id for run in ledger.runs()] == ["r-1"]
        with refused(LedgerError, "is read-only", "primary"):
            ledger.heartbeat("r-1")


def test_a_table_that_was_dropped(pg: Cluster, address: Address, opener: Opener) -> None:
    """A ledger that somebody took apart is told as damaged."""
    with opened(opener) as ledger:
        with pg.connect(address.dbname) as connection:
            connection.execute(f"drop table {POSTGRES_SCHEMA}.results")
        with refused(LedgerError, "lacks a table", "drop schema"):
            ledger.last_results(["acme"])


@pytest.mark.parametrize(("deep", "code"), [(600, "ledger_row"), (5000, "ledger_error")])
def test_json_that_is_too_deep(pg: Cluster, address: Address, opener: Opener, deep: int, code: str) -> None:
    """Whoever may write into a ledger that many share ends nobody's command by it: it is told as any other damage."""
    with opened(opener) as ledger:
        ledger.start(a_run("r-1"))
        with pg.admin(address.dbname) as connection:
            spoilt = f"update {POSTGRES_SCHEMA}.runs set notes = %s"
            connection.execute(spoilt.encode(), (f"{'[' * deep}{']' * deep}",))
        with pytest.raises(LedgerError) as caught:
            ledger.run("r-1")
    assert [p.code for p in caught.value.problems] == [code]


def test_no_connection_stays(pg: Cluster, address: Address, opener: Opener) -> None:
    """Between its operations the ledger holds no connection, so it takes none from a pooler's limit."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    with pg.connect(address.dbname) as connection:
        connection.execute("set statement_timeout = '30s'")
        connection.execute(
            # a backend leaves the list a moment after its client has gone
            "do $$ begin while exists (select from pg_stat_activity where application_name = 'ehg-migrate ledger'"
            " and datname = current_database()) loop perform pg_stat_clear_snapshot(); end loop; end $$"
        )
    assert [run.id for run in ledger.runs()] == ["r-1"]


def test_a_machine_without_threads(address: Address, pg: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written down all the same: a run ended in the middle of its targets."""

    def start(thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with open_ledger(url(address), password=pg.password) as ledger:
        ledger.start(a_run("r-1"))
        assert ledger.run("r-1").id == "r-1"


@pytest.mark.parametrize(
    "setting", ["DateStyle = 'SQL, DMY'", "default_transaction_isolation = 'serializable'"], ids=lambda s: s.split()[0]
)
def test_a_database_with_settings_of_its_own(pg: Cluster, address: Address, opener: Opener, setting: str) -> None:
    """Runs that are written down side by side are, and are read as they were written."""
    with pg.admin() as connection:
        connection.execute(f"ALTER DATABASE {address.dbname} SET {setting}".encode())
    opened(opener).close()
    both = threading.Barrier(2)

    def write(run: str) -> None:
        ledger = opened(opener)
        for number in range(20):
            both.wait(60)  # they begin together, each time
            ledger.start(a_run(f"{run}-{number}"))

    with ThreadPoolExecutor(2) as writers:
        list(writers.map(write, "ab"))
    assert {run.started_at for run in opened(opener).runs(40)} == {NOON}
    assert len(opened(opener).runs(50)) == 40


def test_a_database_that_ends_whoever_is_idle(pg: Cluster, address: Address, opener: Opener) -> None:
    """A transaction of the ledger is ended by its own timer and by nothing else, as on a machine that is slow."""
    with pg.admin() as connection:
        connection.execute(f"ALTER DATABASE {address.dbname} SET idle_in_transaction_session_timeout = '1s'".encode())
        old = "SELECT FROM pg_stat_activity WHERE pid = %s AND xact_start > now() - interval '1.5 s'"
        with opener().transaction(write=True) as transaction:
            pid = transaction.driver.info.backend_pid
            wait_until(lambda: connection.execute(old, (pid,)).fetchone() is None, "it is old, or ended")
            assert transaction.driver.execute("SELECT 1").fetchone() == (1,)


def test_a_migration_that_takes_long(pg: Cluster, address: Address, opener: Opener) -> None:
    """A ledger of years is brought to this tool's schema, however much longer that takes than a question may."""
    opened(opener).close()
    as_the_first_schema(opener)
    with pg.admin(address.dbname) as connection:
        connection.execute(
            "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); END';"
            "CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('DROP INDEX') EXECUTE FUNCTION slow()"
        )
    with open_ledger(f"{url(address)}&connect_timeout=1", password=pg.password) as ledger:
        ledger.start(a_run("r-1"))
        assert ledger.holds("r-1")


def test_old_runs_of_a_ledger_of_years(pg: Cluster, address: Address, opener: Opener) -> None:
    """To find them is a look at what each target has last, not at the rest of each result: it reads few pages."""
    ledger, names = opened(opener), tuple(f"t{n}" for n in range(20))
    for number in range(100):
        ledger.enter(a_run(f"r-{number}", targets=names, results=tuple(a_result(name) for name in names)))
    values = {"before": datetime.now(UTC) + timedelta(days=1)}
    asked = opener().dialect.statement("outlived")
    with pg.connect(address.dbname) as connection:
        connection.execute(f"ANALYZE {POSTGRES_SCHEMA}.results")
        (plan,) = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {asked}".encode(), values).fetchone()
    assert plan[0]["Plan"]["Actual Rows"] == 99
    assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] < 2000, "less than results"


def test_a_server_that_stands_still_is_given_up(pg: Cluster, make_database: Callable[[str], Address]) -> None:
    """An answer that never comes ends as an error after the URL's `connect_timeout`; later the ledger works again."""
    address = make_database("ledger")
    with FaultProxy(pg.host, pg.port) as proxy:
        place = f"postgresql://{address.user}@{proxy.host}:{proxy.port}/{address.dbname}"
        ledger = open_ledger(f"{place}?sslmode=disable&connect_timeout=1", password=pg.password)
        ledger.start(a_run("r-1"))
        proxy.rules = [Rule(Act.STALL, match="^INSERT")]
        with refused(LedgerError, "cannot be reached"):
            ledger.record("r-1", a_result("acme"))
        proxy.release()
        ledger.record("r-1", a_result("bolt"))
        assert [r.target for r in ledger.run("r-1").results] == ["bolt"]
