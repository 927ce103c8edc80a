"""Every state that a target can be in: how it is told apart, what is said about it, what is to be done."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ehg_migrate.database.doctor import examine_all
from ehg_migrate.errors import TargetError, named_in
from ehg_migrate.model import Address, State, StateKind, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.integration.fleets import SHARED, entries, execute, journal, making, own, rows, statuses, tables
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import Cluster
from tests.support.programs import free_port
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision
from tests.support.wire import CountingProxy

SOMEBODY_ELSES = (
    "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('s1')",
)

MakeDatabase = Callable[[str], Address]

CONCURRENTLY = """\
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY cut ON s1 (id)")
"""

OURS = ("SCHEMA", "ALL TABLES IN SCHEMA")


@pytest.fixture
def project(make_project: MakeProject, database: Address, tmp_path: Path) -> Project:
    """One target, `one`, whose database is fresh; shared has s1, s2, s3."""
    return Project.load(make_project(tmp_path, entries({"one": database}), SHARED))


def state(project: Project) -> State:
    """Of the only target, read by the files as they are now."""
    (found,) = Project.load(project.settings.root).status()
    return found


def said(found: State) -> tuple[StateKind, str]:
    """The kind and the text of the problem."""
    return found.kind, str(found.problem) if found.problem else ""


def noted(found: State) -> list[str]:
    """The texts of the notes on the target itself; what the ledger thinks of it is another matter."""
    return [str(n) for n in found.notes if n.code != "ledger_disagrees"]


# --- pending, up to date


def test_a_fresh_database_is_pending(project: Project, pg: Cluster) -> None:
    """Everything is pending, in order; reading it has left nothing behind."""
    found = state(project)
    assert (found.kind, found.heads, found.pending) == (StateKind.PENDING, (), ("s1", "s2", "s3"))
    assert (found.problem, found.notes) == (None, ())
    with pg.connect("postgres") as c:
        assert found.server_version == c.info.parameter_status("server_version")
    assert pg.dump_schema(project.targets()[0].address.dbname, ()).count("ehg_migrate") == 0


def test_an_upgraded_database_is_up_to_date(project: Project) -> None:
    """Then a new file makes it pending again."""
    project.upgrade()
    found = state(project)
    assert (found.kind, found.heads, found.pending, found.notes) == (StateKind.UP_TO_DATE, ("s3",), (), ())
    add_revision(project.settings.root, "shared/4", making("s4", "s3"))
    found = state(project)
    assert (found.kind, found.pending) == (StateKind.PENDING, ("s4",))


def test_an_up_to_date_target_costs_one_query(
    pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """One connection and one statement, which is the whole of a status."""
    with CountingProxy(pg.host, pg.port) as proxy:
        address = replace(database, host=proxy.host, port=proxy.port)
        project = Project.load(make_project(tmp_path, entries({"one": address}), SHARED | own("one")))
        project.upgrade()
        proxy.reset()
        assert [s.kind for s in project.status()] == [StateKind.UP_TO_DATE]
        assert (proxy.connections, proxy.queries) == (1, 1)
        add_revision(project.settings.root, "shared/4", making("s4", "s3"))
        proxy.reset()
        assert state(project).kind is StateKind.PENDING
        assert (proxy.connections, proxy.queries) == (1, 1)


def test_a_status_can_be_asked_inside_an_event_loop(project: Project) -> None:
    """As in a notebook, where one always runs."""

    async def ask() -> list[StateKind]:
        return [s.kind for s in project.status()]

    assert asyncio.run(ask()) == [StateKind.PENDING]


# --- ahead, unknown


def test_another_targets_database_is_ahead(
    make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """An address that was mixed up: the branch is named, and nothing is planned."""
    addresses = {"a": make_database("a"), "b": make_database("b")}
    root = make_project(tmp_path, entries(addresses), SHARED | own("a") | own("b"))
    Project.load(root).upgrade()
    make_project(tmp_path, entries({"a": addresses["b"], "b": addresses["a"]}), {})
    mixed = Project.load(root)
    assert said(mixed.status(["a"])[0]) == (
        StateKind.AHEAD,
        "the version table holds `b_2` of branch `b`, which this target does not have\n"
        "  hint: is the entry's address that of `b`? Its journal was last written for that target. If not, add the "
        "branch to its `branches`, where it is a group's",
    )
    assert statuses(mixed.upgrade()) == {"a": Status.REFUSED, "b": Status.REFUSED}


def test_another_targets_database_with_the_same_branches(
    make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """Nothing but its journal tells of the wrong address; the plan says so, and whoever looks, until a step is done."""
    addresses = {"a": make_database("a"), "b": make_database("b")}
    root = make_project(tmp_path, entries(addresses), SHARED)
    Project.load(root).upgrade(to=["s2"])
    assert [s.notes for s in Project.load(root).status()] == [(), ()]
    make_project(tmp_path, entries({"a": addresses["b"], "b": addresses["a"]}), {})
    mixed = Project.load(root)
    assert [[n.code for n in s.notes] for s in mixed.status()] == [["written_as_another"]] * 2
    plan = mixed.plan(["a"])
    assert [n.code for n in plan.plans[0].notes] == ["written_as_another"]
    assert {e.target for e in mixed.history("a")} == {"b"}
    mixed.run(plan)
    assert [[n.code for n in s.notes] for s in mixed.status()] == [[], ["written_as_another"]]


def test_a_target_with_a_new_name_whose_folder_has_the_old_one(
    make_database: MakeDatabase, make_project: MakeProject, tmp_path: Path
) -> None:
    """The hint names both; and a name that no target has any more is no other target's."""
    address = make_database("a")
    root = make_project(tmp_path, entries({"a": address}), SHARED | own("a"))
    Project.load(root).upgrade()
    make_project(tmp_path, entries({"acme": address}), {})
    assert said(Project.load(root).status()[0])[1].partition("hint: ")[2] == (
        "its journal was last written for `a`: if that is its former name, rename its folder `versions/a` to "
        "`versions/acme`; else is the entry's address that of another target?"
    )
    (root / "versions" / "acme").rmdir()
    (root / "versions" / "a").rename(root / "versions" / "acme")
    (state,) = Project.load(root).status()
    assert (state.kind, state.notes) == (StateKind.UP_TO_DATE, ())


def test_a_newer_checkout_is_ahead(project: Project) -> None:
    """The journal knows the run and the commit that applied what is missing here."""
    run = project.upgrade()
    (project.settings.versions / "shared" / "3.py").unlink()
    found = state(project)
    commit = run.origin.git_commit or "unknown"
    assert said(found) == (
        StateKind.AHEAD,
        f"the version table holds `s3`, which run `{run.id}` applied from commit {commit} and this checkout does not "
        "have\n  hint: update the checkout; to go back, run `ehg-migrate downgrade TARGET --to REV` from the "
        "checkout that has the revision; only if its file was taken out for good: `alembic -x target=TARGET stamp "
        "--purge REV ...` writes other rows (name what it really holds of every branch), and `ehg-migrate drift "
        "-t TARGET` tells whether they are right",
    )
    assert (found.heads, found.pending) == (("s3",), ())


def test_a_revision_that_was_taken_out_for_good_is_no_dead_end(
    make_project: MakeProject, database: Address, pg: Cluster, tmp_path: Path
) -> None:
    """Two files have become one, which stands for both: the command of the hint says so, and keeps other branches."""
    files = SHARED | {"one/1": making("o1", label="one", depends=["s1"])}
    project = Project.load(make_project(tmp_path, entries({"one": database}), files))
    project.upgrade()
    for name in ("2", "3"):
        (project.settings.versions / "shared" / f"{name}.py").unlink()
    add_revision(project.settings.root, "shared/23", making("s23", "s1"))
    found = state(project)
    assert found.problem is not None
    (command,) = (p for p in found.problem.hint.split("`") if p.startswith("alembic "))
    words = command.replace("TARGET", "one").replace("REV ...", "s23 o1").split()[1:]
    assert ehg(project.settings.root, *words, program=ALEMBIC).code == 0
    assert (state(project).kind, rows(pg, database)) == (StateKind.UP_TO_DATE, {"s23", "o1"})


def test_a_row_that_nothing_knows_is_unknown(project: Project, database: Address, pg: Cluster) -> None:
    """Neither a file nor the journal; it is not touched."""
    project.upgrade()
    execute(pg, database, "UPDATE ehg_migrate.alembic_version SET version_num = 'feedbeef'")
    assert said(state(project)) == (
        StateKind.UNKNOWN,
        "the version table holds `feedbeef`, which neither this checkout nor the target's journal knows\n"
        "  hint: either its file was deleted or the row was written by hand: find out which before anything is changed"
        "; then `alembic -x target=TARGET stamp --purge REV ...` writes other rows (name what it really holds of every "
        "branch), and `ehg-migrate drift -t TARGET` tells whether they are right",
    )
    for run in (project.upgrade(), project.downgrade("one", ["base"])):
        assert statuses(run) == {"one": Status.REFUSED}
    assert rows(pg, database) == {"feedbeef"}


def test_several_rows_that_are_not_known(project: Project, database: Address, pg: Cluster) -> None:
    """All are named, and what nobody knows is not behind what a newer checkout knows, whichever comes first."""
    project.upgrade()
    (project.settings.versions / "shared" / "3.py").unlink()
    execute(pg, database, "INSERT INTO ehg_migrate.alembic_version VALUES ('zzz')")
    found = state(project)
    assert found.kind is StateKind.UNKNOWN
    assert found.problem is not None
    assert found.problem.message == (
        "the version table holds `zzz`, which neither this checkout nor the target's journal knows; nor are these of "
        "its branches here: `s3`"
    )


def test_what_was_taken_back_is_not_known_by_the_journal(project: Project, database: Address, pg: Cluster) -> None:
    """A revision that was applied and taken back, and whose row somebody then wrote by hand."""
    project.upgrade()
    project.downgrade("one", ["s2"])
    (project.settings.versions / "shared" / "3.py").unlink()
    execute(pg, database, "UPDATE ehg_migrate.alembic_version SET version_num = 's3'")
    assert state(project).kind is StateKind.UNKNOWN


@pytest.mark.parametrize("way", ["TRUNCATE ehg_migrate.alembic_version", "DROP TABLE ehg_migrate.alembic_version"])
def test_lost_version_rows_are_no_fresh_database(way: str, project: Project, database: Address, pg: Cluster) -> None:
    """What the journal says was done is not done again; the hint, followed to the letter, writes the rows again."""
    project.upgrade()
    execute(pg, database, way)
    found = state(project)
    assert said(found) == (
        StateKind.REFUSED,
        "the version table is empty or gone, though by the target's journal this is applied: `s1`, `s2`, `s3`\n"
        "  hint: is the schema still there? `ehg-migrate adopt TARGET --heads s3` writes the rows again. If the "
        "database was really emptied, drop schema `ehg_migrate` too",
    )
    assert statuses(project.upgrade()) == {"one": Status.REFUSED}
    assert statuses(project.adopt("one", ["s3"])) == {"one": Status.SUCCEEDED}
    assert (state(project).kind, rows(pg, database)) == (StateKind.UP_TO_DATE, {"s3"})


def test_one_step_is_a_past_too(project: Project, database: Address, pg: Cluster) -> None:
    """A target that lost its rows after its very first step is not begun anew either."""
    project.upgrade(to=["s1"])
    execute(pg, database, "TRUNCATE ehg_migrate.alembic_version")
    found = state(project)
    assert found.problem is not None
    assert (found.kind, found.problem.code, found.pending) == (StateKind.REFUSED, "lost_rows", ())


def test_what_another_checkout_has_begun_to_take_back(project: Project, database: Address, pg: Cluster) -> None:
    """Of a revision that nobody knows here it is said which, and which command of that checkout finishes it."""
    project.upgrade()
    written = (
        "INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,"
        " heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version)"
        " SELECT target_name, run, 'started', 'x9', 'down', branch, checksum, heads_after, heads_before, now(), 1,"
        " actor, host, git_commit, tool_version FROM ehg_migrate.migration_journal LIMIT 1"
    )
    execute(pg, database, written)
    (note,) = state(project).notes
    assert note.message == "revision `x9` began outside a transaction and nobody saw it end"
    assert note.hint.startswith("`ehg-migrate downgrade TARGET --to REV` from the checkout that has it finishes it")


def test_a_target_with_a_new_name_has_its_old_journal(
    make_project: MakeProject, database: Address, pg: Cluster, tmp_path: Path
) -> None:
    """What was cut under the former name is not taken for done, what was done is shown, and can be taken back."""
    unique = CONCURRENTLY.replace("INDEX CONCURRENTLY cut", "UNIQUE INDEX CONCURRENTLY IF NOT EXISTS cut")
    steps = {
        "shared/1": revision("s1", label="shared", up="CREATE TABLE s1 (id int)", down_sql="DROP TABLE s1"),
        "shared/2": revision("s2", "s1", up_code=unique, down_sql="DROP INDEX cut"),
    }
    root = make_project(tmp_path, entries({"old": database}), steps)
    first = Project.load(root).upgrade(to=["s1"])
    execute(pg, database, "INSERT INTO s1 VALUES (1), (1)")
    assert statuses(Project.load(root).upgrade()) == {"old": Status.INDETERMINATE}
    execute(pg, database, "DELETE FROM s1")

    make_project(root, entries({"new": database}), {})
    project = Project.load(root)
    assert [e.event for e in project.history("new")] == ["done", "started", "failed"]
    assert [e.event for e in project.history("new", limit=2)] == ["started", "failed"]
    assert [n.code for n in project.status()[0].notes] == ["half_done"]
    (result,) = project.upgrade().results
    assert (result.status, result.problem and result.problem.code) == (Status.REFUSED, "half_done")
    execute(pg, database, "DROP INDEX cut")
    done = project.upgrade()
    assert statuses(done) == {"new": Status.SUCCEEDED}
    assert statuses(project.rollback(done.id)) == {"new": Status.SUCCEEDED}
    assert (rows(pg, database), first.targets) == ({"s1"}, ("old",))


def test_lost_rows_that_a_newer_checkout_has_written(project: Project, database: Address, pg: Cluster) -> None:
    """They are not to be written from here: what this checkout lacks would be done again by the one that has it."""
    project.upgrade()
    (project.settings.versions / "shared" / "3.py").unlink()
    execute(pg, database, "TRUNCATE ehg_migrate.alembic_version")
    assert said(state(project)) == (
        StateKind.REFUSED,
        "the version table is empty or gone, though by the target's journal this is applied: `s1`, `s2`; and `s3`, "
        "which this checkout does not have\n"
        "  hint: use the checkout that has it: `ehg-migrate status -t TARGET` names there what to do; if its file was "
        "taken out for good, `ehg-migrate adopt TARGET --heads s2`",
    )
    add_revision(project.settings.root, "shared/3", SHARED["shared/3"])
    assert "`ehg-migrate adopt TARGET --heads s3` writes the rows again" in said(state(project))[1]


@pytest.mark.parametrize(
    "way",
    [
        "ALTER TABLE ehg_migrate.alembic_version RENAME version_num TO version",
        "ALTER TABLE ehg_migrate.migration_journal DROP COLUMN direction",
    ],
)
def test_tables_of_ours_that_were_changed(way: str, project: Project, database: Address, pg: Cluster) -> None:
    """No revision is at fault, and no drift tells it: whoever asks hears whose tables they are."""
    project.upgrade()
    execute(pg, database, way)
    found = state(project)
    assert found.problem is not None
    assert (found.kind, found.problem.code) == (StateKind.UNREACHABLE, "strange_answer")
    assert found.problem.hint.startswith("are the tables of this tool, in schema `ehg_migrate`, as it made them?")
    (result,) = project.upgrade().results
    assert (result.status, result.problem) == (Status.FAILED, found.problem)


_CHANGED = {
    "a rule": "CREATE RULE none AS ON INSERT TO ehg_migrate.migration_journal DO INSTEAD NOTHING",
    "a column": "ALTER TABLE ehg_migrate.migration_journal ADD COLUMN tenant int NOT NULL DEFAULT 1;"
    " ALTER TABLE ehg_migrate.migration_journal ALTER tenant DROP DEFAULT",
    "numbers": "SELECT setval(pg_get_serial_sequence('ehg_migrate.migration_journal', 'seq'), 9223372036854775807)",
}


@pytest.mark.parametrize("what", _CHANGED)
def test_what_our_tables_were_given_is_not_laid_to_the_revision(
    what: str, project: Project, database: Address, pg: Cluster
) -> None:
    """Its step fails for it; the hint is not to correct the file."""
    project.upgrade(to=["s1"])
    execute(pg, database, _CHANGED[what])
    (result,) = project.upgrade().results
    assert result.problem is not None
    assert (result.status, rows(pg, database)) == (Status.FAILED, {"s1"})
    assert result.problem.hint.startswith("are the tables of this tool, in schema `ehg_migrate`, as it made them?")


_RAISES = "BEGIN RAISE EXCEPTION 'no tables today'; END"
_GUARDS = """\
DECLARE made text; BEGIN
FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', made);
END LOOP; END"""


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (_RAISES, "the function `watch()` of the database raised it"),
        (_GUARDS, "row-level security is forced on this role: let the table's owner say ALTER TABLE ... NO FORCE"),
    ],
    ids=["raises", "guards"],
)
def test_an_event_trigger_that_keeps_our_tables_from_us(
    body: str, hint: str, pg_own: Cluster, make_project: MakeProject, tmp_path: Path
) -> None:
    """It is named, or what it did; the entry of the target is not at fault, and no privilege is wanting."""
    database = pg_own.create_database("one")
    with pg_own.admin("one") as c:
        c.execute("ALTER ROLE postgres NOBYPASSRLS")
        c.execute(f"CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $x${body}$x$".encode())
        c.execute("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()")
    (result,) = Project.load(make_project(tmp_path, entries({"one": database}), SHARED)).upgrade().results
    assert result.problem is not None
    assert (result.status, tables(pg_own, database)) == (Status.FAILED, set())
    assert result.problem.hint.startswith(hint)


def test_a_lease_table_that_is_gone_is_made_anew(project: Project, database: Address, pg: Cluster) -> None:
    """Whoever dropped it, to be rid of a lock perhaps, has not shut the target to every run."""
    project.upgrade()
    execute(pg, database, "DROP TABLE ehg_migrate.migration_lease")
    (result,) = project.downgrade("one", ["s2"]).results
    assert (result.status, result.problem, rows(pg, database)) == (Status.SUCCEEDED, None, {"s2"})
    execute(pg, database, "DROP TABLE ehg_migrate.migration_lease")
    assert ehg(project.settings.root, "-x", "target=one", "stamp", "s3", program=ALEMBIC).code == 0
    assert rows(pg, database) == {"s3"}


def test_a_trigger_of_somebodys_on_the_lease_that_is_broken(project: Project, database: Address, pg: Cluster) -> None:
    """What its function lacks is not taken for tables of ours that are to be made: the target is refused."""
    project.upgrade()
    body = "BEGIN INSERT INTO gone VALUES (1); RETURN NEW; END"
    execute(
        pg,
        database,
        f"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS '{body}'",
        "CREATE TRIGGER t BEFORE INSERT ON ehg_migrate.migration_lease FOR EACH ROW EXECUTE FUNCTION audit()",
    )
    (result,) = project.downgrade("one", ["s2"]).results
    assert result.problem is not None
    assert (result.status, result.problem.code, result.heads_after) == (Status.REFUSED, "strange_answer", ("s3",))
    assert rows(pg, database) == {"s3"}


def test_a_row_that_is_null(project: Project, database: Address, pg: Cluster) -> None:
    """It is named, where the primary key that forbids it was taken away."""
    project.upgrade()
    execute(pg, database, "ALTER TABLE ehg_migrate.alembic_version DROP CONSTRAINT alembic_version_pkc",
            "ALTER TABLE ehg_migrate.alembic_version ALTER version_num DROP NOT NULL",
            "INSERT INTO ehg_migrate.alembic_version VALUES (NULL)")  # fmt: skip
    found = state(project)
    kind, text = said(found)
    assert (kind, "a version row is NULL" in text) == (StateKind.UNREACHABLE, True), text
    assert found.problem is not None
    for statement in re.findall("`((?:DELETE|ALTER) .+?)`", found.problem.hint):
        execute(pg, database, statement)
    assert state(project).kind is StateKind.UP_TO_DATE
    with pytest.raises(psycopg.errors.NotNullViolation):
        execute(pg, database, "INSERT INTO ehg_migrate.alembic_version VALUES (NULL)")


def test_a_row_that_is_there_twice(project: Project, database: Address, pg: Cluster) -> None:
    """The statements of the hint, run as they are, mend it."""
    project.upgrade()
    execute(pg, database, "ALTER TABLE ehg_migrate.alembic_version DROP CONSTRAINT alembic_version_pkc",
            "INSERT INTO ehg_migrate.alembic_version VALUES ('s3')")  # fmt: skip
    found = state(project)
    assert found.problem is not None
    assert (found.kind, found.problem.code) == (StateKind.REFUSED, "doubled_rows")
    assert statuses(project.upgrade()) == {"one": Status.REFUSED}
    execute(pg, database, found.problem.hint)
    assert state(project).kind is StateKind.UP_TO_DATE
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(pg, database, "INSERT INTO ehg_migrate.alembic_version VALUES ('s3')")


@pytest.mark.parametrize(
    "wrong",
    [
        "INSERT INTO ehg_migrate.alembic_version VALUES ('feedbeef')",
        "ALTER TABLE ehg_migrate.alembic_version DROP CONSTRAINT alembic_version_pkc;"
        "INSERT INTO ehg_migrate.alembic_version VALUES ('s3')",
    ],
)
def test_doctor_calls_nothing_well_that_is_refused(
    wrong: str, project: Project, database: Address, pg: Cluster
) -> None:
    """What the rows are to the revisions is a reason not to run any; doctor has the words of `status`."""
    project.upgrade()
    assert {f.level for f in project.doctor()} == {"ok"}
    execute(pg, database, wrong)
    found = state(project)
    bad = [(f.check, f.level, f.message, f.hint) for f in project.doctor() if f.level != "ok"]
    assert found.problem is not None
    assert bad == [("version_table", "error", found.problem.message, found.problem.hint)]


def test_a_part_of_the_rows_that_is_lost(
    make_project: MakeProject, database: Address, pg: Cluster, tmp_path: Path
) -> None:
    """It may have been taken back by hand, so nothing is refused; but it is said before it is done again."""
    own = {"one/1": revision("o1", label="one", up="CREATE TABLE o1 (n int)")}
    project = Project.load(make_project(tmp_path, entries({"one": database}), SHARED | own))
    project.upgrade()
    execute(pg, database, "DELETE FROM ehg_migrate.alembic_version WHERE version_num = 'o1'")
    found = state(project)
    (note,) = (n for n in found.notes if n.code == "unaccounted")
    assert found.kind is StateKind.PENDING
    assert note.message == "by the target's journal `o1` is applied too, and no version row says so"
    bad = [(f.check, f.level, f.message, f.hint) for f in project.doctor() if f.level != "ok"]
    assert bad == [("version_table", "warning", note.message, note.hint)]
    (result,) = project.upgrade().results
    assert (result.status, [n.code for n in result.notes]) == (Status.FAILED, ["unaccounted"])
    stamp_as_hinted(project, note.hint)
    assert rows(pg, database) == {"o1", "s3"}
    project.downgrade("one", ["s1"])
    assert state(project).notes == ()
    execute(pg, database, "DROP TABLE o1", "DELETE FROM ehg_migrate.alembic_version WHERE version_num = 'o1'")
    (result,) = project.upgrade().results
    assert (result.status, result.notes) == (Status.SUCCEEDED, ())  # it has been done again


def test_a_row_that_was_set_back_is_set_as_the_hint_says(project: Project, database: Address, pg: Cluster) -> None:
    """It stands for what the journal says is applied; nothing is run, and `adopt` is not for what has rows."""
    project.upgrade()
    execute(pg, database, "UPDATE ehg_migrate.alembic_version SET version_num = 's1'")
    (note,) = (n for n in state(project).notes if n.code == "unaccounted")
    (failed,) = project.upgrade().results
    assert failed.problem is not None
    assert "`alembic -x target=TARGET stamp s2`" in failed.problem.hint
    assert failed.problem.hint.startswith("by the target's journal it may be what was applied before")
    assert "`ehg-migrate compare TARGET heads:s3`" in note.hint
    assert project.compare("one", "heads:s3").differences == ()
    stamp_as_hinted(project, note.hint)
    assert (state(project).kind, rows(pg, database)) == (StateKind.UP_TO_DATE, {"s3"})


def test_a_checkout_from_before_a_squash_does_nothing_again(
    make_project: MakeProject, tmp_path: Path, database: Address, pg: Cluster
) -> None:
    """The row that stands for all since does not there: what the journal knows is not called pending, nor run."""
    crm, entry = {"crm/1": making("c1", label="crm", depends=["s1"])}, {"acme": {"branches": ["crm"]}}
    old = make_project(tmp_path / "old", entries({"acme": database}, **entry), SHARED | crm)
    Project.load(old).upgrade()
    squashed = {"shared/3": making("s3", label="shared"), "crm/1": making("c1", label="crm", depends=["s3"])}
    new = make_project(tmp_path / "new", entries({"acme": database}, **entry), squashed)
    assert ehg(new, "-x", "target=acme", "stamp", "--purge", "c1", "s3", program=ALEMBIC).code == 0
    assert (rows(pg, database), state(Project.load(new)).kind) == ({"c1"}, StateKind.UP_TO_DATE)

    found = state(Project.load(old))
    assert found.problem is not None
    assert (found.kind, found.problem.code, found.pending) == (StateKind.AHEAD, "newer_checkout", ())
    assert "by the target's journal `s3` is applied, and the version rows `c1`" in found.problem.message
    assert statuses(Project.load(old).upgrade()) == {"acme": Status.REFUSED}
    assert "stamp s3` writes the rows that it takes now" in found.problem.hint
    assert ehg(old, "-x", "target=acme", "stamp", "s3", program=ALEMBIC).code == 0
    assert state(Project.load(old)).kind is StateKind.UP_TO_DATE


def test_a_target_that_was_restored_to_an_earlier_time(project: Project, database: Address, pg: Cluster) -> None:
    """Its rows and its journal agree; that a run left it elsewhere, only the ledger knows."""
    run = project.upgrade()
    assert state(project).notes == ()
    execute(
        pg,
        database,
        "UPDATE ehg_migrate.alembic_version SET version_num = 's1'",
        "DELETE FROM ehg_migrate.migration_journal WHERE revision <> 's1'",
    )
    found = state(project)
    assert (found.kind, found.pending) == (StateKind.PENDING, ("s2", "s3"))
    assert [(n.code, n.message) for n in found.notes] == [
        ("ledger_disagrees", f"by the ledger run `{run.id}` left `s3`, and it holds `s1`")
    ]


@pytest.mark.parametrize("unread", [False, True])
def test_a_target_that_was_restored_without_our_schema(
    unread: bool, project: Project, database: Address, pg: Cluster
) -> None:
    """As by a dump of `public` alone: a plan would do all of it once more, and says so; the hint's `adopt` mends it.

    Also behind the run that could not reach it, since that is why it was restored.
    """
    run = project.upgrade()
    if unread:
        with pg.connect("postgres") as c:
            allows = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            c.execute(allows.format(sql.Identifier(database.dbname), sql.SQL("false")))
            assert statuses(project.upgrade()) == {"one": Status.FAILED}
            c.execute(allows.format(sql.Identifier(database.dbname), sql.SQL("true")))
    execute(pg, database, "DROP SCHEMA ehg_migrate CASCADE")
    said = ("ledger_disagrees", f"by the ledger run `{run.id}` left `s3`, and it holds nothing")
    assert [(n.code, n.message) for n in state(project).notes] == [said]
    (plan,) = project.plan().plans
    assert [(n.code, n.message) for n in plan.notes] == [said]
    command = next(
        part for part in named_in(plan.notes[0].hint, "one").split("`") if part.startswith("ehg-migrate adopt")
    )
    assert ehg(project.settings.root, *command.split()[1:], "--yes").code == 0
    found = state(project)
    assert (found.kind, found.heads, found.notes) == (StateKind.UP_TO_DATE, ("s3",), ())


def stamp_as_hinted(project: Project, hint: str) -> None:
    """Does to the letter what is between the backticks."""
    (command,) = (part for part in named_in(hint, "one").split("`") if part.startswith("alembic "))
    program, *arguments = command.split()
    assert program == Path(ALEMBIC).name
    assert ehg(project.settings.root, *arguments, program=ALEMBIC).code == 0


def test_rows_that_were_taken_back_are_not_lost(project: Project) -> None:
    """An empty version table is what a downgrade to nothing leaves."""
    project.upgrade()
    project.downgrade("one", ["base"])
    assert state(project).kind is StateKind.PENDING
    assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}


# --- not adopted


def test_somebody_elses_history_is_not_adopted(project: Project, database: Address, pg: Cluster) -> None:
    """An `alembic_version` in public, as stock Alembic makes it; nothing of ours is made beside it."""
    execute(pg, database, *SOMEBODY_ELSES)
    found = state(project)
    assert said(found) == (
        StateKind.NOT_ADOPTED,
        "`public.alembic_version` holds `s1`, and this tool has no record of its own here\n"
        "  hint: `ehg-migrate adopt TARGET` shows what taking over means, and does it",
    )
    assert found.heads == ("s1",)
    assert statuses(project.upgrade()) == {"one": Status.REFUSED}
    assert "ehg_migrate" not in pg.dump_schema(database.dbname, ())


def _elsewhere(pg: Cluster, database: Address) -> None:
    """A role whose search_path leads to another schema, in which stock Alembic has made its table."""
    name = sql.Identifier(database.dbname)
    execute(
        pg,
        database,
        "CREATE SCHEMA app",
        "CREATE TABLE app.alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO app.alembic_version VALUES ('s1')",
        sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET search_path = app").format(name).as_string(None),
    )


def test_a_history_in_another_schema_is_not_adopted(project: Project, database: Address, pg: Cluster) -> None:
    """Stock Alembic goes by the role's search_path; to begin anew would do everything twice. Every way says so."""
    _elsewhere(pg, database)
    found = state(project)
    assert said(found) == (
        StateKind.NOT_ADOPTED,
        "stock Alembic would use `app.alembic_version` for this role, by its search_path, and this tool has no record "
        "here\n  hint: `ehg-migrate adopt TARGET --heads REV` with each `version_num` of that table (`--heads base` "
        "where it is another project's); or go on in it: `alembic: {version_table_schema: app}` in the entry",
    )
    assert statuses(project.upgrade()) == {"one": Status.REFUSED}
    (finding,) = [f for f in project.doctor() if f.check == "version_table"]
    assert (finding.level, "app.alembic_version" in finding.message) == ("warning", True)
    stock = ehg(project.settings.root, "upgrade", "heads", program=ALEMBIC)
    assert (stock.code, "stock Alembic would use `app.alembic_version`" in stock.err) == (255, True)
    assert "ehg_migrate" not in pg.dump_schema(database.dbname, ())
    assert statuses(project.adopt("one", ["s1"])) == {"one": Status.SUCCEEDED}
    assert state(project).heads == ("s1",)


@pytest.mark.parametrize("schema", ["", "app"])
def test_a_history_under_the_name_that_ours_has(
    schema: str, pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """`version_table` is taken over from an env.py; without its schema ours would be a new one, and all done twice."""
    place = schema or "public"
    execute(
        pg,
        database,
        f"CREATE SCHEMA IF NOT EXISTS {place}",
        f"CREATE TABLE {place}.versions_of_shop (version_num varchar(32) PRIMARY KEY)",
        f"INSERT INTO {place}.versions_of_shop VALUES ('s1')",
        f"CREATE TABLE {place}.s1 (id int PRIMARY KEY)",
    )
    own = {"schema": schema} if schema else {}
    named = {**own, "alembic": {"version_table": "versions_of_shop"}}
    project = Project.load(make_project(tmp_path, entries({"one": database}, one=named), SHARED))
    found = state(project)
    assert found.kind is StateKind.NOT_ADOPTED
    assert f"`{place}.versions_of_shop`" in str(found.problem)
    assert f"`alembic: {{version_table_schema: {place}}}`" in str(found.problem)
    assert statuses(project.upgrade()) == {"one": Status.REFUSED}

    there = {**own, "alembic": {"version_table": "versions_of_shop", "version_table_schema": place}}
    project = Project.load(make_project(tmp_path, entries({"one": database}, one=there), SHARED))
    assert (state(project).kind, state(project).heads) == (StateKind.PENDING, ("s1",))
    assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}


STRAYS = {
    "stock": ("app", "alembic_version", "version_num", "; or go on in it: `alembic: {version_table_schema: app}`"),
    "supabase": (
        "supabase_migrations",
        "schema_migrations",
        "version",
        "`--heads base` where nothing of this target is)",
    ),
}


@pytest.mark.parametrize("tool", STRAYS)
def test_what_another_tool_has_written_down(tool: str, project: Project, database: Address, pg: Cluster) -> None:
    """Wherever it is, if it is of this target's revisions: every way says so, and nothing is done twice."""
    schema, table, column, hint = STRAYS[tool]
    execute(
        pg,
        database,
        f"CREATE SCHEMA {schema}",
        f"CREATE TABLE {schema}.{table} ({column} text PRIMARY KEY)",
        f"INSERT INTO {schema}.{table} VALUES ('s1'), ('s2'), ('of another')",
    )
    found = state(project)
    assert (found.kind, found.heads) == (StateKind.NOT_ADOPTED, ())
    assert f"by `{schema}.{table}` `s2` and what is below is applied" in str(found.problem)
    assert "`ehg-migrate adopt TARGET --heads s2`" in str(found.problem)
    assert hint in str(found.problem)
    assert statuses(project.upgrade()) == {"one": Status.REFUSED}
    for command in (("upgrade", "heads"), ("current",)):
        stock = ehg(project.settings.root, *command, program=ALEMBIC)
        assert (stock.code, f"by `{schema}.{table}` `s2`" in stock.err) == (255, True)
    (finding,) = [f for f in project.doctor() if f.check == "version_table"]
    assert (finding.level, f"by `{schema}.{table}` `s2`" in finding.message) == ("warning", True)
    assert "ehg_migrate" not in pg.dump_schema(database.dbname, ())
    assert statuses(project.adopt("one", ["s2"])) == {"one": Status.SUCCEEDED}
    assert (state(project).kind, state(project).heads) == (StateKind.PENDING, ("s2",))


def test_what_another_application_has_written_down(project: Project, database: Address, pg: Cluster) -> None:
    """Its revisions are none of this target's."""
    execute(
        pg,
        database,
        "CREATE SCHEMA app",
        "CREATE TABLE app.alembic_version (version_num text)",
        "INSERT INTO app.alembic_version VALUES ('x1'), (NULL)",
    )
    assert (state(project).kind, state(project).problem) == (StateKind.PENDING, None)
    assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}


def test_a_history_in_another_schema_that_came_since_the_plan(project: Project, database: Address, pg: Cluster) -> None:
    """Whoever enters looks again."""
    plan = project.plan()
    _elsewhere(pg, database)
    assert statuses(project.run(plan)) == {"one": Status.REFUSED}
    assert "ehg_migrate" not in pg.dump_schema(database.dbname, ())


def test_adopt_without_heads_says_why_it_cannot_read_them(project: Project, database: Address, pg: Cluster) -> None:
    """And not that nothing is applied, and that an upgrade is enough: it would do all of it again."""
    _elsewhere(pg, database)
    (result,) = project.adopt("one").results
    assert (result.status, result.problem and result.problem.code) == (Status.REFUSED, "not_adopted")
    assert "app.alembic_version" in str(result.problem)
    assert "is enough" not in str(result.problem)


def test_the_history_of_another_project_is_left_alone(project: Project, database: Address, pg: Cluster) -> None:
    """A person's word that nothing of ours is applied is enough to begin."""
    _elsewhere(pg, database)
    assert statuses(project.adopt("one", ["base"])) == {"one": Status.SUCCEEDED}
    assert (state(project).kind, state(project).heads) == (StateKind.PENDING, ())
    assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}


def test_a_script_from_rows_that_overlap(project: Project, database: Address, pg: Cluster) -> None:
    """It takes them out first, as a run does; and nothing at all where the target has moved meanwhile."""
    project.upgrade(to=["s2"])
    execute(pg, database, "INSERT INTO ehg_migrate.alembic_version VALUES ('s1')")
    project = Project.load(project.settings.root)
    script = "\n".join(project.sql(project.plan()))
    execute(pg, database, "DELETE FROM ehg_migrate.alembic_version WHERE version_num = 's2'")
    with pg.open(database) as c, pytest.raises(psycopg.errors.RaiseException, match="this begins at `s1`, `s2`"):
        c.execute(script.encode())
    assert rows(pg, database) == {"s1"}
    execute(pg, database, "INSERT INTO ehg_migrate.alembic_version VALUES ('s2')")
    with pg.open(database) as c:
        c.execute(script.encode())
    assert state(project).heads == ("s3",)


def test_an_empty_table_of_alembics_is_nothing(project: Project, database: Address, pg: Cluster) -> None:
    """Whoever began and did not go on has applied nothing."""
    execute(pg, database, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    assert state(project).kind is StateKind.PENDING
    assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}


def test_a_table_of_that_name_is_not_always_alembics(project: Project, database: Address, pg: Cluster) -> None:
    """Without its column it records no revisions; it stays as it is, and nothing waits for it."""
    execute(pg, database, "CREATE TABLE alembic_version (product text)", "INSERT INTO alembic_version VALUES ('s1')")
    assert (state(project).kind, state(project).problem) == (StateKind.PENDING, None)
    assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}
    assert state(project).kind is StateKind.UP_TO_DATE


def test_a_version_table_that_stays_in_public_is_ours(
    pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """Where the entry says so, its rows count at once, without a journal."""
    execute(
        pg,
        database,
        *SOMEBODY_ELSES,
        "CREATE TABLE s1 (id int PRIMARY KEY)",
    )
    kept = {"alembic": {"version_table_schema": "public"}}
    project = Project.load(make_project(tmp_path, entries({"one": database}, one=kept), SHARED))
    assert (state(project).kind, state(project).pending) == (StateKind.PENDING, ("s2", "s3"))
    assert statuses(project.upgrade()) == {"one": Status.SUCCEEDED}
    assert (state(project).kind, state(project).heads, state(project).notes) == (StateKind.UP_TO_DATE, ("s3",), ())


# --- unreachable


def nobody_listens(address: Address) -> Address:
    return replace(address, port=free_port())


def no_such_host(address: Address) -> Address:
    return replace(address, host="nowhere.invalid", sslmode="require")


def no_such_database(address: Address) -> Address:
    return replace(address, dbname="not_there")


UNREACHABLE: dict[Callable[[Address], Address], tuple[str, str, str]] = {
    nobody_listens: (
        "connection_refused",
        "Connection refused",
        "is the server running, are `host` and `port` right? After wrong passwords a Supabase host bans the address",
    ),
    no_such_host: (
        "unresolved_host",
        "failed to resolve host",
        "correct `host`; a direct host `db.<ref>.supabase.co` has only an IPv6 address, use the pooler's",
    ),
    no_such_database: (
        "no_database",
        'database "not_there" does not exist',
        "create it, or correct `database` in the entry",
    ),
}


@pytest.mark.parametrize("case", UNREACHABLE, ids=lambda case: case.__name__)
def test_what_cannot_be_reached_is_a_state(
    case: Callable[[Address], Address], database: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """Beside one that can, whose state is told all the same."""
    code, text, hint = UNREACHABLE[case]
    project = Project.load(make_project(tmp_path, entries({"gone": case(database), "here": database}), SHARED))
    gone, here = project.status()
    assert here.kind is StateKind.PENDING
    assert gone.kind is StateKind.UNREACHABLE
    assert gone.problem is not None
    assert (gone.problem.code, gone.problem.hint) == (code, hint)
    assert text in gone.problem.message


def test_a_wrong_password_costs_one_attempt(
    pg: Cluster, database: Address, make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poolers ban whoever insists."""
    with CountingProxy(pg.host, pg.port) as proxy:
        address = replace(database, host=proxy.host, port=proxy.port)
        project = Project.load(make_project(tmp_path, entries({"one": address}), SHARED))
        monkeypatch.setenv(PASSWORD_VARIABLE, "not the right one")
        found = state(project)
        assert proxy.connections == 1
    assert found.kind is StateKind.UNREACHABLE
    assert found.problem is not None
    assert found.problem.code == "wrong_password"
    assert "not the right one" not in str(found.problem)


# --- refused


@pytest.fixture
def reader(pg: Cluster, database: Address) -> Iterator[Address]:
    """The database as a role that may log in and nothing else."""
    name = f"reader_{database.dbname}"
    with pg.admin() as c:
        password = sql.Literal(pg.password).as_string(c)
        c.execute(f"CREATE ROLE {name} LOGIN PASSWORD {password}".encode())
        yield replace(database, user=name)
        c.execute(f"DROP ROLE {name}".encode())


def test_a_role_that_may_not_look_is_refused(
    project: Project, reader: Address, make_project: MakeProject, tmp_path: Path
) -> None:
    """It reached the database, and what it may not see is said, with the server's SQLSTATE."""
    project.upgrade()
    make_project(tmp_path, entries({"one": reader}), {})
    found = state(project)
    assert said(found) == (
        StateKind.REFUSED,
        "the role of this target may not read the version table: permission denied for schema ehg_migrate\n"
        "  hint: use the role that migrates this target, or grant it USAGE on schema `ehg_migrate` and SELECT on its "
        "tables",
    )
    assert found.problem is not None
    assert found.problem.sqlstate == "42501"


@pytest.mark.parametrize("granted", ["SELECT ON app.alembic_version", "USAGE ON SCHEMA app"])
def test_what_another_application_does_not_let_a_role_read(
    granted: str, reader: Address, make_project: MakeProject, database: Address, pg: Cluster, tmp_path: Path
) -> None:
    """It keeps nobody from anything: who has written that down is somebody else, with a role of his own."""
    execute(pg, database, "CREATE SCHEMA app", "CREATE TABLE app.alembic_version (version_num text)")
    execute(pg, database, f"GRANT {granted} TO {reader.user}")
    found = state(Project.load(make_project(tmp_path, entries({"one": reader}), SHARED)))
    execute(pg, database, "DROP SCHEMA app CASCADE")
    assert (found.kind, found.problem) == (StateKind.PENDING, None)


def test_a_role_that_may_not_look_at_the_record_of_a_schema(
    make_project: MakeProject, reader: Address, database: Address, pg: Cluster, tmp_path: Path
) -> None:
    """Its own schema is the one to be granted."""
    execute(pg, database, "CREATE SCHEMA crm")
    crm = {"schema": "crm"}
    Project.load(make_project(tmp_path, entries({"one": database}, one=crm), SHARED)).upgrade()
    found = state(Project.load(make_project(tmp_path, entries({"one": reader}, one=crm), SHARED)))
    assert found.problem is not None
    assert "grant it USAGE on schema `ehg_migrate_crm` and SELECT" in found.problem.hint


def test_what_row_level_security_hides_is_not_taken_for_nothing(
    project: Project, reader: Address, make_project: MakeProject, tmp_path: Path, database: Address, pg: Cluster
) -> None:
    """Its role sees no row: it is neither pending, nor has it no past; the hint, said by the owner, leads out."""
    project.upgrade()
    execute(pg, database, *(f"GRANT ALL ON {what} ehg_migrate TO {reader.user}" for what in OURS))
    for table in ("alembic_version", "migration_journal", "migration_lease"):
        execute(pg, database, f"ALTER TABLE ehg_migrate.{table} ENABLE ROW LEVEL SECURITY")
    other = Project.load(make_project(tmp_path, entries({"one": reader}), {}))
    found = state(other)
    assert found.problem is not None
    assert (found.kind, found.problem.code) == (StateKind.REFUSED, "no_privilege")
    for run in (other.upgrade(), other.downgrade("one", ["shared@base"])):
        assert statuses(run) == {"one": Status.REFUSED}
    with pytest.raises(TargetError, match="row-level security may hide"):
        other.history("one")
    assert [f.message for f in other.doctor() if f.check == "version_table"] == [found.problem.message]
    execute(pg, database, *found.problem.hint.split("`")[1].split("; "))
    assert state(other).kind is StateKind.UP_TO_DATE
    execute(pg, database, *(f"REVOKE ALL ON {what} ehg_migrate FROM {reader.user}" for what in OURS))


@pytest.mark.parametrize("kept", [False, True], ids=["anothers", "kept"])
def test_a_history_that_row_level_security_hides_is_not_taken_for_none(
    kept: bool, reader: Address, make_project: MakeProject, tmp_path: Path, database: Address, pg: Cluster
) -> None:
    """All would be done anew, by stock commands too; the hint, said by its owner, leads out."""
    execute(
        pg,
        database,
        *SOMEBODY_ELSES,
        "ALTER TABLE alembic_version ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON alembic_version TO {reader.user}",
        f"GRANT CREATE ON SCHEMA public TO {reader.user}",
        f"GRANT CREATE ON DATABASE {database.dbname} TO {reader.user}",
    )
    entry = {"alembic": {"version_table_schema": "public"}} if kept else {}
    project = Project.load(make_project(tmp_path, entries({"one": reader}, one=entry), SHARED))
    found = state(project)
    assert found.problem is not None
    assert (found.kind, found.problem.code, found.pending) == (StateKind.REFUSED, "no_privilege", ())
    for run in (project.upgrade(), project.adopt("one", ["s1"])):
        assert statuses(run) == {"one": Status.REFUSED}
    examined = examine_all(project.targets(), {"one": pg.password}, 1)["one"]
    for findings in (project.doctor(), examined):
        assert [f.message for f in findings if f.check == "version_table"] == [found.problem.message]
    if not kept:  # where it is ours, a step could not write its row either
        stock = ehg(tmp_path, "upgrade", "heads", program=ALEMBIC)
        assert (stock.code != 0, "row-level security may hide" in stock.err) == (True, True), stock
    execute(pg, database, found.problem.hint.split("`")[1])
    after = state(project)
    assert (after.kind, after.heads) == (StateKind.PENDING if kept else StateKind.NOT_ADOPTED, ("s1",))
    with pg.admin(database.dbname) as c:
        c.execute(f"DROP OWNED BY {reader.user}".encode())


@pytest.mark.parametrize("table", ["migration_journal", "alembic_version"])
def test_row_level_security_of_one_table_alone(
    table: str, project: Project, reader: Address, make_project: MakeProject, tmp_path: Path, database: Address,
    pg: Cluster,
) -> None:  # fmt: skip
    """Hidden entries are not none: a cut step may be among them; nor are hidden rows beside an empty journal."""
    project.upgrade()
    execute(
        pg,
        database,
        *(f"GRANT ALL ON {what} ehg_migrate TO {reader.user}" for what in OURS),
        f"ALTER TABLE ehg_migrate.{table} ENABLE ROW LEVEL SECURITY",
        *(["TRUNCATE ehg_migrate.migration_journal"] if table == "alembic_version" else []),
    )
    found = state(Project.load(make_project(tmp_path, entries({"one": reader}), {})))
    execute(pg, database, *(f"REVOKE ALL ON {what} ehg_migrate FROM {reader.user}" for what in OURS))
    assert found.problem is not None
    assert (found.kind, found.problem.code, found.pending) == (StateKind.REFUSED, "no_privilege", ())


def test_what_was_applied_and_cannot_be_read_is_not_taken_for_nothing(
    project: Project, database: Address, pg: Cluster
) -> None:
    """The version rows are lost, and by its one look the target has a past: what that was must be known first."""
    project.upgrade()
    execute(
        pg,
        database,
        "TRUNCATE ehg_migrate.alembic_version",
        "ALTER TABLE ehg_migrate.migration_journal RENAME git_commit TO commit_of_git",
    )
    found = state(project)
    assert found.problem is not None
    assert (found.kind, found.pending) == (StateKind.UNREACHABLE, ())
    assert found.problem.message == 'column "git_commit" does not exist'
    assert statuses(project.upgrade()) == {"one": Status.FAILED}


def test_a_foreign_history_that_takes_no_writes(project: Project, database: Address, pg: Cluster) -> None:
    """It could not be adopted either, so that is not what is said to be done."""
    execute(
        pg,
        database,
        *SOMEBODY_ELSES,
        f"ALTER DATABASE {database.dbname} SET default_transaction_read_only = on",
    )
    found = state(project)
    assert found.problem is not None
    assert (found.kind, found.problem.code, found.heads) == (StateKind.REFUSED, "read_only", ("s1",))


@pytest.mark.parametrize("upgraded", [True, False])
def test_a_database_that_takes_no_writes_is_refused(
    project: Project, database: Address, pg: Cluster, upgraded: bool
) -> None:
    """As a replica, or a project whose disk is full; its heads are told, a run does not touch it."""
    if upgraded:
        project.upgrade()
    execute(pg, database, f"ALTER DATABASE {database.dbname} SET default_transaction_read_only = on")
    found = state(project)
    assert said(found) == (
        StateKind.REFUSED,
        "the database takes no writes\n"
        "  hint: a replica, a project with a full disk, or a setting of the role or the database: "
        "`ehg-migrate doctor -t TARGET` tells which",
    )
    (why,) = (f for f in project.doctor() if f.check == "writable")
    assert "set by: database" in why.message
    assert "ALTER DATABASE" in why.hint
    assert found.heads == (("s3",) if upgraded else ())
    assert statuses(project.upgrade()) == {"one": Status.REFUSED}


def test_what_a_function_of_the_database_raises_is_not_laid_to_the_revision(
    project: Project, database: Address, pg: Cluster
) -> None:
    """The hint names the function, as of an event trigger; what a revision's own block raises is the revision's."""
    with pg.admin(database.dbname) as c:
        c.execute(
            "CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no DDL today''; END';"
            "CREATE EVENT TRIGGER guard ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION guard()"
        )
    for name, statement in (("v1", "CREATE VIEW v AS SELECT 1"), ("v2", "DO 'BEGIN RAISE ''mine''; END'")):
        add_revision(project.settings.root, "shared/4", revision(name, "s3", up=statement))
        (result,) = Project.load(project.settings.root).upgrade().results
        assert result.problem is not None
        assert result.problem.code == "statement_failed"
        assert ("function `guard()`" in result.problem.hint) == (name == "v1")


# --- notes


def test_an_edited_file_is_noted(project: Project) -> None:
    """By its checksum, with the run that applied it; it stops nothing, and restoring the file ends it."""
    run = project.upgrade()
    file = project.settings.versions / "shared" / "2.py"
    before = file.read_text()
    was = Project.load(project.settings.root).revisions.branches["shared"][1].checksum
    file.write_text(before + "\n# a second thought\n")
    now = Project.load(project.settings.root).revisions.branches["shared"][1].checksum
    add_revision(project.settings.root, "shared/4", making("s4", "s3"))
    commit = run.origin.git_commit
    note = (
        f"versions/shared/2.py: revision `s2` was edited after run `{run.id}` applied it here (checksum {was[:12]}, "
        f"now {now[:12]})\n  hint: put the change into a new revision and restore the file"
        + (f" from commit {commit[:12]}" if commit else "")
        + "; where other targets have it as it is now: if `ehg-migrate drift -t TARGET` shows nothing, `alembic -x "
        "target=TARGET stamp --purge REV ...`, with all its HEADS, takes it so here too"
    )
    found = state(project)
    assert (found.kind, noted(found)) == (StateKind.PENDING, [note])
    after = Project.load(project.settings.root).upgrade()
    assert [str(n) for n in after.results[0].notes] == [note]
    assert (state(project).kind, noted(state(project))) == (StateKind.UP_TO_DATE, [note])
    file.write_text(before)
    assert noted(state(project)) == []


def test_overlapping_rows_are_noted_and_taken_out_by_the_next_run(
    project: Project, database: Address, pg: Cluster
) -> None:
    """As stock Alembic leaves them after some downgrades; the journal says what was done about them."""
    project.upgrade(to=["s2"])
    execute(pg, database, "INSERT INTO ehg_migrate.alembic_version VALUES ('s1')")
    found = state(project)
    assert (found.kind, found.heads, found.pending) == (StateKind.PENDING, ("s1", "s2"), ("s3",))
    assert noted(found) == [
        "the version table holds `s1` although another row implies it\n"
        "  hint: they do no harm; the next run that has a step here takes them out before it"
    ]
    run = project.upgrade()
    assert statuses(run) == {"one": Status.SUCCEEDED}
    assert [n.code for n in run.results[0].notes] == []
    assert rows(pg, database) == {"s3"}
    assert journal(pg, database)[-2:] == [("normalized", "", "s1"), ("done", "up", "s3")]
    assert (state(project).kind, state(project).notes) == (StateKind.UP_TO_DATE, ())
    project.rollback(run.id)
    assert rows(pg, database) == {"s2"}


def test_a_step_that_was_cut_outside_a_transaction_is_noted(project: Project, database: Address, pg: Cluster) -> None:
    """Until a run has finished it, whose result does not say it any more either."""
    cut = revision("s4", "s3", up_code=CONCURRENTLY + "op.execute('SELECT 1 / 0')")
    add_revision(project.settings.root, "shared/4", cut)
    run = Project.load(project.settings.root).upgrade()
    assert statuses(run) == {"one": Status.INDETERMINATE}
    found = state(project)
    assert (found.kind, found.pending) == (StateKind.PENDING, ("s4",))
    assert [f.check for f in Project.load(project.settings.root).doctor() if f.level == "warning"] == ["version_table"]
    assert noted(found) == [
        "versions/shared/4.py: revision `s4` began outside a transaction and nobody saw it end\n"
        "  hint: `ehg-migrate upgrade -t TARGET` finishes it, or names what it left behind"
    ]
    (project.settings.versions / "shared" / "4.py").unlink()  # nothing here finishes it
    assert noted(state(project)) == [
        "revision `s4` began outside a transaction and nobody saw it end\n"
        "  hint: `ehg-migrate upgrade -t TARGET` from the checkout that has it finishes it, or names what it left "
        "behind; where its file was taken out for good: take away by hand what `ehg-migrate drift -t TARGET` shows of "
        "it, and `alembic -x target=TARGET stamp --purge s3` ends this note"
    ]
    add_revision(project.settings.root, "shared/4", revision("s4", "s3", up="SELECT 1"))
    (result,) = Project.load(project.settings.root).upgrade().results
    assert (result.status, result.notes) == (Status.SUCCEEDED, ())
    assert (state(project).kind, state(project).notes) == (StateKind.UP_TO_DATE, ())


class TestARevisionThatWasPutBelow:
    """Its row stands for more than was run here, since an applied file was changed to need what nobody has yet."""

    @pytest.fixture
    def behind(self, project: Project) -> Project:
        """`s2` is applied; `x1` is another developer's, and `s2` now continues it, as `s1` before."""
        project.upgrade(to=["s2"])
        add_revision(project.settings.root, "shared/1x", making("x1", "s1"))
        add_revision(project.settings.root, "shared/2", making("s2", "x1"))
        return Project.load(project.settings.root)

    def test_it_is_noted(self, behind: Project) -> None:
        """Once, with the run that did without it, by `status`, `doctor` and a run of what is above it."""
        (run,) = behind.runs()
        note = (
            f"versions/shared/2.py: `x1` counts as applied, since `s2` needs it now; but run `{run.id}` applied that "
            "without it, and by the target's journal it was never run here\n"
            "  hint: set `down_revision` and `depends_on` back to what they were then, and `ehg-migrate upgrade "
            "-t TARGET` runs what is missing (`alembic merge` joins two lines); `ehg-migrate drift -t TARGET` shows "
            "what is missing now"
        )
        found = state(behind)
        assert (found.kind, found.pending, noted(found)[0]) == (StateKind.PENDING, ("s3",), note)
        assert [n.code for n in found.notes] == ["never_run", "edited_file"]
        assert [f.message for f in behind.doctor() if f.level != "ok"] == [found.notes[0].message]
        (result,) = behind.upgrade().results
        assert (result.status, [n.code for n in result.notes]) == (Status.SUCCEEDED, ["never_run", "edited_file"])
        assert (state(behind).kind, noted(state(behind))[0]) == (StateKind.UP_TO_DATE, note)

    def test_it_is_noted_among_many_heads(self, project: Project) -> None:
        """However many version rows were there when it was applied, and however long their names are."""
        many = [f"g{i:02}_with_a_name_of_forty_characters_each" for i in range(50)]
        for name in many:
            add_revision(project.settings.root, f"shared/{name}", revision(name, "s1"))
        Project.load(project.settings.root).upgrade(to=many)
        Project.load(project.settings.root).upgrade(to=["s2"])
        add_revision(project.settings.root, "shared/1x", making("x1", "s1"))
        add_revision(project.settings.root, "shared/2", making("s2", "x1"))
        found = state(project)
        assert (len(found.heads), [n.code for n in found.notes]) == (51, ["never_run", "edited_file"])

    def test_the_hint_mends_it(self, behind: Project, database: Address, pg: Cluster) -> None:
        """With the file as it was, and a merge, what is missing is pending, and is run."""
        behind.upgrade()
        add_revision(behind.settings.root, "shared/2", making("s2", "s1"))
        add_revision(behind.settings.root, "shared/4", revision("m", ("s3", "x1")))
        found = state(behind)
        assert (found.kind, found.pending, found.notes) == (StateKind.PENDING, ("x1", "m"), ())
        assert statuses(Project.load(behind.settings.root).upgrade()) == {"one": Status.SUCCEEDED}
        assert tables(pg, database) == {"s1", "s2", "s3", "x1"}
        assert (state(behind).kind, state(behind).notes) == (StateKind.UP_TO_DATE, ())

    def test_a_run_that_has_nothing_to_do_looks_at_the_schema(
        self, behind: Project, database: Address, pg: Cluster
    ) -> None:
        """The rows say that all is there, and it is not; where somebody has made it by hand, it is."""
        behind.upgrade()
        (result,) = behind.upgrade(verify="auto").results
        assert result.status is Status.SCHEMA_DIFFERS
        assert result.problem is not None
        assert "table public.x1" in result.problem.message
        execute(pg, database, "CREATE TABLE x1 (id int PRIMARY KEY)")
        assert statuses(behind.upgrade(verify="auto")) == {"one": Status.UP_TO_DATE}

    def test_a_dependency_and_a_label(self, project: Project, database: Address, pg: Cluster) -> None:
        """They need as `down_revision` does, also where the file that names a label was not changed."""
        own = revision("o1", label="one", depends=("shared",), up="CREATE TABLE o1 (n int)")
        add_revision(project.settings.root, "one/1", own)
        Project.load(project.settings.root).upgrade(to=["o1"])
        add_revision(project.settings.root, "shared/1", making("s1"))
        add_revision(project.settings.root, "shared/2", making("s2", "s1", label="shared"))
        (note,) = (n for n in state(project).notes if n.code == "never_run")
        assert "`s2` counts as applied, since `o1` needs it now" in note.message

    def test_rows_that_are_not_needless_stay(self, project: Project, database: Address, pg: Cluster) -> None:
        """Where a row is implied for the wrong reason alone, no run takes it out; the hint leads back to it."""
        add_revision(project.settings.root, "one/1", making("o1", label="one"))
        Project.load(project.settings.root).upgrade(to=["o1", "s1"])
        add_revision(project.settings.root, "one/1", making("o1", label="one", depends=("s2",)))
        found = state(project)
        assert (found.kind, found.problem and found.problem.code) == (StateKind.REFUSED, "never_run")
        broken = Project.load(project.settings.root)
        assert statuses(broken.upgrade()) == statuses(broken.downgrade("one", ["base"])) == {"one": Status.REFUSED}
        assert rows(pg, database) == {"o1", "s1"}
        add_revision(project.settings.root, "one/1", making("o1", label="one"))
        found = state(project)
        assert (found.kind, found.pending, found.notes) == (StateKind.PENDING, ("s2", "s3"), ())

    def test_what_was_always_there_is_not_meant(self, project: Project, database: Address, pg: Cluster) -> None:
        """Not a history that was replaced by one file, nor what was applied before there was a journal."""
        project.upgrade()
        for name in ("1", "2"):
            (project.settings.versions / "shared" / f"{name}.py").unlink()
        add_revision(project.settings.root, "shared/0", making("all"))
        add_revision(project.settings.root, "shared/3", making("s3", "all"))
        assert [n.code for n in state(project).notes] == ["edited_file"]
        for name in ("0", "3"):
            (project.settings.versions / "shared" / f"{name}.py").unlink()
        for path, text in SHARED.items():
            add_revision(project.settings.root, path, text)
        execute(pg, database, "DELETE FROM ehg_migrate.migration_journal WHERE revision <> 's3'")
        assert state(project).notes == ()
