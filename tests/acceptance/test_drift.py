"""`drift` and `rehearse`: a fleet on real servers against what its revisions produce, as a user sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import sql

from ehg_migrate.model import Address
from tests.conftest import MakeProject
from tests.integration.fleets import column, entries, execute, tables
from tests.support.cli import Said, ehg
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision

REVISIONS = {
    "shared/1": revision(
        "notes1",
        up="""
            CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner uuid NOT NULL, body text,
                                pinned boolean DEFAULT false);
            ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
            CREATE POLICY reading ON notes FOR SELECT USING (owner = auth.uid());
            REVOKE ALL ON notes FROM anon, authenticated;
            GRANT SELECT ON notes TO authenticated;
            CREATE INDEX notes_owner ON notes (owner);
            CREATE VIEW pinned_notes AS SELECT id, body FROM notes WHERE pinned""",
        label="shared",
    ),
    "acme/1": revision("acme1", up="CREATE TABLE acme_only (n int)", label="acme", depends=["notes1"]),
}


@dataclass
class Fleet:
    """A project folder, where its targets are, and the variables that its commands get."""

    folder: Path
    addresses: dict[str, Address]
    variables: dict[str, str]

    def run(self, *arguments: str) -> Said:
        """A command."""
        return ehg(self.folder, *arguments, **self.variables)


@pytest.fixture
def fleet(tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster) -> Fleet:
    """Three targets at their heads, one of them with a branch of its own; the scratch server is theirs."""
    addresses = {name: make_database(name) for name in ("acme", "beta", "gamma")}
    make_project(tmp_path, entries(addresses), REVISIONS)
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    assert fleet.run("upgrade", "--yes").code == 0
    return fleet


def test_a_schema_that_somebody_alters_meanwhile(fleet: Fleet, pg: Cluster) -> None:
    """It is not known then, and what helps is said: the target's `lock_timeout` is not for looking."""
    with pg.connect(fleet.addresses["acme"].dbname, autocommit=False) as other:
        other.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        said = fleet.run("drift", "-t", "acme", "--full")
    assert (said.code, "canceling statement due to lock timeout" in said.out) == (1, True), said
    assert "another session alters what is looked at" in said.out
    assert "raise `lock_timeout`" not in said.out
    assert fleet.run("drift", "-t", "acme", "--full").code == 0


def scratch_url(pg: Cluster) -> str:
    """Of the tests' own server, for a role that is no superuser, with the password in it."""
    a = pg.address("postgres")
    return f"postgresql://{a.user}:{quote(pg.password, safe='')}@{a.host}:{a.port}/postgres?sslmode=disable"


def spoil(pg: Cluster, address: Address) -> None:
    """A column, a policy and a grant missing, and an index that is INVALID, at the same heads."""
    execute(pg, address, "ALTER TABLE notes DROP COLUMN pinned CASCADE", "DROP POLICY reading ON notes")
    execute(pg, address, "REVOKE SELECT ON notes FROM authenticated")
    with pg.admin(address.dbname) as c:
        c.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notes_owner'::regclass")


def scratch_databases(pg: Cluster) -> set[str]:
    """Those of the tests' server that were made for a moment."""
    with pg.admin() as c:
        return {
            row[0] for row in c.execute("SELECT datname FROM pg_database WHERE datname ~ '^ehg_scratch'").fetchall()
        }


def test_a_fleet_as_its_revisions_made_it(fleet: Fleet, pg: Cluster) -> None:
    """Nothing is reported; two states are replayed once, and then none again. No database stays that is not kept."""
    said = fleet.run("drift", "--exit-code")
    assert (said.code, said.err) == (0, "replaying the revisions of 2 states on a scratch server\n"), said
    assert said.out.splitlines()[-1] == "3 matches (acme, beta, gamma)"
    again = fleet.run("drift", "--exit-code")
    assert (again.code, again.err) == (0, ""), again
    assert scratch_databases(pg) == set()
    for file in (fleet.folder / ".ehg" / "references").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
        assert pg.password.encode() not in file.read_bytes()


def test_a_target_that_was_not_changed_is_not_read_again(fleet: Fleet, pg: Cluster) -> None:
    """It says so by its token; a change is seen at once, `--full` and a file that is damaged look anew."""

    def unchanged(*options: str) -> dict[str, tuple[str, bool]]:
        data = fleet.run("drift", "--json", *options).json["data"]
        return {d["target"]: (d["verdict"], d["unchanged"]) for d in data}

    first, again = ("matches", False), ("matches", True)
    assert unchanged() == dict.fromkeys(("acme", "beta", "gamma"), first)
    execute(pg, fleet.addresses["acme"], "INSERT INTO notes (owner) VALUES (gen_random_uuid())", "ANALYZE notes")
    assert unchanged() == dict.fromkeys(("acme", "beta", "gamma"), again)
    assert unchanged("--full") == dict.fromkeys(("acme", "beta", "gamma"), first)
    spoil(pg, fleet.addresses["beta"])
    assert unchanged() == {"acme": again, "beta": ("drifted", False), "gamma": again}
    assert unchanged() == {"acme": again, "beta": ("drifted", True), "gamma": again}
    kept = fleet.folder / ".ehg" / "tripwires.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert pg.password not in kept.read_text()
    for damaged in ("", "[]", '{"acme": 1}', '{"acme": {"token": "x"}}'):
        kept.write_text(damaged)
        assert unchanged("-t", "acme") == {"acme": first}, damaged


def test_what_was_kept_is_damaged(fleet: Fleet, pg: Cluster) -> None:
    """It is the trouble of the targets that it was for, and of no other one; the next look makes it anew."""
    fleet.run("drift")
    execute(pg, fleet.addresses["acme"], "ALTER TABLE acme_only ADD COLUMN mine int")
    execute(pg, fleet.addresses["beta"], "ALTER TABLE notes ADD COLUMN mine int")
    (of_acme,) = (f for f in fleet.folder.glob(".ehg/references/*.jsonl") if "acme_only" in f.read_text())
    of_acme.write_text(of_acme.read_text().replace("acme_only", "acme_once"))
    said = fleet.run("drift")
    assert said.code == 1, said
    assert said.out.splitlines()[-1] == "1 no_reference (acme), 1 drifted (beta), 1 matches (gamma)", said
    assert "which is damaged or gone" in said.out
    again = fleet.run("drift")
    assert (again.code, again.out.splitlines()[-1]) == (0, "2 drifted (acme, beta), 1 matches (gamma)"), again


def test_on_the_embedded_server(fleet: Fleet) -> None:
    """Without a server of the user's the embedded one of the nearest version makes the references, views and all."""
    fleet.variables.clear()
    said = fleet.run("drift", "-t", "beta", "--json")
    (beta,) = said.json["data"]
    assert (said.code, beta["verdict"], beta["differences"]) == (0, "matches", [])
    assert beta["reference_version"].split(".")[0] in ("16", "18")


def test_what_is_missing_is_named(fleet: Fleet, pg: Cluster) -> None:
    """A column (and the view on it), a policy, a grant and an index that is not valid: each by its name, exit 3."""
    spoil(pg, fleet.addresses["beta"])
    said = fleet.run("drift", "--exit-code")
    assert said.code == 3, said
    for line in (
        "  missing  column public.notes.pinned",
        "  missing  policy reading on public.notes",
        "  missing  view public.pinned_notes",
        "  changed  index public.notes_owner",
        "  changed  table public.notes",
        "           grants.authenticated: SELECT -> -",
    ):
        assert line in said.out.splitlines(), said.out
    assert said.out.splitlines()[-1] == "2 matches (acme, gamma), 1 drifted (beta)"
    assert fleet.run("drift").code == 0, "without --exit-code it is only told"
    (beta,) = fleet.run("drift", "-t", "beta", "--json").json["data"]
    named = {(d["change"], d["kind"], d["identity"]) for d in beta["differences"]}
    assert ("missing", "policy", "reading on public.notes") in named


def test_a_target_against_given_heads(fleet: Fleet, pg: Cluster) -> None:
    """Its own, those of one branch, those of a release: what separates them, and statements that are proven."""
    assert fleet.run("release", "v1").code == 0
    for same in ("heads:", "release:v1", "heads:acme@head"):
        assert fleet.run("compare", "acme", same).out == f"no difference between `acme` and `{same}`\n"
    other = fleet.run("compare", "heads:shared@head", "acme", "--json").json["data"]["differences"]
    assert ("extra", "table", "public.acme_only") in {(d["change"], d["kind"], d["identity"]) for d in other}
    spoil(pg, fleet.addresses["acme"])
    back = fleet.run("compare", "acme", "heads:", "--sql", "--allow-destructive")
    assert (back.code, "-- proven: after the " in back.out) == (0, True), back
    assert fleet.run("compare", "heads:", "acme", "--sql", "--allow-destructive").out.splitlines()[0] == (
        "-- makes `heads:` like `acme`: 7 differences"
    )
    with pg.open(fleet.addresses["acme"]) as c:
        c.execute(back.out.encode())
    assert fleet.run("compare", "acme", "heads:", "--owners", "--exit-code").code == 0
    assert fleet.run("drift", "-t", "acme", "--exit-code").code == 0
    for wrong in (("heads:", "heads:"), ("acme/public", "heads:"), ("heads:", "beta.json"), ("acme", "heads:nothing")):
        assert fleet.run("compare", *wrong).code == 2, wrong
    assert "name a whole target as the other side" in fleet.run("snapshot", "heads:").err


def test_a_state_that_cannot_be_made_is_a_failure(fleet: Fleet, pg: Cluster) -> None:
    """A revision that wants rows cannot be replayed: exit 1, and no word of a match; the others are judged."""
    wants = "assert op.get_bind().exec_driver_sql('SELECT count(*) FROM notes').scalar(), 'no notes'"
    add_revision(fleet.folder, "shared/2", revision("wants_rows", "notes1", up_code=wants))
    for name in ("beta", "gamma"):
        execute(pg, fleet.addresses[name], "INSERT INTO notes (owner) VALUES (gen_random_uuid())")
    assert fleet.run("upgrade", "-t", "beta,gamma", "--yes").code == 0
    said = fleet.run("drift", "--exit-code")
    assert said.code == 1, said
    assert said.out.splitlines()[-1] == "1 matches (acme), 2 no_reference (beta, gamma)"
    assert "beta, gamma: what its revisions produce cannot be found out: revision `wants_rows` fails" in said.out


def test_what_only_a_newer_server_knows(fleet: Fleet, pg: Cluster) -> None:
    """A step that a target has taken and the scratch server does not understand: its version is to blame, not rows."""
    newer = "if conn.info.dbname == {!r}: pass\nelse: op.execute('CREATE TABLE newer (n int VIRTUALLY)')"
    code = "conn = op.get_bind().connection.driver_connection\n" + newer.format(fleet.addresses["beta"].dbname)
    add_revision(fleet.folder, "beta/1", revision("newer", up_code=code, label="beta", depends=["notes1"]))
    assert fleet.run("upgrade", "-t", "beta", "--yes").code == 0
    said = fleet.run("drift", "-t", "beta")
    assert (said.code, "hint: where the target's PostgreSQL is newer and knows this, " in said.out) == (1, True), said


def test_an_extension_that_is_not_there_is_named(fleet: Fleet) -> None:
    """The message is the server's, the hint says what to do; a target that nobody can reach is told apart."""
    add_revision(fleet.folder, "acme/2", revision("ext", "acme1", up="CREATE EXTENSION IF NOT EXISTS no_such_thing"))
    said = fleet.run("rehearse", "-t", "acme")
    assert said.code == 1
    assert "no_such_thing" in said.out
    assert "not_tried" not in said.out


def test_a_scratch_role_that_may_too_little(fleet: Fleet, pg: Cluster) -> None:
    """It is said what the role of the variable needs, and nothing of SQL that somebody should write."""
    with pg.admin() as c:
        role = sql.SQL("CREATE ROLE scratch_maker LOGIN CREATEDB PASSWORD {}").format(pg.password)
        c.execute(role)
    try:
        url = scratch_url(pg).replace(f"{pg.address('postgres').user}:", "scratch_maker:")
        (fleet.folder / "prelude.sql").write_text("CREATE ROLE somebody_of_the_prelude")
        with (fleet.folder / "alembic.ini").open("a") as file:
            file.write("prelude = prelude.sql\n")
        said = ehg(fleet.folder, "rehearse", "--all-branches", **fleet.variables | {"EHG_SCRATCH_URL": url})
        assert (said.code, "the ground cannot be laid on PostgreSQL" in said.out) == (1, True), said
        assert "hint: the role in `EHG_SCRATCH_URL` must be able to create databases and roles, and" in said.out
    finally:
        with pg.admin() as c:
            c.execute("DROP ROLE scratch_maker")


def test_a_prelude_makes_what_revisions_rely_on(fleet: Fleet, pg: Cluster) -> None:
    """Without it the reference cannot be made and the hint names the setting; with it the target matches."""
    legacy = "CREATE SCHEMA legacy; CREATE TABLE legacy.codes (code text PRIMARY KEY)"
    execute(pg, fleet.addresses["beta"], legacy)
    uses = "CREATE TABLE uses (code text REFERENCES legacy.codes, at timestamptz DEFAULT now());"
    realtime = "ALTER PUBLICATION supabase_realtime ADD TABLE notes"
    add_revision(fleet.folder, "beta/1", revision("uses1", up=uses, label="beta", depends=["notes1"]))
    with pg.admin(fleet.addresses["beta"].dbname) as c:
        c.execute("ALTER PUBLICATION supabase_realtime OWNER TO postgres")
    add_revision(fleet.folder, "beta/2", revision("uses2", "uses1", up=realtime))
    assert fleet.run("upgrade", "-t", "beta", "--yes").code == 0
    said = fleet.run("drift", "-t", "beta")
    assert (said.code, "hint: let a SQL file make what revisions rely on" in said.out) == (1, True), said
    (fleet.folder / "prelude.sql").write_text(legacy)
    with (fleet.folder / "alembic.ini").open("a") as file:
        file.write("prelude = prelude.sql\n")
    assert fleet.run("drift", "-t", "beta", "--exit-code").code == 0


def test_default_privileges_are_the_targets_own(fleet: Fleet, pg: Cluster) -> None:
    """A project whose new tables `anon` does not get is held against what revisions produce there, not elsewhere."""
    address = fleet.addresses["gamma"]
    assert fleet.run("downgrade", "gamma", "--to", "base", "--yes").code == 0
    execute(pg, address, "DROP TABLE notes CASCADE")
    execute(pg, address, "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM anon")
    assert fleet.run("upgrade", "-t", "gamma", "--yes").code == 0
    assert (
        "anon"
        not in column(
            pg, address, "SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 'pinned_notes'"
        ).pop()
    )
    assert fleet.run("drift", "--exit-code").out.splitlines()[-1] == "3 matches (acme, beta, gamma)"


def test_default_privileges_for_everywhere_beside_those_of_public(
    make_database: Callable[[str], Address], make_project: MakeProject, pg: Cluster, tmp_path: Path
) -> None:
    """Who gives functions and types to a role as well has not taken them from PUBLIC."""
    address = make_database("acme")
    for kind in ("FUNCTIONS", "TYPES"):
        execute(pg, address, f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO authenticated")
    made = "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE mood AS ENUM ('good')"
    make_project(tmp_path, entries({"acme": address}), {"shared/1": revision("s1", up=made, label="shared")})
    fleet = Fleet(tmp_path, {"acme": address}, {"EHG_SCRATCH_URL": scratch_url(pg)})
    assert fleet.run("upgrade", "--yes").code == 0
    drift = fleet.run("drift", "--exit-code")
    assert (drift.code, drift.out.splitlines()[-1]) == (0, "1 matches (acme)")


def test_default_privileges_in_a_schema_that_a_revision_makes(
    tmp_path: Path, make_project: MakeProject, pg: Cluster
) -> None:
    """They are no ground: nothing of them can be laid before the revision has made the schema."""
    address = pg.create_plain_database("own_defaults")
    defaults = "ALTER DEFAULT PRIVILEGES IN SCHEMA api GRANT SELECT ON TABLES TO anon"
    up = f"CREATE SCHEMA api; {defaults}; CREATE TABLE api.t (id int)"
    try:
        make_project(tmp_path, entries({"acme": address}), {"shared/1": revision("first", up=up, label="shared")})
        fleet = Fleet(tmp_path, {"acme": address}, {"EHG_SCRATCH_URL": scratch_url(pg)})
        assert fleet.run("upgrade", "--yes").code == 0
        assert fleet.run("drift", "--exit-code").out.splitlines()[-1] == "1 matches (acme)"
    finally:
        pg.drop_databases(["own_defaults"])


@pytest.mark.parametrize(
    "change",
    [
        "IN SCHEMA public REVOKE ALL ON TABLES FROM anon",
        "IN SCHEMA public GRANT SELECT ON TABLES TO pg_monitor",
        "REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    ],
)
def test_revisions_that_change_default_privileges(
    tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster, change: str
) -> None:
    """What was made before the change is held against what held before it, which the target's first run wrote down."""
    addresses = {"acme": make_database("acme"), "beta": make_database("beta")}
    made = "CREATE TABLE {0} (id int); CREATE FUNCTION {0}() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    up = f"{made.format('early')}; ALTER DEFAULT PRIVILEGES {change}; {made.format('late')}"
    make_project(tmp_path, entries(addresses), {"shared/1": revision("first", up=up, label="shared")})
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    said = fleet.run("upgrade", "--yes", "--verify", "always")
    assert (said.code, "2 succeeded" in said.out) == (0, True), said
    assert fleet.run("drift", "--exit-code").out.splitlines()[-1] == "2 matches (acme, beta)"
    execute(pg, addresses["beta"], "GRANT UPDATE ON early TO authenticated, pg_monitor")
    assert "changed  table public.early\n           grants.pg_monitor: - -> UPDATE" in fleet.run("drift").out


def test_a_target_whose_database_is_not_its_users(tmp_path: Path, make_project: MakeProject, pg: Cluster) -> None:
    """What its user gives to others by default holds on scratch databases as it does there, under another name."""
    address = pg.create_plain_database("lent")
    lent = replace(address, user="migrator")
    try:
        with pg.admin(address.dbname) as c:
            c.execute(sql.SQL("CREATE ROLE migrator LOGIN PASSWORD {}").format(sql.Literal(pg.password)))
            c.execute("GRANT CREATE ON DATABASE lent TO migrator; GRANT CREATE, USAGE ON SCHEMA public TO migrator")
            c.execute("ALTER DEFAULT PRIVILEGES FOR ROLE migrator GRANT SELECT ON TABLES TO anon")
        up = "CREATE TABLE open (id int); CREATE TABLE closed (id int); REVOKE ALL ON closed FROM anon"
        make_project(tmp_path, entries({"acme": lent}), {"shared/1": revision("first", up=up, label="shared")})
        fleet = Fleet(tmp_path, {"acme": lent}, {"EHG_SCRATCH_URL": scratch_url(pg)})
        assert fleet.run("upgrade", "--yes", "--verify", "always").code == 0
        assert fleet.run("drift", "--exit-code").out.splitlines()[-1] == "1 matches (acme)"
        with pg.open(lent) as c:
            c.execute("REVOKE ALL ON open FROM anon")
        assert "changed  table public.open\n           grants.anon: SELECT -> -" in fleet.run("drift").out
        said = fleet.run("compare", "acme", "heads:", "--sql")
        assert (said.code, "whoever migrates `acme` does not own the database" in said.out) == (1, True), said
    finally:
        pg.drop_databases(["lent"])
        with pg.admin() as c:
            c.execute("DROP ROLE migrator")


def test_schemas_that_only_sound_like_a_platforms(tmp_path: Path, make_project: MakeProject, pg: Cluster) -> None:
    """They are left out where nobody says whose they are, and that is told; with `platform: none` they are checked."""
    address = pg.create_plain_database("own_auth")
    auth = "CREATE SCHEMA auth; CREATE TABLE auth.accounts (id int, mail text); CREATE TABLE notes (id int)"
    down = "DROP SCHEMA auth CASCADE; DROP TABLE notes"
    try:
        make_project(tmp_path, entries({"acme": address}), {"shared/1": revision("first", up=auth, down_sql=down)})
        fleet = Fleet(tmp_path, {"acme": address}, {"EHG_SCRATCH_URL": scratch_url(pg)})
        assert fleet.run("upgrade", "--yes").code == 0
        execute(pg, address, "ALTER TABLE auth.accounts DROP COLUMN mail")
        said = fleet.run("drift", "--exit-code")
        assert (said.code, said.out.splitlines()[-1]) == (0, "1 matches (acme)"), said
        assert "note: acme: not looked at, since a platform's schema would be called so: `auth`" in said.out
        with (tmp_path / "targets" / "t.yaml").open("a") as file:
            file.write("defaults: {platform: none}\n")
        said = fleet.run("drift")
        assert "missing  column auth.accounts.mail" in said.out, said.out
        assert fleet.run("compare", "heads:", "acme", "--exit-code").code == 3
        assert "auth.accounts" in fleet.run("snapshot", "acme").out
        assert fleet.run("rehearse", "--all-branches").code == 0
    finally:
        pg.drop_databases([address.dbname])


REHEARSED = {
    "shared/1": revision("t1", up="CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 7,"
                         " CONSTRAINT n_positive CHECK (n > 0)); GRANT SELECT ON t TO anon",
                         down_sql="DROP TABLE t", label="shared"),
    "shared/2": revision("careless", "t1", up="ALTER TABLE t DROP COLUMN n",
                         down_sql="ALTER TABLE t ADD COLUMN n int CHECK (n > 0); REVOKE SELECT ON t FROM anon"),
    "shared/3": revision("beside", "careless", up_code="with op.get_context().autocommit_block():\n"
                         "    op.execute('CREATE INDEX CONCURRENTLY t_id ON t (id)')", down_sql="DROP INDEX t_id"),
    "shared/4": revision("broken", "beside", up="ALTER TABLE t ADD COLUMN m int",
                         down_sql="ALTER TABLE t DROP COLUMN wrong"),
}  # fmt: skip


def test_a_downgrade_that_does_not_restore(
    tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """All but a default, a constraint's name and a grant: each is named, and the steps around it are judged alone."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    make_project(tmp_path, entries(addresses), REHEARSED)
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    said = fleet.run("rehearse", "--json")
    assert said.code == 1, said
    (rehearsal,) = said.json["data"]
    assert rehearsal["targets"] == ["acme", "beta"]
    by_name = {s["step"]["revision"]: s for s in rehearsal["steps"]}
    assert [r for r, s in by_name.items() if not s["in_transaction"]] == ["beside"]
    named = {(d["change"], d["kind"], d["identity"]) for d in by_name["careless"]["not_restored"]}
    assert named == {
        ("changed", "column", "public.t.n"),
        ("missing", "constraint", "n_positive on public.t"),
        ("extra", "constraint", "t_n_check on public.t"),
        ("changed", "table", "public.t"),
    }
    assert by_name["t1"]["not_restored"] == by_name["beside"]["not_restored"] == []
    assert (by_name["broken"]["phase"], by_name["broken"]["problem"]["sqlstate"]) == ("back", "42703")
    assert [(e["rule"], e["identity"]) for e in by_name["careless"]["effects"]] == [("lost_data", "column public.t.n")]
    assert [e["rule"] for e in by_name["t1"]["effects"]] == ["open_table"]
    assert tables(pg, addresses["acme"]) == set(), "the targets are only read"


def test_a_step_that_can_be_done_once_only(
    tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """Where the second case needs it again, it is named, and not the step behind it, which has no fault."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    revisions = {"shared/1": revision("role1", up="CREATE ROLE made_once", label="shared")}
    for name in addresses:
        up, down = f"CREATE TABLE of_{name} (n int)", f"DROP TABLE of_{name}"
        revisions[f"{name}/1"] = revision(f"{name}1", up=up, down_sql=down, label=name, depends=["role1"])
    make_project(tmp_path, entries(addresses), revisions)
    try:
        said = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)}).run("rehearse", "--json")
    finally:
        with pg.admin() as admin:
            admin.execute("DROP ROLE IF EXISTS made_once")
    assert said.code == 1, said
    (first, second) = said.json["data"]
    assert [s["phase"] for s in first["steps"]] == ["again", ""]
    assert second["steps"] == []
    assert "revision `role1` fails on an empty PostgreSQL" in second["problem"]["message"]
    assert second["problem"]["hint"].startswith("a role belongs to the whole server")


def test_a_role_that_another_database_needs(
    tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """A downgrade that drops it is right, and cannot be tried out: nobody is told that something was made by hand."""
    addresses = {"acme": make_database("acme")}
    step = revision("s1", up="SELECT 1", down_sql="DROP ROLE needed_there", label="shared")
    make_project(tmp_path, entries(addresses), {"shared/1": step})
    with pg.admin() as admin:
        admin.execute("CREATE ROLE needed_there")
        admin.execute("GRANT needed_there TO postgres WITH ADMIN OPTION")  # so may `postgres` drop it on 16 and later
        admin.execute("GRANT CREATE ON DATABASE postgres TO needed_there")
        try:
            said = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)}).run("rehearse")
        finally:
            admin.execute("DROP OWNED BY needed_there; DROP ROLE needed_there")
    assert said.code == 1, said
    told = said.out.partition("cannot be dropped because some objects depend on it")[2]
    assert "hint: a role belongs to the whole server, where other databases" in told


@pytest.mark.parametrize("made", ["TYPE left_there AS ENUM ('x')", "TABLE left_there (n int)", "SCHEMA left_there"])
def test_what_a_downgrade_leaves(
    made: str, tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """On a scratch database nobody has made it by hand, and it is no role: the hint tells where it comes from."""
    addresses = {"acme": make_database("acme")}
    step = revision("s1", up=f"CREATE {made}", down_sql="SELECT 1", label="shared")
    make_project(tmp_path, entries(addresses), {"shared/1": step})
    said = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)}).run("rehearse")
    assert said.code == 1, said
    told = said.out.partition("already exists")[2]
    assert "hint: an earlier revision makes it, too, or the downgrade of this one leaves it there: correct that" in told


def test_every_combination_of_branches(fleet: Fleet) -> None:
    """Without a target: what two combinations have in common is rehearsed once, and all is good."""
    for path, text in {"shared/1": REVISIONS["shared/1"], "acme/1": REVISIONS["acme/1"]}.items():
        down = "DROP VIEW pinned_notes; DROP TABLE notes" if path == "shared/1" else "DROP TABLE acme_only"
        add_revision(
            fleet.folder,
            path,
            text.replace("def downgrade():\n    pass", f"def downgrade():\n    op.execute({down!r})"),
        )
    said = fleet.run("rehearse", "--all-branches")
    assert said.code == 0, said
    good = "all go forward, back and forward again"
    assert said.out.splitlines()[-1] == f"3 steps rehearsed in 2 cases: {good}"
    assert "theirs is" not in said.out, "nobody has asked a target for its version"
    path = fleet.folder / "versions" / "acme" / "1.py"
    path.write_text(path.read_text().partition("def downgrade():")[0])
    said = fleet.run("rehearse", "--all-branches")
    assert said.code == 0, said
    assert said.out.splitlines()[-1] == f"3 steps rehearsed in 2 cases: {good}, but for 1 step without a way back"
