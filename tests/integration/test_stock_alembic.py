"""The stock `alembic` command in a project of ours: all targets or one, with our lock, version table and journal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.database.origin import find_origin
from ehg_migrate.database.session import Session
from ehg_migrate.model import Address, RunStatus, StateKind, Status
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.support.cli import ehg, run_python
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry

MakeDatabase = Callable[[str], Address]
ROOT = Path(__file__).parents[2]
FAILED = 255  # what `alembic` ends with after a CommandError

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
JOURNAL = "SELECT run, event, revision, direction, branch FROM ehg_migrate.migration_journal ORDER BY seq"


def table(id_: str, down: str | None = None, **more: Any) -> str:
    return revision(id_, down, up=f"CREATE TABLE t_{id_} (id int)", down_sql=f"DROP TABLE t_{id_}", **more)


REVISIONS = {
    "shared/s1": table("s1", label="shared"),
    "shared/s2": table("s2", "s1"),
    "crm/c1": table("c1", label="crm", depends=("s1",)),
    "acme/a1": table("a1", label="acme", depends=("s2", "c1")),
    "acme/a2": table("a2", "a1"),
    "beta/b1": table("b1", label="beta"),
}
ACME = ["t_a1", "t_a2", "t_c1", "t_s1", "t_s2"]
BETA = ["t_b1", "t_s1", "t_s2"]


class Place:
    """A project for two targets, and the stock command in it."""

    def __init__(self, folder: Path, pg: Cluster, acme: Address, beta: Address) -> None:
        self.folder, self.pg, self.acme, self.beta = folder, pg, acme, beta

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`python -m alembic ...` in the project's folder; the password is in nothing that it says."""
        said = run_python(self.folder, ["-m", "alembic", *arguments], {**os.environ, **(environment or {})})
        assert self.pg.password not in said.everything
        return said.completed

    def python(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The same for any program of Python's, begun as from a shell."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert self.pg.password not in done.stdout + done.stderr
        return done

    def good(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same, which ends well."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def bad(self, *arguments: str) -> str:
        """What it says on stdout (`FAILED: ...`) and stderr when it fails as Alembic's commands do."""
        done = self.run(*arguments)
        assert done.returncode == FAILED, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return " ".join(f"{done.stdout} {done.stderr}".split())

    def ask(self, address: Address, query: str) -> list[Any]:
        with self.pg.connect(address.dbname) as c:
            return [r[0] if len(r) == 1 else r for r in c.execute(query.encode()).fetchall()]

    def tables(self, address: Address) -> list[Any]:
        return self.ask(address, TABLES)

    def heads(self, address: Address) -> list[Any]:
        return self.ask(address, "SELECT version_num FROM ehg_migrate.alembic_version ORDER BY 1")

    def models(self, *lines: str, **modules: str) -> None:
        """Names models in alembic.ini and writes their modules."""
        ini = self.folder / "alembic.ini"
        ini.write_text(ini.read_text().replace("# metadata =\n", "metadata =\n    " + "\n    ".join(lines) + "\n"))
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(text)


@pytest.fixture
def place(tmp_path: Path, pg: Cluster, make_database: MakeDatabase, make_project: MakeProject) -> Place:
    acme, beta = make_database("acme"), make_database("beta")
    targets = {
        "acme": target_entry(acme, branches=["crm"], tags=["big"], x={"tenant": "acme", "size": "1"}),
        "beta": target_entry(beta, queue_timeout=0.5),
    }
    make_project(tmp_path, targets, REVISIONS)
    (tmp_path / "alembic.ini").write_text(template().replace("# lint = auto", "lint = off"))
    return Place(tmp_path, pg, acme, beta)


def template() -> str:
    return (resources.files("ehg_migrate.environment") / "alembic.ini.tmpl").read_text(encoding="utf-8")


def test_the_template_is_our_own_ini() -> None:
    """What `init` writes is what this repository itself lives with."""
    assert template() == (ROOT / "alembic.ini").read_text(encoding="utf-8")


class TestAllTargets:
    """Commands that take nothing away go over all targets, one after the other."""

    def test_upgrade_current_history(self, place: Place) -> None:
        """Each target ends with exactly its branches, journalled under one run id, the ledger knows nothing of it."""
        said = place.good("upgrade", "heads").stderr
        assert (place.tables(place.acme), place.tables(place.beta)) == (ACME, BETA)
        assert re.search(r"^acme: at `a2`, run \S+$", said, re.MULTILINE)
        journals = [place.ask(a, JOURNAL) for a in (place.acme, place.beta)]
        assert [e[1:] for e in journals[1]] == [
            ("done", "s1", "up", "shared"),
            ("done", "s2", "up", "shared"),
            ("done", "b1", "up", "beta"),
        ]
        assert len({e[0] for j in journals for e in j}) == 1
        assert not (place.folder / ".ehg").exists()

        current = place.good("current").stdout
        assert set(current[current.index("acme:") : current.index("beta:")].split("\n")[1:-1]) >= {"a2 (head)"}
        assert {"b1 (head)", "s2 (head)"} <= set(current[current.index("beta:") :].splitlines())
        assert place.good("current", "--check-heads").returncode == 0

        again = place.good("upgrade", "heads").stderr
        assert "acme: at `a2`, as before" in again
        assert place.ask(place.acme, JOURNAL) == journals[0]
        assert [s.kind.value for s in Project.load(place.folder).status()] == ["up_to_date", "up_to_date"]

    def test_check_heads_sees_what_is_missing(self, place: Place) -> None:
        """`current --check-heads` fails, naming the target, where something is to be applied."""
        place.good("-x", "target=acme", "upgrade", "heads")
        said = place.bad("current", "--check-heads")
        assert "failed on 1 of 2 targets: beta" in said
        assert "beta: failed: Database is not on all head revisions" in said

    def test_one_fails_alone(self, place: Place) -> None:
        """A broken revision of one target stops only that; the error names it, and its failure is journalled."""
        add_revision(place.folder, "acme/a3", revision("a3", "a2", up="CREATE TABLE t_s1 (id int)"))
        said = place.bad("upgrade", "heads")
        assert "FAILED: failed on 1 of 2 targets: acme" in said
        assert 'acme: failed: relation "t_s1" already exists' in said
        assert (place.heads(place.acme), place.tables(place.beta)) == (["a2"], BETA)
        assert [e[1:3] for e in place.ask(place.acme, JOURNAL)][-2:] == [("done", "a2"), ("failed", "a3")]

    def test_one_fails_alone_without_words(self, place: Place) -> None:
        """An exception whose message cannot be had is one target's all the same."""
        mute = "class Mute(Exception):\n    def __str__(self): raise OSError\nraise Mute"
        add_revision(place.folder, "acme/a3", revision("a3", "a2", up_code=mute))
        said = place.run("upgrade", "heads").stderr
        assert "acme: failed: Mute: its message cannot be had (OSError)" in said
        assert place.tables(place.beta) == BETA

    def test_a_secret_in_an_error_is_not_journalled(self, place: Place) -> None:
        """What a revision raises goes into the journal as it goes into messages: masked."""
        code = f"import os; raise ValueError('login with ' + os.environ['{PASSWORD_VARIABLE}'] + ' failed')"
        add_revision(place.folder, "acme/a3", revision("a3", "a2", up_code=code))
        place.run("-x", "target=acme", "upgrade", "heads")
        details = "SELECT detail FROM ehg_migrate.migration_journal WHERE event = 'failed'"
        assert place.ask(place.acme, details) == ["ValueError: login with *** failed"]

    def test_unreachable_and_unmigrated(self, place: Place, make_project: MakeProject) -> None:
        """Reading commands tell for each target why it cannot be read, and what another tool has migrated is named."""
        with place.pg.connect(place.beta.dbname) as c:
            c.execute("CREATE TABLE alembic_version (version_num text)")
            c.execute("INSERT INTO alembic_version VALUES ('old')")
        targets = {
            "acme": target_entry(place.pg.address("no_such_database"), branches=["crm"]),
            "beta": target_entry(place.beta),
        }
        make_project(place.folder, targets, {})
        for command in (("current",), ("upgrade", "heads")):
            said = place.bad(*command)
            assert "failed on 2 of 2 targets: acme, beta" in said
            assert re.search('acme: failed: [^:]*:[^:]*: FATAL: +database "no_such_database" does not exist', said)
            assert "beta: failed: `public.alembic_version` holds `old`" in said
        assert "ehg_migrate" not in place.ask(place.beta, "SELECT nspname FROM pg_namespace")

    def test_sql(self, place: Place, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        """`--sql` needs neither password nor database; its text makes of an empty database what `upgrade` makes."""
        monkeypatch.delenv(PASSWORD_VARIABLE)
        text = place.good("upgrade", "heads", "--sql").stdout
        assert place.tables(place.acme) == []
        acme, beta = text[: text.index("-- target: beta")], text[text.index("-- target: beta") :]
        for script, expected, heads in ((acme, ACME, ["a2"]), (beta, BETA, ["b1", "s2"])):
            empty = make_database("sql")
            with place.pg.connect(empty.dbname) as c:
                c.execute(script.encode())
            assert (place.tables(empty), place.heads(empty)) == (expected, heads)
        part = place.good("-x", "target=acme", "upgrade", "a1:a2", "--sql").stdout
        assert "CREATE TABLE t_a2" in part
        assert "t_a1" not in part


class TestOneTarget:
    """`-x target=` names what is meant; what takes something away wants exactly one."""

    def test_selectors(self, place: Place) -> None:
        """Names, tags and globs; several add up."""
        place.good("-x", "target=tag:big", "upgrade", "heads")
        assert (place.tables(place.acme), place.tables(place.beta)) == (ACME, [])
        place.good("-x", "target=acme", "-x", "target=bet*", "upgrade", "heads")
        assert place.tables(place.beta) == BETA

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["-x", "target=acmee", "upgrade", "heads"], "no target matches `acmee` (hint: did you mean `acme`?"),
            (["-x", "target=", "upgrade", "heads"], "a selector is empty"),
            (["-x", "target=tag:gib", "current"], "no target with the tag matches `gib`"),
            (["-x", "targets=acme", "upgrade", "heads"], "`-x targets=` names no target"),
            (["-x", "Target=acme", "current"], "`-x Target=` names no target"),
            (["downgrade", "base"], "`downgrade` wants exactly one target, and none is named"),
            (["-x", "target=all", "downgrade", "base"], "`downgrade` wants exactly one target, not 2 (acme, beta)"),
            (["stamp", "heads"], "`stamp` wants exactly one target"),
            (["revision", "--autogenerate", "-m", "x"], "`revision` wants exactly one target"),
            (["history", "-i"], "`history` wants exactly one target"),
            (["show", "current"], "`show` wants exactly one target"),
            (["-x", "target=acme", "upgrade", "nope"], "acme: Can't locate revision identified by 'nope'"),
            (["-x", "target=beta", "upgrade", "a1"], "beta: Can't locate revision identified by 'a1'"),
            (["-x", "target=acme", "upgrade", "head"], "acme: Multiple head revisions are present"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_refused(self, place: Place, arguments: list[str], message: str) -> None:
        """Each with its reason; nothing is written anywhere."""
        assert message in place.bad(*arguments)
        assert place.tables(place.acme) == place.tables(place.beta) == []

    def test_down_and_back(self, place: Place) -> None:
        """Downgrades are journalled, by our exact steps; `ehg-migrate rollback` takes a stock run back."""
        place.good("upgrade", "heads")
        place.good("-x", "target=acme", "downgrade", "acme@base")
        assert place.tables(place.acme) == ["t_c1", "t_s1", "t_s2"]
        assert (place.heads(place.acme), place.tables(place.beta)) == (["c1", "s2"], BETA)
        entries = place.ask(place.acme, JOURNAL)
        assert [e[2:] for e in entries[-2:]] == [("a2", "down", "acme"), ("a1", "down", "acme")]
        run = Project.load(place.folder).rollback(entries[-1][0])
        assert run.status is RunStatus.SUCCEEDED, run.results
        assert place.tables(place.acme) == ACME
        place.good("-x", "target=acme", "downgrade", "-1")
        assert place.heads(place.acme) == ["a1"]

    def test_stamp(self, place: Place) -> None:
        """A stamp changes rows only; the journal names every revision that it declares."""
        place.good("-x", "target=acme", "stamp", "a1")
        assert (place.tables(place.acme), place.heads(place.acme)) == ([], ["a1"])
        ups = [e[1:4] for e in place.ask(place.acme, JOURNAL)]
        assert ups[-1] == ("stamped", "a1", "up")
        assert {e[1] for e in ups} == {"s1", "s2", "c1", "a1"}
        place.good("-x", "target=acme", "stamp", "--purge", "base")
        assert place.heads(place.acme) == []
        assert {e[1:4] for e in place.ask(place.acme, JOURNAL)} >= {
            ("stamped", "a1", "down"),
            ("stamped", "s1", "down"),
        }

    def test_a_stamp_takes_out_an_unknown_row(self, place: Place) -> None:
        """The journal says so, whatever the row was."""
        place.good("upgrade", "heads")
        before = place.ask(place.beta, JOURNAL)
        held = place.heads(place.beta)
        with place.pg.connect(place.beta.dbname) as c:
            c.execute("INSERT INTO ehg_migrate.alembic_version VALUES ('zz')")
        place.good("-x", "target=beta", "stamp", "--purge", *held)
        assert place.heads(place.beta) == held
        after = place.ask(place.beta, JOURNAL)
        new = [e[1:4] for e in after[len(before) :]]
        assert new.count(("stamped", "zz", "down")) == 1
        assert {e[0] for e in new} == {"stamped"}
        assert {s.kind for s in Project.load(place.folder).status(["beta"])} == {StateKind.UP_TO_DATE}

    @pytest.mark.parametrize(
        ("wanted", "said"),
        [
            (["nope"], "Can't locate revision identified by 'nope'"),
            (["head"], "Multiple heads are present"),
            (["a1", "nope"], "Can't locate revision identified by 'nope'"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_a_stamp_that_fails_leaves_the_rows(self, place: Place, wanted: list[str], said: str) -> None:
        """Also with `--purge`, which has taken them out before Alembic looks for what is to come."""
        place.good("-x", "target=acme", "upgrade", "heads")
        before = place.heads(place.acme), place.ask(place.acme, JOURNAL)
        assert said in place.bad("-x", "target=acme", "stamp", "--purge", *wanted)
        assert (place.heads(place.acme), place.ask(place.acme, JOURNAL)) == before

    def test_a_stamp_of_what_another_row_implies(self, place: Place) -> None:
        """A row of each branch is named where rows are written again; stock Alembic can go on from what is left."""
        place.good("upgrade", "heads")
        place.good("-x", "target=acme", "stamp", "--purge", "s2", "c1", "a1")
        assert place.heads(place.acme) == ["a1"]
        (state,) = Project.load(place.folder).status(["acme"])
        assert (state.heads, state.pending, state.problem, state.notes) == (("a1",), ("a2",), None, ())
        last = "SELECT heads_after FROM ehg_migrate.migration_journal ORDER BY seq DESC LIMIT 1"
        assert place.ask(place.acme, last) == [["a1"]]
        place.good("-x", "target=acme", "stamp", "a2")
        assert place.heads(place.acme) == ["a2"]

    def test_a_stamp_says_what_a_squash_has_left(self, place: Place) -> None:
        """With `--purge` all is said anew: what is gone is not applied any more, and a file counts as it is now.

        Of a step that was cut outside a transaction, too, be its file here or gone: nobody could finish it.
        """
        place.good("upgrade", "heads")
        (place.folder / "versions/shared/s1.py").unlink()
        add_revision(place.folder, "shared/s2", table("s2", label="shared"))
        add_revision(place.folder, "crm/c1", table("c1", label="crm", depends=("s2",)))
        add_revision(place.folder, "acme/a1", table("a1", label="acme", depends=("c1",)))
        project = Project.load(place.folder)
        assert {n.code for n in project.status(["acme"])[0].notes} == {"edited_file"}
        for cut, direction in (("zz", "up"), ("a2", "down")):
            with place.pg.connect(place.acme.dbname) as c:
                c.execute(
                    "INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch,"
                    " checksum, heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version)"
                    " SELECT target_name, run, 'started', %s, %s, branch, checksum, heads_after, heads_before, now(),"
                    " 1, actor, host, git_commit, tool_version FROM ehg_migrate.migration_journal LIMIT 1",
                    (cut, direction),
                )
        before = place.ask(place.acme, JOURNAL)
        place.good("-x", "target=acme", "stamp", "--purge", "a2")
        assert [e[1:4] for e in place.ask(place.acme, JOURNAL)[len(before) :]] == [
            ("stamped", "s1", "down"),
            ("stamped", "zz", "down"),
            ("stamped", "s2", "up"),
            ("stamped", "c1", "up"),
            ("stamped", "a1", "up"),
            ("stamped", "a2", "up"),
        ]
        (state,) = Project.load(place.folder).status(["acme"])
        assert (state.kind, state.heads, state.notes) == (StateKind.UP_TO_DATE, ("a2",), ())
        again = place.ask(place.acme, JOURNAL)
        place.good("-x", "target=acme", "stamp", "--purge", "a2")
        assert place.ask(place.acme, JOURNAL) == again

    def test_rows_that_are_not_ours(self, place: Place) -> None:
        """Version rows of another branch, of nobody, or overlapping are named before the first step."""
        place.good("upgrade", "heads")
        for row, message in (
            ("a1", "the version table holds `a1` of branch `acme`, which this target does not have"),
            ("zz", "the version table holds `zz` which no file here has"),
            ("s1", "the version table holds `s1` although another row implies it"),
        ):
            with place.pg.connect(place.beta.dbname) as c:
                c.execute("INSERT INTO ehg_migrate.alembic_version VALUES (%s)", (row,))
            assert message in place.bad("-x", "target=beta", "downgrade", "beta@base")
            with place.pg.connect(place.beta.dbname) as c:
                c.execute("DELETE FROM ehg_migrate.alembic_version WHERE version_num = %s", (row,))
        assert place.tables(place.beta) == BETA

    def test_needless_rows_go_as_the_hint_says(self, place: Place) -> None:
        """An upgrade that has nothing to do leaves them, so what was wanted is named in the words of `ehg-migrate`."""
        place.good("upgrade", "heads")
        with place.pg.connect(place.beta.dbname) as c:
            c.execute("INSERT INTO ehg_migrate.alembic_version VALUES ('s1')")
        said = place.bad("-x", "target=beta", "downgrade", "beta@base")
        command = next(part for part in said.split("`") if part.startswith("ehg-migrate downgrade"))
        assert command == "ehg-migrate downgrade beta --to REV"
        words = command.replace("REV", "beta@base").split()[1:]
        assert ehg(place.folder, *words, "--yes", **{PASSWORD_VARIABLE: place.pg.password}).code == 0
        assert "overlapping" not in place.good("-x", "target=beta", "upgrade", "heads").stderr
        assert place.tables(place.beta) == BETA

    @pytest.mark.parametrize(
        "way", ["DELETE FROM ehg_migrate.alembic_version", "DROP TABLE ehg_migrate.alembic_version"]
    )
    def test_rows_that_are_lost(self, place: Place, way: str) -> None:
        """What the journal says is applied is not done twice, as with `ehg-migrate upgrade`; the hints lead out."""
        again = revision("b2", "b1", up="CREATE TABLE IF NOT EXISTS t_b2 (n int); INSERT INTO t_b2 VALUES (1)")
        add_revision(place.folder, "beta/b2", again)
        place.good("upgrade", "heads")
        held = place.heads(place.beta)
        with place.pg.connect(place.beta.dbname) as c:
            c.execute(f"{way}; DROP TABLE t_b1, t_s1, t_s2".encode())  # nothing is in the way of doing it again
        said = place.bad("-x", "target=beta", "upgrade", "heads")
        assert "though by the target's journal this is applied: `b1`, `b2`, `s1`, `s2`" in said
        assert "`ehg-migrate status -t beta` says how the rows are written again" in said
        assert place.ask(place.beta, "SELECT count(*) FROM t_b2") == [1]
        (state,) = Project.load(place.folder).status(["beta"])
        assert state.problem is not None
        assert state.problem.code == "lost_rows"
        place.good("-x", "target=beta", "stamp", *held)
        assert place.heads(place.beta) == held

    def test_a_row_that_is_there_twice(self, place: Place) -> None:
        """It is named, and not called well."""
        place.good("upgrade", "heads")
        with place.pg.connect(place.beta.dbname) as c:
            c.execute("ALTER TABLE ehg_migrate.alembic_version DROP CONSTRAINT alembic_version_pkc")
            c.execute("INSERT INTO ehg_migrate.alembic_version SELECT version_num FROM ehg_migrate.alembic_version")
        said = place.bad("-x", "target=beta", "upgrade", "heads")
        assert "more than once, so it has no primary key any more" in said
        assert "`ehg-migrate status -t beta` says how that is mended" in said

    def test_redundant_parents(self, place: Place) -> None:
        """Where Alembic's own arithmetic of version rows ends in a KeyError the stock command works here."""
        add_revision(place.folder, "beta/b2", table("b2", "b1", depends=("s1", "s2")))
        place.good("-x", "target=beta", "upgrade", "heads")
        assert place.heads(place.beta) == ["b2"]
        place.good("-x", "target=beta", "downgrade", "-1")
        assert place.heads(place.beta) == ["b1", "s2"]

    def test_outside_a_transaction(self, place: Place) -> None:
        """An autocommit block is journalled as begun beside it, as under our own workers."""
        code = "with op.get_context().autocommit_block():\n    op.execute('CREATE INDEX CONCURRENTLY i ON t_b1 (id)')"
        add_revision(place.folder, "beta/b2", revision("b2", "b1", up_code=code, down_sql="DROP INDEX i"))
        place.good("-x", "target=beta", "upgrade", "heads")
        assert [e[1:3] for e in place.ask(place.beta, JOURNAL)][-2:] == [("started", "b2"), ("done", "b2")]

    def test_arguments_of_revisions(self, place: Place) -> None:
        """Revisions see the entry's `x` with what the command line gives over it, and not our `target=`."""
        code = (
            "from alembic import context\nx = context.get_x_argument(as_dictionary=True)\n"
            'op.execute(f\'CREATE TABLE x_{x["tenant"]}_{x["size"]}_{len(x)} (id int)\')'
        )
        add_revision(place.folder, "acme/a3", revision("a3", "a2", up_code=code))
        place.good("-x", "target=acme", "-x", "size=2", "upgrade", "heads")
        assert "x_acme_2_2" in place.tables(place.acme)


class TestProtection:
    """The stock command has the same lock and the same proof of session mode."""

    def test_locked(self, place: Place) -> None:
        """It waits as long as the entry says, then names who is at work."""
        project = Project.load(place.folder)
        target = project.fleet.by_name["beta"]
        with Session(target, place.pg.password, "run-of-ada", find_origin(place.folder)):
            said = place.bad("-x", "target=beta", "upgrade", "heads")
            assert "beta: waiting for another runner: run run-of-ada" in said
            assert "another runner is at work here" in said
            assert place.good("-x", "target=beta", "current").returncode == 0
        assert place.tables(place.beta) == []

    def test_transaction_pooler(self, place: Place, make_project: MakeProject, bouncer_transaction: PgBouncer) -> None:
        """A pooler in transaction mode is refused, and nothing is written through it."""
        behind = bouncer_transaction.address(place.beta.dbname)
        make_project(place.folder, {"beta": target_entry(behind)}, {})
        assert "this endpoint is not in session mode" in place.bad("-x", "target=beta", "upgrade", "heads")
        assert place.tables(place.beta) == []

    def test_files_are_checked_first(self, place: Place) -> None:
        """Mistakes in targets/ and errors of lint end the command before any connection."""
        add_revision(place.folder, "shared/s3", table("s3", "gone"))
        assert "`down_revision` of revision `s3` names `gone`" in place.bad("upgrade", "heads")
        (place.folder / "targets" / "more.yaml").write_text("targets: {gamma: {uri: x}}\n")
        assert "targets/more.yaml: targets.gamma" in place.bad("current")
        (place.folder / "targets" / "more.yaml").unlink()
        (place.folder / "versions" / "shared" / "s3.py").unlink()
        done = place.run("current", environment={PASSWORD_VARIABLE: ""})
        assert done.returncode == FAILED
        assert f"the environment variable `{PASSWORD_VARIABLE}` is empty" in done.stdout


class TestModels:
    """`check` and `--autogenerate` compare each branch with its own models and leave everybody else's tables alone."""

    SHARED = (
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
        "for name in ['t_s1', 't_s2']:\n    sa.Table(name, metadata, sa.Column('id', sa.Integer))\n"
    )
    BETA = (
        "import sqlalchemy as sa\nfrom sqlalchemy.orm import DeclarativeBase, mapped_column\n"
        "class Base(DeclarativeBase):\n    pass\nclass B(Base):\n    __tablename__ = 't_b1'\n"
        "    id = mapped_column(sa.Integer)\n    __mapper_args__ = {'primary_key': [id]}\n"
    )

    def test_check(self, place: Place) -> None:
        """Every target is compared with the models of its branches; a difference fails and is counted per target."""
        place.models("shared = shared_models:metadata", shared_models=self.SHARED)
        place.good("upgrade", "heads")
        said = place.good("check")
        assert "No new upgrade operations detected." in said.stdout
        assert "acme: no differences from the models" in said.stderr
        (place.folder / "shared_models.py").write_text(
            self.SHARED + "sa.Table('t_new', metadata, sa.Column('i', sa.Date))\n"
        )
        said = place.bad("check")
        assert "New upgrade operations detected" in said
        assert "acme: 1 difference from the models" in said

    def test_check_needs_models_and_an_up_to_date_target(self, place: Place) -> None:
        """Without models there is nothing to compare with, and pending revisions would look like differences."""
        assert "no models are named to compare with" in place.bad("check")
        place.models("beta = beta_models:Base", beta_models=self.BETA)
        said = place.bad("check")
        assert "acme: skipped: none of its branches has models" in said
        hint = "bring it to its heads first: `ehg-migrate upgrade -t beta`, or `alembic -x target=beta upgrade heads`"
        assert f"beta: failed: Target database is not up to date. (hint: {hint})" in said
        assert "ehg_migrate" not in place.ask(place.beta, "SELECT nspname FROM pg_namespace")

    def test_nothing_is_dropped_while_a_branch_has_no_models(self, place: Place) -> None:
        """A table that no model has is one too many only where every branch of the target has models."""
        place.models("shared = shared_models:metadata", shared_models=self.SHARED.replace("'t_s1', ", ""))
        place.good("upgrade", "heads")
        assert "No new upgrade operations" in place.good("-x", "target=beta", "check").stdout
        ini = place.folder / "alembic.ini"
        ini.write_text(ini.read_text().replace("metadata =\n", "metadata =\n    beta = beta_models:Base\n"))
        (place.folder / "beta_models.py").write_text(self.BETA)
        with place.pg.connect(place.beta.dbname) as c:
            c.execute("CREATE TABLE alembic_version (version_num text)")  # left behind by an earlier tool
        said = place.bad("-x", "target=beta", "check")
        assert "beta: 1 difference from the models" in said
        assert "remove_table" in said
        assert "t_s1" in said

    def test_autogenerate_that_cannot_be(self, place: Place) -> None:
        """`revision` says what to do about it, and leaves no folder of the new branch behind."""
        place.models("shared = shared_models:metadata", shared_models=self.SHARED)
        write = ("revision", "-m", "more", "--autogenerate")
        password = {PASSWORD_VARIABLE: place.pg.password}
        said = ehg(place.folder, *write, "beta", **password)
        assert (said.code, said.out) == (2, "")
        assert said.err.endswith(
            "error: beta: Target database is not up to date.\n"
            "  hint: bring it to its heads first: `ehg-migrate upgrade -t beta`, or `alembic -x target=beta upgrade "
            "heads`\n"
        )
        said = ehg(place.folder, *write, "beta", "--branch", "more", **password)
        assert (said.code, said.err) == (2, "error: beta has no branch `more`\n  hint: one of `shared`, `beta`\n")
        shutil.rmtree(place.folder / "versions" / "beta")
        said = ehg(place.folder, *write, "beta", "--branch", "beta", **password)
        assert (said.code, said.out) == (2, "")
        assert "\n  hint: name them below `metadata =` in alembic.ini: `beta = package.module:Base`\n" in said.err
        assert sorted(f.name for f in (place.folder / "versions").iterdir()) == ["acme", "crm", "shared"]

    def test_autogenerate(self, place: Place) -> None:
        """The file goes into the folder of `--head`, holds only that branch's difference, and applies."""
        more = "sa.Table('t_more', metadata, sa.Column('id', sa.Integer))\n"
        new = "    note = mapped_column(sa.Text)\n"
        place.models(
            "shared = shared_models:metadata",
            "beta = beta_models:Base",
            shared_models=self.SHARED,
            beta_models=self.BETA,
        )
        place.good("upgrade", "heads")
        (place.folder / "shared_models.py").write_text(self.SHARED + more)
        (place.folder / "beta_models.py").write_text(self.BETA + new)
        autogenerate = ("-x", "target=beta", "revision", "--autogenerate", "-m", "more")
        assert "it is left open which branch" in place.bad(*autogenerate)
        assert "--head acme@head` is in no branch here" in place.bad(*autogenerate, "--head", "acme@head")
        place.good(*autogenerate, "--head", "beta@head")
        (file,) = (place.folder / "versions" / "beta").glob("*_more.py")
        text = file.read_text()
        assert "add_column('t_b1'" in text
        assert "t_more" not in text
        assert "drop" not in text[: text.index("def downgrade")]
        place.good("-x", "target=beta", "upgrade", "heads")
        place.good(*autogenerate, "--version-path", "versions/shared")
        (file,) = (place.folder / "versions" / "shared").glob("*_more.py")
        text = file.read_text()
        assert "create_table('t_more'" in text
        assert "down_revision: str | Sequence[str] | None = 's2'" in text
        assert "t_b1" not in text
        place.good("upgrade", "heads")
        assert "No new upgrade operations" in place.good("-x", "target=beta", "check").stdout

    def test_an_environment_that_gives_what_would_not_hold(self, place: Place) -> None:
        """With another version table `check` would look there, and say that the target is behind."""
        place.models("shared = shared_models:metadata", shared_models=self.SHARED)
        (place.folder / "own").mkdir()
        text = "from ehg_migrate.environment.hosting import run\nrun(version_table='other')\n"
        (place.folder / "own" / "env.py").write_text(text)
        ini = place.folder / "alembic.ini"
        ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/own"))
        for command in ("check", "current"):
            said = place.bad("-x", "target=beta", command)
            assert "env.py gives `version_table` to `run()`, where it would not hold" in said
            assert "below `alembic:` in the target's entry" in said

    ENVIRONMENT = (
        "from ehg_migrate.environment.hosting import run\n"
        "def include_object(item, name, kind, reflected, compare_to):\n    return name != 't_s1'\n"
        "def number(context, revision, directives):\n"
        "    directives[0].rev_id = 'r0042'\n"
        "    asked = getattr(context.config.cmd_opts, 'autogenerate', None)\n"
        "    if asked and directives[0].upgrade_ops.is_empty():\n"
        "        directives[:] = []\n"
        "run(include_object=include_object, process_revision_directives=number)\n"
    )

    def test_an_environment_of_the_projects_own(self, place: Place) -> None:
        """What it gives to `run` is asked as well: its tables stay, its files have its numbers, in their folders."""
        models = self.SHARED.replace("'t_s1', ", "")
        place.models(
            "shared = shared_models:metadata", "beta = beta_models:Base", shared_models=models, beta_models=self.BETA
        )
        place.good("upgrade", "heads")
        said = place.bad("-x", "target=beta", "check")
        assert "remove_table" in said
        (place.folder / "own").mkdir()
        (place.folder / "own" / "env.py").write_text(self.ENVIRONMENT)
        template = resources.files("ehg_migrate") / "environment" / "script.py.mako"
        (place.folder / "own" / "script.py.mako").write_text(template.read_text())
        ini = place.folder / "alembic.ini"
        ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/own"))
        assert "No new upgrade operations" in place.good("-x", "target=beta", "check").stdout
        write = ("-x", "target=beta", "revision", "--autogenerate", "-m", "more", "--head", "shared@head")
        place.good(*write)
        assert not list(place.folder.glob("versions/**/*_more.py"))
        (place.folder / "shared_models.py").write_text(
            models + "sa.Table('t_more', metadata, sa.Column('i', sa.Date))\n"
        )
        place.good(*write)
        (file,) = place.folder.glob("versions/**/*_more.py")
        assert file.parent.name == "shared"
        text = file.read_text()
        assert "revision: str = 'r0042'" in text
        assert "create_table('t_more'" in text
        assert "t_s1" not in text
        file.unlink()
        write = ("revision", "--branch", "beta", "-m", "plain")
        said = ehg(place.folder, *write, "--autogenerate", "beta", **{PASSWORD_VARIABLE: place.pg.password})
        assert (said.code, "there is no difference to write down" in said.err) == (2, True), said.err
        assert ehg(place.folder, *write).code == 0
        (file,) = place.folder.glob("versions/**/*_plain.py")
        assert (file.parent.name, "revision: str = 'r0042'" in file.read_text()) == ("beta", True)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("shared = no_such:metadata", "`no_such:metadata` cannot be imported: ModuleNotFoundError"),
            ("shared = leaving:metadata", "`leaving:metadata` cannot be imported: SystemExit: no SETTINGS"),
            ("shared = shared_models:sa", "`shared_models:sa` is module, which is no MetaData and has none"),
            ("nobody = shared_models:metadata", "there is no branch `nobody`"),
            ("shared shared_models", "package.module:attribute`, found `shared shared_models`"),
        ],
    )
    def test_mistakes(self, place: Place, line: str, message: str) -> None:
        """Each is named with the place to mend it."""
        leaving = "raise SystemExit('no SETTINGS')"
        place.models(line, shared_models=self.SHARED, leaving=leaving)
        said = place.bad("check")
        assert message in said
        assert "alembic.ini" in said


class TestFiles:
    """Commands without a database work on all branches; new files go into the folder of theirs."""

    def test_looking(self, place: Place) -> None:
        """heads, history, branches and show see every branch, and need no target to be reachable."""
        assert {line.split()[0] for line in place.good("heads").stdout.splitlines()} == {"a2", "b1", "c1", "s2"}
        assert len(place.good("history").stdout.splitlines()) == len(REVISIONS)
        assert place.good("history", "-r", "a1:a2").stdout.startswith("a1 -> a2")
        assert "Path: " in place.good("show", "b1").stdout
        assert place.good("branches").stdout == ""
        place.good("-x", "target=acme", "upgrade", "a1")
        assert "a1 (acme) (current)" in place.good("-x", "target=acme", "history", "-i").stdout

    @pytest.mark.parametrize(
        ("arguments", "folder", "parent"),
        [
            (["--head", "shared@head"], "shared", "'s2'"),
            (["--head", "acme@head", "--depends-on", "shared@head"], "acme", "'a2'"),
            (["--head", "a1", "--splice"], "acme", "'a1'"),
            (["--version-path", "versions/crm"], "crm", "'c1'"),
            (["--head", "base", "--branch-label", "erp"], "erp", "None"),
            (["--version-path", "versions/gamma/2026"], "gamma/2026", "None"),
        ],
        ids=lambda v: " ".join(v) if isinstance(v, list) else "",
    )
    def test_revision(self, place: Place, arguments: list[str], folder: str, parent: str) -> None:
        """A file beside those it continues; a new branch gets its folder and its label."""
        place.good("revision", "-m", "next step", *arguments)
        (file,) = place.folder.glob("versions/**/*_next_step.py")
        assert file.parent == place.folder / "versions" / folder
        text = file.read_text()
        assert f"down_revision: str | Sequence[str] | None = {parent}\n" in text
        branch = folder.partition("/")[0]
        label = "branch_labels: str | Sequence[str] | None = "
        assert (f"{label}('{branch}',)" in text) == (branch in ("erp", "gamma"))
        assert not Project.load(place.folder).findings.errors
        assert place.good("heads").returncode == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["revision", "-m", "x"], "it is left open which branch the new file belongs to"),
            (["revision", "-m", "x", "--head", "heads"], "`--head heads` lies in `shared`, `acme`, `beta`, `crm`"),
            (["revision", "-m", "x", "--head", "nope@head"], "`--head nope@head` is in no branch here"),
            (["revision", "-m", "x", "--version-path", "elsewhere"], "does not lie in a branch of `versions/`"),
            (["revision", "-m", "x", "--version-path", "versions"], "does not lie in a branch of `versions/`"),
            (["merge", "heads", "-m", "x"], "a merge across branches would tie every target to all of them"),
        ],
        ids=lambda v: " ".join(v) if isinstance(v, list) else "",
    )
    def test_refused(self, place: Place, arguments: list[str], message: str) -> None:
        """Where no branch is meant, no file is written."""
        before = sorted(place.folder.glob("versions/**/*.py"))
        assert message in place.bad(*arguments)
        assert sorted(place.folder.glob("versions/**/*.py")) == before

    def test_merge(self, place: Place) -> None:
        """Two heads of one branch, in folders of their own even, are merged in that branch."""
        add_revision(place.folder, "beta/2026/x1", table("x1", "b1"))
        add_revision(place.folder, "beta/y1", table("y1", "b1"))
        place.good("merge", "x1", "y1", "-m", "together")
        (file,) = place.folder.glob("versions/**/*_together.py")
        assert file.parent == place.folder / "versions" / "beta"
        place.good("-x", "target=beta", "upgrade", "heads")
        assert {"t_x1", "t_y1"} <= set(place.tables(place.beta))

    def test_computed_names(self, place: Place) -> None:
        """A file that has to be loaded to know who it is leaves every command its `alembic.context`."""
        computed = table("s3", "s2").replace("revision = 's3'", "revision = 's' + str(3)")
        add_revision(place.folder, "shared/s3", f"from alembic import context\ncontext.config\n{computed}")
        assert len(place.good("history").stdout.splitlines()) == len(REVISIONS) + 1
        place.good("revision", "-m", "next", "--head", "shared@head")
        place.good("upgrade", "heads")
        place.good("-x", "target=beta", "downgrade", "shared@s2")
        assert "s2 (acme) (head)" not in place.good("current").stdout
        assert [len(place.tables(a)) for a in (place.acme, place.beta)] == [len(ACME) + 1, len(BETA)]

    def test_computed_names_that_raise(self, place: Place) -> None:
        """What such a file raises is said in one line, masked."""
        raising = "\nrevision = 's' + str(3)\nraise RuntimeError('password=hunter2000')"
        add_revision(place.folder, "shared/s3", table("s3", "s2") + raising)
        for arguments in (["upgrade", "heads"], ["history"], ["revision", "-m", "x", "--head", "acme@head"]):
            said = place.bad(*arguments)
            assert "versions/shared/s3.py" in said
            assert "RuntimeError: password=***" in said

    def test_equal_ids_apart(self, place: Place) -> None:
        """A file for one of two branches that exclude one another continues the right one of two equal ids."""
        add_revision(place.folder, "red/1", revision("v1", label="red"))
        add_revision(place.folder, "blue/1", revision("v1", label="blue"))
        add_revision(place.folder, "blue/2", revision("v2", "v1"))
        place.good("revision", "-m", "on", "--head", "red@head")
        (file,) = place.folder.glob("versions/**/*_on.py")
        assert file.parent.name == "red"
        assert "= 'v1'" in file.read_text()


class TestPython:
    """Alembic's Python API, and the process that it runs in."""

    API = (
        "import argparse, logging\nfrom alembic import command\nfrom alembic.config import Config\n"
        "logging.getLogger('mine'); handlers = list(logging.getLogger().handlers)\n"
        "def config(*x):\n    return Config('alembic.ini', cmd_opts=argparse.Namespace(x=list(x)) if x else None)\n"
    )

    def test_names_its_target(self, place: Place) -> None:
        """env.py cannot know which command runs, so exactly one target must be named; then every command works."""
        for call in (
            "command.upgrade(Config('alembic.ini'), 'heads')",
            "command.downgrade(config('target=*'), 'base')",
        ):
            done = place.python("-c", f"{self.API}{call}")
            assert done.returncode == 1
            assert "a command of Alembic's Python API wants exactly one target" in done.stderr
        assert place.tables(place.acme) == []
        good = (
            "c = config('target=acme')\ncommand.upgrade(c, 'heads')\ncommand.downgrade(c, 'acme@a1')\n"
            "command.revision(Config('alembic.ini'), 'by api', head='acme@head')\n"
            "assert logging.getLogger().handlers == handlers\n"
        )
        done = place.python("-c", f"{self.API}{good}")
        assert done.returncode == 0, done.stderr
        assert place.heads(place.acme) == ["a1"]
        (file,) = place.folder.glob("versions/**/*_by_api.py")
        assert file.parent.name == "acme"

    def test_loggers_stay(self, place: Place) -> None:
        """The logging sections of alembic.ini are used by the command, and disable nobody's logger."""
        code = (
            "import logging\nfrom alembic.config import main\nmine = logging.getLogger('mine')\n"
            "main(argv=['-x', 'target=acme', 'upgrade', 'heads'])\nassert not mine.disabled\n"
        )
        done = place.python("-c", code)
        assert done.returncode == 0, done.stderr
        assert "INFO  [alembic.runtime.migration] Running upgrade  -> s1, s1" in done.stderr

    def test_our_workers_do_not_log(self, place: Place) -> None:
        """Under `ehg-migrate` the logging sections mean nothing: a result's output is what its revisions printed."""
        result = Project.load(place.folder).upgrade(("acme",)).results[0]
        assert (result.status, result.output) == (Status.SUCCEEDED, "")


def test_what_a_revision_has_read_and_raises_commands_no_pipeline(place: Place) -> None:
    """Its traceback is shown, for its author; the words in it may be rows of whoever writes into the target."""
    code = "raise ValueError(op.get_bind().exec_driver_sql(\"SELECT E'x\\\\n::error::y\\\\n#' || '#vso[z]'\").scalar())"
    add_revision(place.folder, "beta/b2", revision("b2", "b1", up_code=code))
    said = place.run("-x", "target=beta", "upgrade", "heads")
    assert said.returncode == FAILED
    assert "Traceback" in said.stderr
    assert "ValueError: x" in said.stderr
    assert re.search(r"^\s*::|##", said.stdout + said.stderr, re.MULTILINE) is None
