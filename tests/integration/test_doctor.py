"""The doctor against real servers and poolers: each check says what is so and what to do, and leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ehg_migrate.database.doctor import (
    CHECKS,
    Finding,
    Level,
    access,
    examination,
    examine,
    examine_all,
    handing_on,
    network,
)
from ehg_migrate.database.session import Session, lock_key
from ehg_migrate.errors import TargetError
from ehg_migrate.model import Address, Limits, Origin, Target
from ehg_migrate.redaction import register
from tests.conftest import REF_A
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import LOOPBACK, free_port, wait_until
from tests.support.server import certificates
from tests.support.standin import StandIn
from tests.support.wire import CountingProxy

WRONG = "a password that nobody has"
ORIGIN = Origin("ada", "workstation", 4711, "0123456789abcdef", "0.1.0")
SET_BY_A_SESSION = "SELECT name FROM pg_settings WHERE source = 'session' AND name <> 'application_name'"
MakeDatabase = Callable[[str], Address]
Findings = dict[str, Finding]


def target(address: Address, **fields: Any) -> Target:
    return Target("acme", address, ("shared",), **fields)


def look(address: Address, password: str | None = CANARY, *, long_transaction: float = 60.0, **fields: Any) -> Findings:
    """The findings by check, with what holds for all of them asserted."""
    if password:
        register(password)
    findings = examine(target(address, **fields), password, long_transaction=long_transaction)
    assert tuple(f.check for f in findings) == CHECKS
    assert {f.target for f in findings} == {"acme"}
    assert all(f.message and "\n" not in f.message for f in findings)
    assert all(f.hint for f in findings if f.level in (Level.WARNING, Level.ERROR)), "every problem has a next action"
    assert not [f for f in findings if password and password in f.message + f.hint]
    return {f.check: f for f in findings}


def bad(findings: Findings) -> dict[str, Level]:
    """The checks that are not OK."""
    return {name: f.level for name, f in findings.items() if f.level is not Level.OK}


def only_error(findings: Findings, check: str) -> Finding:
    """The finding of this check, which is an error, and because of which all later ones were skipped."""
    later = CHECKS[CHECKS.index(check) + 1 :]
    assert bad(findings) == {check: Level.ERROR, **dict.fromkeys(later, Level.SKIPPED)}
    assert {findings[name].message for name in later} == {f"not looked at, since `{check}` failed"}
    return findings[check]


# --- what is good


@pytest.mark.parametrize("way", ["direct", "tls", "pgbouncer in session mode", "the pooler's stand-in"])
def test_a_good_target_is_ok_in_every_check(
    way: str, pg: Cluster, database: Address, bouncer_session: PgBouncer, standin: StandIn
) -> None:
    """Nothing is found on a target like Supabase's, whichever way leads to it; the numbers are there."""
    address = {
        "direct": database,
        "tls": pg.secured(database),
        "pgbouncer in session mode": bouncer_session.address(database.dbname),
        "the pooler's stand-in": standin.address(REF_A, database.dbname),
    }[way]
    findings = look(address)
    assert bad(findings) == {}
    assert findings["login"].message.startswith(f"logged in to `{database.dbname}` as `postgres` in ")
    assert "BYPASSRLS and CREATEROLE" in findings["privileges"].message
    assert "lock_timeout 5 s" in findings["settings"].message
    assert "server's own statement_timeout here: 2 min" in findings["settings"].message
    assert 0 < findings["latency"].seconds < findings["login"].seconds
    assert findings["tcp"].seconds > 0
    if address.sslmode == "verify-full":
        assert findings["tls"].message == "TLSv1.3, certificate and host name verified"


def test_nothing_is_left_behind(pg: Cluster, database: Address) -> None:
    """After an examination the schema is what it was, and neither a lock nor a session nor our schema is there."""
    before = pg.dump_schema(database.dbname, exclude_schemas=())
    look(database)
    assert pg.dump_schema(database.dbname, exclude_schemas=()) == before
    with pg.admin(database.dbname) as c:
        assert c.execute("SELECT to_regnamespace('ehg_migrate')").fetchone() == (None,)
        assert _advisory_locks(c) == 0
        sessions = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ 'doctor'"
        # the server takes a moment to see that a client has gone
        wait_until(lambda: not c.execute(sessions).fetchall(), "the doctor's connections are closed")


def test_many_targets_are_examined_at_once_and_none_hides_another(pg: Cluster, make_database: MakeDatabase) -> None:
    """Each target has its own findings, in the order that was asked for."""
    addresses = {name: make_database(name) for name in ("one", "two", "three")}
    addresses["two"] = replace(addresses["two"], port=free_port())
    targets = [Target(name, address, ("shared",)) for name, address in addresses.items()]
    findings = examine_all(targets, dict.fromkeys(addresses, pg.password), at_once=2)
    assert list(findings) == ["one", "two", "three"]
    errors = {name: [f.check for f in found if f.level is Level.ERROR] for name, found in findings.items()}
    assert errors == {"one": [], "two": ["tcp"], "three": []}


def test_no_more_of_a_host_are_examined_at_once_than_it_bears(
    standin: StandIn, pg: Cluster, make_database: MakeDatabase
) -> None:
    """Each takes two places of the pooler; six at once would fill it, and be called ill for that."""
    standin.set(pool_size=4)
    addresses = {name: standin.address(REF_A, make_database(name).dbname) for name in "abcdef"}
    targets = [Target(n, a, ("shared",), limits=Limits(host_parallel=1)) for n, a in addresses.items()]
    findings = examine_all(targets, dict.fromkeys(addresses, pg.password), at_once=6)
    assert list(findings) == list("abcdef")
    assert [f for found in findings.values() for f in found if f.level is Level.ERROR] == []


def test_a_pooler_that_cleans_nothing_is_named(pg: Cluster, database: Address) -> None:
    """What one client sets reaches the next: a warning with what to do; and nothing of the doctor's stays there."""
    with PgBouncer(pg, "session", server_reset_query="") as bouncer:
        findings = look(bouncer.address(database.dbname))
        assert bad(findings) == {"cleaning": Level.WARNING}
        assert "as its last client left it" in findings["cleaning"].message
        assert "server_reset_query = DISCARD ALL" in findings["cleaning"].hint
        with bouncer.connect(database.dbname) as one, bouncer.connect(database.dbname) as other:
            for connection in (one, other):
                assert connection.execute(SET_BY_A_SESSION).fetchall() == []


@pytest.mark.parametrize(
    ("way", "words"), [("direct", "no pooler"), ("cleaning", "the pooler cleans"), ("round robin", "not known")]
)
def test_what_is_said_of_cleaning_where_nothing_is_wrong(
    way: str, words: str, pg: Cluster, database: Address, bouncer_session: PgBouncer
) -> None:
    """No pooler, one that cleans, one that gave another server connection: nothing is claimed that was not seen."""
    if way != "round robin":
        address = database if way == "direct" else bouncer_session.address(database.dbname)
        assert look(address)["cleaning"].message.startswith(words)
        return
    with PgBouncer(pg, "session", server_reset_query="", server_round_robin=1) as bouncer:
        with ExitStack() as opened:  # three server connections, of which the doctor has two: it gets the third then
            clients = [opened.enter_context(bouncer.connect(database.dbname)) for _ in range(3)]
            assert len({c.execute("SELECT pg_backend_pid()").fetchone() for c in clients}) == 3
        findings = look(bouncer.address(database.dbname))
        assert (findings["cleaning"].level, findings["cleaning"].message.startswith(words)) == (Level.OK, True)


def test_a_pooler_that_stands_still_while_a_connection_is_left(
    pg: Cluster, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that is about to be left can be cut like the others: nobody waits for ever."""
    monkeypatch.setattr(examination, "_ANSWER", 0.2)
    with PgBouncer(pg, "session") as bouncer:
        wakes = threading.Timer(20, os.kill, [bouncer.pid, signal.SIGCONT])  # who waited for ever ends, and is seen
        there = target(bouncer.address(database.dbname), limits=Limits(connect=0.2))
        with examination.Examination(there, CANARY, 60.0) as exam:
            exam.open(), exam.open()
            os.kill(bouncer.pid, signal.SIGSTOP)
            wakes.start()
            with pytest.raises(TimeoutError), exam.limited():
                handing_on.cleaning(exam)
        assert not wakes.finished.is_set()
        wakes.cancel()


# --- the way there


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        ("nowhere.invalid", "`nowhere.invalid` does not resolve: ", "correct `host`"),
        ("x" * 64 + ".invalid", "does not resolve: ", "correct `host`"),
        ("/nowhere/at/all", "there is no folder `/nowhere/at/all` for a Unix socket", "correct `host`: the folder"),
    ],
)
def test_a_host_that_is_not_there(host: str, message: str, hint: str) -> None:
    """The first check says so, and no other pretends to have looked."""
    finding = only_error(look(Address(host, 5432, "postgres", "db", "disable")), "resolve")
    assert message in finding.message
    assert finding.hint.startswith(hint)


@pytest.mark.parametrize(
    ("host", "addresses", "level", "words"),
    [
        ("db.abcdefghijklmnopqrst.supabase.co", ["2001:db8::1"], Level.WARNING, ("only IPv6", "session pooler")),
        ("db.example.org", ["2001:db8::1", "2001:db8::2"], Level.WARNING, ("only IPv6", "IPv4 address")),
        ("db.example.org", ["2001:db8::1", "192.0.2.1"], Level.OK, ("`2001:db8::1`, `192.0.2.1`", "")),
        ("localhost", ["::1"], Level.OK, ("`::1`", "")),
        ("fe80::1", ["fe80::1%eth0"], Level.WARNING, ("only IPv6", "IPv4 address")),
    ],
)
def test_what_addresses_mean(host: str, addresses: list[str], level: Level, words: tuple[str, str]) -> None:
    """IPv6 alone is a warning with a way out, since it is what stops Supabase's direct hosts from CI."""
    verdict = network.judge_addresses(host, addresses)
    assert (verdict.level, words[0] in verdict.message, words[1] in verdict.hint) == (level, True, True)


def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    """Over TCP and over a Unix socket."""
    port = free_port()
    finding = only_error(look(Address(LOOPBACK, port, "postgres", "db", "disable")), "tcp")
    assert finding.message == f"`{LOOPBACK}:{port}`: connection refused"
    assert "is the server running" in finding.hint
    finding = only_error(look(Address(str(tmp_path), 5432, "postgres", "db", "disable")), "tcp")
    assert finding.message == f"`{tmp_path}/.s.PGSQL.5432`: no such file or directory"
    assert "unix_socket_directories" in finding.hint


def test_a_server_that_never_answers() -> None:
    """It costs the connect limit and no more."""
    with socket.create_server((LOOPBACK, 0)) as silent:
        address = Address(LOOPBACK, silent.getsockname()[1], "postgres", "db", "verify-full")
        finding = only_error(look(address, limits=Limits(connect=0.3)), "tls")
    assert "timed out" in finding.message
    assert finding.hint.startswith("the server or pooler did not answer in time")
    assert 0.3 <= finding.seconds < 5


# --- TLS


def test_another_certificate_authority(standin: StandIn, database: Address) -> None:
    """Nobody is logged in to a server that does not prove who it is: not one start-up reaches it."""
    address = replace(standin.address(REF_A, database.dbname), sslrootcert=str(certificates().wrong_ca_file))
    finding = only_error(look(address), "tls")
    assert "certificate verify failed" in finding.message
    assert finding.hint.startswith("set `sslrootcert` to the certificate authority of this server")
    assert standin.attempts[REF_A] == 0


def test_a_server_without_tls(pg: Cluster, database: Address) -> None:
    """An error where the entry demands TLS, a remark where it does not."""
    with CountingProxy(pg.host, pg.port) as proxy:
        address = replace(database, port=proxy.port)
        finding = only_error(look(replace(address, sslmode="require")), "tls")
        assert "server does not support SSL" in finding.message
        assert proxy.connections == 0
        findings = look(address)
    assert bad(findings) == {}
    assert "the server offers none" in findings["tls"].message


@pytest.mark.parametrize(
    ("mode", "version", "local", "level", "words"),
    [
        ("verify-full", "TLSv1.3", False, Level.OK, "host name verified"),
        ("verify-ca", "TLSv1.3", False, Level.OK, "host name not"),
        ("require", "TLSv1.2", False, Level.WARNING, "TLSv1.2, but the server is not authenticated"),
        ("require", "TLSv1.3", True, Level.OK, "stays on this machine"),
        ("disable", "TLSv1.3", False, Level.WARNING, "password and data are readable"),
        ("disable", None, False, Level.WARNING, "the server offers none"),
        ("disable", None, True, Level.OK, "none is needed"),
    ],
)
def test_what_encryption_is_worth(mode: str, version: str | None, local: bool, level: Level, words: str) -> None:
    """Only a server that is authenticated, or that cannot be another machine's, is without a remark."""
    verdict = network.judge_encryption(mode, version, local=local)
    assert (verdict.level, words in verdict.message, bool(verdict.hint)) == (level, True, level is Level.WARNING)


# --- login


def test_a_wrong_password_costs_exactly_one_attempt(
    standin: StandIn, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the host's name has several addresses, as a pooler's has: psycopg alone would try each of them."""
    finding = only_error(look(standin.address(REF_A, database.dbname), WRONG), "login")
    assert "password authentication failed" in finding.message
    assert finding.hint.startswith("correct the secret that `password` refers to")
    assert standin.attempts[REF_A] == 1

    standin.reset()
    real = socket.getaddrinfo  # a name with two addresses that both answer needs a name server of our own
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: 2 * real(LOOPBACK, *rest, **more))
    only_error(look(standin.address(REF_A, database.dbname), WRONG), "login")
    assert standin.attempts[REF_A] == 1


def test_an_unknown_tenant_and_an_unknown_database(standin: StandIn, database: Address) -> None:
    """The pooler's and the server's words, each with where to look."""
    finding = only_error(look(standin.address("a" * 20, database.dbname)), "login")
    assert "(ENOTFOUND)" in finding.message
    assert "Connect dialog" in finding.hint
    finding = only_error(look(replace(database, dbname="nobody_made_it")), "login")
    assert 'database "nobody_made_it" does not exist' in finding.message
    assert finding.hint == "create it, or correct `database` in the entry"


def test_a_full_pool_that_lets_wait_is_left_after_the_limit(
    pg: Cluster, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PgBouncer accepts the client and lets its first question wait for two minutes: we do not."""
    monkeypatch.setattr(examination, "_ANSWER", 0.5)
    with PgBouncer(pg, "session", pool_size=1) as bouncer, bouncer.connect(database.dbname) as holder:
        holder.execute("SELECT 1")
        finding = only_error(look(bouncer.address(database.dbname), limits=Limits(connect=0.5)), "login")
    assert finding.message == "no answer within 1 s: timed out"
    assert finding.seconds < 5


# --- session mode


@pytest.mark.parametrize("pooler", ["pgbouncer", "stand-in"])
def test_a_transaction_mode_pooler_is_an_error_and_nothing_is_set_in_it(
    pooler: str, bouncer_transaction: PgBouncer, standin: StandIn, pg: Cluster, database: Address
) -> None:
    """Everything else is still looked at, but no setting is left in a backend that the application gets next."""
    if pooler == "pgbouncer":
        address = bouncer_transaction.address(database.dbname)
    else:
        address = standin.address(REF_A, database.dbname, transaction=True)
    findings = look(address)
    assert bad(findings) == {"session_mode": Level.ERROR, "settings": Level.SKIPPED, "cleaning": Level.SKIPPED}
    assert findings["session_mode"].message.startswith("this endpoint is not in session mode: ")
    assert findings["session_mode"].hint.startswith("use the session-mode port of the pooler")
    with pg.open(address) as application:
        left = application.execute(
            "SELECT current_setting('lock_timeout'), ARRAY(SELECT pg_listening_channels())"
        ).fetchone()
    assert left == ("0", [])


def test_a_pool_with_room_for_one_connection(standin: StandIn, database: Address) -> None:
    """A run needs two, so this is an error although the first one works."""
    standin.set(pool_size=1)
    findings = look(standin.address(REF_A, database.dbname))
    assert bad(findings) == {"session_mode": Level.ERROR, "settings": Level.SKIPPED, "cleaning": Level.SKIPPED}
    assert "the second is refused: " in findings["session_mode"].message
    assert "EMAXCONNSESSION" in findings["session_mode"].message
    assert "raise the pool size" in findings["session_mode"].hint


# --- what the server allows


@pytest.mark.parametrize(
    ("number", "level"),
    [(130_022, Level.WARNING), (140_000, Level.OK), (180_004, Level.OK), (190_000, Level.WARNING)],
)
def test_which_servers_are_supported(number: int, level: Level) -> None:
    """14 to 18; others are a warning and no refusal."""
    assert access.judge_version("some version", number).level is level


def test_a_read_only_database(pg: Cluster, database: Address) -> None:
    """As Supabase makes it when its disk is full; who set it is named."""
    _execute(pg, database, "ALTER DATABASE {db} SET default_transaction_read_only = on")
    findings = look(database)
    assert bad(findings) == {"writable": Level.ERROR}
    assert findings["writable"].message == "`default_transaction_read_only` is on (set by: database)"
    assert "disk is full" in findings["writable"].hint


def test_timeouts_that_a_run_puts_aside_are_no_finding(pg: Cluster, database: Address) -> None:
    """That of an idle session would take the lock away in the middle of a long step."""
    _execute(pg, database, "ALTER DATABASE {db} SET idle_session_timeout = '5min'")
    assert bad(look(database)) == {}


@pytest.fixture
def clerk(pg: Cluster, database: Address) -> Iterator[Address]:
    """`database` as a role that may log in and nothing else."""
    name = f"clerk_of_{database.dbname}"
    with pg.admin(database.dbname) as c:
        c.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(pg.password)))
    yield replace(database, user=name)
    with pg.admin(database.dbname) as c:
        c.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(name)))
        c.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_that_may_not_create(pg: Cluster, database: Address, clerk: Address) -> None:
    """Both what it cannot make are named with the statement that mends it, and after these it is fit."""
    findings = look(clerk)
    assert bad(findings) == {"privileges": Level.ERROR}
    role, finding = clerk.user, findings["privileges"]
    assert f"schema `ehg_migrate` is not there, and role `{role}` may not make it" in finding.message
    assert f"role `{role}` may not CREATE in schema `public`" in finding.message
    assert f'CREATE SCHEMA ehg_migrate AUTHORIZATION "{role}"' in finding.hint
    assert f'GRANT USAGE, CREATE ON SCHEMA "public" TO "{role}"' in finding.hint
    with pytest.raises(TargetError) as caught, Session(target(clerk), pg.password, "r1", ORIGIN):
        pass
    assert caught.value.problem.message == f"our tables cannot be made: permission denied for database {clerk.dbname}"
    assert "`ehg-migrate doctor -t TARGET` says what is missing" in caught.value.problem.hint
    _execute(pg, database, f'CREATE SCHEMA ehg_migrate AUTHORIZATION "{role}"')
    _execute(pg, database, f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"')
    findings = look(clerk)
    assert bad(findings) == {}
    assert "schema `ehg_migrate` is ours" in findings["privileges"].message
    with Session(target(clerk), pg.password, "r1", ORIGIN) as session:
        assert session.found.heads == ()


def test_a_path_that_leads_nowhere(pg: Cluster, database: Address, clerk: Address) -> None:
    """No privilege mends that: the path is named, and after the hint's statement the role is fit."""
    role = clerk.user
    _execute(pg, database, f'CREATE SCHEMA ehg_migrate AUTHORIZATION "{role}"')
    _execute(pg, database, f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"')
    _execute(pg, database, f'ALTER ROLE "{role}" SET search_path = app, gone')
    findings = look(clerk)
    assert bad(findings) == {"privileges": Level.ERROR}
    assert (
        f"role `{role}` may not CREATE in any schema of its `search_path`, app, gone" in findings["privileges"].message
    )
    assert "GRANT" not in findings["privileges"].hint
    statement = f'ALTER ROLE "{role}" RESET search_path'
    assert statement in findings["privileges"].hint
    _execute(pg, database, statement)
    assert bad(look(clerk)) == {}


def test_a_version_table_where_a_role_may_not_create(pg: Cluster, database: Address, clerk: Address) -> None:
    """The doctor says of which schema that is; a table that is there already is used."""
    role, other = clerk.user, {"version_table_schema": "other"}
    _execute(pg, database, f'CREATE SCHEMA ehg_migrate AUTHORIZATION "{role}"')
    _execute(pg, database, f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"')
    _execute(pg, database, "CREATE SCHEMA other")
    _execute(pg, database, f'GRANT USAGE ON SCHEMA other TO "{role}"')
    with pytest.raises(TargetError) as caught, Session(target(clerk, **other), pg.password, "r1", ORIGIN):
        pass
    assert caught.value.problem.message == "our tables cannot be made: permission denied for schema other"
    message = look(clerk, **other)["privileges"].message
    assert message.startswith("the version table cannot be made in schema `other`")
    _execute(pg, database, "CREATE TABLE other.alembic_version (version_num varchar(255) PRIMARY KEY)")
    _execute(pg, database, f'GRANT ALL ON other.alembic_version TO "{role}"')
    with Session(target(clerk, **other), pg.password, "r1", ORIGIN) as session:
        assert session.found.heads == ()


def test_our_schema_in_the_hands_of_another_role(pg: Cluster, database: Address, clerk: Address) -> None:
    """What is missing is named privilege by privilege; a role that was given all of it is fit without owning it."""
    role = clerk.user
    _execute(pg, database, f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"')
    with Session(target(database), pg.password, "r1", ORIGIN):
        pass
    findings = look(clerk)
    assert bad(findings) == {"privileges": Level.ERROR, "version_table": Level.ERROR}
    assert "`USAGE on schema ehg_migrate`" in findings["privileges"].message
    assert "let `postgres` grant it" in findings["privileges"].hint
    assert "permission denied for schema ehg_migrate" in findings["version_table"].message
    _execute(pg, database, f'GRANT USAGE ON SCHEMA ehg_migrate TO "{role}"')
    _execute(pg, database, f'GRANT ALL ON ALL TABLES IN SCHEMA ehg_migrate TO "{role}"')
    findings = look(clerk)
    assert bad(findings) == {}
    assert "schema `ehg_migrate` belongs to `postgres` and can be used" in findings["privileges"].message


def test_a_table_of_ours_in_the_hands_of_another_role(pg: Cluster, database: Address) -> None:
    """Our role owns the schema and cannot grant what it lacks itself."""
    with Session(target(database), pg.password, "r1", ORIGIN):
        pass
    with pg.admin(database.dbname) as c:
        c.execute("ALTER TABLE ehg_migrate.alembic_version OWNER TO CURRENT_USER")
    findings = look(database)
    assert bad(findings) == {"privileges": Level.ERROR}
    assert findings["privileges"].hint.startswith("let the owner of the table grant it to `postgres`")


def test_a_superuser_is_more_than_needed(pg: Cluster, database: Address) -> None:
    """A warning: it works."""
    findings = look(pg.superuser_address(database.dbname))
    assert bad(findings) == {"privileges": Level.WARNING}
    assert findings["privileges"].message.startswith("role `supabase_admin` is a superuser, which is more than needed")


# --- what is there


def test_the_version_table_and_who_can_reach_it(pg: Cluster, database: Address) -> None:
    """Heads are shown; a way in for an API role is an error, with the statement that closes it."""
    with Session(target(database), pg.password, "r1", ORIGIN) as session:
        session.work.execute("INSERT INTO ehg_migrate.alembic_version VALUES ('aaaa'), ('bbbb')")
    findings = look(database)
    assert bad(findings) == {}
    assert findings["version_table"].message == "heads: `aaaa`, `bbbb`"
    for grantee, name in (("anon", "anon"), ("PUBLIC", "PUBLIC")):
        _execute(pg, database, f"GRANT USAGE ON SCHEMA ehg_migrate TO {grantee}")
        finding = look(database)["version_table"]
        assert finding.level is Level.ERROR
        assert f"`ehg_migrate` is open to `{name}`" in finding.message
        assert f"REVOKE ALL ON SCHEMA ehg_migrate FROM {name}" in finding.hint
        _execute(pg, database, f"REVOKE ALL ON SCHEMA ehg_migrate FROM {grantee}")
    assert bad(look(database)) == {}


@pytest.mark.parametrize("lost", ["TRUNCATE ehg_migrate.alembic_version", "DROP TABLE ehg_migrate.alembic_version"])
def test_version_rows_that_are_gone_are_not_nothing(lost: str, pg: Cluster, database: Address) -> None:
    """Where the journal says what is applied: `status` refuses such a target, so it is not called well."""
    with Session(target(database), pg.password, "r1", ORIGIN):
        pass
    _execute(pg, database, lost)
    _execute(
        pg,
        database,
        "INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,"
        " heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version)"
        " VALUES ('acme', 'r', 'done', 'aaaa', 'up', 'shared', '', ARRAY['b'], ARRAY['a'], now(), 0, '', '', '', '')",
    )
    finding = look(database)["version_table"]
    assert finding.level is Level.ERROR
    assert finding.message.endswith("though by the target's journal this is applied: `aaaa`")
    assert finding.hint == "`ehg-migrate status -t TARGET` says how the rows are written again"


def test_a_version_table_that_is_kept_in_public_is_open_to_the_api(pg: Cluster, database: Address) -> None:
    """Supabase's default grants give `anon` every right on it, until it is revoked."""
    with pg.connect(database.dbname) as c:
        c.execute("CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)")
        c.execute("INSERT INTO public.alembic_version VALUES ('aaaa')")
    finding = look(database, version_table_schema="public")["version_table"]
    assert (finding.level, "heads: `aaaa`" in finding.message) == (Level.ERROR, True)
    assert "REVOKE ALL ON TABLE public.alembic_version FROM anon" in finding.hint
    _execute(pg, database, "REVOKE ALL ON TABLE public.alembic_version FROM anon, authenticated")
    assert bad(look(database, version_table_schema="public")) == {}


def test_a_version_table_of_another_alembic(pg: Cluster, database: Address) -> None:
    """It is not ours until somebody adopts it; an empty one is nobody's."""
    _execute(pg, database, "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)")
    assert bad(look(database)) == {}
    _execute(pg, database, "INSERT INTO public.alembic_version VALUES ('old1')")
    findings = look(database)
    assert bad(findings) == {"version_table": Level.WARNING}
    assert "`public.alembic_version` holds `old1`" in findings["version_table"].message
    assert "adopt" in findings["version_table"].hint


def test_histories_of_other_tools(pg: Cluster, database: Address) -> None:
    """Each is named; the Supabase CLI's with its newest migration. Supabase's own `auth.schema_migrations` is not."""
    assert look(database)["foreign_writers"].level is Level.OK
    with pg.connect(database.dbname) as c:
        c.execute("CREATE SCHEMA supabase_migrations")
        c.execute("CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY)")
        assert look(database)["foreign_writers"].level is Level.OK, "an empty one has no owner yet"
        c.execute("INSERT INTO supabase_migrations.schema_migrations VALUES ('20240101000000'), ('20250601120000')")
        c.execute('CREATE TABLE public."DATABASECHANGELOG" (id text)')
        c.execute("CREATE TABLE public.schema_migrations (version text)")
    findings = look(database)
    assert bad(findings) == {"foreign_writers": Level.WARNING}
    message = findings["foreign_writers"].message
    assert "has 2 migrations of the Supabase CLI, the newest `20250601120000`" in message
    assert "`public.DATABASECHANGELOG` is the history of Liquibase" in message
    assert "`public.schema_migrations` is the history of Rails" in message
    assert message.count("two owners of one schema") == 3
    assert findings["foreign_writers"].hint.startswith("agree on one")


# --- who is at work


def test_a_lock_that_is_held(pg: Cluster, database: Address) -> None:
    """A runner is named by its run, person and machine, and keeps its lock while it is looked at."""
    with Session(target(database), pg.password, "run-4711", ORIGIN) as session:
        session.prepare_work()
        findings = look(database)
        assert session.still_locked()
        assert _advisory_locks(session.lock) == 2  # one for each of its connections
    assert bad(findings) == {"lock": Level.WARNING}
    message = findings["lock"].message
    assert message.startswith("another runner is at work: run `run-4711` of ada on workstation (process 4711) since 20")
    assert look(database)["lock"].message == "nobody holds the lock"


def test_a_version_table_that_somebody_has_locked(pg: Cluster, database: Address) -> None:
    """`status` gets no answer and sends people here: they are told by whom, and what ends that, to be pasted."""
    with Session(target(database), pg.password, "run-4711", ORIGIN):
        pass
    with pg.connect(database.dbname) as other, other.transaction():
        other.execute("LOCK TABLE ehg_migrate.alembic_version")
        found = look(database, limits=Limits(lock=0.2))["version_table"]
        assert found.level is Level.ERROR
        assert f"which somebody has locked: pid {other.info.backend_pid} of `" in found.message
        assert found.hint.endswith(f"end it in this database: `SELECT pg_terminate_backend({other.info.backend_pid})`")
    assert look(database)["version_table"].level is Level.OK


def test_a_lock_of_somebody_whom_the_role_may_not_look_at(pg: Cluster, database: Address, clerk: Address) -> None:
    """The server hides other roles' sessions from a plain role; their lock is seen all the same."""
    with pg.admin(database.dbname) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [lock_key(target(database))])
        findings = look(clerk)
        assert findings["lock"].level is Level.WARNING
        assert f"backend {other.info.backend_pid} `" in findings["lock"].message
        assert "sessions of other roles that cannot be looked into: 1" in findings["long_transactions"].message
        assert findings["long_transactions"].hint == "GRANT pg_read_all_stats to this role shows them"


def test_a_transaction_that_stays_open(pg: Cluster, database: Address) -> None:
    """With its pid, age, role, state and the beginning of its query, cleaned of what would move a terminal's cursor."""
    with pg.connect(database.dbname, autocommit=False) as sleeper:
        sleeper.execute("SELECT 1 /* \x1b[2J" + "x" * 200 + "*/")
        assert look(database)["long_transactions"].level is Level.OK, "it is not a minute old"
        findings = look(database, long_transaction=0.0)
        pid = sleeper.info.backend_pid
    assert bad(findings) == {"long_transactions": Level.WARNING}
    message = findings["long_transactions"].message
    assert message.startswith(f"pid {pid} of `postgres`: a transaction of ")
    assert ", idle in transaction: SELECT 1 /* x" in message
    assert len(message) < 200
    assert "pg_terminate_backend" in findings["long_transactions"].hint


def test_a_connection_that_is_cut_during_the_examination(pg: Cluster, database: Address) -> None:
    """The check in which it happened says so; what comes after was not looked at, and nothing is raised."""

    def cut(exam: examination.Examination) -> object:
        with pg.admin() as c:
            c.execute("SELECT pg_terminate_backend(%s)", [exam.connection.info.backend_pid])
        return exam.row("doctor_server")

    original = access.server
    steps = [replace(s, look=cut) if s.look is original else s for s in _checks()]
    findings = _examine_with(steps, target(database), pg.password)
    assert findings["session_mode"].level is Level.OK
    assert findings["server"].level is Level.ERROR
    assert "terminating connection" in findings["server"].message
    later = CHECKS[CHECKS.index("server") + 1 :]
    assert {findings[name].message for name in later} == {"not looked at, since `server` failed"}


def _advisory_locks(connection: psycopg.Connection) -> int:
    """How many there are in this database."""
    here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    row = connection.execute(
        f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = {here}"
    ).fetchone()
    return int(row[0]) if row else -1


def _checks() -> tuple[Any, ...]:
    from ehg_migrate.database import doctor

    return doctor._CHECKS


def _examine_with(steps: list[Any], one: Target, password: str) -> Findings:
    from ehg_migrate.database import doctor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "_CHECKS", tuple(steps))
        return {f.check: f for f in examine(one, password)}


def _execute(pg: Cluster, database: Address, statement: str) -> None:
    """As superuser; `{db}` is the database's name."""
    with pg.admin(database.dbname) as c:
        c.execute(sql.SQL(statement).format(db=sql.Identifier(database.dbname)))
