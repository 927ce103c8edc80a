"""What a step asks of the tables that are there, seen from inside its session: each rule with SQL that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import pytest

from ehg_migrate.database.leaving import TargetConnection
from ehg_migrate.database.trace import Trace, loads
from ehg_migrate.database.tracing import Tracer
from ehg_migrate.model import Address
from ehg_migrate.revisions.rules import RULES
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.effects import effects
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.strain import strains
from tests.support.bare import BareServer
from tests.support.postgres import Cluster, keywords

GROUND = """
CREATE TABLE a (id int PRIMARY KEY, n int, t varchar(10), kept int CHECK (kept IS NOT NULL));
CREATE TABLE b (id int PRIMARY KEY, a_id int);
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
CREATE TABLE old (n int); CREATE TABLE rich (m int); CREATE TABLE heir () INHERITS (old, rich);
CREATE TABLE c (id int, CONSTRAINT later FOREIGN KEY (id) REFERENCES a);
CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
CREATE DOMAIN share AS int; CREATE TABLE d (part share); REVOKE ALL ON d FROM anon, authenticated;
CREATE TYPE size AS ENUM ('s', 'm'); CREATE TYPE pair AS (x int, y text); CREATE TYPE whole AS (first pair, n int);
CREATE DOMAIN twin AS whole; CREATE TABLE h (id int GENERATED ALWAYS AS IDENTITY, s serial, two twin[], p pair);
CREATE TABLE k (id int PRIMARY KEY); ALTER TABLE k ENABLE ROW LEVEL SECURITY;
CREATE TABLE r (id int PRIMARY KEY, k_id int REFERENCES k ON DELETE CASCADE, up int REFERENCES r ON DELETE CASCADE);
CREATE TABLE "r s" (r_id int REFERENCES r ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE q (k_id int REFERENCES k ON DELETE SET NULL); ALTER TABLE q ENABLE ROW LEVEL SECURITY;
ALTER TABLE h ENABLE ROW LEVEL SECURITY; ALTER TABLE r ENABLE ROW LEVEL SECURITY;
ALTER TABLE "r s" ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION strict() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE a ALTER n SET NOT NULL; END';
CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER g AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION g();
ALTER TABLE a ENABLE ROW LEVEL SECURITY; ALTER TABLE b ENABLE ROW LEVEL SECURITY;
ALTER TABLE c ENABLE ROW LEVEL SECURITY;
ALTER TABLE p ENABLE ROW LEVEL SECURITY; ALTER TABLE p1 ENABLE ROW LEVEL SECURITY;
ALTER TABLE p2 ENABLE ROW LEVEL SECURITY; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM anon, authenticated;
"""


@dataclass(frozen=True)
class Case:
    """Statements of one step, each a message, and `RULE OBJECT` for everything that is to be found."""

    sql: tuple[str, ...]
    found: tuple[str, ...] = ()


NEW = "CREATE TABLE n (id int PRIMARY KEY); ALTER TABLE n ENABLE ROW LEVEL SECURITY"
CASES = {
    "a column": Case(("ALTER TABLE a ADD COLUMN x int DEFAULT 7",)),
    "another type": Case(("ALTER TABLE a ALTER n TYPE bigint",), ("rewrite table public.a",)),
    "a longer varchar": Case(("ALTER TABLE a ALTER t TYPE varchar(20)",)),
    "a default for each row": Case(("ALTER TABLE a ADD COLUMN x float DEFAULT random()",), ("rewrite table public.a",)),
    "a rewrite in a DO block": Case(
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE a ALTER n ' || 'TYPE bigint'; END $$",), ("rewrite table public.a",)
    ),
    "an emptied partition": Case(("TRUNCATE p1",), ("truncate table public.p",)),
    "one that is emptied, one that is written anew": Case(
        ("TRUNCATE p1", "ALTER TABLE p2 SET UNLOGGED"), ("rewrite table public.p", "truncate table public.p")
    ),
    "unlogged": Case(("ALTER TABLE b SET UNLOGGED",), ("rewrite table public.b",)),
    "clustered": Case(("CLUSTER a USING a_pkey",), ("rewrite table public.a",)),
    "a refreshed view": Case(("REFRESH MATERIALIZED VIEW m",), ("rewrite table public.m",)),
    "NOT NULL": Case(("ALTER TABLE a ALTER n SET NOT NULL",), ("scan table public.a",)),
    "NOT NULL that a check has proven": Case(("ALTER TABLE a ALTER kept SET NOT NULL",)),
    "a check": Case(("ALTER TABLE a ADD CHECK (n > 0)",), ("scan table public.a",)),
    "a check for later": Case(
        ("ALTER TABLE a ADD CONSTRAINT k CHECK (n > 0) NOT VALID",), ("not_validated constraint k on public.a",)
    ),
    "a check that is validated": Case(("ALTER TABLE c VALIDATE CONSTRAINT later",)),
    "a foreign key": Case(
        ("ALTER TABLE b ADD CONSTRAINT k FOREIGN KEY (a_id) REFERENCES a",),
        ("fk_without_index constraint k on public.b", "scan table public.b"),
    ),
    "an index": Case(("CREATE INDEX ON a (n)",), ("index_build table public.a",)),
    "a check of a domain": Case(("ALTER DOMAIN share ADD CHECK (value > 0)",), ("scan table public.d",)),
    "an index of a new table": Case((NEW, "CREATE INDEX ON n (id)", "INSERT INTO n VALUES (1)")),
    "a unique constraint": Case(("ALTER TABLE a ADD UNIQUE (n)",), ("scan table public.a",)),
    "of a partitioned table": Case(("ALTER TABLE p ADD COLUMN x int",)),
    "rows alone": Case(("UPDATE a SET n = 1", "INSERT INTO b VALUES (1)")),
    "rows after a column": Case(
        ("ALTER TABLE a ADD COLUMN x int", "UPDATE a SET x = n"), ("held_lock table public.a",)
    ),
    "rows after a column in one text": Case(
        ("ALTER TABLE a ADD COLUMN x int; UPDATE a SET x = n",), ("held_lock table public.a",)
    ),
    "rows after a column in a DO block": Case(
        ("DO $$ BEGIN ALTER TABLE a ADD COLUMN x int; UPDATE a SET x = n; END $$",), ("held_lock table public.a",)
    ),
    "rows of another table": Case(
        ("ALTER TABLE a ADD COLUMN x int", "UPDATE b SET a_id = 1"), ("held_lock table public.b",)
    ),
    "rows before and after a column": Case(
        ("UPDATE b SET a_id = 1", "ALTER TABLE b ADD COLUMN x int", "UPDATE b SET x = 1"),
        ("held_lock table public.b",),
    ),
    "NOT NULL in a function": Case(("SELECT strict()",), ("scan table public.a",)),
    "rows before a column": Case(
        ("UPDATE a SET n = 1", "ALTER TABLE a ADD COLUMN x int"), ("backfill table public.a",)
    ),
    "rows before a column in one text": Case(
        ("UPDATE a SET n = 1; ALTER TABLE a ADD COLUMN x int",), ("backfill table public.a",)
    ),
    "a scan after a column": Case(
        ("ALTER TABLE b ADD COLUMN x int", "ALTER TABLE a ALTER n SET NOT NULL"),
        ("held_lock table public.a", "many_locks public.a, public.b", "scan table public.a"),
    ),
    "two tables": Case(
        ("ALTER TABLE a ADD COLUMN x int", "ALTER TABLE b ADD COLUMN x int"), ("many_locks public.a, public.b",)
    ),
    "locked by hand": Case(("LOCK TABLE a, b",), ("many_locks public.a, public.b",)),
    "emptied": Case(("TRUNCATE b",), ("truncate table public.b",)),
    "emptied in a DO block": Case(("DO $$ BEGIN TRUNCATE b; END $$",), ("truncate table public.b",)),
    "rows deleted": Case(("DELETE FROM b WHERE id = 7",), ("delete table public.b",)),
    "rows deleted, and those that refer to them": Case(
        ("DELETE FROM k WHERE id = 7",),
        ("delete table public.k", "delete table public.r", 'delete table public."r s"'),
    ),
    "an attribute dropped": Case(
        ("ALTER TYPE pair DROP ATTRIBUTE y",),
        ("lost_data column public.h.p, y in it", "lost_data column public.h.two, y in it"),
    ),
    "an attribute renamed": Case(("ALTER TYPE pair RENAME ATTRIBUTE y TO z",), ("renamed column public.pair.y",)),
    "an attribute added": Case(("ALTER TYPE whole ADD ATTRIBUTE z int",)),
    "a type with attributes renamed": Case(
        ("ALTER TYPE pair RENAME TO couple",), ("renamed composite type public.pair",)
    ),
    "a label renamed": Case(("ALTER TYPE size RENAME VALUE 's' TO 'small'",), ("renamed enum public.size, label s",)),
    "a label taken away": Case(
        ("DROP TYPE size; CREATE TYPE size AS ENUM ('m')",),
        ("dropped enum public.size, label s",),
    ),
    "an identity dropped": Case(("ALTER TABLE h ALTER id DROP IDENTITY",), ("dropped sequence public.h_id_seq",)),
    "a sequence dropped, and the default with it": Case(
        ("DROP SEQUENCE h_s_seq CASCADE",), ("dropped sequence public.h_s_seq",)
    ),
    "a column with its sequence": Case(("ALTER TABLE h DROP s",), ("lost_data column public.h.s",)),
    "a partition detached": Case(("ALTER TABLE p DETACH PARTITION p1",), ("detached table public.p1, of public.p",)),
    "a partition detached and renamed, and its parent renamed": Case(
        ("ALTER TABLE p DETACH PARTITION p1", "ALTER TABLE p1 RENAME TO gone", "ALTER TABLE p RENAME TO o"),
        ("detached table public.p1, of public.p", "renamed table public.p", "renamed table public.p1"),
    ),
    "a partition with other bounds": Case(
        ("ALTER TABLE p DETACH PARTITION p1", "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (9)"),
        ("scan table public.p",),
    ),
    "a partition and its parent renamed": Case(
        ("ALTER TABLE p1 RENAME TO o1", "ALTER TABLE p RENAME TO o"),
        ("renamed table public.p", "renamed table public.p1"),
    ),
    "no more an heir": Case(("ALTER TABLE heir NO INHERIT rich",), ("detached table public.heir, of public.rich",)),
    "a partition dropped": Case(("DROP TABLE p1",), ("lost_data table public.p1",)),
    "a table dropped": Case(("DROP TABLE b",), ("lost_data table public.b",)),
    "a table renamed": Case(("ALTER TABLE b RENAME TO e",), ("renamed table public.b",)),
    "a column renamed": Case(("ALTER TABLE b RENAME a_id TO x",), ("renamed column public.b.a_id",)),
    "a column dropped": Case(("ALTER TABLE b DROP a_id",), ("lost_data column public.b.a_id",)),
    "a column made anew": Case(
        ("ALTER TABLE b DROP a_id", "ALTER TABLE b ADD a_id text"), ("lost_data column public.b.a_id",)
    ),
    "a table made anew": Case(
        (
            "DROP TABLE b; CREATE TABLE b (id int PRIMARY KEY, a_id int); ALTER TABLE b ENABLE ROW LEVEL SECURITY",
            "REVOKE ALL ON b FROM anon, authenticated",
        ),
        ("lost_data table public.b",),
    ),
    "a table put in the place of another": Case(
        (NEW, "DROP TABLE b", "ALTER TABLE n RENAME TO b", "REVOKE ALL ON b FROM anon, authenticated"),
        ("lost_data table public.b",),
    ),
    "a table renamed, and a column of it dropped": Case(
        ("ALTER TABLE b RENAME TO e", "ALTER TABLE e DROP a_id"),
        ("lost_data column public.b.a_id", "renamed table public.b"),
    ),
    "a function dropped": Case(("DROP FUNCTION f()",), ("dropped function public.f()",)),
    "a function renamed": Case(("ALTER FUNCTION f() RENAME TO h",), ("renamed function public.f()",)),
    "a grant": Case(("GRANT SELECT ON b TO anon; GRANT SELECT ON b TO authenticated",), ("granted table public.b",)),
    "a trigger off": Case(("ALTER TABLE a DISABLE TRIGGER g",), ("trigger_off trigger g on public.a",)),
    "of the platform": Case(("CREATE TABLE auth.mine (id int)",), ("platform table auth.mine",)),
    "a reference to the platform": Case(
        ("CREATE TABLE n (id uuid PRIMARY KEY REFERENCES auth.users)", "ALTER TABLE n ENABLE ROW LEVEL SECURITY"),
    ),
    "a part taken back": Case(
        ("SAVEPOINT s", "ALTER TABLE a ALTER n TYPE bigint", "ROLLBACK TO SAVEPOINT s"), ("rewrite table public.a",)
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(pg: Cluster, pg_module_db: Address) -> Iterator[TargetConnection]:
    """A connection to a database with the tables of GROUND; whoever uses it rolls back."""
    with TargetConnection.connect(
        **keywords(pg.superuser_address(pg_module_db.dbname)), password=pg.password
    ) as connection:
        connection.execute(GROUND)  # a text of several statements
        connection.commit()
        yield connection


@pytest.fixture(scope="module")
def before(ground: TargetConnection) -> Catalog:
    """What GROUND has made."""
    found = read_catalog(ground, Scope())
    ground.rollback()
    return found


def watched(connection: TargetConnection, statements: tuple[str, ...], file: Path) -> Trace:
    """The trace of a function that sends these."""

    def upgrade() -> None:
        for statement in statements:
            connection.execute(statement)

    Tracer(connection, file).running(upgrade)()
    return loads(file.read_text())


def test_a_step_that_is_no_function(ground: TargetConnection, tmp_path: Path) -> None:
    """It is watched like any other; only which line it was is not known."""
    file = tmp_path / "trace.json"
    Tracer(ground, file).running(partial(ground.execute, "CREATE TABLE made_by_no_function (id int)"))()
    ground.rollback()
    (sent,) = loads(file.read_text()).sent
    assert (sent.line, sent.tags) == (0, ("CREATE TABLE",))


@pytest.mark.parametrize("name", CASES)
def test_what_a_step_asks(ground: TargetConnection, before: Catalog, tmp_path: Path, name: str) -> None:
    """Exactly what the case says, and nothing else."""
    case = CASES[name]
    try:
        trace = watched(ground, case.sql, tmp_path / "trace")
        after = read_catalog(ground, Scope())
    finally:
        ground.rollback()
    changes = before.fingerprint != after.fingerprint
    found = (*strains(trace, changes_schema=changes), *effects(before, after, trace=trace, platform=True))
    assert sorted(f"{e.rule} {e.identity}" for e in found) == sorted(case.found)
    assert strains(trace, RULES) == ()


def test_a_step_of_many_tables(ground: TargetConnection, tmp_path: Path) -> None:
    """What is told of a statement does not grow with the tables that were locked before it; nor does a message."""
    tables = [f"many_{i:02}" for i in range(30)]
    ground.execute("; ".join(f"CREATE TABLE {t} (id int)" for t in tables))
    ground.commit()
    try:
        columns = tuple(f"ALTER TABLE {t} ADD COLUMN x int" for t in tables)
        trace = watched(ground, (*columns, "UPDATE many_29 SET x = 1"), tmp_path / "trace")
    finally:
        ground.rollback()
        ground.execute(f"DROP TABLE {', '.join(tables)}")
        ground.commit()
    told = [[t.table for t in s.touched] for s in trace.sent]
    assert told == [*([f"public.{t}"] for t in tables), ["public.many_29"]]
    assert {s.held for s in trace.sent[2:]} == {("public.many_00", "public.many_01")}
    found = {e.rule: e for e in strains(trace)}
    assert found["held_lock"].tables == ("public.many_29",)
    assert len(found["many_locks"].tables) == 30
    assert found["many_locks"].identity.endswith("public.many_03, public.many_04 and 25 more")


def test_a_key_that_is_not_enforced_wants_no_index(bare: BareServer) -> None:
    """Nothing looks it up, on 18, which has such keys; one that is enforced is found on every version."""
    keys = resources.files("ehg_migrate.database").joinpath("trace_keys.sql").read_bytes()
    with bare.connect("base") as c, c.transaction(force_rollback=True):
        c.execute("CREATE TABLE public.a (id int PRIMARY KEY)")
        c.execute("CREATE TABLE public.b (a_id int CONSTRAINT k REFERENCES public.a)")
        assert ("k on public.b",) in c.execute(keys).fetchall()
        if bare.major >= 18:
            c.execute("ALTER TABLE public.b ALTER CONSTRAINT k NOT ENFORCED")
            assert ("k on public.b",) not in c.execute(keys).fetchall()


def test_where_a_statement_stands(ground: TargetConnection, tmp_path: Path) -> None:
    """Each message has its line of the file whose function is watched, and its command."""
    try:
        trace = watched(ground, ("ALTER TABLE a ADD COLUMN x int", "UPDATE a SET x = 1"), tmp_path / "trace")
    finally:
        ground.rollback()
    (line,) = {s.line for s in trace.sent}
    assert "connection.execute(statement)" in Path(__file__).read_text().splitlines()[line - 1]
    assert [s.tags for s in trace.sent] == [("ALTER TABLE",), ("UPDATE",)]


def test_outside_a_transaction(ground: TargetConnection, tmp_path: Path) -> None:
    """Locks are gone before they can be seen; a rewrite is found by the table's files, CONCURRENTLY says nothing."""
    ground.autocommit = True
    try:
        ground.execute("CREATE TABLE o (id int)")
        trace = watched(ground, ("CREATE INDEX CONCURRENTLY ON o (id)",), tmp_path / "trace")
        assert strains(trace) == ()
        trace = watched(ground, ("ALTER TABLE o ALTER id TYPE bigint",), tmp_path / "trace")
        assert [(e.rule, e.identity) for e in strains(trace)] == [("rewrite", "table public.o")]
        trace = watched(ground, ("VACUUM FULL a", "TRUNCATE o", "VACUUM FULL b"), tmp_path / "trace")
        assert [(e.rule, e.identity) for e in strains(trace)] == [
            ("rewrite", "table public.a"),
            ("truncate", "table public.o"),
            ("rewrite", "table public.b"),
        ]
    finally:
        ground.execute("DROP TABLE IF EXISTS o")
        ground.autocommit = False
