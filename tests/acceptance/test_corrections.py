"""`compare --sql` and `revision --from-drift` as a user sees them: what they print and write does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql

from ehg_migrate.model import Address
from ehg_migrate.schema.facts import Catalog, Fact
from tests.acceptance.test_drift import Fleet, scratch_databases, scratch_url
from tests.conftest import MakeProject
from tests.integration.fleets import column, entries, execute
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import CANARY, Cluster
from tests.support.project import revision, write_project

NOTES = """
    CREATE SCHEMA app;
    CREATE TABLE app.notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text DEFAULT 'none', pinned boolean);
    ALTER TABLE app.notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY reading ON app.notes FOR SELECT TO authenticated USING (pinned);
    CREATE INDEX notes_body ON app.notes (body);
    CREATE VIEW app.pinned AS SELECT id, body FROM app.notes WHERE pinned;
    CREATE TABLE app.spare (id int);
    CREATE FUNCTION app.twice(n int) RETURNS int LANGUAGE sql SET search_path = app AS 'SELECT 2 * n'"""
STRAY = (
    "DROP VIEW app.pinned",
    "ALTER TABLE app.notes ALTER COLUMN body TYPE varchar(40), ADD COLUMN extra text",
    "ALTER POLICY reading ON app.notes USING (true)",
    "GRANT SELECT ON app.notes TO anon",
    "CREATE VIEW app.pinned AS SELECT id, body FROM app.notes",
    "CREATE OR REPLACE FUNCTION app.twice(n int) RETURNS int LANGUAGE sql SET search_path = app AS 'SELECT n + n'",
)


@pytest.fixture
def fleet(tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster) -> Fleet:
    """Two targets at the same heads, `beta` astray; the scratch server is the tests' own."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    make_project(tmp_path, entries(addresses), {"shared/1": revision("notes1", up=NOTES, label="shared")})
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    assert fleet.run("upgrade", "--yes", "--verify", "never").code == 0
    execute(pg, addresses["beta"], *STRAY)
    return fleet


def test_the_statements_make_one_target_like_the_other(fleet: Fleet, pg: Cluster) -> None:
    """What is printed as proven is run on the target as it is printed, and no difference is left."""
    before = scratch_databases(pg)
    said = fleet.run("compare", "acme", "beta", "--sql", "--allow-destructive")
    assert said.code == 0, said
    assert said.out.splitlines()[0] == "-- makes `acme` like `beta`: 7 differences"
    assert "-- proven: after the " in said.out
    with pg.open(fleet.addresses["acme"]) as c:
        c.execute(said.out.encode())
    assert fleet.run("compare", "acme", "beta").out.startswith("no difference")
    assert scratch_databases(pg) == before


def test_a_body_that_looks_as_if_it_had_a_password(fleet: Fleet, pg: Cluster) -> None:
    """It is printed as it was proven: masked it would be another function, which is as good SQL."""
    body = "BEGIN password := password\n  ::text::text || 'salt'; RETURN password = 'two words'; END"
    checks = f"CREATE FUNCTION app.checks(password text) RETURNS boolean LANGUAGE plpgsql AS $${body}$$"
    execute(pg, fleet.addresses["beta"], checks)
    said = fleet.run("compare", "acme", "beta", "--sql", "--allow-destructive")
    data = fleet.run("compare", "acme", "beta", "--sql", "--allow-destructive", "--json").json["data"]
    assert said.code == 0, said
    assert body in said.out
    assert [s["sql"] for s in data["statements"] if body in s["sql"]] != []
    with pg.open(fleet.addresses["acme"]) as c:
        c.execute(said.out.encode())
    assert fleet.run("compare", "acme", "beta").out.startswith("no difference")


UNPRINTABLE = {
    # in a target -> whether JSON has it as it is
    'CREATE TABLE app."od\rd" (n int)': True,
    "CREATE FUNCTION app.azure() RETURNS text LANGUAGE sql AS $$SELECT '##vso[task.prependpath]/x'$$": True,
    "CREATE FUNCTION app.github() RETURNS text LANGUAGE sql AS $$SELECT '\n\u00a0::add-mask::x'$$": True,
    f"CREATE FUNCTION app.tells() RETURNS text LANGUAGE sql AS $$SELECT {sql.Literal(CANARY).as_string(None)}$$": False,
}


@pytest.mark.parametrize(("made", "in_json"), UNPRINTABLE.items(), ids=["a name", "Azure", "GitHub", "a password"])
def test_what_would_be_printed_as_another_statement_is_not_printed(
    made: str, in_json: bool, fleet: Fleet, pg: Cluster
) -> None:
    """No script says that it is proven which is not what was proven."""
    execute(pg, fleet.addresses["beta"], made)
    given = ("compare", "acme", "beta", "--sql", "--allow-destructive")
    said = fleet.run(*given)
    assert (said.code, said.out, "cannot be printed as it was proven" in said.err) == (1, "", True), said
    found = fleet.run(*given, "--json")
    assert (found.code, bool(found.out)) == (0 if in_json else 1, in_json), found


def test_destructive_statements_are_left_out_unless_asked_for(fleet: Fleet) -> None:
    """The way back drops a column: it is shown as a comment, what is left is named, and the exit code says so."""
    said = fleet.run("compare", "beta", "acme", "--sql")
    assert said.code == 1, said
    assert "-- NOT PROVEN as a whole: after the " in said.out
    assert "--   column app.notes.extra\n" in said.out
    assert "--   ALTER TABLE app.notes DROP COLUMN extra;\n" in said.out
    assert not re.search(r"^ALTER TABLE app.notes DROP COLUMN", said.out, re.MULTILINE)
    data = fleet.run("compare", "beta", "acme", "--sql", "--json").json["data"]
    assert data["proven"] is False
    assert [s["sql"] for s in data["withheld"]] == ["ALTER TABLE app.notes DROP COLUMN extra"]
    assert [left["difference"]["identity"] for left in data["remaining"]] == ["app.notes.extra"]
    whole = fleet.run("compare", "beta", "acme", "--sql", "--allow-destructive")
    assert whole.code == 0, whole
    assert "-- destructive\nALTER TABLE app.notes DROP COLUMN extra;\n" in whole.out


def test_two_schemas_of_one_database(fleet: Fleet, pg: Cluster) -> None:
    """Statements name the left schema; the other schemas of its database are in the clone and are not touched."""
    copy = NOTES.replace("app", "staging").replace("body text DEFAULT 'none'", "body text")
    execute(pg, fleet.addresses["acme"], *(s for s in copy.split(";") if s.strip()))
    said = fleet.run("compare", "acme/staging", "acme/app", "--sql")
    assert said.code == 0, said
    statements = [line for line in said.out.splitlines() if line.startswith("ALTER")]
    assert statements == ["ALTER TABLE staging.notes ALTER COLUMN body SET DEFAULT 'none'::text;"]
    with pg.open(fleet.addresses["acme"]) as c:
        c.execute(said.out.encode())
    assert fleet.run("compare", "acme/staging", "acme/app").out.startswith("no difference")


def test_a_body_that_names_its_own_schema(fleet: Fleet, pg: Cluster) -> None:
    """It is written as a catalogue writes the name, so that it is the same when it is read again."""
    function = "CREATE FUNCTION {0}.many() RETURNS bigint LANGUAGE sql AS 'SELECT {1} + count(*) FROM {0}.spare'"
    copy = [s for s in NOTES.replace("app", "staging").split(";") if s.strip()]
    execute(pg, fleet.addresses["acme"], *copy, function.format("app", 1), function.format("staging", 2))
    said = fleet.run("compare", "acme/staging", "acme/app", "--sql")
    assert said.code == 0, said
    with pg.open(fleet.addresses["acme"]) as c:
        c.execute(said.out.encode())
    assert fleet.run("compare", "acme/staging", "acme/app").out.startswith("no difference")


def test_what_is_made_anew_stays_whose_it_was(fleet: Fleet, pg: Cluster) -> None:
    """A function that runs with the rights of its owner gets no other one; where that cannot be tried, it is said."""
    acme, beta = fleet.addresses["acme"], fleet.addresses["beta"]
    function = "CREATE FUNCTION app.safe() RETURNS {} LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
    with pg.admin() as c:
        c.execute("CREATE ROLE keeper")
        c.execute(sql.SQL("CREATE ROLE builder SUPERUSER LOGIN PASSWORD {}").format(sql.Literal(pg.password)))
    try:
        for address, returned in ((acme, "int"), (beta, "bigint")):
            with pg.admin(address.dbname) as c:
                c.execute(function.format(returned).encode())
                c.execute("ALTER FUNCTION app.safe() OWNER TO keeper")
        said = fleet.run("compare", "acme", "beta", "--sql", "--allow-destructive")
        assert (said.code, "function app.safe()" in said.out, "cannot say whose it was" in said.out) == (1, True, True)
        given = {"EHG_SCRATCH_URL": scratch_url(pg).replace("//postgres", "//builder")}
        said = Fleet(fleet.folder, fleet.addresses, given).run(
            "compare", "acme", "beta", "--sql", "--allow-destructive"
        )
        assert (said.code, "ALTER FUNCTION app.safe() OWNER TO keeper;" in said.out) == (0, True), said
        with pg.admin(acme.dbname) as c:
            c.execute(said.out.encode())
        assert fleet.run("compare", "acme", "beta").out.startswith("no difference")
        assert column(pg, acme, "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'safe'") == {"keeper"}
    finally:
        pg.drop_databases([acme.dbname, beta.dbname])
        with pg.admin() as c:
            c.execute("DROP ROLE keeper, builder")


def test_nothing_is_claimed_where_no_clone_can_be_made(fleet: Fleet, pg: Cluster) -> None:
    """The scratch server's role may not make what is there: no statements, the object's name, a hint, exit 1."""
    with pg.admin(fleet.addresses["acme"].dbname) as c:
        c.execute("CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        c.execute("CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION app.watch()")
    said = fleet.run("compare", "acme", "beta", "--sql")
    assert said.code == 1, said
    assert said.out.splitlines()[1:] == [
        "-- UNPROVEN: no statement can be proven: a clone of `acme` differs from it in event trigger watching",
        "--   hint: name a scratch server of the same version, with the same extensions, in `EHG_SCRATCH_URL`",
    ]
    data = fleet.run("compare", "acme", "beta", "--sql", "--json").json["data"]
    assert (data["proven"], data["statements"], data["problem"]["code"]) == (False, [], "unproven")


def test_a_clone_that_differs_in_versions_of_extensions_only(fleet: Fleet, pg: Cluster) -> None:
    """The scratch server has another one: what helps is said, and does."""
    with pg.admin(fleet.addresses["acme"].dbname) as c:
        c.execute("UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'plpgsql'")
    execute(pg, fleet.addresses["beta"], "CREATE TABLE app.extra (id int)")
    said = fleet.run("compare", "acme", "beta", "--sql")
    assert (said.code, "differs from it in extension plpgsql" in said.out) == (1, True), said
    assert "hint: say `--ignore-versions`, or name a scratch server with the same versions" in said.out
    said = fleet.run("compare", "acme", "beta", "--sql", "--ignore-versions", "--allow-destructive")
    assert (said.code, "CREATE TABLE app.extra" in said.out) == (0, True), said


def test_what_somebody_else_has_granted_is_not_taken_back_by_the_owner(fleet: Fleet, pg: Cluster) -> None:
    """His REVOKE says nothing and takes back nothing; what he gave himself is taken back, and is proven."""
    same = "GRANT USAGE ON SCHEMA app TO authenticated", "CREATE TABLE app.lent (id int)"
    lent = (*same, "GRANT SELECT ON app.lent TO authenticated WITH GRANT OPTION")
    given = "SET ROLE authenticated", "GRANT SELECT ON app.lent TO anon", "RESET ROLE"
    execute(pg, fleet.addresses["beta"], *lent)
    execute(pg, fleet.addresses["acme"], *lent, *given, "GRANT INSERT ON app.lent TO anon")
    said = fleet.run("compare", "acme", "beta", "--sql", "--allow-destructive")
    assert said.code == 1, said
    assert "REVOKE SELECT ON TABLE app.lent FROM anon;" in said.out
    assert "`anon` has privileges from `authenticated`, who alone takes them back" in said.out
    execute(pg, fleet.addresses["beta"], *given)
    said = fleet.run("compare", "acme", "beta", "--sql", "--allow-destructive")
    assert (said.code, "REVOKE INSERT ON TABLE app.lent FROM anon;" in said.out) == (0, True), said


def test_equal_sides_need_nothing(fleet: Fleet) -> None:
    """No scratch server is asked."""
    said = fleet.run("compare", "acme", "acme", "--sql")
    assert (said.code, said.out) == (0, "-- makes `acme` like `acme`: 0 differences\n")
    assert fleet.run("compare", "acme", "beta", "--allow-destructive").code == 2


def test_a_revision_carries_what_a_target_has_and_its_branches_do_not(fleet: Fleet, pg: Cluster) -> None:
    """It makes another target equal, its downgrade is exact, and the target that has it is only stamped."""
    execute(
        pg,
        fleet.addresses["beta"],
        "ALTER TABLE app.notes ADD COLUMN at time DEFAULT '10:30', ADD CHECK (body <> ':x\\:y')",
    )
    said = fleet.run(
        "revision", "--from-drift", "beta", "--branch", "shared", "-m", "what beta has", "--allow-destructive"
    )
    assert said.code == 0, said
    assert re.search(r"^upgrade: proven, after \d+ statements ", said.err, re.MULTILINE), said
    assert re.search(r"^downgrade: proven, after \d+ statements ", said.err, re.MULTILINE), said
    path = fleet.folder / said.out.removeprefix("wrote ").strip()
    assert path.parent == fleet.folder / "versions" / "shared"
    assert fleet.run("lint").code == 0
    before = fleet.run("snapshot", "acme").out
    assert fleet.run("upgrade", "--targets", "acme", "--yes").code == 0
    assert fleet.run("compare", "acme", "beta").out == "no difference between `acme` and `beta`\n", "in order too"
    assert fleet.run("drift", "--targets", "acme", "--exit-code").code == 0
    assert fleet.run("downgrade", "acme", "--to", "notes1", "--yes").code == 0
    assert fleet.run("snapshot", "acme").out == before
    hint = re.search(r"`alembic (-x target=beta stamp shared@head)`", said.err)
    assert hint, said
    stamped = ehg(fleet.folder, *hint[1].split(), program=ALEMBIC, **fleet.variables)
    assert stamped.code == 0, stamped
    assert fleet.run("drift", "--targets", "beta", "--exit-code").code == 0


def test_default_privileges_are_carried_too(fleet: Fleet, pg: Cluster) -> None:
    """Of the whole database and of any schema, and grants that tables have by them: the others become the same."""
    execute(
        pg,
        fleet.addresses["acme"],
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pg_monitor",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO authenticated",
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "CREATE TABLE public.later (id int)",
    )
    said = fleet.run("revision", "--from-drift", "acme", "--branch", "shared", "-m", "what acme has")
    assert (said.code, said.err.count(": proven, after ")) == (0, 2), said
    revised = (fleet.folder / said.out.removeprefix("wrote ").strip()).read_text()
    assert revised.count("GRANT SELECT ON TABLES TO") == 2
    stamped = ehg(fleet.folder, *["-x", "target=acme", "stamp", "shared@head"], program=ALEMBIC, **fleet.variables)
    assert stamped.code == 0, stamped
    assert fleet.run("drift", "--targets", "acme", "--exit-code").code == 0
    assert fleet.run("upgrade", "--targets", "beta", "--yes", "--verify", "never").code == 0
    may = "SELECT has_table_privilege('pg_monitor', 'public.later', 'SELECT')"
    assert column(pg, fleet.addresses["beta"], may) == {True}
    assert fleet.run("downgrade", "beta", "--to", "notes1", "--yes").code == 0


ODD = r"""
    CREATE SCHEMA "a.b on {c}";
    CREATE TYPE "a.b on {c}"."kind, of (x)" AS ENUM ('it''s', 'a\b', '{}', '%s %(x)s');
    CREATE TABLE "a.b on {c}"."t "" on (1)" ("c.1" int PRIMARY KEY,
        "c "" on 2" text DEFAULT '$body$ {0} %s :x \ DOUBLE', "select" "a.b on {c}"."kind, of (x)",
        CONSTRAINT "check ""it"" on" CHECK ("c.1" > 0));
    ALTER TABLE "a.b on {c}"."t "" on (1)" ENABLE ROW LEVEL SECURITY;
    CREATE POLICY "p on q; --" ON "a.b on {c}"."t "" on (1)" USING ("c "" on 2" <> ' on ');
    CREATE FUNCTION "a.b on {c}"."f(x)"("an, arg" text DEFAULT '$f$ $$') RETURNS text LANGUAGE plpgsql AS
    $trap$ BEGIN RETURN $body$ $$ SINGLE DOUBLE \ \n % {} $f$ -- /* $body1$; $body$ || "an, arg"; END $trap$;
    COMMENT ON FUNCTION "a.b on {c}"."f(x)"(text) IS 'it''s $$ -- ; /* DOUBLE :name';
    CREATE VIEW "a.b on {c}"."v AS x" AS SELECT "c.1" AS "from", 'a;b' AS "select" FROM "a.b on {c}"."t "" on (1)"
""".replace("SINGLE", "'" * 3).replace("DOUBLE", '"' * 3)


def test_names_bodies_and_sizes_that_are_traps(fleet: Fleet, pg: Cluster) -> None:
    """Quotes, dollars, words of SQL and of Python, a view of a megabyte: through files, statements and a revision."""
    with pg.open(fleet.addresses["beta"]) as c:
        c.execute(ODD.encode())
        c.execute(b"CREATE VIEW app.wide AS SELECT '" + b"x" * 1_000_000 + b"' AS long")
    assert fleet.run("snapshot", "beta", "-o", "saved").code == 0
    assert fleet.run("snapshot", "beta", "-o", "saved", "--check").code == 0
    assert fleet.run("compare", "beta", "./saved", "--exit-code").code == 0
    said = fleet.run("revision", "--from-drift", "beta", "-m", "odd", "--allow-destructive")
    assert (said.code, "\nupgrade: proven, after " in said.err, "\ndowngrade: proven, after " in said.err) == (
        0, True, True
    ), said.err  # fmt: skip
    before = fleet.run("snapshot", "acme", "--json").json["data"]["fingerprint"]
    assert fleet.run("upgrade", "--targets", "acme", "--yes").code == 0
    assert fleet.run("compare", "acme", "beta").out == "no difference between `acme` and `beta`\n"
    assert fleet.run("downgrade", "acme", "--to", "notes1", "--yes").code == 0
    assert fleet.run("snapshot", "acme", "--json").json["data"]["fingerprint"] == before


def test_a_kind_of_object_that_nothing_here_knows(fleet: Fleet) -> None:
    """A snapshot of a newer tool: it is told as a difference, and no statement is claimed for it."""
    document = fleet.run("snapshot", "acme", "--json").json
    data = document["data"]
    data["catalog"]["facts"].append({"kind": "wormhole", "identity": "app.w", "definition": {"to": "beta"}})
    facts = Catalog.of(Fact(**f) for f in data["catalog"]["facts"])
    data["fingerprint"] = facts.fingerprint
    (fleet.folder / "newer.json").write_text(json.dumps(document))
    assert "extra    wormhole app.w" in fleet.run("compare", "acme", "newer.json").out
    said = fleet.run("compare", "acme", "newer.json", "--sql")
    assert (said.code, "NOT PROVEN" in said.out, "--   wormhole app.w" in said.out) == (1, True, True), said
    assert fleet.run("compare", "newer.json", "acme", "--sql").code == 1
    assert fleet.run("drift", "-t", "acme", "--exit-code").code == 0, "nothing was changed"


def test_a_revision_of_drift_is_refused_where_it_would_not_be_true(fleet: Fleet, pg: Cluster) -> None:
    """No drift, a branch of another target, or nothing but destructive statements: no file, and the reason."""
    files = sorted((fleet.folder / "versions").rglob("*.py"))
    nothing = fleet.run("revision", "--from-drift", "acme", "-m", "x")
    assert (nothing.code, "acme is what its revisions produce" in nothing.err) == (1, True), nothing
    other = fleet.run("revision", "--from-drift", "acme", "--branch", "beta", "-m", "x")
    assert (other.code, "acme has no branch `beta`" in other.err) == (2, True), other
    execute(pg, fleet.addresses["acme"], "DROP TABLE app.spare")
    lossy = fleet.run("revision", "--from-drift", "acme", "-m", "x", "--branch", "acme")
    assert (lossy.code, "would be destructive" in lossy.err) == (1, True), lossy
    assert sorted((fleet.folder / "versions").rglob("*.py")) == files


def test_a_revision_of_drift_in_the_targets_own_branch(fleet: Fleet, pg: Cluster) -> None:
    """The first of it: a target that has groups and no folder of its own gets one."""
    entry = entries(fleet.addresses)["beta"]
    (fleet.folder / "versions" / "crm").mkdir()
    write_project(fleet.folder, {"beta": {**entry, "branches": ["crm"]}}, {"crm/1": revision("crm1", label="crm")})
    (fleet.folder / "versions" / "beta").rmdir()
    assert fleet.run("upgrade", "--yes", "--verify", "never").code == 0
    said = fleet.run("revision", "--from-drift", "beta", "-b", "beta", "-m", "first", "--allow-destructive")
    assert (said.code, len(list((fleet.folder / "versions" / "beta").glob("*.py")))) == (0, 1), said
