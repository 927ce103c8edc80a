"""Scratch servers: which one is taken, what is kept on it, and what killed users left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from ehg_migrate.errors import LocalServerError
from ehg_migrate.model import Address, Target
from ehg_migrate.schema.brought import BROUGHT, bring
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.ground import Ground, at_home, default_of, ground_query, lay
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.scratch import _SWEEPING, Scratch, ScratchServers, nearest
from ehg_migrate.schema.scratch_url import given
from tests.support.postgres import Cluster
from tests.support.programs import wait_until


@pytest.fixture
def scratch(pg: Cluster) -> Iterator[Scratch]:
    """On the tests' server, as a role that is no superuser; what is kept goes at the end."""
    with Scratch(pg.address("postgres"), pg.password) as scratch:
        yield scratch
    pg.drop_databases(d for d in databases(pg) if d.startswith("ehg_kept_"))


def databases(pg: Cluster) -> set[str]:
    """All names on the server."""
    with pg.admin() as c:
        return {row[0] for row in c.execute("SELECT datname FROM pg_database").fetchall()}


@pytest.mark.parametrize(
    ("majors", "wanted", "expected"),
    [
        ((16, 18), 14, 16),
        ((16, 18), 16, 16),
        ((16, 18), 17, 18),
        ((18, 16), 17, 18),
        ((16, 18), 19, 18),
        ((15,), 18, 15),
    ],
)
def test_the_nearest_version(majors: tuple[int, ...], wanted: int, expected: int) -> None:
    """The nearest; of two as near the newer, in whatever order they come."""
    assert nearest(majors, wanted) == expected


def test_a_copy_is_a_copy(scratch: Scratch) -> None:
    """A copy has what its source had and changes alone; a kept one is found by the first key that is there."""
    source = scratch.fresh()
    with scratch.connect(source) as c:
        c.execute("CREATE TABLE t (n int)")
    scratch.keep(source, "abc")
    assert scratch.clone_kept(["xyz"]) is None
    found = scratch.clone_kept(["xyz", "abc"])
    assert found is not None
    assert found[0] == "abc"
    with scratch.connect(found[1]) as c:
        c.execute("DROP TABLE t")
    with scratch.connect(scratch.clone("ehg_kept_abc")) as c:
        assert c.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_what_is_kept_twice_is_there_once(scratch: Scratch, pg: Cluster) -> None:
    """The second of two that made the same keeps its own only until it leaves."""
    with Scratch(pg.address("postgres"), pg.password) as other:
        scratch.keep(scratch.fresh(), "same")
        late = other.fresh()
        other.keep(late, "same")
        assert {late, "ehg_kept_same"} <= databases(pg)
    assert late not in databases(pg)
    assert "ehg_kept_same" in databases(pg)


def test_only_so_many_are_kept(scratch: Scratch, pg: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for longest goes."""
    monkeypatch.setattr("ehg_migrate.schema.scratch._MOST_KEPT", 2)
    for key in ("first", "second"):
        scratch.keep(scratch.fresh(), key)
    scratch.clone_kept(["first"])
    scratch.keep(scratch.fresh(), "third")
    assert {d for d in databases(pg) if d.startswith("ehg_kept_")} == {"ehg_kept_first", "ehg_kept_third"}


def test_what_a_killed_user_left(scratch: Scratch, pg: Cluster) -> None:
    """Databases of nobody go when the next user comes; those of one who lives stay, and go with him."""
    mine = scratch.fresh()
    with pg.connect("postgres") as c:
        c.execute("CREATE DATABASE ehg_scratch_7_1")
    with Scratch(pg.address("postgres"), pg.password):
        assert "ehg_scratch_7_1" not in databases(pg)
        assert mine in databases(pg)


def test_what_a_killed_user_left_when_two_come_at_once(pg: Cluster) -> None:
    """One of them takes it away, and the other does not fail of that."""

    def enter() -> str:
        with Scratch(pg.superuser_address("postgres"), pg.password, ours=True) as other:
            return other.version

    with pg.admin() as first, pg.admin() as c, ThreadPoolExecutor() as pool:
        first.execute("CREATE ROLE ehg_scratch_7_1")
        first.execute("SELECT pg_advisory_lock(%s, 0)", (_SWEEPING,))
        with first.transaction():
            first.execute("DROP ROLE ehg_scratch_7_1")
            second = pool.submit(enter)
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DROP ROLE%'"
            wait_until(lambda: second.done() or bool(c.execute(waiting).fetchone()), "it does not come", 30)
        assert second.result(30)


def test_a_server_that_ends_the_session(pg: Cluster) -> None:
    """Whatever comes next says so in our words; its own time limit for idle sessions ends none."""
    calls: list[Callable[[Scratch], object]] = [
        Scratch.fresh,
        lambda s: s.clone_kept(["any"]),
        lambda s: s.keep("any", "any"),
        lambda s: s.drop("any"),
    ]
    for call in calls:
        with Scratch(pg.address("postgres"), pg.password) as scratch:
            with pg.admin() as admin:
                question = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
                admin.execute(question, ("ehg_migrate scratch",))
            with pytest.raises(LocalServerError, match=r"the scratch server at .* refuses: "):
                call(scratch)


def test_a_role_that_may_not_make_databases(pg: Cluster) -> None:
    """What it lacks is said."""
    with pg.admin() as admin:
        admin.execute("CREATE ROLE lowly LOGIN PASSWORD 'lowly'")
    try:
        with (
            Scratch(replace(pg.address("postgres"), user="lowly"), "lowly") as scratch,
            pytest.raises(LocalServerError) as caught,
        ):
            scratch.fresh()
        assert "(CREATEDB CREATEROLE); `EHG_SCRATCH_URL` names it" in caught.value.problems[0].hint
    finally:
        with pg.admin() as admin:
            admin.execute("DROP ROLE lowly")


def test_a_role_whose_idle_sessions_end(pg: Cluster) -> None:
    """A replay takes longer than the role's sessions may be idle."""
    with pg.admin() as admin:
        admin.execute("ALTER ROLE postgres SET idle_session_timeout = '50ms'")
        try:
            with Scratch(pg.address("postgres"), pg.password) as scratch, pg.connect("postgres") as witness:
                asked = "SELECT FROM pg_stat_activity WHERE pid = %s"
                pid = witness.info.backend_pid
                wait_until(lambda: not admin.execute(asked, (pid,)).fetchall(), "an idle session of this role stays")
                assert scratch.clone_kept(["any"]) is None
        finally:
            admin.execute("ALTER ROLE postgres RESET idle_session_timeout")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_an_encoding_that_only_the_shell_speaks(pg: Cluster, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """PGCLIENTENCODING is for other programs: a catalogue on a scratch server is read as it is."""
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    with Scratch(pg.address("postgres"), pg.password) as scratch, scratch.connect(scratch.fresh()) as c:
        c.execute('CREATE TABLE "grün" ("é" text DEFAULT \'ü\')')
        found = read_catalog(c, Scope())
    assert [str(f) for f in found.facts if f.kind == "column"] == ['column public."grün"."é"']


@pytest.mark.parametrize("url", ["nonsense", "postgresql://a:secret-word@h:port/x", "mysql://u:secret-word@h/x"])
def test_a_url_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Refused before anything is started, without showing what stands in it."""
    monkeypatch.setenv("EHG_SCRATCH_URL", url)
    with pytest.raises(LocalServerError) as caught:
        ScratchServers(tmp_path)
    problem = caught.value.problems[0]
    assert problem.code == "scratch_url"
    assert problem.hint.startswith("write `postgresql://USER:PASSWORD@HOST:PORT/postgres`, of a role that may ")
    assert "secret-word" not in str(caught.value)


SERVERS = {
    # URL -> how it is spoken to
    "postgresql://u:secret-word@127.0.0.1/x": ("prefer", None),
    "postgresql://u:secret-word@/x?host=/tmp": ("prefer", None),
    "postgresql://u:secret-word@db.example/x": ("require", None),
    "postgresql://u:secret-word@db.example/x?sslrootcert=ca.crt": ("verify-full", "ca.crt"),
    # in its owner's own words: without them a server that has no TLS could not be used at all
    "postgresql://u:secret-word@db.example/x?sslmode=disable": ("disable", None),
}


@pytest.mark.parametrize(("url", "spoken"), SERVERS.items())
def test_how_a_server_of_a_url_is_spoken_to(url: str, spoken: tuple[str, str | None]) -> None:
    """Beyond this machine encrypted, and verified where a root is given, unless the URL says otherwise."""
    address, password = given(url)
    assert (address.sslmode, address.sslrootcert, password) == (*spoken, "secret-word")


def test_a_url_with_what_would_not_be_heeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wish for more security is not left out in silence."""
    monkeypatch.setenv("EHG_SCRATCH_URL", "postgresql://u:secret-word@h/x?channel_binding=require")
    with pytest.raises(LocalServerError, match="parameter `channel_binding`, which would not be heeded") as caught:
        ScratchServers(tmp_path)
    assert "secret-word" not in str(caught.value)


def test_a_ground_is_what_it_was_read_from(scratch: Scratch, pg: Cluster) -> None:
    """Read from a database like Supabase's and laid on an empty one, it reads the same there."""
    made = pg.create_database("grounded")
    try:
        with pg.connect(made.dbname) as c:
            c.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
            c.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM anon")
            original = ground(c)
        empty = scratch.fresh()
        with scratch.connect(empty) as c:
            lay(c, original)
            at_home(c, original)
        with scratch.connect(empty) as c:
            # the stand-ins are the scratch role's own, and so none of the platform's
            assert replace(ground(c), platform=()) == replace(original, platform=(), keepers=())
            assert "supabase_auth_admin" in original.keepers
            assert original.platform == ("auth", "extensions", "storage", "supabase_realtime")
            assert c.execute("SELECT auth.uid()").fetchone() == (None,)
    finally:
        pg.drop_databases([made.dbname])


def test_default_privileges_of_a_newer_server(scratch: Scratch) -> None:
    """MAINTAIN, which a target of 17 gives with GRANT ALL, hinders no older server; what else it gives is there."""
    defaults = [default_of("public", "r", p, "anon") for p in ("MAINTAIN", "SELECT")]
    defaults.append(default_of("extensions", "r", "MAINTAIN", "anon"))
    with scratch.connect(scratch.fresh()) as c:
        lay(c, replace(Ground.supabase(17, ""), platform=("extensions",), defaults=tuple(defaults)))
        found = read_catalog(c, Scope(without_schemas=())).facts
    assert {f.identity: f.definition for f in found if f.kind == "default privileges"} == {
        "of $owner in public on tables": {"grants": {"anon": "SELECT"}},
        "of $owner in extensions on tables": {},
    }


def test_what_a_project_is_given_without_a_superuser(scratch: Scratch) -> None:
    """The server's own extension where it is offered and may be made, and else what revisions call, under no name."""
    with scratch.connect(scratch.fresh()) as c:
        for part, (name, _) in BROUGHT.items():
            bring(c, part)
            if c.execute("SELECT FROM pg_extension WHERE extname = %s", (name,)).fetchone():
                assert c.execute("SELECT FROM pg_available_extensions WHERE name = %s", (name,)).fetchone()
        for call in ("extensions.uuid_generate_v4()", "extensions.crypt('a', extensions.gen_salt('bf'))"):
            assert c.execute(f"SELECT {call} IS NOT NULL".encode()).fetchone() == (True,)
        assert c.execute("SELECT count(*) FROM vault.decrypted_secrets").fetchone() == (0,)


_TARGET = Target("whole", Address("h", 5432, "u", "d", "disable"), ("shared",))


def ground(connection: psycopg.Connection) -> Ground:
    """What stands below the revisions of this database."""
    cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
    row = cursor.execute(ground_query(_TARGET)).fetchone()
    assert row is not None
    return Ground.of(row, "", "")
