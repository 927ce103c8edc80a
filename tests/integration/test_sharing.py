"""What a step sends to one target is sent to another only where Alembic would send it there: whatever it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.database.claim import Facts
from ehg_migrate.database.leaving import TargetConnection
from ehg_migrate.database.single import NeedsPair, SingleSession
from ehg_migrate.environment import replaying
from ehg_migrate.environment.hosting import options
from ehg_migrate.environment.naming import Past
from ehg_migrate.environment.recording import Known, Recorder
from ehg_migrate.environment.resending import learn_steps, send_steps
from ehg_migrate.model import Address, Origin, Plan, RunStatus, Status, Step, Target
from tests.support.postgres import Cluster, keywords
from tests.support.programs import wait_until
from tests.support.project import revision
from tests.support.running import Fleet, code_of, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]
MakeFleet = Callable[..., Fleet]

_MOOD = 'op.create_table({!r}, sa.Column("mood", sa.Enum("sad", "glad", name="mood")))'


def with_mood(id_: str, down: str | None = None, **more: Any) -> str:
    """A revision that makes a table with a type that others name too: Alembic makes it once in a run."""
    text = revision(id_, down, up_code=_MOOD.format(id_), **more)
    return text.replace("import op\n", "import op\nimport sqlalchemy as sa\n")


@pytest.fixture
def fleet_of(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Fleet]:
    """Targets of these names, which one worker does one after the other, in this order."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)

    def make(
        names: tuple[str, ...], revisions: Mapping[str, str], entries: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Fleet:
        return make_fleet(pg, tmp_path, {n: make_database(n) for n in names}, revisions, entries)

    return make


def test_a_type_that_a_step_before_has_named(fleet_of: MakeFleet) -> None:
    """The step before is sent as it is known, the one after it is not known yet: the type is not made again."""
    revisions = {
        "shared/1": with_mood("s1", label="shared"),
        "more/1": with_mood("m1", depends=["s1"], label="more"),
        "more/2": with_mood("m2", "m1"),
    }
    fleet = fleet_of(("a", "b", "c", "d"), revisions, {n: {"branches": ["more"]} for n in ("c", "d")})
    run = fleet.upgrade(parallel=1)
    assert {r.target: (r.status, code_of(r)) for r in run.results} == dict.fromkeys("abcd", (Status.SUCCEEDED, ""))
    assert fleet.tables("c") == fleet.tables("d") == ["m1", "m2", "s1"]


def test_a_type_that_only_another_targets_run_has_named(fleet_of: MakeFleet) -> None:
    """A target that held the step before fails as it does alone: there Alembic makes the type again."""
    fleet = fleet_of(("new", "old"), {"shared/1": with_mood("s1", label="shared")})
    fleet.upgrade("old")
    fleet.write("shared/2", with_mood("s2", "s1"))
    run = fleet.upgrade(parallel=1)
    assert [r.status for r in run.results] == [Status.SUCCEEDED, Status.FAILED]
    problem = result_of(run, "old").problem
    assert problem
    assert problem.message == 'type "mood" already exists'
    assert "create_type=False" in problem.hint
    assert "stamp" not in problem.hint  # it would leave out all else that the revision does
    assert (fleet.heads("old"), fleet.tables("old")) == (["s1"], ["s1"])


@pytest.mark.parametrize("held", ["one", "two"], ids=["first", "by_one_connection"])
def test_a_type_that_was_named_before_a_lock_timeout(fleet_of: MakeFleet, held: str) -> None:
    """The step is tried again, or goes on with two connections, behind a step that is done and has made the type."""
    busy = _MOOD.format("s2")[:-1] + ', sa.Column("kept", sa.Integer, sa.ForeignKey("kept.n")))'
    after = with_mood("s2", "s1").replace(_MOOD.format("s2"), busy)
    limits = {"lock_timeout": "1s", "retries": 30}
    fleet = fleet_of(
        ("one", "two"), {"shared/1": with_mood("s1"), "shared/2": after}, dict.fromkeys(("one", "two"), limits)
    )
    for name in fleet.addresses:
        with fleet.connect(name) as c:
            c.execute("CREATE TABLE kept (n int PRIMARY KEY)")
    with fleet.pg.connect(fleet.addresses[held].dbname, autocommit=False) as other:
        other.execute("LOCK TABLE kept")
        run = fleet.background(lambda: fleet.upgrade(parallel=1))
        wait_until(lambda: any("again" in n for n in fleet.notices(held)), "no lock was waited for", 60)
        other.rollback()
        assert {r.target: code_of(r) for r in run.result(60).results} == {"one": "", "two": ""}
    assert fleet.heads("one") == fleet.heads("two") == ["s2"]


def test_how_a_server_reads_a_backslash(fleet_of: MakeFleet) -> None:
    """A setting of the second one says so, and the comment is the same."""
    code = 'op.create_table("noted", sa.Column("n", sa.Integer), comment=r"a\\b")'
    text = revision("s1", up_code=code, label="shared").replace("import op\n", "import op\nimport sqlalchemy as sa\n")
    fleet = fleet_of(("one", "two"), {"shared/1": text})
    with fleet.admin("two") as c:
        role = f"ALTER ROLE postgres IN DATABASE {fleet.addresses['two'].dbname}"
        c.execute(f"{role} SET standard_conforming_strings = off".encode())
    assert {r.status for r in fleet.upgrade(parallel=1).results} == {Status.SUCCEEDED}
    comment = "SELECT obj_description('noted'::regclass)"
    assert fleet.values("one", comment) == fleet.values("two", comment) == ["a\\b"]


@pytest.mark.parametrize(
    ("options", "shared"), [({"compare_type": True}, True), ({"compare_type": False}, False), ({}, False)]
)
def test_options_of_alembics_own(pg: Cluster, database: Address, options: dict[str, Any], shared: bool) -> None:
    """What they do to a step is Alembic's affair: a target with others, or none, is not sent what these made."""
    facts = Facts("public", "read committed", None)
    with TargetConnection.connect(**keywords(database), password=pg.password) as driver:
        one, other = (
            replaying.surroundings(facts, driver, Target(name, database, ("shared",), alembic=given))
            for name, given in (("one", {"compare_type": True}), ("other", options))
        )
    assert (one == other) is shared


def test_our_options_win() -> None:
    """Whatever way a target came by others: each step has its own transaction, and the version table is its own."""
    own = {"transaction_per_migration": False, "version_table": "x", "version_table_schema": "y", "compare_type": False}
    target = Target("one", Address("h", 5432, "u", "d", "disable"), ("shared",), alembic=own)
    assert options(target) == {
        "transaction_per_migration": True,
        "version_table": target.version_table,
        "version_table_schema": target.version_table_schema,
        "compare_type": False,
    }


def test_an_option_of_the_connection(fleet_of: MakeFleet) -> None:
    """It holds for the steps after it: a target that has had it before is another than one that gets it now."""
    option = 'op.execute("CREATE TABLE s1 (n int)", execution_options={"schema_translate_map": {None: "other"}})'
    table = revision("s2", "s1", up_code='op.create_table("made", sa.Column("n", sa.Integer))')
    fleet = fleet_of(("new", "old"), {"shared/1": revision("s1", up_code=option, label="shared")})
    for name in fleet.addresses:
        with fleet.connect(name) as c:
            c.execute("CREATE SCHEMA other")
    fleet.upgrade("old")
    fleet.write("shared/2", table.replace("import op\n", "import op\nimport sqlalchemy as sa\n"))
    assert {r.status for r in fleet.upgrade(parallel=1).results} == {Status.SUCCEEDED}
    where = "SELECT schemaname FROM pg_tables WHERE tablename = 'made'"
    assert (fleet.values("new", where), fleet.values("old", where)) == (["other"], ["public"])


def test_an_error_is_of_the_targets_own_file(fleet_of: MakeFleet) -> None:
    """Branches of two targets may hold the same file, which sends the same."""
    text = step("o1", code='op.execute("CREATE TABLE kept (n int)")')
    fleet = fleet_of(("one", "two"), {"one/1": text, "two/1": text})
    with fleet.connect("two") as c:
        c.execute("CREATE TABLE kept (n int)")
    problem = result_of(fleet.upgrade(parallel=1), "two").problem
    assert problem
    assert problem.where == "versions/two/1.py:13"


ENVIRONMENT = """
from alembic import context
from sqlalchemy import Engine, event

from ehg_migrate.environment.hosting import run

tenant = context.get_x_argument(as_dictionary=True)["tenant"]


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def put(connection, cursor, statement, parameters, context, many):
    return statement.replace("TENANT", tenant), parameters


run()
"""


def test_an_environment_of_the_projects_own(fleet_of: MakeFleet) -> None:
    """It may change what is sent, for each target otherwise, and leave behind what does."""
    names = ("one", "two", "three")
    table = revision("s1", up="CREATE TABLE who AS SELECT 'TENANT'::text AS name", label="shared")
    fleet = fleet_of(names, {"shared/1": table}, {n: {"x": {"tenant": n}} for n in names})
    (fleet.folder / "own").mkdir()
    (fleet.folder / "own" / "env.py").write_text(ENVIRONMENT)
    ini = fleet.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/own"))
    run = fleet.upgrade(parallel=1)
    assert {r.status for r in run.results} == {Status.SUCCEEDED}
    assert {n: fleet.values(n, "SELECT name FROM who") for n in names} == {n: [n] for n in names}
    # once more, where the endpoint is proven before any worker begins
    fleet.write("shared/2", revision("s2", "s1", up="CREATE TABLE me AS SELECT 'TENANT'::text AS name"))
    assert {r.status for r in fleet.load().upgrade(parallel=1).results} == {Status.SUCCEEDED}
    assert {n: fleet.values(n, "SELECT name FROM me") for n in names} == {n: [n] for n in names}


LOOKS_ON = """
from pathlib import Path

from sqlalchemy import Engine, event

from ehg_migrate.environment.hosting import run


@event.listens_for(Engine, "after_cursor_execute")
def note(connection, cursor, statement, parameters, context, many):
    with Path("noted").open("a") as file:
        print(cursor.statusmessage, file=file)


run()
"""


def test_an_environment_that_looks_at_what_was_done(fleet_of: MakeFleet) -> None:
    """It may want to know how each statement went, so each is waited for."""
    fleet = fleet_of(("one",), {"shared/1": revision("s1", up="CREATE TABLE s1 (n int)", label="shared")})
    (fleet.folder / "own").mkdir()
    (fleet.folder / "own" / "env.py").write_text(LOOKS_ON)
    ini = fleet.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/own"))
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    noted = (fleet.folder / "noted").read_text().splitlines()
    assert "CREATE TABLE" in noted
    assert "None" not in noted


def test_an_environment_with_a_fault(fleet_of: MakeFleet) -> None:
    """It is named, and not the revision that was to be run by it."""
    fleet = fleet_of(("one",), {"one/1": step("o1", code="op.get_bind()")})
    (fleet.folder / "own").mkdir()
    (fleet.folder / "own" / "env.py").write_text("import ehg_migrate\n\nraise ValueError('not set up')\n")
    ini = fleet.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/own"))
    problem = result_of(fleet.upgrade("one"), "one").problem
    assert problem
    assert (problem.message, problem.where) == ("ValueError: not set up", "own/env.py:3")
    assert problem.hint == "correct that file and run again"


def test_an_environment_that_runs_nothing(fleet_of: MakeFleet) -> None:
    """It is named: nobody has stopped the run."""
    fleet = _with_environment(fleet_of, "import ehg_migrate.environment.hosting\n")
    result = result_of(fleet.upgrade("one"), "one")
    assert (result.status, code_of(result)) == (Status.FAILED, "foreign_environment")
    assert result.problem
    assert result.problem.message == "env.py ended and has run nothing"
    assert "`run()`" in result.problem.hint


def test_an_environment_that_runs_twice(fleet_of: MakeFleet) -> None:
    """Each step is done once."""
    fleet = _with_environment(fleet_of, "from ehg_migrate.environment.hosting import run\nrun()\nrun()\n")
    result = result_of(fleet.upgrade("one"), "one")
    assert (result.status, [s.revision for s in result.steps]) == (Status.SUCCEEDED, ["o1"])


def test_an_environment_that_gives_what_would_not_hold(fleet_of: MakeFleet) -> None:
    """It is refused, as by stock commands: whoever asks for a hook, or for another table, relies on it."""
    gives = "run(on_version_apply=print)"
    fleet = _with_environment(fleet_of, f"from ehg_migrate.environment.hosting import run\n{gives}\n")
    result = result_of(fleet.upgrade("one"), "one")
    assert result.problem
    assert result.problem.message == "env.py gives `on_version_apply` to `run()`, where it would not hold"
    assert (fleet.tables("one"), fleet.heads("one")) == ([], [])


def _with_environment(fleet_of: MakeFleet, text: str) -> Fleet:
    fleet = fleet_of(("one",), {"one/1": step("o1", code="op.get_bind()")})
    (fleet.folder / "own").mkdir()
    (fleet.folder / "own" / "env.py").write_text(text)
    ini = fleet.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/own"))
    return fleet


def test_models_with_a_fault(fleet_of: MakeFleet) -> None:
    """The setting that names them is named, and not the revision."""
    fleet = fleet_of(("one",), {"one/1": step("o1", code="op.get_bind()")})
    (fleet.folder / "mods.py").write_text("raise SystemExit('not set up')\n")
    ini = fleet.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("[ehg_migrate]\n", "[ehg_migrate]\nmetadata = one = mods:metadata\n"))
    problem = result_of(fleet.upgrade("one"), "one").problem
    assert problem
    assert problem.message == "`mods:metadata` cannot be imported: SystemExit: not set up"
    assert problem.where == "alembic.ini: [ehg_migrate] metadata"
    assert problem.hint.startswith("modules are looked for below `prepend_sys_path`")


ELSEWHERE = """
from alembic import context
from sqlalchemy import create_engine

# not through ehg_migrate
with create_engine({url!r}).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def test_an_environment_that_connects_elsewhere(fleet_of: MakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is run in the database that it leads to, and none on the target."""
    fleet = fleet_of(("one", "other"), {"one/1": step("o1", code="op.get_bind()")})
    there = fleet.addresses["other"]
    monkeypatch.setenv("PGPASSWORD", fleet.pg.password)
    (fleet.folder / "own").mkdir()
    url = f"postgresql+psycopg://{there.user}@{there.host}:{there.port}/{there.dbname}"
    (fleet.folder / "own" / "env.py").write_text(ELSEWHERE.format(url=url))
    ini = fleet.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/own"))
    result = result_of(fleet.upgrade("one"), "one")
    assert (result.status, code_of(result)) == (Status.FAILED, "foreign_environment")
    assert result.problem
    assert result.problem.where == "alembic.ini: [alembic] script_location"
    assert (fleet.tables("one"), fleet.tables("other"), fleet.heads("one")) == ([], [], [])


def test_a_step_that_is_not_known_after_all_is_not_called_done(
    fleet_of: MakeFleet, pg: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent of it, no entry and no version row either."""
    monkeypatch.setattr(replaying, "made", {})
    fleet = fleet_of(("one",), {"shared/1": step("s1", label="shared")})
    project = fleet.load()
    target, (plan,) = project.fleet.by_name["one"], fleet.plan().plans

    def forget(begins: Step) -> bool:
        session.prepare_work()
        replaying.made.clear()
        return True

    origin = Origin("somebody", "here", 1, "", "0")
    with SingleSession(target, pg.password, "20260101-000000-0000", origin, fresh=True) as session:
        recorder = Recorder(session, lambda r: Known("shared", ""), ())
        learn_steps(project.settings, session, plan.steps)
        with pytest.raises(NeedsPair):
            send_steps(project.settings, session, recorder, plan.steps, forget, Past(plan.steps))
    assert (fleet.heads("one"), fleet.tables("one"), fleet.journal("one")) == ([], [], [])


def learn(fleet: Fleet, name: str) -> bool:
    """Makes known what is to be done on a target, in this process; whether anything was not."""
    project = fleet.load()
    target, (plan,) = project.fleet.by_name[name], project.plan((name,)).plans
    return learn_for(fleet, target, plan)


def learn_for(fleet: Fleet, target: Target, plan: Plan) -> bool:
    """The same of a plan that was made before."""
    origin = Origin("somebody", "here", 1, "", "0")
    with SingleSession(target, fleet.pg.password, "20260101-000000-0000", origin, fresh=True) as session:
        return learn_steps(fleet.load().settings, session, plan.steps)


@pytest.mark.parametrize(
    ("planned", "now"),
    [("", 'op.execute("CREATE TABLE another (n int)")'), ('open("ran", "w").close()', 'open("ran", "w").close()')],
    ids=["another_by_now", "not_plain"],
)
def test_what_makes_nothing_known(planned: str, now: str, fleet_of: MakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is what the plan's file sends, of functions that are lists of operations; no other is run."""
    monkeypatch.setattr(replaying, "made", {})
    fleet = fleet_of(("one",), {"shared/1": step("s1", code=planned, label="shared")})
    monkeypatch.chdir(fleet.folder)
    target, (plan,) = fleet.load().fleet.by_name["one"], fleet.plan().plans
    fleet.write("shared/1", step("s1", code=now, label="shared"))
    with pytest.raises(NeedsPair):
        learn_for(fleet, target, plan)
    assert replaying.made == {}
    assert not (fleet.folder / "ran").exists()


def test_what_is_made_known_is_known(fleet_of: MakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all that are alike, also behind a step that was known before and has made a type; not for others."""
    monkeypatch.setattr(replaying, "made", {})
    fleet = fleet_of(("one", "two", "other"), {"shared/1": with_mood("s1", label="shared")})
    with fleet.admin("other") as c:
        role = f"ALTER ROLE postgres IN DATABASE {fleet.addresses['other'].dbname}"
        c.execute(f"{role} SET standard_conforming_strings = off".encode())
    assert [learn(fleet, name) for name in ("one", "two")] == [True, False]
    fleet.write("shared/2", with_mood("s2", "s1"))
    fleet.write("shared/3", with_mood("s3", "s2"))
    assert [learn(fleet, name) for name in ("two", "one", "other", "other")] == [True, False, True, False]
    arounds = [around for (_, _, around), _ in replaying.made]
    assert [arounds.count(a) for a in dict.fromkeys(arounds)] == [3, 3]


@pytest.mark.parametrize(
    "code",
    [
        "op.execute(\"COMMENT ON TABLE kept IS 'at :noon'\")",
        "op.get_bind().exec_driver_sql(\"COMMENT ON TABLE kept IS '100% sure'\", {})",
        "op.get_bind().exec_driver_sql(\"COMMENT ON TABLE kept IS '100%'\", {})",
    ],
    ids=["colon", "letter", "end"],
)
def test_what_is_no_parameter_has_a_hint(fleet_of: MakeFleet, code: str) -> None:
    """What SQLAlchemy and the driver take for one, and what to write in place of it."""
    fleet = fleet_of(("one",), {"shared/1": step("s1", code=code)})
    problem = result_of(fleet.upgrade(), "one").problem
    assert problem
    assert (problem.where, "docs moving#files-of-sql" in problem.hint) == ("versions/shared/1.py:13", True), problem


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("op.execute(t.update().values(n=sa.literal('0')))", "is of type integer"),
        ("op.execute(t.delete().where(sa.column('n') == sa.literal('0', sa.String)))", "operator does"),
        ("op.execute(sa.text(\"COMMENT ON TABLE s1 IS :why\").bindparams(why='x'))", 'at or near "$1"'),
        ("op.get_bind().exec_driver_sql(\"SELECT json_build_object('a', %s)\", (None,))", "could not determine"),
    ],
    ids=["column", "operator", "statement", "unknown"],
)
def test_a_value_that_another_driver_sends_otherwise_has_a_hint(fleet_of: MakeFleet, code: str, said: str) -> None:
    """With psycopg2 a value has the type of its place, so a history that has always run may fail here."""
    text = step("s1", code="t = sa.table('s1', sa.column('n'))\n" + code)
    fleet = fleet_of(("one",), {"shared/1": text.replace("import op\n", "import op\nimport sqlalchemy as sa\n")})
    problem = result_of(fleet.upgrade(), "one").problem
    assert problem
    assert (said in problem.message, "docs moving#another-driver" in problem.hint) == (True, True), problem
