"""A target that was given another name, or whose database is another's copy: its journal goes on under both names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from ehg_migrate.database.journal import Journal
from ehg_migrate.database.statements import query
from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, Origin, StateKind, Status, Target
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.integration.fleets import SHARED, entries, execute, making, rows, statuses, tables
from tests.support.postgres import Cluster
from tests.support.project import revision

MakeDatabase = Callable[[str], Address]

OTHER = {"crm/1": making("c1", label="crm")}
UNIQUE = """\
with op.get_context().autocommit_block():
    op.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS cut ON s1 (id)")
"""


def called(make_project: MakeProject, root: Path, name: str, database: Address) -> Project:
    """The project whose only target has this name from now on."""
    return Project.load(make_project(root, entries({name: database}, **{name: {"branches": ["crm"]}}), {}))


@pytest.fixture
def root(make_project: MakeProject, tmp_path: Path) -> Path:
    """A project without targets yet: s1, s2, s3 for all, c1 of a group."""
    return make_project(tmp_path, {}, SHARED | OTHER)


def test_a_step_that_was_cut_under_the_former_name_is_still_known(
    make_project: MakeProject, root: Path, database: Address, pg: Cluster
) -> None:
    """Also when something else was done under the new one: the INVALID index is not taken for a good one."""
    steps = {
        "shared/1": revision("s1", label="shared", up="CREATE TABLE s1 (id int)", down_sql="DROP TABLE s1"),
        "shared/2": revision("s2", "s1", up_code=UNIQUE, down_sql="DROP INDEX cut"),
        "shared/3": revision("s3", "s2"),
    }
    make_project(root, {}, steps)
    old = called(make_project, root, "old", database)
    old.upgrade(to=["s1"])
    execute(pg, database, "INSERT INTO s1 VALUES (1), (1)")
    assert statuses(old.upgrade(to=["s2"])) == {"old": Status.INDETERMINATE}
    execute(pg, database, "DELETE FROM s1")

    project = called(make_project, root, "new", database)
    assert statuses(project.upgrade(to=["c1"])) == {"new": Status.SUCCEEDED}
    assert [n.code for n in project.status()[0].notes if n.code != "ledger_disagrees"] == ["half_done"]
    (result,) = project.upgrade().results
    assert (result.status, result.problem and result.problem.code) == (Status.REFUSED, "half_done")
    assert [(e.event, e.revision) for e in project.history("new")] == [
        ("done", "s1"), ("started", "s2"), ("failed", "s2"), ("done", "c1"),
    ]  # fmt: skip


@pytest.mark.parametrize("direction", ["up", "down"])
def test_what_another_project_has_begun_in_the_same_journal(
    direction: str, make_project: MakeProject, root: Path, database: Address, pg: Cluster
) -> None:
    """Nothing connects it with the target: its step is not this one's to finish, and its revisions are not in doubt."""
    project = called(make_project, root, "one", database)
    project.upgrade()
    execute(
        pg,
        database,
        "INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,"
        " heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version)"
        f" SELECT 'strange', run, 'started', 'x9', '{direction}', branch, checksum, '{{}}', '{{}}', now(), 1, actor,"
        " host, git_commit, tool_version FROM ehg_migrate.migration_journal LIMIT 1",
    )
    (state,) = project.status()
    assert (state.kind, state.notes) == (StateKind.UP_TO_DATE, ())
    (other,) = called(make_project, root, "strange", database).status()
    assert "half_done" in [n.code for n in other.notes]


@pytest.mark.parametrize("names", [("a", "b", "b"), ("a", "b", "a"), ("b", "a", "c")])
def test_runs_under_former_names_are_taken_back(
    names: tuple[str, str, str], make_project: MakeProject, root: Path, database: Address, pg: Cluster
) -> None:
    """One after the other, the newest first; there and back again, and twice renamed."""
    first, second, third = names
    runs = [
        called(make_project, root, first, database).upgrade(to=["s1"]),
        called(make_project, root, first, database).upgrade(to=["s2"]),
        called(make_project, root, second, database).upgrade(to=["c1"]),
        called(make_project, root, third, database).upgrade(to=["s3"]),
    ]
    project = called(make_project, root, third, database)
    (refused,) = project.rollback(runs[1].id, [third]).results
    assert refused.problem is not None
    assert refused.problem.hint == f"run `ehg-migrate rollback {runs[3].id} -t TARGET` first"
    for run, left in zip(reversed(runs), [{"s1", "s2", "c1"}, {"s1", "s2"}, {"s1"}, set()], strict=True):
        assert statuses(project.rollback(run.id, [third])) == {third: Status.SUCCEEDED}
        assert tables(pg, database) == left


@pytest.mark.parametrize("wish", [(), ("s2", "c1")])
def test_what_a_run_left_undone_under_a_former_name(
    wish: tuple[str, ...], make_project: MakeProject, root: Path, database: Address, pg: Cluster
) -> None:
    """Neither `resume` nor `retry` knows who it was; the hint names the command that does what is missing."""
    old = called(make_project, root, "old", database)
    execute(pg, database, "CREATE TABLE s2 (in_the_way int)")
    run = old.upgrade(to=wish)
    assert statuses(run) == {"old": Status.FAILED}
    execute(pg, database, "DROP TABLE s2")
    new = called(make_project, root, "new", database)
    for failed_only in (False, True):
        with pytest.raises(UsageError, match=f"run `{run.id}` left `old` undone, which targets/ does not") as refused:
            new.plan_resume(run.id, failed_only=failed_only)
    to = "".join(f" --to {w}" for w in wish)
    assert f"`ehg-migrate upgrade -t NAME{to}` does what is missing" in str(refused.value)
    assert statuses(new.upgrade(["new"], to=wish)) == {"new": Status.SUCCEEDED}


@pytest.mark.parametrize("lost", ["TRUNCATE ehg_migrate.alembic_version", "DROP TABLE ehg_migrate.alembic_version"])
def test_rows_that_were_written_under_the_former_name_are_lost_rows(
    lost: str, make_project: MakeProject, root: Path, database: Address, pg: Cluster
) -> None:
    """They are not begun anew, though under the new name nothing is applied; the hint names them all."""
    called(make_project, root, "old", database).upgrade(to=["s2"])
    project = called(make_project, root, "new", database)
    project.rollback(project.upgrade(to=["c1"]).id)
    execute(pg, database, lost)
    (state,) = project.status()
    assert state.problem is not None
    assert (state.kind, state.problem.code) == (StateKind.REFUSED, "lost_rows")
    assert "`ehg-migrate adopt TARGET --heads s2` writes the rows again" in state.problem.hint
    assert statuses(project.adopt("new", ["s2"])) == {"new": Status.SUCCEEDED}
    assert (project.status()[0].kind, rows(pg, database)) == (StateKind.PENDING, {"s2"})


def test_another_project_in_the_same_database_is_no_former_name(
    make_project: MakeProject, root: Path, tmp_path: Path, database: Address, pg: Cluster
) -> None:
    """It has a version table of its own, and other revisions: nothing it did stands in the way of a rollback."""
    mine = called(make_project, root, "mine", database)
    run = mine.upgrade(to=["s1"])
    execute(pg, database, "CREATE SCHEMA kept")
    own = {"alembic": {"version_table_schema": "kept"}}
    steps = {"shared/1": making("t1", label="shared"), "shared/2": making("t2", "t1")}
    theirs = Project.load(make_project(tmp_path / "theirs", entries({"theirs": database}, theirs=own), steps))
    assert statuses(theirs.upgrade()) == {"theirs": Status.SUCCEEDED}
    assert [e.revision for e in mine.history("mine")] == ["s1"]
    assert [e.revision for e in theirs.history("theirs")] == ["t1", "t2"]
    with pytest.raises(UsageError, match="no selected target has a trace"):
        theirs.rollback(run.id)
    assert statuses(mine.rollback(run.id)) == {"mine": Status.SUCCEEDED}
    assert tables(pg, database) == {"t1", "t2"}


@pytest.fixture
def journal(root: Path, make_project: MakeProject, database: Address, pg: Cluster) -> Iterator[psycopg.Connection]:
    """A session at a target with an empty journal."""
    called(make_project, root, "a", database).upgrade(to=["s1"])
    with pg.connect(database.dbname, autocommit=False) as c:
        c.execute("TRUNCATE ehg_migrate.migration_journal")
        yield c


_WRITE = (
    "INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,"
    " heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version)"
    " VALUES (%s, %s, %s, %s, %s, 'b', %s, '{}', %s, now(), 0, '', '', '', '')"
)


def test_what_a_run_has_done_here_is_its_own_and_ended(journal: psycopg.Connection) -> None:
    """What it has begun, or failed at, another may have ended; and names in a copied journal are other targets'."""
    for name, run, event, revision_ in (
        ("a", "mine", "done", "r"),
        ("a", "mine", "started", "s"),
        ("a", "mine", "failed", "t"),
        ("a", "another", "done", "t"),
        ("b", "mine", "done", "u"),
    ):
        journal.execute(_WRITE, (name, run, event, revision_, "up", "", [revision_]))
    target = Target("a", Address("h", 1, "u", "d", "disable"), ())
    assert Journal(target, "mine", Origin("", "", 1, "", "")).done(journal) == {"r"}


# whose entry, of which revision, which event, and the revision that its heads name beside it
_ENTRY = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from("rstu"),
    st.sampled_from([("done", "up"), ("done", "down"), ("started", "up"), ("failed", "up"), ("stamped", "up")]),
    st.sampled_from(["", "r", "s"]),
)


@given(written=st.lists(_ENTRY, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_asked_without_names_is_the_same_or_says_so(
    journal: psycopg.Connection, written: list[tuple[str, str, tuple[str, str], str]]
) -> None:
    """For each name; what is unfinished of nobody is not unfinished of the target."""
    for name, revision_, (event, direction), beside in written:
        heads = [h for h in (revision_, beside) if h]
        journal.execute(_WRITE, (name, "r", event, revision_, direction, f"of {name}", heads))
    cursor = journal.cursor(row_factory=dict_row)
    for name in "abc":
        target = Target(name, Address("h", 1, "u", "d", "disable"), ())
        asked = {"target": name}
        quick = cursor.execute(query("probe", target, anyone=True), asked).fetchone()
        exact = cursor.execute(query("probe", target), asked).fetchone()
        assert quick is not None
        assert exact is not None
        assert quick["others"] or quick == exact
        cut = cursor.execute(query("unfinished", target, anyone=True)).fetchall()
        assert cut or not cursor.execute(query("unfinished", target), asked).fetchall()
    journal.rollback()
