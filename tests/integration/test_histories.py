"""Histories that people already have: our upgrade gives what stock Alembic gives on the same files, and rolls back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from ehg_migrate.model import Address, Result, RunStatus, StateKind, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.support.histories import HISTORIES, LINEAR, table
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision, target_entry
from tests.support.stock import History, Stock, add_stock

MakeDatabase = Callable[[str], Address]
USER_TABLES = """
SELECT schemaname, tablename FROM pg_tables
 WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'ehg_migrate', 'auth', 'storage')
   AND tablename <> 'alembic_version'
 ORDER BY 1, 2
"""


def lay_out(folder: Path, history: History, address: Address, make_project: MakeProject) -> Path:
    """Our project with the history, for one target `app`."""
    entry = target_entry(address, x=dict(history.x), alembic=dict(history.configure))
    entry["branches"] = [b for b in history.branches if b not in ("shared", "app")]
    make_project(folder, {"app": entry}, history.revisions, settings=history.settings)
    ini = folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("\n[ehg_migrate]", f"{history.ini}\n[ehg_migrate]"))
    for path, text in history.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def prepare(pg: Cluster, address: Address, history: History) -> None:
    with pg.connect(address.dbname) as c:
        for statement in history.before:
            c.execute(statement.encode())


def rows(pg: Cluster, address: Address) -> dict[str, list[str]]:
    """Every row of every table of the user's."""
    with pg.connect(address.dbname) as c:
        found = {}
        for schema, name in c.execute(USER_TABLES).fetchall():
            query = sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(sql.Identifier(schema, name))
            found[f"{schema}.{name}"] = [str(r[0]) for r in c.execute(query).fetchall()]
        return found


def stock_heads(pg: Cluster, address: Address) -> set[str]:
    """What the version table that stock Alembic made holds; the table is dropped, so that dumps can be compared."""
    with pg.connect(address.dbname) as c:
        heads = {str(r[0]) for r in c.execute("SELECT version_num FROM public.alembic_version").fetchall()}
        c.execute("DROP TABLE public.alembic_version")
        return heads


def upgraded_by_stock(stock: Stock) -> None:
    times = len(stock.history.revisions) if stock.history.one_by_one else 1
    for _ in range(times):
        done = stock.alembic("upgrade", "+1" if stock.history.one_by_one else "heads")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("history", HISTORIES, ids=lambda h: h.name)
def test_same_as_stock_and_back(
    history: History,
    pg: Cluster,
    tmp_path: Path,
    make_database: MakeDatabase,
    make_project: MakeProject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Same schema, same rows, same heads as stock Alembic; then `rollback` gives back the dump from before."""
    for name, value in history.environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = make_database("ours"), make_database("stock")
    project_folder = lay_out(tmp_path, history, ours, make_project)
    prepare(pg, ours, history)
    prepare(pg, theirs, history)
    stock = add_stock(project_folder, history, theirs, pg.password)
    before = pg.dump_schema(ours.dbname), rows(pg, ours)

    project = Project.load(project_folder)
    run = project.upgrade()
    result = run.results[0]
    assert run.status is RunStatus.SUCCEEDED, (result.problem, result.output)
    assert project.status()[0].kind is StateKind.UP_TO_DATE

    if history.stock_says:
        done = stock.alembic("upgrade", "heads")
        assert done.returncode != 0
        assert history.stock_says in done.stdout + done.stderr
    else:
        upgraded_by_stock(stock)
        assert set(result.heads_after) == stock_heads(pg, theirs)
        kept_in_place = "version_table_schema" in history.configure
        if kept_in_place:
            assert set(result.heads_after) == stock_heads(pg, ours)
        assert pg.dump_schema(ours.dbname) == pg.dump_schema(theirs.dbname)
        assert rows(pg, ours) == rows(pg, theirs)
        if kept_in_place:
            return

    back = project.rollback(run.id)
    assert back.status is RunStatus.SUCCEEDED, (back.results[0].problem, back.results[0].output)
    assert back.results[0].heads_after == ()
    assert (pg.dump_schema(ours.dbname), rows(pg, ours)) == before


class TestNoWayBack:
    """Revisions that cannot be taken back are applied as by stock; `rollback` says so and harms nothing."""

    @pytest.fixture
    def project(self, database: Address, tmp_path: Path, make_project: MakeProject) -> Project:
        make_project(tmp_path, {"app": target_entry(database)}, {"shared/1.py": table("n1")})
        return Project.load(tmp_path)

    def test_without_downgrade(self, project: Project, database: Address, pg: Cluster) -> None:
        """A file without `downgrade()` is refused before the first step down."""
        text = table("n2", "n1")
        add_revision(project.settings.root, "shared/2.py", text[: text.index("def downgrade")])
        project = Project.load(project.settings.root)
        run = project.upgrade()
        assert run.results[0].heads_after == ("n2",)
        dump = pg.dump_schema(database.dbname)
        back = project.rollback(run.id).results[0]
        assert (back.status, back.problem and back.problem.code) == (Status.REFUSED, "no_downgrade")
        assert (pg.dump_schema(database.dbname), back.heads_after) == (dump, ("n2",))

    def test_raising_downgrade(self, project: Project, database: Address, pg: Cluster) -> None:
        """A `downgrade()` that raises fails at that step, which leaves nothing of itself."""
        text = table("n2", "n1").replace(
            'op.execute("DROP', 'op.execute("CREATE TABLE half (id int)")\n    op.execute("DROP'
        )
        add_revision(project.settings.root, "shared/2.py", f"{text}\n    raise NotImplementedError('one way')\n")
        add_revision(project.settings.root, "shared/3.py", table("n3", "n2"))
        project = Project.load(project.settings.root)
        run = project.upgrade()
        assert run.results[0].heads_after == ("n3",)
        back = project.rollback(run.id).results[0]
        assert back.status is Status.FAILED
        assert back.problem
        assert "NotImplementedError: one way" in back.problem.message
        assert (back.heads_after, [s.revision for s in back.steps]) == (("n2",), ["n3"])
        assert set(rows(pg, database)) == {"public.t_n1", "public.t_n2"}


class TestCommitsByItself:
    """`op.get_bind().commit()` in a revision: stock Alembic loses what comes after it, and the version row."""

    CODE = "op.execute('CREATE TABLE early (id int)')\nop.get_bind().commit()\nop.execute('{}')"

    def upgrade(self, statement: str, folder: Path, address: Address, make_project: MakeProject) -> Result:
        text = revision("c2", "c1", up_code=self.CODE.format(statement), down_sql="DROP TABLE early, late")
        make_project(folder, {"app": target_entry(address)}, {"shared/1": table("c1"), "shared/2": text})
        return Project.load(folder).upgrade().results[0]

    def test_whole(self, database: Address, pg: Cluster, tmp_path: Path, make_project: MakeProject) -> None:
        """We keep all of it, also in the last revision, and take it back."""
        result = self.upgrade("CREATE TABLE late (id int)", tmp_path, database, make_project)
        assert (result.status, result.heads_after) == (Status.SUCCEEDED, ("c2",))
        assert set(rows(pg, database)) == {"public.early", "public.late", "public.t_c1"}
        project = Project.load(tmp_path)
        entries = project.history("app")
        assert [e.event for e in entries] == ["done", "started", "done"]
        assert project.rollback(entries[0].run).status is RunStatus.SUCCEEDED
        assert rows(pg, database) == {}

    def test_cut(self, database: Address, pg: Cluster, tmp_path: Path, make_project: MakeProject) -> None:
        """Failing after its commit it is indeterminate, never tried again by itself."""
        result = self.upgrade("CREATE TABLE t_c1 (id int)", tmp_path, database, make_project)
        assert (result.status, result.heads_after) == (Status.INDETERMINATE, ("c1",))
        assert set(rows(pg, database)) == {"public.early", "public.t_c1"}


IN_PLACE = {"version_table_schema": "public"}


class TestTakenOverInPlace:
    """A database that stock Alembic migrated goes on with its own `public.alembic_version`."""

    def test_half_way(self, pg: Cluster, database: Address, tmp_path: Path, make_project: MakeProject) -> None:
        """Stock applies the first revisions, we the rest into the same version table, stock agrees that it is done."""
        history = replace(LINEAR, configure=IN_PLACE)
        stock = add_stock(lay_out(tmp_path, history, database, make_project), history, database, pg.password)
        assert stock.alembic("upgrade", "a1").returncode == 0
        project = Project.load(tmp_path)
        assert (project.status()[0].kind, project.status()[0].pending) == (StateKind.PENDING, ("a2", "a3"))
        run = project.upgrade()
        assert run.results[0].heads_after == ("a3",), run.results[0].problem
        assert "a3 (head)" in stock.alembic("current").stdout
        assert project.rollback(run.id).results[0].heads_after == ("a1",)
        assert "a1\n" in stock.alembic("current").stdout

    def test_not_in_place_is_not_touched(
        self, pg: Cluster, database: Address, tmp_path: Path, make_project: MakeProject
    ) -> None:
        """Without that option such a database is `not_adopted`, and an upgrade leaves it alone."""
        stock = add_stock(lay_out(tmp_path, LINEAR, database, make_project), LINEAR, database, pg.password)
        assert stock.alembic("upgrade", "a1").returncode == 0
        dump = pg.dump_schema(database.dbname, ())
        project = Project.load(tmp_path)
        assert project.upgrade().results[0].status is Status.REFUSED
        assert project.status()[0].kind is StateKind.NOT_ADOPTED
        assert pg.dump_schema(database.dbname, ()) == dump

    def test_overlapping_rows(self, pg: Cluster, database: Address, tmp_path: Path, make_project: MakeProject) -> None:
        """Rows that a relative downgrade of stock Alembic left, and which it cannot go on from, are put right by us."""
        revisions = {
            "shared/0.py": table("r0"),
            "shared/1.py": table("r1"),
            "shared/2.py": table("r2", "r1"),
            "shared/3.py": table("r3", "r2", depends=("r1",)),
        }
        history = History("overlap", revisions, configure=IN_PLACE)
        stock = add_stock(lay_out(tmp_path, history, database, make_project), history, database, pg.password)
        assert stock.alembic("upgrade", "heads").returncode == 0
        assert stock.alembic("downgrade", "-1").returncode == 0
        with pg.connect(database.dbname) as c:
            left = {r[0] for r in c.execute("SELECT version_num FROM alembic_version").fetchall()}
        assert left == {"r0", "r1", "r2"}
        assert "overlaps" in stock.alembic("upgrade", "heads").stdout

        project = Project.load(tmp_path)
        assert [n.code for n in project.status()[0].notes] == ["overlapping_rows"]
        run = project.upgrade()
        assert (run.results[0].status, run.results[0].heads_after) == (Status.SUCCEEDED, ("r0", "r3"))
        assert stock.alembic("upgrade", "heads").returncode == 0
        assert [e.event for e in project.history("app")] == ["normalized", "done"]


def test_branches_that_exclude_one_another(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, make_project: MakeProject
) -> None:
    """Two group branches with equal ids for different things: each target gets those of its own, and a warning."""
    first, second = make_database("excl"), make_database("excl")
    revisions = {
        "shared/s1.py": table("s1", label="shared"),
        "blue/1.py": revision(
            "v1", label="blue", depends=("s1",), up="CREATE TABLE blue (id int)", down_sql="DROP TABLE blue"
        ),
        "blue/2.py": table("v2", "v1"),
        "red/1.py": revision(
            "v1", label="red", depends=("s1",), up="CREATE TABLE red (id int)", down_sql="DROP TABLE red"
        ),
    }
    targets = {"one": target_entry(first, branches=["blue"]), "two": target_entry(second, branches=["red"])}
    project = Project.load(make_project(tmp_path, targets, revisions))
    assert {w.code for w in project.findings.warnings} >= {"same_id_in_branches"}
    run = project.upgrade()
    assert {r.target: r.heads_after for r in run.results} == {"one": ("v2",), "two": ("v1",)}
    assert set(rows(pg, first)) == {"public.blue", "public.t_s1", "public.t_v2"}
    assert set(rows(pg, second)) == {"public.red", "public.t_s1"}
    assert project.rollback(run.id).status is RunStatus.SUCCEEDED
    assert rows(pg, first) == rows(pg, second) == {}
