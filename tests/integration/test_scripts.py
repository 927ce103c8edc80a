"""`plan --sql`: what it prints is a script, and does what `upgrade` does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ehg_migrate.errors import Problem
from ehg_migrate.model import Address, StateKind, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.integration.fleets import SHARED, entries, tables
from tests.support.cli import ehg
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, revision

MakeDatabase = Callable[[str], Address]

CONCURRENTLY = """\
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY found ON s1 (id)")
"""
BY_ARGUMENT = """\
from alembic import context
op.execute("CREATE TABLE in_" + context.get_x_argument(as_dictionary=True)["region"] + " (id int)")
"""


def play(pg: Cluster, address: Address, script: str) -> None:
    """Sends a script as psql would with ON_ERROR_STOP: what stands between BEGIN and COMMIT at once, the rest too."""
    with pg.open(address) as c:
        for part in re.split(r"^(?:BEGIN|COMMIT);$", script, flags=re.MULTILINE):
            c.execute(part.encode())


def test_a_script_does_what_an_upgrade_does(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """All of stdout, on a database that has never seen us: the same schema, ours too, and the same version rows."""
    addresses = {"by_hand": make_database("by_hand"), "by_run": make_database("by_run")}
    long = revision("a_revision_whose_id_is_longer_than_alembics_column", "s3", up_code=CONCURRENTLY)
    root = make_project(tmp_path, entries(addresses), SHARED | {"shared/4": long})
    secret: dict[str, Any] = {PASSWORD_VARIABLE: pg.password}
    said = ehg(root, "plan", "--sql", "-t", "by_hand", **secret)
    assert said.code == 0, said.err
    play(pg, addresses["by_hand"], said.out)

    project = Project.load(root)
    project.upgrade(["by_run"])
    by_hand, by_run = project.status()
    assert (by_hand.kind, by_hand.heads, by_hand.notes) == (StateKind.UP_TO_DATE, by_run.heads, ())
    assert pg.dump_schema(addresses["by_hand"].dbname, ()) == pg.dump_schema(addresses["by_run"].dbname, ())


def test_what_a_script_did_is_told_where_a_run_cannot_be_taken_back(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """It is in no journal: the run after it goes back exactly, the one before it does not, and nobody edited a file."""
    address = make_database("db")
    project = Project.load(make_project(tmp_path, entries({"acme": address}), SHARED))
    first = project.upgrade(to=["s1"])
    (script,) = project.sql(project.plan(to=["s2"]))
    play(pg, address, script)
    last = project.upgrade()
    (result,) = project.rollback(last.id).results
    assert (result.status, result.heads_after) == (Status.SUCCEEDED, ("s2",))
    (result,) = project.rollback(first.id).results
    assert (result.status, result.heads_after) == (Status.REFUSED, ("s2",))
    assert result.problem is not None
    assert "or a script of `ehg-migrate plan --sql`" in result.problem.message
    assert "--to base" in result.problem.hint


SETS = """\
op.execute("CREATE SCHEMA aside")
op.execute("SET search_path = aside")
op.execute("SET standard_conforming_strings = off")
"""


@pytest.mark.parametrize("schema", ["", "staging"], ids=["database", "schema"])
def test_what_a_step_sets_does_not_reach_the_next_one_of_a_script(
    schema: str, pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """Nor what was set before the script: each step of a run begins with the session's own settings and role."""
    addresses = {name: make_database(name) for name in ("by_hand", "by_run")}
    more = {name: {"schema": schema, "touches": ["aside"]} for name in addresses} if schema else {}
    revisions = {
        "shared/1": revision("s1", label="shared", up_code=SETS),
        "shared/2": revision("s2", "s1", up=r"CREATE TABLE t_s2 (n text DEFAULT 'a\\\\b')"),
    }
    for address in addresses.values() if schema else ():
        with pg.open(address) as c:
            c.execute(f"CREATE SCHEMA {schema}".encode())
    project = Project.load(make_project(tmp_path, entries(addresses, **more), revisions))
    (script,) = project.sql(project.plan(["by_hand"]))
    play(pg, addresses["by_hand"], f"SET ROLE service_role;\n{script}")
    project.upgrade(["by_run"])
    assert {s.kind for s in project.status()} == {StateKind.UP_TO_DATE}
    by_hand, by_run = (pg.dump_schema(a.dbname) for a in addresses.values())
    assert by_hand == by_run
    assert f"CREATE TABLE {schema or 'public'}.t_s2" in by_run


def test_each_target_has_its_own_script(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """The same steps are other SQL where revisions are given other arguments, or the version table is elsewhere."""
    addresses = {name: make_database(name) for name in ("eu", "us", "old")}
    kept = {"version_table": "kept", "version_table_schema": "public"}
    more = {
        "eu": {"x": {"region": "eu"}},
        "us": {"x": {"region": "us"}},
        "old": {"x": {"region": "us"}, "alembic": kept},
    }
    step = revision("s1", label="shared", up_code=BY_ARGUMENT)
    project = Project.load(make_project(tmp_path, entries(addresses, **more), {"shared/1": step}))
    plan = project.plan()
    for (name, address), script in zip(addresses.items(), project.sql(plan), strict=True):
        assert script.partition("\n")[0].endswith(f" for {name}")
        play(pg, address, script)
    assert {name: tables(pg, a) for name, a in addresses.items()} == {
        "eu": {"in_eu"},
        "us": {"in_us"},
        "old": {"in_us", "kept"},
    }
    assert {s.kind for s in project.status()} == {StateKind.UP_TO_DATE}


def test_a_type_is_made_once_in_a_script(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """As Alembic makes it in a run: two steps that name it are one CREATE TYPE."""
    addresses = {name: make_database(name) for name in ("by_hand", "by_run")}
    make = 'import sqlalchemy as sa\nop.create_table({!r}, sa.Column("mood", sa.Enum("sad", name="mood")))'
    first, second = make.format("one"), make.format("two")
    revisions = {"shared/1": revision("s1", label="shared", up_code=first)}
    revisions["shared/2"] = revision("s2", "s1", up_code=second)
    project = Project.load(make_project(tmp_path, entries(addresses), revisions))
    (script,) = project.sql(project.plan(["by_hand"]))
    play(pg, addresses["by_hand"], script)
    project.upgrade(["by_run"])
    assert {s.kind for s in project.status()} == {StateKind.UP_TO_DATE}
    assert pg.dump_schema(addresses["by_hand"].dbname) == pg.dump_schema(addresses["by_run"].dbname)


READS = 'op.get_bind().execute(__import__("sqlalchemy").text("SELECT 1")).scalar()'
SECRET = "op.execute(\"COMMENT ON TABLE t_s1 IS 'password: hunter2'\")"
BELL = "op.execute(\"COMMENT ON TABLE t_s1 IS 'a\\x07b'\")"

COLON = "op.execute(\"COMMENT ON TABLE t_s1 IS 'at :noon'\")"


GUARD = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.encrypted_password = crypt(NEW.given, gen_salt('bf'));
    UPDATE people SET password = NEW.password, old_password = $1 WHERE id = NEW.id;
    RETURN NEW;
END $$"""


def test_names_in_the_place_of_a_password_end_no_script(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """What is called by its name is no secret: the whole function is in the script, as it is."""
    address = make_database("by_hand")
    make_project(tmp_path, entries({"app": address}), {"shared/1": revision("s1", label="shared", up=GUARD)})
    said = ehg(tmp_path, "plan", "--sql", **{PASSWORD_VARIABLE: pg.password})
    assert (said.code, GUARD.strip() in said.out) == (0, True), said
    play(pg, address, said.out)
    with pg.open(address) as c:
        assert c.execute("SELECT prosrc FROM pg_proc WHERE proname = 'guard'").fetchone() == (GUARD.split("$$")[1],)


@pytest.mark.parametrize("code", [READS, SECRET, BELL, COLON], ids=["reads", "masked", "control", "colon"])
def test_a_script_ends_where_a_step_is_not_all_there(
    code: str, pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """What stands behind it would be made, and the version row not move: `upgrade` could not go on from there."""
    address = make_database("by_hand")
    revisions = {
        "shared/1": revision("s1", label="shared", up="CREATE TABLE t_s1 (id int)"),
        "shared/2": revision("s2", "s1", up_code=code),
        "shared/3": revision("s3", "s2", up="CREATE TABLE t_s3 (id int)"),
    }
    project = Project.load(make_project(tmp_path, entries({"app": address}), revisions))
    ends: list[Problem] = []
    (script,) = project.sql(project.plan(), ends.append)
    assert "hunter2" not in script
    assert [(p.code, p.where) for p in ends] == [("script_ends", "versions/shared/2.py")]
    assert ends[0].message.startswith("a script ends before step `s2`: ")
    with pytest.raises(psycopg.errors.RaiseException, match="the script ends here, before step s2"):
        play(pg, address, script)
    assert tables(pg, address) == {"t_s1"}
    assert "-- CREATE TABLE t_s3 (id int);" in script
    said = ehg(project.settings.root, "plan", "--sql", **{PASSWORD_VARIABLE: pg.password})
    assert (said.code, said.out.count("the script ends here")) == (1, 1)
    assert said.err.endswith("\nnote:   hint: `ehg-migrate upgrade` does that step, and the rest\n")
    assert script.rpartition("RAISE EXCEPTION")[2].count("\n-- up s3") == 1
    project.upgrade()
    left = StateKind.PENDING if code == COLON else StateKind.UP_TO_DATE  # a run fails there, too
    assert [s.kind for s in project.status()] == [left]


def test_a_script_does_nothing_where_the_target_has_moved(
    pg: Cluster, make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """Its UPDATE of the version row would match none, without a word, and all else be done: each step looks first."""
    address = make_database("by_hand")
    revisions = {
        "shared/1": revision("s1", label="shared", up="CREATE TABLE t_s1 (n int)"),
        "shared/2": revision("s2", "s1", up="CREATE TABLE t_s2 (n int)"),
        "shared/3": revision("s3", "s2", up="INSERT INTO t_s1 VALUES (3)"),
    }
    project = Project.load(make_project(tmp_path, entries({"app": address}), revisions))
    project.upgrade(to=["s1"])
    (script,) = project.sql(project.plan())
    project.upgrade()
    for part in re.split(r"^COMMIT;$", script, flags=re.MULTILINE)[:-1]:  # as psql does that goes on behind an error
        with pg.open(address) as c, pytest.raises(psycopg.errors.RaiseException, match=r"step s\d begins at `s\d`"):
            c.execute(part.encode())
    assert tables(pg, address) == {"t_s1", "t_s2"}
    with pg.open(address) as c:
        assert c.execute("SELECT n FROM t_s1").fetchall() == [(3,)]
    assert project.status()[0].heads == ("s3",)
