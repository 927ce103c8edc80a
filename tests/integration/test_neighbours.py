"""Targets that are schemas of one database: each has its own path, record and lock, and none reaches another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.database.neighbours import Neighbours
from ehg_migrate.database.origin import find_origin
from ehg_migrate.database.session import lock_key
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Address, Status, meta_schema
from ehg_migrate.project import Project
from ehg_migrate.rollout.amending import Amendment, Place, amend
from tests.integration.fleets import SHARED, by_target, column, execute, statuses
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision, target_entry, write_project
from tests.support.running import code_of, result_of

ODD = 'odd "Schema", it\'s $$ {0}'
LONG = "é" * 31 + "x"  # 63 bytes
NAMES = {"staging": "staging", "production": "production", "odd": ODD, "long": LONG}

NEIGHBOUR = """
CREATE SCHEMA production;
CREATE TABLE production.users (id int PRIMARY KEY, name text);
INSERT INTO production.users VALUES (1, 'live');
CREATE INDEX users_name ON production.users (name);
CREATE VIEW production.names AS SELECT name FROM production.users;
CREATE FUNCTION production.hello() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TYPE production.mood AS ENUM ('good');
CREATE SEQUENCE production.numbers;
CREATE TABLE production.parent (id int);
CREATE DOMAIN production.share AS int;
CREATE TEXT SEARCH CONFIGURATION production.words (COPY = pg_catalog.english);
CREATE POLICY own ON production.users USING (true);
COMMENT ON FUNCTION production.hello() IS 'hello';
ALTER DEFAULT PRIVILEGES IN SCHEMA production GRANT SELECT ON TABLES TO anon;
"""


@pytest.fixture
def make(pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path,
         monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Address, Path]]:  # fmt: skip
    """A project of schemas of one database."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)

    def made(schemas: dict[str, str], revisions: dict[str, str], **more: object) -> tuple[Address, Path]:
        address = make_database("schemas")
        targets = {name: target_entry(address, schema=schema, **more) for name, schema in schemas.items()}
        return address, write_project(tmp_path, targets, revisions)

    return made


def make_schemas(pg: Cluster, address: Address, *schemas: str) -> None:
    """By hand."""
    execute(pg, address, *(f'CREATE SCHEMA "{s.replace(chr(34), chr(34) * 2)}"' for s in schemas))


def test_each_schema_has_its_own(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """Four schemas, two of them oddly named, migrated at once: tables, version rows and journal stand in each.

    What was made in one of them is not there in another that holds less, and taking one back leaves the others.
    """
    address, folder = make(NAMES, SHARED)
    make_schemas(pg, address, *NAMES.values())
    project = Project.load(folder)
    assert set(statuses(project.upgrade(parallel=4)).values()) == {Status.SUCCEEDED}
    assert statuses(project.downgrade("odd", ["s1"])) == {"odd": Status.SUCCEEDED}
    assert {s.target: s.heads for s in project.status()} == {n: ("s1",) if n == "odd" else ("s3",) for n in NAMES}
    found = column(pg, address, "SELECT schemaname || '/' || tablename FROM pg_tables WHERE tablename LIKE 's_'")
    assert found == {f"{s}/{t}" for s in NAMES.values() for t in ("s1", "s2", "s3") if s != ODD or t == "s1"}
    for name, schema in NAMES.items():
        asked = "SELECT revision FROM {}.migration_journal WHERE target_name = '{}' AND direction = '{}'"
        up, down = (column(pg, address, asked.format(meta_schema(schema), name, d)) for d in ("up", "down"))
        assert (up, down) == ({"s1", "s2", "s3"}, {"s2", "s3"} if name == "odd" else set())
    assert column(pg, address, "SELECT to_regnamespace('ehg_migrate') IS NULL") == {True}


def test_nobody_waits_for_who_is_at_work_on_another(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """Each schema has a lock of its own."""
    address, folder = make({"one": "one", "two": "two"}, SHARED, queue_timeout="0s")
    make_schemas(pg, address, "one", "two")
    project = Project.load(folder)
    with pg.connect(address.dbname) as c:
        c.execute("SELECT pg_advisory_lock(%s)", (lock_key(project.fleet.by_name["one"]),))
        run = project.upgrade()
    assert statuses(run) == {"one": Status.REFUSED, "two": Status.SUCCEEDED}
    assert code_of(result_of(run, "one")) == "locked"


_NO = Problem("no", "not so")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({}, Status.SUCCEEDED, ""),
        ({"heads": ("s1",)}, Status.REFUSED, "stale_plan"),
        ({"before": lambda _: _NO}, Status.FAILED, "no"),
        ({"after": lambda _: _NO}, Status.FAILED, "no"),
        ({"statements": ["CREATE TABLE late ()", "CREATE TABLE two.late ()"]}, Status.FAILED, "touched_neighbour"),
        ({"statements": ["CREATE TABLE late ()", "SELECT 1/0"]}, Status.FAILED, "statement_failed"),
    ],
)
def test_sql_of_no_revision(
    change: dict[str, Any], status: Status, code: str, pg: Cluster, make: Callable[..., tuple[Address, Path]]
) -> None:
    """All of it or nothing: only from the heads that it was proven for, and where what looks at it lets it pass."""
    address, folder = make({"one": "one"}, SHARED)
    make_schemas(pg, address, "one", "two")
    project = Project.load(folder)
    project.upgrade()
    place = Place(project.fleet.by_name["one"], pg.password, "run", find_origin(folder), lambda _: None)
    amendment = replace(Amendment("corrected", ["CREATE TABLE late ()"], ("s3",), "why"), **change)
    result = amend(place, amendment)
    assert (result.status, code_of(result)) == (status, code)
    found = column(pg, address, "SELECT schemaname FROM pg_tables WHERE tablename = 'late'")
    assert found == (set() if code else {"one"})
    assert [e.event for e in project.history("one")][3:] == ([] if code else ["corrected"])
    assert project.locks()[0].pids == ()


def test_a_schema_that_somebody_has_made_anew(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """It is empty, and its record says otherwise: that is not forgotten unasked, as that of a dropped one is."""
    address, folder = make({"one": "one"}, SHARED)
    make_schemas(pg, address, "one")
    project = Project.load(folder)
    project.upgrade()
    execute(pg, address, "DROP SCHEMA one CASCADE", "CREATE SCHEMA one")
    assert code_of(result_of(project.create_schema("one"), "one")) == "schema_exists"
    assert project.status()[0].heads == ("s3",)


def test_a_schema_that_is_not_there(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """It is refused with the command that makes it, before anything is made; also where only its record is left."""
    address, folder = make({"staging": "staging", "gone": "gone"}, SHARED)
    make_schemas(pg, address, "staging", "gone")
    project = Project.load(folder)
    project.upgrade()
    execute(
        pg,
        address,
        "DROP SCHEMA gone CASCADE",
        "DROP SCHEMA staging CASCADE",
        "DROP SCHEMA ehg_migrate_staging CASCADE",
    )
    run = project.upgrade()
    assert {code_of(r) for r in run.results} == {"no_schema"}
    states = by_target(project.status())
    assert [s.problem.message if s.problem else "" for s in (states["staging"], states["gone"])] == [
        f"there is no schema `staging` in database `{address.dbname}`",
        f"there is no schema `gone` in database `{address.dbname}`, although its record says that it holds `s3`",
    ]
    assert states["gone"].problem is not None
    assert states["gone"].problem.hint == "`ehg-migrate schema create TARGET` makes it"
    assert column(pg, address, "SELECT to_regnamespace('ehg_migrate_staging') IS NULL") == {True}


TOUCHES = {
    "a new table": ("CREATE TABLE production.leak (id int)", "table production.leak"),
    "a column": ("ALTER TABLE production.users ADD COLUMN more int", "table production.users"),
    "a dropped table": ("DROP TABLE production.parent", "table production.parent"),
    "a dropped function": ("DROP FUNCTION production.hello()", "function production.hello()"),
    "a dropped type": ("DROP TYPE production.mood", "type production.mood"),
    "a dropped view": ("DROP VIEW production.names", "view production.names"),
    "a dropped index": ("DROP INDEX production.users_name", "index production.users_name"),
    "the schema": ("ALTER SCHEMA production RENAME TO prod", "schema prod"),
    "a dropped schema": ("DROP SCHEMA empty", "schema empty"),
    "a new schema": ("CREATE SCHEMA another", "schema another"),
    "a function": ("CREATE OR REPLACE FUNCTION production.hello() RETURNS int LANGUAGE sql AS 'SELECT 2'",
                   "function production.hello()"),
    "an enum": ("ALTER TYPE production.mood ADD VALUE 'bad'", "type production.mood"),
    "an index": ("CREATE INDEX ON production.parent (id)", "table production.parent"),
    "a policy": ("CREATE POLICY p ON production.users USING (true)", "table production.users"),
    "a grant": ("GRANT SELECT ON production.names TO PUBLIC", "view production.names"),
    "a grant on a function": ("GRANT EXECUTE ON FUNCTION production.hello() TO anon", "function production.hello()"),
    "default privileges": ("ALTER DEFAULT PRIVILEGES IN SCHEMA production GRANT SELECT ON TABLES TO anon",
                           "default acl"),
    "a comment": ("COMMENT ON FUNCTION production.hello() IS 'x'", "function production.hello()"),
    "a comment taken away": ("COMMENT ON FUNCTION production.hello() IS NULL", "function production.hello()"),
    "a comment on a schema": ("COMMENT ON SCHEMA production IS 'x'", "schema production"),
    "a comment on a policy": ("COMMENT ON POLICY own ON production.users IS 'x'", "policy own on production.users"),
    "a domain's constraint": ("ALTER DOMAIN production.share ADD CONSTRAINT k CHECK (value > 0)",
                              "k on production.share"),
    "a mapping": ("ALTER TEXT SEARCH CONFIGURATION production.words ALTER MAPPING FOR asciiword WITH simple",
                  "text search configuration production.words"),
    "a mapping taken away": ("ALTER TEXT SEARCH CONFIGURATION production.words DROP MAPPING FOR asciiword",
                             "text search configuration production.words"),
    "default privileges taken away": ("ALTER DEFAULT PRIVILEGES IN SCHEMA production REVOKE SELECT ON TABLES FROM anon",
                                      "default acl in schema production"),
    "rows": ("UPDATE production.users SET name = 'gone'", "table production.users"),
    "no row": ("DELETE FROM production.users WHERE id = 2", "table production.users"),
    "an emptied table": ("TRUNCATE production.parent", "table production.parent"),
    "a foreign key": ("CREATE TABLE mine (id int REFERENCES production.users)", "table production.users"),
    "a child": ("CREATE TABLE mine () INHERITS (production.parent)", "table production.parent"),
    "another path": ("SET search_path = production; CREATE TABLE leak (id int)", "table production.leak"),
    "inside a block": ("DO $$ BEGIN EXECUTE 'CREATE TABLE production.leak (id int)';"
                       " EXCEPTION WHEN others THEN RAISE; END $$", "table production.leak"),
    "a late trigger": ("CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS"
                       " 'BEGIN DELETE FROM production.users; RETURN NULL; END'; CREATE TABLE t (n int);"
                       " CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
                       " FOR EACH ROW EXECUTE FUNCTION late(); INSERT INTO t VALUES (1)", "table production.users"),
    "a number": ("SELECT nextval('production.numbers')", "sequence production.numbers"),
    "made and dropped": ("CREATE FUNCTION production.f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
                         " DROP FUNCTION production.f(); DROP TYPE production.mood", "type production.mood"),
    "a part taken back": ("DO $$ BEGIN BEGIN CREATE TABLE a (n int); RAISE 'x'; EXCEPTION WHEN others THEN NULL; END;"
                          " DROP TABLE production.parent; END $$", "table production.parent"),
}  # fmt: skip


def test_touching_a_neighbour(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """Whatever a transaction makes, changes, drops or writes elsewhere, by whatever way, is noticed and named."""
    address, folder = make({"staging": "staging"}, {})
    execute(pg, address, NEIGHBOUR, "CREATE SCHEMA staging", "CREATE SCHEMA empty")
    target = Project.load(folder).fleet.by_name["staging"]
    missed = {}
    with pg.connect(address.dbname) as lock, pg.connect(address.dbname, autocommit=False) as work:
        neighbours = Neighbours(target, lock, work, work.info.backend_pid)
        for what, (statement, named) in TOUCHES.items():
            work.execute("SET search_path = staging")
            work.execute(statement.encode())
            try:
                neighbours.refuse("it")
                missed[what] = "nothing"
            except TargetError as e:
                if e.problem.code != "touched_neighbour" or named not in e.problem.message:
                    missed[what] = e.problem.message
            work.rollback()
    assert missed == {}


GOOD = (
    "CREATE EXTENSION pgcrypto WITH SCHEMA extensions; CREATE TABLE s4 AS SELECT id, 'good'::production.mood AS m"
    " FROM production.users; CREATE VIEW seen AS SELECT * FROM production.names; LOCK TABLE s4;"
    " COMMENT ON TABLE s4 IS 'x'; CREATE TEMP TABLE t (n int); COMMENT ON SCHEMA staging IS 'x';"
    " CREATE POLICY p ON s4 USING (true); COMMENT ON POLICY p ON s4 IS 'x';"
    " ALTER DEFAULT PRIVILEGES IN SCHEMA staging GRANT SELECT ON TABLES TO anon;"
    " ALTER DEFAULT PRIVILEGES IN SCHEMA staging REVOKE SELECT ON TABLES FROM anon;"
    " CREATE TEXT SEARCH CONFIGURATION words (COPY = production.words);"
    " ALTER TEXT SEARCH CONFIGURATION words DROP MAPPING FOR asciiword"
)


def test_a_step_that_touches_a_neighbour(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """It fails, and nothing of it is kept, not even what it wanted to commit in its middle.

    A step is done that reads the neighbour, refers to its types, and makes an extension; taking that away from under
    the others is refused.
    """
    address, folder = make({"staging": "staging"}, SHARED)
    execute(pg, address, NEIGHBOUR, "CREATE SCHEMA staging")
    Project.load(folder).upgrade()
    before = pg.dump_schema(address.dbname, ())
    for code in ("", "op.get_bind().commit()"):
        text = revision("s4", "s3", up="CREATE TABLE mine (); DROP TABLE production.parent", up_code=code)
        add_revision(folder, "shared/4", text)
        result = result_of(Project.load(folder).upgrade(), "staging")
        assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, "touched_neighbour", ("s3",))
        assert pg.dump_schema(address.dbname, ()) == before
    add_revision(folder, "shared/4", revision("s4", "s3", up=GOOD, down_sql="DROP EXTENSION pgcrypto"))
    assert statuses(Project.load(folder).upgrade()) == {"staging": Status.SUCCEEDED}
    back = result_of(Project.load(folder).downgrade("staging", ["s3"]), "staging")
    assert code_of(back) == "touched_neighbour"


def test_what_may_be_touched(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """A schema that the entry names in `touches` may be changed."""
    up = "CREATE TABLE s1 (id uuid REFERENCES auth.users)"
    address, folder = make({"staging": "staging"}, {"shared/1": revision("s1", up=up)}, touches=["auth"])
    make_schemas(pg, address, "staging")
    with pg.admin(address.dbname) as c:
        c.execute("GRANT REFERENCES ON auth.users TO postgres")
    assert statuses(Project.load(folder).upgrade()) == {"staging": Status.SUCCEEDED}


def test_outside_a_transaction(pg: Cluster, make: Callable[..., tuple[Address, Path]]) -> None:
    """What a step does to a neighbour outside its transaction is seen afterwards and told; an innocent one has none."""
    address, folder = make({"staging": "staging"}, SHARED)
    execute(pg, address, NEIGHBOUR, "CREATE SCHEMA staging", "CREATE SCHEMA ehg_migrated CREATE TABLE parent (id int)")
    Project.load(folder).upgrade()
    code = (
        "with op.get_context().autocommit_block():\n    op.execute('CREATE INDEX CONCURRENTLY {name} ON {table} (id)')"
    )
    for number, (name, table) in enumerate(
        [("mine", "s1"), ("leak", "production.parent"), ("leak", "ehg_migrated.parent")], 4
    ):
        text = revision(f"s{number}", f"s{number - 1}", up_code=code.format(name=name, table=table))
        add_revision(folder, f"shared/{number}", text)
    result = result_of(Project.load(folder).upgrade(), "staging")
    assert result.status is Status.SUCCEEDED
    for note, told in zip(result.notes, ("production", "ehg_migrated"), strict=True):
        assert note.code == "changed_neighbour"
        assert ("`s5`" if told == "production" else "`s6`") in note.message
        assert f"`relation {told}.leak`" in note.message
