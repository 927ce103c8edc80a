"""Revisions as users of Supabase write them, on databases that have what a project is given today."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.local.programs import FOLDERS
from ehg_migrate.model import Address
from ehg_migrate.schema import brought
from ehg_migrate.schema.scratch import nearest
from tests.acceptance.test_drift import Fleet, scratch_url
from tests.conftest import MakeProject
from tests.integration.fleets import entries, execute
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision
from tests.support.server import SUPERUSER

GIVEN = ("pg_graphql", "pg_stat_statements", "pgcrypto", "supabase_vault", "uuid_ossp")

PLATFORM = """
GRANT USAGE ON SCHEMA vault TO postgres;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vault TO postgres;
CREATE SCHEMA realtime;
CREATE TABLE realtime.messages (topic text, inserted_at timestamp) PARTITION BY RANGE (inserted_at);
CREATE TABLE realtime.messages_today PARTITION OF realtime.messages DEFAULT;
CREATE FUNCTION realtime.topic() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'a'::text $$;
GRANT USAGE ON SCHEMA realtime TO postgres;
-- whose policies postgres may make there, though it is not its own
ALTER TABLE realtime.messages OWNER TO postgres;
ALTER PUBLICATION supabase_realtime OWNER TO postgres;
CREATE SCHEMA supabase_subscription_mgmt;
CREATE FUNCTION supabase_subscription_mgmt.pg_drop_subscription(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
"""
"""What is there beside what every database of the tests has, all of it the superuser's."""

DUMPED = """
CREATE EXTENSION IF NOT EXISTS "pg_graphql" WITH SCHEMA "graphql";
CREATE EXTENSION IF NOT EXISTS "pg_stat_statements" WITH SCHEMA "extensions";
CREATE EXTENSION IF NOT EXISTS "pgcrypto" WITH SCHEMA "extensions";
CREATE EXTENSION IF NOT EXISTS "supabase_vault" WITH SCHEMA "vault";
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA "extensions";
CREATE TABLE notes (id uuid PRIMARY KEY DEFAULT extensions.uuid_generate_v4(), owner uuid NOT NULL DEFAULT auth.uid(),
                    body text, secret bytea DEFAULT gen_random_bytes(16),
                    hash text DEFAULT crypt('a', gen_salt('bf', 8)));
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Own notes" ON notes TO authenticated USING ((SELECT auth.uid()) = owner);
ALTER TABLE notes REPLICA IDENTITY FULL;
ALTER PUBLICATION supabase_realtime ADD TABLE notes;
INSERT INTO notes (id, owner, body) SELECT uuid_generate_v5(uuid_ns_url(), 'a'), uuid_generate_v1(), 'b';
"""
"""The head of every file that the platform's own tool writes, and what follows it there."""

REALTIME = """
CREATE POLICY listening ON realtime.messages FOR SELECT TO authenticated USING ((SELECT realtime.topic()) = 'a');
CREATE VIEW recent WITH (security_invoker = on) AS SELECT id, body FROM notes;
"""

REVISIONS = {
    "shared/1": revision("dumped", up=DUMPED, down_sql="DROP TABLE notes", label="shared"),
    "shared/2": revision("realtime", "dumped", up=REALTIME,
                         down_sql="DROP VIEW recent; DROP POLICY listening ON realtime.messages"),
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster) -> Fleet:
    """Two projects, with nothing of their users' in them."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    for address in addresses.values():
        with pg.admin(address.dbname) as c:
            for part in GIVEN:
                brought.bring(c, part)
            c.execute(PLATFORM)
    make_project(tmp_path, entries(addresses), REVISIONS, defaults={"platform": "supabase"})
    return Fleet(tmp_path, addresses, {})


@pytest.mark.parametrize("own_server", [False, True])
def test_what_a_project_is_given_is_there_where_its_steps_are_tried(
    project: Fleet, pg: Cluster, *, own_server: bool
) -> None:
    """On the embedded server, which has none of it, and on one that may: rehearsed, verified, no drift, SQL proven."""
    if own_server:
        project.variables["EHG_SCRATCH_URL"] = scratch_url(pg).replace("://postgres:", f"://{SUPERUSER}:")
    assert project.run("drift", "--exit-code").code == 0, "a project that nobody has changed has not drifted"
    run = project.run("upgrade", "--yes", "--verify", "always", "--lint", "always")
    assert run.code == 0, run
    # which PostgreSQL it was tried on is told where that is another than theirs
    with pg.admin() as c:
        theirs = c.info.server_version // 10000
    ours = theirs if own_server else nearest(FOLDERS, theirs)
    tried = re.findall(rf"note: .* in \d+\.\d+ s, on PostgreSQL {ours}\.\d+, and theirs is {theirs}\n", run.err)
    assert len(tried) == (0 if ours == theirs else 2), run
    assert project.run("drift", "--full", "--exit-code").code == 0
    rehearsed = project.run("downgrade", "acme", "--to", "dumped", "--yes", "--verify", "always")
    assert rehearsed.code == 0, rehearsed
    assert project.run("upgrade", "--yes", "--verify", "always", "--lint", "always").code == 0
    execute(pg, project.addresses["beta"], "ALTER TABLE notes ADD COLUMN extra int")
    assert project.run("drift", "--exit-code").code == 3
    made = project.run("compare", "acme", "beta", "--sql")
    assert (made.code, "-- proven: after the 1 statement below" in made.out) == (0, True), made
    carried = project.run("revision", "--from-drift", "beta", "--branch", "beta", "-m", "extra")
    assert carried.code == 0, carried


NOWHERE = Address("127.0.0.1", 1, "postgres", "acme", "disable")

TAUGHT = """
CREATE TABLE profiles (id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE, name text);
ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON profiles TO authenticated
USING ((SELECT auth.uid()) = id AND auth.role() <> 'x' AND auth.email() <> '');
CREATE POLICY second_factor ON profiles AS RESTRICTIVE TO authenticated USING (
    auth.jwt() ->> 'aal' = 'aal2'
    OR NOT EXISTS (SELECT FROM auth.mfa_factors WHERE user_id = auth.uid() AND status = 'verified')
);
CREATE FUNCTION handle_new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN INSERT INTO public.profiles VALUES (new.id, new.raw_user_meta_data ->> 'name'); RETURN new; END $$;
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION handle_new_user();
INSERT INTO storage.buckets (id, name, public) VALUES ('avatars', 'avatars', true) ON CONFLICT DO NOTHING;
CREATE POLICY own_avatar ON storage.objects FOR INSERT TO authenticated
WITH CHECK (bucket_id = 'avatars' AND (storage.foldername(name))[1] = auth.uid()::text);
ALTER PUBLICATION supabase_realtime ADD TABLE profiles;
CREATE FUNCTION token_hook(event jsonb) RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT event';
GRANT USAGE ON SCHEMA public TO supabase_auth_admin;
GRANT EXECUTE ON FUNCTION token_hook TO supabase_auth_admin;
CREATE TRIGGER hook AFTER INSERT ON profiles
FOR EACH ROW EXECUTE FUNCTION supabase_functions.http_request('https://x.test', 'POST', '{}', '{}', '1000');
SELECT vault.create_secret('https://x.test', 'url');
GRANT USAGE ON SCHEMA graphql_public TO service_role;
INSERT INTO auth.users (id, email, confirmation_token) VALUES (extensions.uuid_generate_v4(), 'a@x.test', '');
"""
"""What the platform's own documentation teaches to write, and what its tables are given by hand for a beginning."""

TAKEN_BACK = """
REVOKE USAGE ON SCHEMA graphql_public FROM service_role;
REVOKE USAGE ON SCHEMA public FROM supabase_auth_admin;
DROP FUNCTION token_hook;
DROP POLICY own_avatar ON storage.objects;
DROP TRIGGER on_auth_user_created ON auth.users;
DROP FUNCTION handle_new_user;
DROP TABLE profiles;
DELETE FROM vault.secrets;
"""

LANDED = """
SELECT (SELECT string_agg(DISTINCT nspowner::regrole::text, ' ') FROM pg_namespace
         WHERE nspname IN ('auth', 'storage', 'extensions', 'vault', 'graphql_public')),
       (SELECT pubowner::regrole FROM pg_publication WHERE pubname = 'supabase_realtime'),
       (SELECT relowner::regrole FROM pg_class WHERE oid = 'public.profiles'::regclass),
       (SELECT count(*) FROM profiles), current_setting('search_path')
"""


def test_local_databases_of_a_project_are_as_rehearsals_have_it(tmp_path: Path, make_project: MakeProject) -> None:
    """`--local` runs what rehearses well; what is the platform's is another role's, and no verb takes it for ours."""
    revisions = {
        "shared/1": revision("taught", up=TAUGHT, down_sql=TAKEN_BACK, label="shared"),
        "shared/2": revision("later", "taught", up="CREATE TABLE later (id int)", down_sql="DROP TABLE later"),
    }
    fleet = Fleet(tmp_path, {}, {})
    addresses = {name: replace(NOWHERE, dbname=name) for name in ("acme", "beta")}
    make_project(tmp_path, entries(addresses), revisions, defaults={"platform": "supabase"})
    said = fleet.run("rehearse", "--all-branches")
    assert said.code == 0, said.out + said.err
    said = fleet.run("upgrade", "--local", "--yes", "--verify", "always")
    assert (said.code, "2 succeeded" in said.out) == (0, True), said
    landed = fleet.run("local", "psql", "acme", "--", "-XAtc", LANDED)
    assert landed.out == 'supabase_admin|supabase_admin|postgres|1|"$user", public, extensions\n'
    for looked in (("drift", "--full"), ("compare", "acme", "heads:"), ("compare", "acme", "beta", "--owners")):
        said = fleet.run(*looked, "--local", "--exit-code")
        assert said.code == 0, said
    said = fleet.run("snapshot", "acme", "--local", "--json")
    schemas = {f["identity"] for f in said.json["data"]["catalog"]["facts"] if f["kind"] == "schema"}
    assert schemas == {"public"}
    assert fleet.run("downgrade", "acme", "--to", "base", "--local", "--yes").code == 0
    assert fleet.run("compare", "acme", "beta", "--local", "--exit-code").code == 3
    assert fleet.run("upgrade", "--local", "--yes", "--verify", "always").code == 0


def test_local_databases_of_no_project(tmp_path: Path, make_project: MakeProject) -> None:
    """Of targets that nobody calls Supabase's, and of before: what they lack is told, and two ways to have it."""
    up = "CREATE TABLE notes (owner uuid REFERENCES auth.users)"
    revisions = {"shared/1": revision("first", up=up, down_sql="DROP TABLE notes", label="shared")}
    fleet = Fleet(tmp_path, {}, {})
    make_project(tmp_path, entries({"acme": NOWHERE}), revisions)
    said = fleet.run("upgrade", "--local", "--yes")
    assert (said.code, 'schema "auth" does not exist' in said.err) == (1, True), said
    assert "hint: it is Supabase's own" in said.err
    assert "says `platform: supabase`, in databases made since: `ehg-migrate local wipe" in said.err
    said = fleet.run("rehearse", "--all-branches")
    assert said.code == 0, said
    make_project(tmp_path, entries({"acme": NOWHERE}), revisions, defaults={"platform": "supabase"})
    said = fleet.run("upgrade", "--local", "--yes")
    assert said.code == 1, "a database that was there stays what it is"
    assert fleet.run("local", "wipe", "--yes").code == 0
    assert fleet.run("upgrade", "--local", "--yes").code == 0


def test_the_ground_of_a_local_database_is_whole(tmp_path: Path, make_project: MakeProject) -> None:
    """SQL of the project's own that fails leaves no database that looks like one; mended, it is there."""
    revisions = {"shared/1": revision("first", up="CREATE TABLE notes (a helping.hand)", label="shared")}
    fleet = Fleet(tmp_path, {}, {})
    own = {"prelude": "prelude.sql"}
    make_project(tmp_path, entries({"acme": NOWHERE}), revisions, defaults={"platform": "supabase"}, settings=own)
    (tmp_path / "prelude.sql").write_text("CREATE SCHEMA helping; CREATE DOMAIN helping.hand AS nonsense;")
    said = fleet.run("upgrade", "--local", "--yes")
    assert (said.code, 'type "nonsense" does not exist' in said.err) == (2, True), said
    assert "hint: correct the SQL that `prelude` in alembic.ini names" in said.err
    (tmp_path / "prelude.sql").write_text("CREATE SCHEMA helping; CREATE DOMAIN helping.hand AS int;")
    said = fleet.run("upgrade", "--local", "--yes")
    assert said.code == 0, said


MODELS = """
import sqlalchemy as sa
metadata = sa.MetaData()
users = sa.Table("users", metadata, sa.Column("id", sa.Uuid, primary_key=True), schema="auth")
notes = sa.Table("notes", metadata, sa.Column("owner", sa.Uuid, sa.ForeignKey("auth.users.id"), nullable=False))
"""


@pytest.mark.parametrize("everywhere", [False, True])
def test_models_that_refer_to_the_platform(tmp_path: Path, make_project: MakeProject, *, everywhere: bool) -> None:
    """They name its table so that their own can refer to it: no revision makes that, drops it or takes columns away."""
    looks = {"alembic": {"include_schemas": True}} if everywhere else {}
    revisions = {"shared/1": revision("first", up="CREATE TABLE other (id int)", label="shared")}
    fleet = Fleet(tmp_path, {}, {})
    make_project(
        tmp_path,
        entries({"acme": NOWHERE}),
        revisions,
        defaults={"platform": "supabase", **looks},
        settings={"metadata": "\n    shared = models:metadata"},
    )
    (tmp_path / "models.py").write_text(MODELS)
    assert fleet.run("upgrade", "--local", "--yes").code == 0
    said = fleet.run("revision", "-m", "notes", "--autogenerate", "acme", "--local")
    assert said.code == 0, said
    (written,) = (tmp_path / "versions/shared").glob("*_notes.py")
    text = written.read_text()
    assert "op.create_table('notes'" in text
    assert "['auth.users.id']" in text
    assert re.findall(r"schema='auth'|'users',", text) == []
    said = fleet.run("upgrade", "--local", "--yes")
    assert said.code == 0, said


def test_what_neither_server_nor_platform_gives(tmp_path: Path, make_project: MakeProject) -> None:
    """An extension without stand-in is named with its revision and what to do; so are rows that no SQL may delete."""
    bucket = "INSERT INTO storage.buckets (id, name) VALUES ('a', 'a')"
    revisions = {
        "shared/1": revision("bucket", up=bucket, down_sql="DELETE FROM storage.buckets", label="shared"),
        "shared/2": revision("trigrams", "bucket", up="CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA extensions"),
    }
    fleet = Fleet(tmp_path, {}, {})
    make_project(tmp_path, entries({"acme": NOWHERE}), revisions, defaults={"platform": "supabase"})
    for command in (("upgrade", "--local", "--yes"), ("rehearse", "--all-branches")):
        said = fleet.run(*command)
        assert said.code == 1
        told = " ".join((said.out + said.err).split())
        assert 'extension "pg_trgm" is not available' in told
        assert "versions/shared/2" in told
        assert "has `vector`" in told
        assert "`EHG_SCRATCH_URL`" in told
    assert 'rows of "storage.buckets" are deleted by the Storage API' in told
    assert "hint: leave the bucket there in `downgrade()`" in told


def test_what_projects_were_given_once(
    tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """A younger project has no `pg_graphql`, and histories of before begin with it: they are rehearsed all the same."""
    address = make_database("acme")
    with pg.admin(address.dbname) as c:
        for part in GIVEN:
            if part != "pg_graphql":
                brought.bring(c, part)
    up = 'CREATE EXTENSION IF NOT EXISTS "pg_graphql" WITH SCHEMA "graphql"'
    revisions = {"shared/1": revision("dumped", up=up, label="shared")}
    make_project(tmp_path, entries({"acme": address}), revisions, defaults={"platform": "supabase"})
    said = Fleet(tmp_path, {"acme": address}, {}).run("rehearse")
    assert said.code == 0, said


def test_an_extension_that_a_project_has_already(project: Fleet) -> None:
    """A revision that makes it once more would fail there too, and what to write is said."""
    add_revision(project.folder, "shared/3", revision("again", "realtime", up="CREATE EXTENSION pgcrypto"))
    said = project.run("rehearse")
    assert (said.code, 'extension "pgcrypto" already exists' in said.out) == (1, True), said
    assert "hint: a target has it before its revisions, or an earlier one makes it: `CREATE EXTENSION IF" in said.out


def test_a_project_that_was_made_before_postgresql_15(project: Fleet, pg: Cluster) -> None:
    """Its schema `public` stays a superuser's, who has given to `postgres` what the database's owner has now anyway."""
    assert project.run("upgrade", "--yes").code == 0
    with pg.admin(project.addresses["acme"].dbname) as c:
        c.execute(
            f"ALTER SCHEMA public OWNER TO {SUPERUSER}; GRANT USAGE, CREATE ON SCHEMA public TO postgres".encode()
        )
    said = project.run("drift", "--full", "--exit-code")
    assert said.code == 0, said
    assert project.run("compare", "acme", "beta", "--exit-code").code == 0


CLOSED = "".join(
    "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public"
    f" REVOKE ALL ON {kind} FROM anon, authenticated, service_role;"
    for kind in ("TABLES", "SEQUENCES", "FUNCTIONS")
)
"""What Supabase has done to all its projects on a day; what was there keeps its grants."""

BEFORE = """
CREATE TABLE former (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE FUNCTION old_one() RETURNS int LANGUAGE sql AS 'SELECT 1';
"""


@pytest.mark.parametrize("history", ["says nothing of it", "sets some elsewhere", "was adopted"])
def test_default_privileges_that_the_platform_changes(project: Fleet, pg: Cluster, history: str) -> None:
    """What was made before has not drifted, and is named; nor what is made after. What somebody grants has."""
    elsewhere = (
        "CREATE SCHEMA hidden; ALTER DEFAULT PRIVILEGES IN SCHEMA hidden GRANT SELECT ON TABLES TO service_role;"
    )
    up = BEFORE + (elsewhere if history == "sets some elsewhere" else "")
    add_revision(project.folder, "shared/3", revision("before", "realtime", up=up))
    assert project.run("upgrade", "--yes").code == 0
    for address in project.addresses.values():
        with pg.admin(address.dbname) as c:
            c.execute(CLOSED.encode())
            if history == "was adopted":
                c.execute("COMMENT ON TABLE ehg_migrate.migration_journal IS NULL")
    said = project.run("drift", "--exit-code")
    assert said.code == 0, said
    assert "note: acme, beta: made under other default privileges than hold now, with their grants: " in said.out
    assert "`table public.former`" in said.out
    assert "default privileges of" not in said.out
    said = project.run("compare", "acme", "heads:", "--exit-code", "--owners")
    assert (said.code, "no difference between `acme` and `heads:`" in said.out) == (0, True), said
    assert "note: made under other default privileges than hold now, with their grants: " in said.out
    said = project.run("compare", "heads:", "acme", "--exit-code", "--json")
    former = {d["identity"]: d["clauses"] for d in said.json["data"]["former"]}
    assert (said.code, said.json["data"]["differences"]) == (0, [])
    assert former["public.former"][0]["left"] is None
    assert "SELECT" in former["public.former"][0]["right"]
    said = project.run("compare", "acme", "heads:", "--sql")
    assert (said.code, "REVOKE " in said.out, "GRANT " in said.out) == (0, True, False), said
    add_revision(project.folder, "shared/4", revision("after", "before", up="CREATE TABLE later (id int)"))
    run = project.run("upgrade", "--yes", "--verify", "always")
    assert (run.code, "2 succeeded" in run.out) == (0, True), run
    execute(pg, project.addresses["beta"], "GRANT SELECT ON later TO anon")
    said = project.run("drift", "--exit-code")
    assert (said.code, "           grants.anon: - -> SELECT" in said.out) == (3, True), said
    said = project.run("compare", "heads:", "beta", "--exit-code")
    assert (said.code, "         grants.anon: - -> SELECT" in said.out, "changed  table public.former" in said.out) == (
        3,
        True,
        False,
    ), said
    execute(pg, project.addresses["beta"], "REVOKE SELECT ON later FROM anon", "REVOKE SELECT ON former FROM anon")
    said = project.run("drift", "--exit-code")
    assert (said.code, "  changed  table public.former" in said.out) == (3, True), said
    if history == "sets some elsewhere":
        execute(
            pg, project.addresses["acme"], "ALTER DEFAULT PRIVILEGES IN SCHEMA hidden GRANT INSERT ON TABLES TO anon"
        )
        said = project.run("drift", "-t", "acme")
        assert "  changed  default privileges of $owner in hidden on tables" in said.out, said
