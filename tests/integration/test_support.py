"""The tests' own servers do what other tests take for granted about them."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ehg_migrate.model import Address
from tests.conftest import REF_A, REF_B, MakeProject
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import revision, target_entry
from tests.support.server import certificates
from tests.support.standin import StandIn
from tests.support.wire import CountingProxy


def value(connection: psycopg.Connection, statement: str) -> object:
    """The only value of a statement's only row."""
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def data_directory(connection: psycopg.Connection) -> object:
    """Names the server, as nothing between it and us can."""
    return value(connection, "SELECT system_identifier || current_setting('port') FROM pg_control_system()")


def refused(pg: Cluster, address: Address, **more: Any) -> str:
    """What a failing connection says."""
    with pytest.raises(psycopg.OperationalError) as caught:
        pg.open(address, **more)
    return str(caught.value)


@contextlib.contextmanager
def sessions(pg: Cluster, *addresses: Address) -> Iterator[list[psycopg.Connection]]:
    """One open session for each address."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(pg.open(address)) for address in addresses]


# --- Cluster


def test_postgres_is_as_little_of_a_superuser_as_on_supabase(pg: Cluster, database: Address) -> None:
    """The role, its settings, and the schemas that it does not own."""
    role = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    with pg.connect(database.dbname) as c:
        row = c.execute(f"SELECT {role} FROM pg_roles WHERE rolname = current_user".encode()).fetchone()
        owners: dict[str, str] = dict(
            c.execute(
                "SELECT nspname, nspowner::regrole::text FROM pg_namespace"
                " WHERE nspname IN ('auth', 'storage', 'extensions')"
            ).fetchall()
        )
        assert row == (False, True, True, True, True)
        assert owners == dict.fromkeys(("auth", "storage", "extensions"), "supabase_admin")
        assert value(c, "SHOW statement_timeout") == "2min"
        assert (
            value(c, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()") == "postgres"
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("ALTER TABLE auth.users ADD COLUMN x int")


def test_new_tables_are_granted_to_the_api_roles(pg: Cluster, database: Address) -> None:
    """The default privileges of Supabase projects hold for tables that `postgres` makes."""
    with pg.connect(database.dbname) as c:
        c.execute("CREATE TABLE t (id int)")
        assert value(c, "SELECT has_table_privilege('anon', 't', 'INSERT')") is True


def test_a_plain_database_is_empty(pg: Cluster) -> None:
    """Nothing of Supabase's stands in it, and `postgres` owns it."""
    address = pg.create_plain_database("plain")
    with pg.open(address) as c:
        assert value(c, "SELECT to_regnamespace('auth') IS NULL") is True
        c.execute("CREATE SCHEMA mine")


def test_a_wrong_password_is_refused(pg: Cluster, database: Address) -> None:
    """The server checks passwords of clients on the loopback."""
    assert 'password authentication failed for user "postgres"' in refused(pg, database, password="wrong")


def test_what_was_committed_survives_a_crash(pg_own: Cluster) -> None:
    """`immediate` is a crash; the port stays the same."""
    address = pg_own.create_database("crash")
    with pg_own.open(address) as c:
        c.execute("CREATE TABLE kept (id int)")
    pg_own.restart("immediate")
    with pg_own.open(address) as c:
        assert value(c, "SELECT count(*) FROM kept") == 0


def test_a_stopped_cluster_is_down_and_a_closed_one_leaves_nothing(pg_own: Cluster) -> None:
    """After `stop` connections are refused, after `start` they are not; `close` removes the folder."""
    address = pg_own.create_database("down")
    pg_own.stop()
    assert "Connection refused" in refused(pg_own, address)
    pg_own.start()
    with pg_own.open(address) as c:
        assert value(c, "SELECT 1") == 1
    log = pg_own.log_file
    pg_own.close()
    assert log is None or not log.parent.exists()


def test_dumps_of_equal_schemas_are_equal(pg: Cluster, make_database: Callable[[str], Address]) -> None:
    """No random key, comment or owner is left; the schema of ours is left out; a difference shows."""
    one, two = make_database("dump"), make_database("dump")
    for address in (one, two):
        with pg.open(address) as c:
            c.execute("CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL)")
    with pg.open(two) as c:
        c.execute("CREATE SCHEMA ehg_migrate CREATE TABLE ehg_migrate.x (id int)")
    dump = pg.dump_schema(one.dbname)
    assert "CREATE TABLE public.t" in dump
    assert dump == pg.dump_schema(two.dbname)
    assert "ehg_migrate.x" in pg.dump_schema(two.dbname, exclude_schemas=())


# --- TLS


@pytest.mark.parametrize("through", ["cluster", "standin"])
def test_verify_full_accepts_the_right_ca_only(pg: Cluster, standin: StandIn, through: str) -> None:
    """The right CA and name pass; another CA and another name are refused, in libpq's words."""
    right = standin.address(REF_A) if through == "standin" else pg.secured(pg.address("postgres"))
    with pg.open(right) as c:
        assert value(c, "SELECT 1") == 1
    wrong_ca = replace(right, sslrootcert=str(certificates().wrong_ca_file))
    assert "certificate verify failed" in refused(pg, wrong_ca)
    wrong_name = replace(right, host="pooler.example.test")
    assert 'does not match host name "pooler.example.test"' in refused(pg, wrong_name, hostaddr="127.0.0.1")


# --- StandIn


def test_each_tenant_reaches_its_own_cluster(pg: Cluster, pg_second: Cluster, standin: StandIn) -> None:
    """`postgres.<ref>` on one port: the same server as without the stand-in, another one for another ref."""
    with sessions(pg, standin.address(REF_A), standin.address(REF_B)) as (a, b), pg.admin() as direct:
        with pg_second.admin() as direct_b:
            assert data_directory(direct_b) == data_directory(b) != data_directory(direct)
        assert data_directory(a) == data_directory(direct)
        assert value(a, "SELECT current_user") == "postgres"
    assert standin.attempts == {REF_A: 1, REF_B: 1}


def test_a_tenant_may_stand_for_one_database(pg: Cluster, standin: StandIn, database: Address) -> None:
    """As on Supabase, where each project's database is called `postgres`."""
    ref = "onedatabaseonlyoneref"
    standin.add_tenant(ref, pg, database.dbname)
    with pg.open(standin.address(ref, "postgres")) as c:
        assert value(c, "SELECT current_database()") == database.dbname


def test_start_up_options_are_dropped_silently(pg: Cluster, standin: StandIn) -> None:
    """lock_timeout does not arrive; the application's name does, with the pooler's before it."""
    options: dict[str, Any] = {"options": "-c lock_timeout=4321", "application_name": "me"}
    with pg.open(standin.address(REF_A), **options) as c:
        assert value(c, "SHOW lock_timeout") == "0"
        assert value(c, "SHOW application_name") == "Supavisor - me"


REFUSALS = {
    "ENOTFOUND": {
        "new": "(ENOTFOUND) tenant/user postgres.nobodyknowsthisref not found",
        "old": "Tenant or user not found",
    },
    "ENOIDENTIFIER": {"new": "(ENOIDENTIFIER) no tenant identifier provided", "old": "Tenant or user not found"},
    "ESSLREQUIRED": {
        "new": f"(ESSLREQUIRED) SSL connection is required for user: postgres.{REF_A}",
        "old": "SSL connection is required",
    },
    "EMAXCONNSESSION": {
        "new": "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 0",
        "old": "MaxClientsInSessionMode: max clients reached",
    },
}


@pytest.mark.parametrize("texts", ["new", "old"])
@pytest.mark.parametrize("code", REFUSALS)
def test_refusals_have_supavisors_words(pg: Cluster, standin: StandIn, code: str, texts: str) -> None:
    """Of both vintages."""
    standin.set(texts=texts, enforce_ssl=True, pool_size=0)
    address = standin.address(REF_A)
    wrong = {
        "ENOTFOUND": standin.address("nobodyknowsthisref"),
        "ENOIDENTIFIER": replace(address, user="postgres"),
        "ESSLREQUIRED": replace(address, sslmode="disable"),
        "EMAXCONNSESSION": address,
    }
    assert REFUSALS[code][texts] in refused(pg, wrong[code])


def test_a_full_pool_refuses_at_once_and_recovers(pg: Cluster, standin: StandIn) -> None:
    """Client pool_size + 1 is refused; another tenant and the transaction port are not; a place is free again."""
    standin.set(pool_size=2)
    address = standin.address(REF_A)
    with sessions(pg, address, address, standin.address(REF_B), standin.address(REF_A, transaction=True)):
        assert "limited to pool_size: 2" in refused(pg, address)
    wait_until(lambda: standin.sessions(REF_A) == 0, "the sessions of closed clients end")
    with pg.open(address) as c:
        assert value(c, "SELECT 1") == 1
    assert standin.most[REF_A] == 2


def test_wrong_passwords_are_postgresqls_and_open_the_breaker(pg: Cluster, standin: StandIn) -> None:
    """Each connect is one attempt; after ten failures even the right password is refused, for that tenant only."""
    standin.set(delay=0)
    address = standin.address(REF_A)
    for _ in range(10):
        assert 'password authentication failed for user "postgres"' in refused(pg, address, password="wrong")
    assert standin.attempts[REF_A] == 10
    assert "(ECIRCUITBREAKER) too many authentication failures" in refused(pg, address)
    with pg.open(standin.address(REF_B)) as c:
        assert value(c, "SELECT 1") == 1


def test_a_database_that_is_down_is_told(pg_own: Cluster, standin: StandIn) -> None:
    """The pooler is up, the project's server is not."""
    standin.add_tenant("down", pg_own)
    pg_own.stop()
    assert "Failed to connect to database" in refused(pg_own, standin.address("down"))


def test_a_statement_can_be_cancelled_in_a_session(pg: Cluster, standin: StandIn) -> None:
    """The request finds the client's own backend."""
    with pg.open(standin.address(REF_A)) as c:
        timer = threading.Timer(0.1, c.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled, match="user request"):
            c.execute("SELECT pg_sleep(20)")
        timer.join()


# --- session and transaction mode, of the stand-in and of pgbouncer


@pytest.fixture(params=["standin", "pgbouncer"])
def session_address(request: pytest.FixtureRequest, standin: StandIn) -> Address:
    """The database `postgres` of `pg` through a pooler in session mode."""
    if request.param == "standin":
        return standin.address(REF_A)
    bouncer: PgBouncer = request.getfixturevalue("bouncer_session")
    return bouncer.address("postgres")


@pytest.fixture(params=["standin", "pgbouncer"])
def transaction_address(request: pytest.FixtureRequest, standin: StandIn) -> Address:
    """The same in transaction mode."""
    if request.param == "standin":
        return standin.address(REF_A, transaction=True)
    bouncer: PgBouncer = request.getfixturevalue("bouncer_transaction")
    return bouncer.address("postgres")


def test_session_mode_pins_clients_to_backends(pg: Cluster, session_address: Address) -> None:
    """Two clients have two backends, settings stay with their client, and a notification reaches an idle one."""
    with sessions(pg, session_address, session_address) as (a, b):
        assert value(a, "SELECT pg_backend_pid()") != value(b, "SELECT pg_backend_pid()")
        a.execute("LISTEN news")
        a.execute("SET lock_timeout = '3s'")
        b.execute("NOTIFY news")
        assert [n.channel for n in a.notifies(timeout=10, stop_after=1)] == ["news"]
        assert (value(a, "SHOW lock_timeout"), value(b, "SHOW lock_timeout")) == ("3s", "0")
        a.execute("RESET ALL")


def test_transaction_mode_shares_backends(pg: Cluster, transaction_address: Address) -> None:
    """Idle clients share a backend: a setting leaks to another client, and a notification reaches nobody."""
    with sessions(pg, transaction_address, transaction_address) as (a, b):
        assert value(a, "SELECT pg_backend_pid()") == value(b, "SELECT pg_backend_pid()")
        a.execute("SELECT set_config('ehg.leak', 'from a', false)")
        assert value(b, "SELECT current_setting('ehg.leak', true)") == "from a"
        a.execute("LISTEN news")
        with pg.connect("postgres") as direct:
            direct.execute("NOTIFY news")
        assert list(a.notifies(timeout=0.3, stop_after=1)) == []
        a.execute("UNLISTEN *")
        a.execute("RESET ALL")


def test_transaction_mode_keeps_a_transaction_on_one_backend(pg: Cluster, transaction_address: Address) -> None:
    """While a client is in a transaction nobody else has its backend, also with parameters and prepared statements."""
    with sessions(pg, transaction_address, transaction_address) as (a, b):
        with a.transaction():
            mine = value(a, "SELECT pg_backend_pid()")
            assert value(b, "SELECT pg_backend_pid()") != mine
            assert a.execute("SELECT pg_backend_pid(), %s::int", [1]).fetchone() == (mine, 1)
        with pytest.raises(psycopg.errors.DivisionByZero):
            a.execute("SELECT 1 / 0")
        assert value(a, "SELECT 1") == 1


def test_a_client_that_leaves_in_a_transaction_does_not_keep_its_lock(
    pg: Cluster, transaction_address: Address
) -> None:
    """Its backend is closed or rolled back."""
    c = pg.open(transaction_address, autocommit=False)
    c.execute("SELECT pg_advisory_xact_lock(77)")
    c.close()
    with pg.admin() as admin:
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77"
        wait_until(lambda: value(admin, held) == 0, "the lock is released")
    with pg.open(transaction_address) as again:
        assert value(again, "SELECT 1") == 1


# --- PgBouncer


def test_pgbouncer_checks_the_real_password(pg: Cluster, bouncer_session: PgBouncer) -> None:
    """A wrong one is refused by it, the right one by nobody."""
    assert "SASL authentication failed" in refused(pg, bouncer_session.address("postgres"), password="wrong")
    with bouncer_session.connect("postgres") as c:
        assert value(c, "SELECT current_user") == "postgres"


def test_pgbouncer_refuses_start_up_options(pg: Cluster, bouncer_session: PgBouncer) -> None:
    """Where the stand-in drops them silently."""
    said = refused(pg, bouncer_session.address("postgres"), options="-c lock_timeout=1")
    assert "unsupported startup parameter" in said


def test_pgbouncers_console_answers_and_settings_reach_it(pg: Cluster) -> None:
    """A short queue limit: a client beyond the pool is told, not at connect but at its first query."""
    with PgBouncer(pg, "session", pool_size=1, query_wait_timeout=1) as bouncer:
        with bouncer.connect("postgres") as first:
            assert value(first, "SELECT 1") == 1
            with bouncer.connect("postgres") as second, pytest.raises(psycopg.Error, match="query_wait_timeout"):
                second.execute("SELECT 1")
        assert "postgres" in {row[0] for row in bouncer.console("SHOW POOLS")}
        pid = bouncer.pid
    assert subprocess.run(["kill", "-0", str(pid)], check=False, capture_output=True).returncode != 0


# --- CountingProxy


def test_the_proxy_counts_round_trips(pg: Cluster) -> None:
    """A login by SCRAM waits three times (start-up, two SASL messages), a query once; a goodbye does not wait."""
    with CountingProxy(pg.host, pg.port) as proxy:
        address = replace(pg.address("postgres"), port=proxy.port)
        with pg.open(address) as c:
            assert (proxy.connections, proxy.queries, proxy.round_trips) == (1, 0, 3)
            c.execute("SELECT 1")
            assert (proxy.connections, proxy.queries, proxy.round_trips) == (1, 1, 4)
            c.execute("SELECT %s::int", [2])
        wait_until(lambda: proxy.traffic[0].messages["X"] == 1, "the goodbye arrives")
        assert proxy.round_trips == 5
        assert dict(proxy.traffic[0].messages) == {"p": 2, "Q": 1, "P": 1, "B": 1, "D": 1, "E": 1, "S": 1, "X": 1}
        assert proxy.statements == ["SELECT 1", "SELECT $1::int"]
        proxy.reset()
        assert (proxy.connections, proxy.queries, proxy.round_trips) == (0, 0, 0)


def test_the_proxy_refuses_tls_and_that_costs_a_round_trip(pg: Cluster) -> None:
    """sslmode=prefer asks, is refused, and goes on without."""
    with CountingProxy(pg.host, pg.port) as proxy:
        with pg.open(replace(pg.address("postgres"), port=proxy.port, sslmode="prefer")) as c:
            assert value(c, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is False
        assert proxy.round_trips == 5


def test_the_proxys_delay_is_felt_once_in_a_round_trip(pg: Cluster) -> None:
    """A query takes one delay, however many messages it is made of."""
    with CountingProxy(pg.host, pg.port) as proxy, pg.open(replace(pg.address("postgres"), port=proxy.port)) as c:
        proxy.delay = 0.1
        before = time.monotonic()
        c.execute("SELECT %s::int", [1])
        assert 0.1 <= time.monotonic() - before < 0.4


# --- projects


def test_a_written_project_is_one_that_alembic_reads(
    tmp_path: Path, pg: Cluster, database: Address, make_project: MakeProject
) -> None:
    """Its revisions form the branches that the builder said, and its targets file names the database."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    folder = make_project(
        tmp_path,
        {"one": target_entry(database, tags=["x"])},
        {
            "shared/s1": revision("s1", label="shared", up="CREATE TABLE s (id int)", down_sql="DROP TABLE s"),
            "one/o1": revision("o1", label="one", depends=("s1",), up_code='op.execute("SELECT 1")'),
            "one/o2.py": revision("o2", "o1", doc="the second"),
        },
    )
    script = ScriptDirectory.from_config(Config(str(folder / "alembic.ini")))
    assert set(script.get_heads()) == {"o2", "s1"}
    assert script.get_revision("o2").doc == "the second"
    assert f"postgresql://postgres@127.0.0.1:{pg.port}/{database.dbname}" in (folder / "targets" / "t.yaml").read_text()
