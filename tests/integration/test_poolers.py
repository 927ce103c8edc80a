"""Through PgBouncer and through the stand-in for Supabase's pooler: session mode works, transaction mode is refused.

What passes through the stand-in is shown for the stand-in only; see `tests/support/standin.py` for what it is not.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ehg_migrate.cli import exits
from ehg_migrate.database.origin import find_origin
from ehg_migrate.database.proof import is_in_session_mode, listen, prove
from ehg_migrate.database.session import Session, lock_key
from ehg_migrate.errors import TargetError
from ehg_migrate.model import Address, StateKind, Status, Target
from ehg_migrate.project import Project
from ehg_migrate.rollout.jobs import Event, EventKind
from tests.conftest import REF_A, REF_B, MakeProject
from tests.integration.fleets import SHARED, execute, journal, nothing_of_ours, own, rows, statuses, tables
from tests.support.cli import ehg
from tests.support.pgbouncer import Mode, PgBouncer
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry
from tests.support.standin import StandIn
from tests.support.standin_texts import Texts

MakeDatabase = Callable[[str], Address]

REVISIONS = SHARED | own("a") | own("b")
HELD = {name: {"s1", "s2", "s3", f"{name}_1", f"{name}_2"} for name in "ab"}
"""The tables of an upgraded tenant."""


@dataclass(frozen=True)
class Way:
    """How two tenants are reached through a pooler, and where their databases really are."""

    entries: Mapping[str, Mapping[str, Any]]
    databases: Mapping[str, tuple[Cluster, Address]]

    def tables(self) -> dict[str, set[str]]:
        """Of each tenant, asked past the pooler."""
        return {name: tables(*where) for name, where in self.databases.items()}

    def rows(self) -> dict[str, set[str]]:
        """The version rows of each tenant, asked past the pooler."""
        return {name: rows(*where) for name, where in self.databases.items()}


def supabase_entry(standin: StandIn, ref: str, database: str, port: int, **more: Any) -> dict[str, Any]:
    """An entry as people write it for a Supabase project, but for the host, the port and the root certificate."""
    return {
        "project_ref": ref,
        "host": standin.host,
        "allow_host": True,
        "port": port,
        "sslrootcert": str(standin.ca_file),
        "database": database,
        "password": f"env:{PASSWORD_VARIABLE}",
        **more,
    }


@pytest.fixture
def twins(pg: Cluster, pg_second: Cluster, database: Address) -> Iterator[dict[str, tuple[Cluster, Address]]]:
    """Databases of the same name on the two clusters, so that only the routing tells them apart."""
    yield {"a": (pg, database), "b": (pg_second, pg_second.create_database(database.dbname))}
    pg_second.drop_databases([database.dbname])


@pytest.fixture
def bouncer_databases(pg: Cluster, make_database: MakeDatabase) -> dict[str, tuple[Cluster, Address]]:
    """Two databases of one server, which is what PgBouncer routes by."""
    return {name: (pg, make_database(name)) for name in "ab"}


@pytest.fixture(params=["pgbouncer", "stand-in"])
def session_mode(request: pytest.FixtureRequest) -> Way:
    """Both kinds of pooler in session mode."""
    return _way(request, "bouncer_session", transaction=False)


@pytest.fixture(params=["pgbouncer", "stand-in"])
def transaction_mode(request: pytest.FixtureRequest) -> Way:
    """Both kinds of pooler in transaction mode."""
    return _way(request, "bouncer_transaction", transaction=True)


def _way(request: pytest.FixtureRequest, bouncer: str, *, transaction: bool) -> Way:
    if request.param == "pgbouncer":
        databases = request.getfixturevalue("bouncer_databases")
        pooler: PgBouncer = request.getfixturevalue(bouncer)
        return Way({n: target_entry(pooler.address(a.dbname)) for n, (_, a) in databases.items()}, databases)
    twins = request.getfixturevalue("twins")
    standin: StandIn = request.getfixturevalue("standin")
    port = standin.transaction_port if transaction else standin.session_port
    refs = {"a": REF_A, "b": REF_B}
    return Way({n: supabase_entry(standin, refs[n], a.dbname, port) for n, (_, a) in twins.items()}, twins)


# --- session mode


def test_all_verbs_work_in_session_mode(session_mode: Way, make_project: MakeProject, tmp_path: Path) -> None:
    """Each lands in its own tenant; the second tenant of the same database name never gets a table of the first."""
    way = session_mode
    project = Project.load(make_project(tmp_path, way.entries, REVISIONS))
    assert [(s.kind, s.heads) for s in project.status()] == [(StateKind.PENDING, ())] * 2
    plan = project.plan()
    assert [len(p.steps) for p in plan.plans] == [5, 5]
    assert all("CREATE TABLE a_2" in text or "CREATE TABLE b_2" in text for text in project.sql(plan))

    run = project.upgrade()
    assert statuses(run) == dict.fromkeys("ab", Status.SUCCEEDED)
    assert way.tables() == HELD
    assert [s.kind for s in project.status()] == [StateKind.UP_TO_DATE] * 2
    assert statuses(project.upgrade()) == dict.fromkeys("ab", Status.UP_TO_DATE)
    assert {e.run for name in "ab" for e in project.history(name)} == {run.id}

    down = project.downgrade("b", ["b@base"])
    assert way.tables() == {"a": HELD["a"], "b": {"s1", "s2", "s3"}}
    assert [e.direction for e in project.history("b")][-2:] == ["down", "down"]

    assert statuses(project.rollback(down.id)) == {"b": Status.SUCCEEDED}
    assert way.tables() == HELD
    assert statuses(project.rollback(run.id)) == dict.fromkeys("ab", Status.SUCCEEDED)
    assert way.tables() == {"a": set(), "b": set()}
    assert not [f for f in project.doctor() if f.level == "error"]


def test_adopting_works_in_session_mode(session_mode: Way, make_project: MakeProject, tmp_path: Path) -> None:
    """An old history in the one tenant, which the other has not."""
    way = session_mode
    execute(
        *way.databases["b"],
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('s1')",
        "CREATE TABLE s1 (id int PRIMARY KEY)",
    )
    project = Project.load(make_project(tmp_path, way.entries, REVISIONS))
    assert [s.kind for s in project.status()] == [StateKind.PENDING, StateKind.NOT_ADOPTED]
    assert statuses(project.adopt("b")) == {"b": Status.SUCCEEDED}
    assert rows(*way.databases["b"]) == {"s1"}
    assert nothing_of_ours(*way.databases["a"])
    assert statuses(project.upgrade()) == dict.fromkeys("ab", Status.SUCCEEDED)
    assert way.tables() == {"a": HELD["a"], "b": HELD["b"] | {"alembic_version"}}


def test_at_most_two_connections_to_a_project(
    standin: StandIn, twins: Any, make_project: MakeProject, tmp_path: Path
) -> None:
    """The pool is the application's too: one connection works, one holds the lock."""
    entries = {
        name: supabase_entry(standin, ref, twins[name][1].dbname, standin.session_port)
        for name, ref in (("a", REF_A), ("b", REF_B))
    }
    project = Project.load(make_project(tmp_path, entries, REVISIONS))
    run = project.upgrade()
    project.rollback(run.id)
    assert standin.most.keys() == {REF_A, REF_B}
    assert max(standin.most.values()) == 2


# --- transaction mode


def test_transaction_mode_is_refused_and_nothing_written(
    transaction_mode: Way, make_project: MakeProject, tmp_path: Path
) -> None:
    """Proven at run time, since the port says nothing: no schema, no table, no lock; the exit code says so."""
    way = transaction_mode
    project = Project.load(make_project(tmp_path, way.entries, REVISIONS))
    assert [s.kind for s in project.status()] == [StateKind.PENDING] * 2
    for run in (project.upgrade(), project.upgrade(parallel=1), project.adopt("a", ["s1"])):
        assert set(statuses(run).values()) == {Status.REFUSED}
        for result in run.results:
            assert result.problem is not None
            assert result.problem.code == "transaction_pooler"
            assert result.problem.message.startswith("this endpoint is not in session mode: ")
            assert result.problem.hint == (
                "use the session-mode port of the pooler (5432 at Supabase) or a direct connection; a transaction-mode "
                "pooler loses locks and settings between statements"
            )
            assert (result.steps, result.heads_after) == ((), ())
        assert exits.of_run(run) == 1
    assert all(nothing_of_ours(*where) for where in way.databases.values())
    assert way.tables() == {"a": set(), "b": set()}


def test_two_backends_are_no_proof(database: Address, bouncer_transaction: PgBouncer) -> None:
    """While others keep the listener's busy, the notifier has another; but the message does not arrive."""
    with ExitStack() as opened:
        listener, notifier, other = (opened.enter_context(bouncer_transaction.connect(database.dbname)) for _ in "123")
        listening = listen(listener)
        other.execute("BEGIN")
        assert other.execute("SELECT pg_backend_pid()").fetchone() == (listening.pid,)
        with pytest.raises(TargetError, match="this endpoint is not in session mode: the backend changed"):
            prove(listener, listening, notifier)


def test_the_mode_is_seen_beside_looks(
    session_mode: Way, transaction_mode: Way, make_project: MakeProject, tmp_path: Path, pg: Cluster
) -> None:
    """By two connections made for it, many at a time, as by those that work."""
    for way, expected in ((session_mode, True), (transaction_mode, False)):
        project = Project.load(make_project(tmp_path / str(expected), way.entries, REVISIONS))

        async def all_of_them(targets: tuple[Target, ...]) -> list[bool]:
            return await asyncio.gather(*(is_in_session_mode(t, pg.password) for t in targets * 5))

        assert set(asyncio.run(all_of_them(project.targets()))) == {expected}


def test_an_upgraded_target_is_refused_in_transaction_mode_too(
    transaction_mode: Way, make_project: MakeProject, tmp_path: Path
) -> None:
    """Downgrade and rollback of what was done directly: rows and journal stay as they are, no lock is left."""
    way = transaction_mode
    root = make_project(tmp_path, {n: target_entry(a) for n, (_, a) in way.databases.items()}, REVISIONS)
    run = Project.load(root).upgrade()
    before = {name: (rows(*where), journal(*where)) for name, where in way.databases.items()}
    make_project(tmp_path, way.entries, {})
    project = Project.load(root)
    assert [s.kind for s in project.status()] == [StateKind.UP_TO_DATE] * 2
    for refused in (project.downgrade("a", ["base"]), project.rollback(run.id)):
        assert {r.problem.code for r in refused.results if r.problem} == {"transaction_pooler"}
        assert set(statuses(refused).values()) == {Status.REFUSED}
    assert {name: (rows(*where), journal(*where)) for name, where in way.databases.items()} == before
    assert [locks(cluster, address) for cluster, address in way.databases.values()] == [0, 0]


def locks(pg: Cluster, address: Address) -> int:
    """Advisory locks in a database."""
    with pg.admin(address.dbname) as c:
        row = c.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


# --- the door


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("new", "(ENOTFOUND) tenant/user postgres.aaaaaaaaaaaaaaaaaaaa not found"),
        ("old", "Tenant or user not found"),
    ],
)
def test_a_wrong_project_ref_is_told_once(
    texts: Texts, message: str, standin: StandIn, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """In the pooler's words of before and after 2026-03, with the two places to look at; asked once, not again."""
    standin.set(texts=texts)
    wrong = "a" * 20
    entries = {
        "wrong": supabase_entry(standin, wrong, database.dbname, standin.session_port),
        "right": supabase_entry(standin, REF_A, database.dbname, standin.session_port),
    }
    project = Project.load(make_project(tmp_path, entries, SHARED))
    states = {s.target: s for s in project.status()}
    assert states["right"].kind is StateKind.PENDING
    assert states["wrong"].kind is StateKind.UNREACHABLE
    assert standin.attempts[wrong] == 1
    problem = states["wrong"].problem
    assert problem is not None
    assert problem.code == "tenant_not_found"
    assert message in problem.message
    assert problem.hint == (
        "copy `host` and `project_ref` from the project's Connect dialog (aws-0 and aws-1 are different poolers), and "
        "look whether the project is paused"
    )
    assert statuses(project.upgrade()) == {"wrong": Status.FAILED, "right": Status.SUCCEEDED}


@pytest.mark.parametrize("texts", ["new", "old"])
def test_a_full_pool_is_tried_again_until_there_is_room(
    texts: Texts, pg: Cluster, standin: StandIn, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """The application holds a place until the runner says that it is waiting for one."""
    standin.set(texts=texts, pool_size=2)
    entry = supabase_entry(standin, REF_A, database.dbname, standin.session_port)
    project = Project.load(make_project(tmp_path, {"one": entry}, SHARED))
    application = pg.open(standin.address(REF_A, database.dbname))
    told: list[str] = []

    def watch(event: Event) -> None:
        if event.kind is EventKind.NOTICE:
            told.append(event.text)
            application.close()

    run = project.upgrade(watch=watch)
    assert statuses(run) == {"one": Status.SUCCEEDED}
    assert "max clients" in told[0]
    assert told[0].startswith("attempt 1 of 5: ")
    assert tables(pg, database) == {"s1", "s2", "s3"}


def test_a_pool_that_stays_full_is_a_failure_with_its_hint(
    pg: Cluster, standin: StandIn, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """Of a status after three attempts; nothing is left in the database."""
    standin.set(pool_size=1)
    entry = supabase_entry(standin, REF_A, database.dbname, standin.session_port)
    project = Project.load(make_project(tmp_path, {"one": entry}, SHARED))
    with pg.open(standin.address(REF_A, database.dbname)):
        before = standin.attempts[REF_A]
        (state,) = project.status()
        assert standin.attempts[REF_A] - before == 3
    assert state.kind is StateKind.UNREACHABLE
    assert state.problem is not None
    assert (state.problem.code, state.problem.hint) == (
        "too_many_connections",
        "the session pool is shared with the application; close sessions or raise the pool size",
    )
    assert "(EMAXCONNSESSION) max clients reached in session mode" in state.problem.message
    assert nothing_of_ours(pg, database)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"pool_size": 2, "query_wait_timeout": 1}, "query_wait_timeout"),
        ({"max_client_conn": 2}, "no more connections allowed"),
    ],
    ids=["no place at the server", "no more clients"],
)
def test_a_full_pgbouncer_is_tried_again(
    limits: dict[str, int], words: str, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """It keeps the first query waiting until its own limit, or refuses at once; a place that becomes free is taken."""
    with PgBouncer(pg, "session", **limits) as bouncer:
        entry = target_entry(bouncer.address(database.dbname))
        project = Project.load(make_project(tmp_path, {"one": entry}, SHARED))
        application = bouncer.connect(database.dbname)
        application.execute("SELECT 1")
        told: list[str] = []

        def watch(event: Event) -> None:
            if event.kind is EventKind.NOTICE:
                told.append(event.text)
                application.close()

        run = project.upgrade(watch=watch)
    assert statuses(run) == {"one": Status.SUCCEEDED}
    assert words in told[0]


def test_a_pool_of_one_place_is_said_to_be_too_small(
    pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """A run needs two, and no `connect_timeout` would change that. How long it was tried is told."""
    with PgBouncer(pg, "session", pool_size=1, query_wait_timeout=1) as bouncer:
        entry = target_entry(bouncer.address(database.dbname))
        run = Project.load(make_project(tmp_path, {"one": entry}, SHARED)).upgrade()
    (result,) = run.results
    assert result.problem is not None
    assert "a run needs two places" in result.problem.hint
    assert result.seconds > 1
    assert nothing_of_ours(pg, database)


_UNTIL_IT_IS_SPOKEN_TO = """
import select
driver = op.get_bind().connection.driver_connection
op.get_bind().exec_driver_sql('SELECT 1').scalar()
select.select([driver], [], [], 60)
op.execute('SELECT 1')
"""


@pytest.mark.parametrize(
    ("limit", "up", "code"),
    [
        ("idle_transaction_timeout", _UNTIL_IT_IS_SPOKEN_TO, "idle_in_transaction"),
        ("query_timeout", "op.execute('SELECT pg_sleep(60)')", "statement_timeout"),
    ],
)
def test_a_step_that_a_pooler_cuts_by_its_own_limit_is_not_tried_again(
    limit: str, up: str, code: str, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """It would be cut again: one attempt, and the hint names the pooler's setting."""
    with PgBouncer(pg, "session", **{limit: 1}) as bouncer:
        entry = target_entry(bouncer.address(database.dbname))
        history = {"shared/1": revision("s1", up_code=up)}
        told: list[str] = []
        run = Project.load(make_project(tmp_path, {"one": entry}, history)).upgrade(
            watch=lambda e: told.append(e.text) if e.kind is EventKind.NOTICE else None
        )
    (result,) = run.results
    assert result.problem is not None
    assert (result.status, result.problem.code) == (Status.FAILED, code)
    assert limit in result.problem.hint
    assert not [text for text in told if "looking what the target holds" in text]


def test_a_wrong_password_is_tried_once_through_a_pooler(
    standin: StandIn, database: Address, make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a whole upgrade: ten wrong ones in a while would lock the application out."""
    entry = supabase_entry(standin, REF_A, database.dbname, standin.session_port)
    project = Project.load(make_project(tmp_path, {"one": entry}, SHARED))
    monkeypatch.setenv(PASSWORD_VARIABLE, "not the right one")
    run = project.upgrade()
    assert statuses(run) == {"one": Status.FAILED}
    assert [r.problem.code for r in run.results if r.problem] == ["wrong_password"]
    assert standin.attempts[REF_A] == 1


def test_the_wrong_root_certificate_is_no_door(
    standin: StandIn, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """A project's entry is verified in full; the pooler is not even told who comes."""
    other = tmp_path / "other.crt"
    other.write_bytes((pg.ca_file.parent / "wrong-ca.crt").read_bytes())
    entry = supabase_entry(standin, REF_A, database.dbname, standin.session_port, sslrootcert=str(other))
    project = Project.load(make_project(tmp_path, {"one": entry}, SHARED))
    (state,) = project.status()
    assert state.kind is StateKind.UNREACHABLE
    assert state.problem is not None
    assert state.problem.code == "tls_untrusted"
    assert standin.attempts[REF_A] == 0


def test_the_pooled_backend_keeps_nothing_of_a_refused_run(
    transaction_mode: Way, make_project: MakeProject, tmp_path: Path
) -> None:
    """Whoever gets the backend next finds the settings that the role has."""
    way = transaction_mode
    project = Project.load(make_project(tmp_path, way.entries, REVISIONS))
    with session_of(project, "a") as c:
        before = settings(c)
    project.upgrade(["a"])
    with session_of(project, "a") as c:
        assert settings(c) == before


def session_of(project: Project, target: str) -> psycopg.Connection:
    """The application's, by the same way as the target's."""
    a = project.targets([target])[0].address
    return psycopg.connect(
        host=a.host,
        port=a.port,
        user=a.user,
        dbname=a.dbname,
        sslmode=a.sslmode,
        sslrootcert=a.sslrootcert or "",
        password=Cluster.password,
        autocommit=True,
    )


def settings(c: psycopg.Connection) -> list[tuple[str, str]]:
    """What a session has that is not the server's or the role's; and what it listens to."""
    return c.execute(
        "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> 'application_name'"
        " UNION ALL SELECT 'listens', pg_listening_channels() ORDER BY 1, 2"
    ).fetchall()


def test_a_pooler_that_cleans_nothing_keeps_nothing_of_ours(
    pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """Without `server_reset_query` it hands a server connection on as it is: no lock may be on it, no limit, and it
    listens to nothing. After whole steps, steps that want two connections, and one that fails.
    """
    with PgBouncer(pg, "session", pool_size=4, server_reset_query="") as bouncer:
        entry = target_entry(bouncer.address(database.dbname), lock_timeout="7s", queue_timeout="1s")
        asking = {**SHARED, "shared/s8.py": revision("s8", "s3", up="SELECT 1")}
        failing = {**asking, "shared/s9.py": revision("s9", "s8", up="SELECT 1/0")}
        for number, revisions in enumerate((SHARED, asking, failing)):
            project = Project.load(make_project(tmp_path / str(number), {"one": entry}, revisions))
            run = project.upgrade()
            assert statuses(run) == {"one": Status.FAILED if number == 2 else Status.SUCCEEDED}, run.results
            with pg.admin(database.dbname) as admin:
                assert not admin.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'").fetchall()
        with ExitStack() as opened:
            kept = [opened.enter_context(bouncer.connect(database.dbname)) for _ in range(4)]
            for connection in kept:
                assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
                assert connection.execute("SELECT pg_listening_channels()").fetchall() == []


def test_a_pooler_that_cleans_nothing_keeps_nothing_of_a_refused_run(
    pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """It had the lock when it saw that the target is not its own, and the next runner comes by the same way."""
    with PgBouncer(pg, "session", pool_size=4, server_reset_query="") as bouncer:
        entry = target_entry(bouncer.address(database.dbname), queue_timeout="1s")
        project = Project.load(make_project(tmp_path, {"one": entry}, SHARED))
        plan = project.plan()
        with pg.connect(database.dbname) as c:
            c.execute("CREATE TABLE alembic_version (version_num text)")
            c.execute("INSERT INTO alembic_version VALUES ('x')")
            assert statuses(project.run(plan)) == {"one": Status.REFUSED}
            assert c.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'").fetchall() == []
            c.execute("DROP TABLE alembic_version")
        assert statuses(project.run(plan)) == {"one": Status.SUCCEEDED}


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("what", ["break", "current", "beside"])
def test_who_only_looks_or_breaks_a_lock_leaves_no_limit_in_the_pooler(
    mode: Mode, what: str, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """The application would have it. `beside` is a revision's own connection, which only a run has."""
    connects = "with op.get_bind().engine.connect() as c:\n    c.exec_driver_sql('SELECT 1')"
    with PgBouncer(pg, "session", pool_size=4, server_reset_query="", databases={database.dbname: mode}) as bouncer:
        entry = target_entry(database)
        folder = make_project(tmp_path, {"one": entry}, {"shared/1": revision("s1", label="shared")})
        assert statuses(Project.load(folder).upgrade()) == {"one": Status.SUCCEEDED}
        add_revision(folder, "shared/2", revision("s2", "s1", up_code=connects))
        entries = folder / "targets" / "t.yaml"
        entries.write_text(entries.read_text().replace(f":{database.port}/", f":{bouncer.port}/"))
        project = Project.load(folder)
        if what == "break":
            with pg.connect(database.dbname) as holder:
                holder.execute("SELECT pg_advisory_lock(%s)", (lock_key(project.fleet.by_name["one"]),))
                (seen,) = project.locks()
                assert project.break_lock(seen).pids == seen.pids
        elif what == "current":
            done = subprocess.run(
                [sys.executable, "-m", "alembic", "current"], cwd=folder, capture_output=True, text=True, check=False
            )
            assert "s1" in done.stdout, done.stderr
        else:
            wanted = Status.SUCCEEDED if mode == "session" else Status.REFUSED
            assert statuses(project.upgrade()) == {"one": wanted}
        with ExitStack() as opened:
            for _ in range(4):
                connection = opened.enter_context(bouncer.connect(database.dbname))
                connection.execute("BEGIN")
                assert connection.execute("SHOW statement_timeout").fetchone() == ("2min",)


def test_locks_says_since_when_a_runner_is_at_work_and_not_since_when_its_session_stands(
    bouncer_session: PgBouncer, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """The pooler has opened that for somebody else, perhaps yesterday."""
    entry = target_entry(bouncer_session.address(database.dbname))
    project = Project.load(make_project(tmp_path, {"one": entry}, SHARED))
    with ExitStack() as opened:
        earlier = [opened.enter_context(bouncer_session.connect(database.dbname)) for _ in range(2)]
        (began,) = [c.execute("SELECT clock_timestamp()").fetchone() for c in earlier][-1] or (None,)
    target, who = project.fleet.by_name["one"], find_origin(tmp_path)
    with Session(target, Cluster.password, "20261121-000000-0000", who):
        (held,) = project.locks()
    assert held.run == "20261121-000000-0000"
    assert began is not None
    assert held.since is not None
    assert held.since > began


@pytest.mark.parametrize("same", [True, False], ids=["the-same-session", "another-session"])
def test_a_lock_that_a_pooler_keeps_is_shown_and_ended(
    same: bool, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """What a killed runner leaves there; also where the pooler gives that very session to whoever looks."""
    with PgBouncer(pg, "session", pool_size=4, server_reset_query="") as bouncer, ExitStack() as opened:
        entry = target_entry(bouncer.address(database.dbname), queue_timeout="0s")
        folder = make_project(tmp_path, {"one": entry}, SHARED)
        project = Project.load(folder)
        project.upgrade(to=["s1"])
        dead = bouncer.connect(database.dbname)
        question = "SELECT pg_backend_pid() FROM pg_advisory_lock(%s)"
        (left,) = dead.execute(question, (lock_key(project.fleet.by_name["one"]),)).fetchone() or (0,)
        dead.close()
        if not same:  # the pooler gives away first what it got back last
            opened.enter_context(bouncer.connect(database.dbname)).execute("SELECT 1")
            (result,) = project.upgrade().results
            assert result.problem is not None
            assert (result.problem.code, result.status) == ("locked", Status.REFUSED)
            assert "`ehg-migrate locks break TARGET` ends one" in result.problem.hint
        said = ehg(folder, "locks")
        assert f"backend {left} {'left behind' if same else 'idle'}" in said.out
        assert "pg_locks" not in said.out, "what we ask is nothing that the holder does"
        said = ehg(folder, "locks", "break", "one", "--yes")
        assert (said.code, said.out) == (0, f"one: ended backend {left}; look with `ehg-migrate status -t one`\n")
        with pg.admin(database.dbname) as admin:
            assert not admin.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (left,)).fetchall()
        assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}
