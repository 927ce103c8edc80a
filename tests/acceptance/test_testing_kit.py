"""The pytest plugin as a project has it: real runs of pytest in a small project of a user's."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from tests.acceptance.test_drift import scratch_databases, scratch_url
from tests.support.cli import environment, run_python
from tests.support.postgres import Cluster
from tests.support.programs import needs_root
from tests.support.project import add_revision, revision, write_project

TARGETS = {
    name: {"url": f"postgresql://nobody@127.0.0.1:1/{name}", "sslmode": "disable"} for name in ("acme", "beta", "gamma")
}
"""Nobody answers there: no test asks a target."""
NOTES = revision(
    "notes1",
    up="CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL DEFAULT 'none')",
    down_sql="DROP TABLE notes",
    label="shared",
)
ACME = revision(
    "acme1", up="CREATE TABLE acme_only (n int)", down_sql="DROP TABLE acme_only", label="acme", depends=["notes1"]
)
MODELS = """
    from sqlalchemy import BigInteger, Column, MetaData, Table, Text

    metadata = MetaData()
    Table("notes", metadata, Column("id", BigInteger, primary_key=True), Column("body", Text, nullable=False))
"""
PYTEST = ("-m", "pytest", "-rA", "-p", "no:cacheprovider")
CHECKS = "from ehg_migrate.testing.checks import *\n"
OF_COMBINATIONS = ("test_model_definitions_match_ddl", "test_up_down_consistency", "test_upgrade")
ALL = frozenset(f"{test}[{which}]" for test in OF_COMBINATIONS for which in ("shared", "shared+acme")) | {
    "test_single_head_revision[shared]",
    "test_single_head_revision[acme]",
}


@dataclass(frozen=True)
class Ran:
    """What pytest said, and by test how it ended."""

    code: int
    text: str
    ended: Mapping[str, str]

    def of(self, *words: str) -> set[str]:
        """The tests that ended in one of these ways."""
        return {test for test, word in self.ended.items() if word in words}


@dataclass
class Users:
    """A project with two targets, models and a folder of tests."""

    folder: Path
    variables: dict[str, str | None] = field(default_factory=dict)

    def write(self, path: str, text: str) -> None:
        """A file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))

    def _environment(self) -> dict[str, str]:
        outer = {name: None for name in environment() if name.startswith("PYTEST_")}
        # a pytest that ends removes what those before it have left beside its own: for minutes, if that is much
        temporary = self.folder.with_name(f"{self.folder.name}-temporary")
        temporary.mkdir(exist_ok=True)
        return environment({**outer, "PYTEST_DEBUG_TEMPROOT": str(temporary), **self.variables})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A run of pytest, from nothing."""
        return subprocess.Popen(
            [sys.executable, *PYTEST, *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pytest(self, *arguments: str) -> Ran:
        """One from a process that has imported what others made, to its end."""
        done = run_python(self.folder, [*PYTEST, *arguments], self._environment(), kind="pytest")
        return self._ran(done.code, done.everything)

    def cold_pytest(self, *arguments: str) -> Ran:
        """One from nothing, to its end."""
        with self.start(*arguments) as process:
            text, _ = process.communicate(timeout=240)
        return self._ran(process.returncode, text)

    def _ran(self, code: int, text: str) -> Ran:
        ended = re.findall(r"^([A-Z]+) (?:\S+::)?(\S+)(?: - .*)?$", text, re.MULTILINE)
        return Ran(code, text, {test: word for word, test in ended})


@pytest.fixture
def users(tmp_path: Path, pg: Cluster) -> Iterator[Users]:
    """Its scratch server is the tests' own; what is kept there goes at the end."""
    settings = {"metadata": "\n    shared = models:metadata"}
    revisions = {"shared/1": NOTES, "acme/1": ACME}
    write_project(tmp_path, TARGETS, revisions, settings=settings)
    users = Users(tmp_path, {"EHG_SCRATCH_URL": scratch_url(pg)})
    users.write("pytest.ini", "[pytest]\naddopts = --strict-markers\n")
    users.write("models.py", MODELS)
    yield users
    with pg.admin() as c:
        kept = [row[0] for row in c.execute("SELECT datname FROM pg_database WHERE datname ~ '^ehg_kept_'").fetchall()]
    pg.drop_databases(kept)


@needs_root
def test_what_root_keeps_becomes_the_owners(users: Users) -> None:
    """A pytest of root's in another user's project shuts that user out of nothing."""
    users.write("test_it.py", "def test_it(migrated_connection): pass\n")
    nobody = pwd.getpwnam("nobody")
    os.chown(users.folder, nobody.pw_uid, nobody.pw_gid)
    assert users.pytest().code == 0
    kept = [users.folder / ".ehg", *(users.folder / ".ehg").rglob("*")]
    assert (users.folder / ".ehg" / "testing.lock") in kept
    assert {path.stat().st_uid for path in kept} == {nobody.pw_uid}


def test_a_good_project(users: Users, pg: Cluster) -> None:
    """One line gives it tests of every branch and combination, all pass, and no database is left."""
    users.write("tests/test_migrations.py", CHECKS)
    ran = users.pytest()
    assert (ran.code, ran.of("PASSED")) == (0, ALL), ran.text
    assert scratch_databases(pg) == set()


@dataclass(frozen=True)
class Fault:
    """What is planted, which tests find it, and what they say."""

    name: str
    revisions: Mapping[str, str]
    found_by: frozenset[str]
    says: tuple[str, ...]
    models: str = MODELS

    def __str__(self) -> str:
        return self.name


def _both(*tests: str) -> frozenset[str]:
    return frozenset(f"{test}[{which}]" for test in tests for which in ("shared", "shared+acme"))


FAULTS = (
    Fault(
        "a downgrade that loses a default",
        {
            "shared/2": revision(
                "notes2",
                "notes1",
                up="ALTER TABLE notes ALTER body SET DEFAULT 'some'",
                down_sql="ALTER TABLE notes ALTER body DROP DEFAULT",
            )
        },
        _both("test_up_down_consistency"),
        (
            "notes2: its downgrade does not restore (versions/shared/2.py)",
            "changed  column public.notes.body",
            "default: 'none'::text -> -",
        ),
    ),
    Fault(
        "two heads",
        {f"shared/2{x}": revision(f"notes2{x}", "notes1") for x in "ab"},
        frozenset({"test_single_head_revision[shared]"}),
        (
            "branch `shared` has 2 heads:",
            "notes2a (versions/shared/2a.py)",
            "with `alembic merge -m WHY notes2a notes2b`",
        ),
    ),
    Fault(
        "a revision that fails",
        {"acme/2": revision("acme2", "acme1", up="ALTER TABLE not_there ADD n int")},
        frozenset(f"{test}[shared+acme]" for test in OF_COMBINATIONS),
        ('revision `acme2` fails: relation "not_there" does not exist', "versions/acme/2.py"),
    ),
    Fault(
        "a model with a column that no revision makes",
        {},
        _both("test_model_definitions_match_ddl"),
        (
            "shared (beta, gamma): its revisions do not make what its models say; this is missing:",
            "op.add_column('notes', sa.Column('extra', sa.Text(), nullable=True))",
        ),
        MODELS.replace("nullable=False)", 'nullable=False), Column("extra", Text)'),
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found_and_named(users: Users, fault: Fault) -> None:
    """By the tests that are about it and by no other; no traceback through this package."""
    users.write("tests/test_migrations.py", CHECKS)
    users.write("models.py", fault.models)
    for path, text in fault.revisions.items():
        add_revision(users.folder, path, text)
    ran = users.pytest()
    assert (ran.code, ran.of("FAILED"), ran.of("PASSED")) == (1, fault.found_by, ALL - fault.found_by), ran.text
    assert [words for words in fault.says if words not in ran.text] == [], ran.text
    assert "Traceback" not in ran.text
    assert "kit.py" not in ran.text


def test_without_models(users: Users) -> None:
    """There is nothing to hold them against: skipped, and it says why."""
    users.write("tests/test_migrations.py", "from ehg_migrate.testing.checks import test_model_definitions_match_ddl\n")
    ini = users.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("metadata = \n    shared = models:metadata", ""))
    ran = users.pytest()
    assert (ran.code, ran.of("PASSED", "FAILED")) == (0, set()), ran.text
    assert "alembic.ini names no models of these branches below `metadata =`" in ran.text


OWN = """
    import pytest
    from sqlalchemy import create_engine, text

    TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"

    def write(connection):
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        connection.execute("INSERT INTO notes (id) VALUES (1)")
        connection.commit()

    @pytest.mark.parametrize("n", range(4))
    def test_rows_stay_here(migrated_connection, n):
        write(migrated_connection)

    def tables(connection):
        return [row[0] for row in connection.execute(TABLES).fetchall()]

    def test_shared(migrated_connection):
        assert tables(migrated_connection) == ["notes"]

    @pytest.mark.parametrize("database", ["one", "other"])
    @pytest.mark.ehg(target="acme")
    def test_target(migrated_database, migrated_connection, database):
        assert tables(migrated_connection) == ["acme_only", "notes"]
        assert (migrated_database.branches, migrated_database.heads) == (("shared", "acme"), ("acme1",))

    @pytest.mark.ehg(branches=["acme", "shared"], heads=["notes1"])
    def test_heads(migrated_database):
        with migrated_database.connect() as connection:
            assert tables(connection) == ["notes"]

    @pytest.mark.ehg(branches=["shared"], heads=["shared@base"])
    def test_nothing(migrated_connection):
        assert tables(migrated_connection) == []

    def test_sqlalchemy(migrated_url):
        with create_engine(migrated_url).connect() as connection:
            assert connection.execute(text(TABLES)).scalars().all() == ["notes"]

    def test_extensions_are_on_the_search_path(migrated_connection):
        assert "extensions" in migrated_connection.execute("SHOW search_path").fetchone()[0]

    def test_names(ehg_project, migrated_database):
        assert (ehg_project / "versions" / "acme").is_dir()
        assert migrated_database.name in migrated_database.conninfo
        assert (migrated_database.password or "canary") not in repr(migrated_database)
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_database_for_each_test(users: Users, pg: Cluster, arguments: tuple[str, ...]) -> None:
    """What one test writes is not in the next; markers say what is in it; nothing is left, also of two processes."""
    users.write("tests/test_own.py", OWN)
    ran = users.pytest(*arguments)
    assert (ran.code, len(ran.of("PASSED")), ran.of("FAILED", "ERROR")) == (0, 12, set()), ran.text
    assert scratch_databases(pg) == set()


def test_two_processes_run_the_revisions_once(users: Users) -> None:
    """The other one copies what the first has made, and so does the next run."""
    count = users.folder.with_name("count")  # out of the project: a file of it would be a part of the revision
    add_revision(
        users.folder, "shared/2", revision("notes2", "notes1", up_code=f"open({str(count)!r}, 'a').write('x')")
    )
    users.write("tests/test_own.py", OWN)
    for _ in range(2):
        ran = users.pytest("-n", "2", "-k", "rows_stay_here")
        assert (ran.code, len(ran.of("PASSED"))) == (0, 4), ran.text
        assert count.read_text() == "x"


def test_on_the_embedded_server(users: Users) -> None:
    """Without a server of the user's."""
    users.variables.clear()
    users.write("tests/test_own.py", OWN)
    ran = users.pytest()
    assert (ran.code, len(ran.of("PASSED"))) == (0, 12), ran.text


MARKERS = (
    ('target="nobody"', "no target matches `nobody`"),
    ('branches=["nothing"]', "there is no branch `nothing`"),
    ('heads=["nothing1"]', "nothing1"),
    ('branches="shared"', "`branches` of the marker `ehg` is no list of names: 'shared'"),
    ('target="acme", branches=["shared"]', "the marker `ehg` has a target and branches"),
    ('"acme"', "the marker `ehg` takes no 'acme'"),
    ('traget="acme"', "the marker `ehg` takes no traget"),
)


def test_wrong_markers(users: Users) -> None:
    """Each is an error of its test, in words, and the others run."""
    tests = [
        f"@pytest.mark.ehg({marker})\ndef test_{i}(migrated_database):\n    pass\n"
        for i, (marker, _) in enumerate(MARKERS)
    ]
    users.write("tests/test_own.py", "\n\n".join(["import pytest\n", *tests, "def test_good(migrated_database): pass"]))
    ran = users.pytest("--tb=short")
    assert (ran.code, len(ran.of("ERROR")), ran.of("PASSED")) == (1, len(MARKERS), {"test_good"}), ran.text
    assert [message for _, message in MARKERS if message not in ran.text] == [], ran.text


def test_no_server(users: Users) -> None:
    """Says which server does not answer and what to look at, at every test that wants one and at no other."""
    users.variables["EHG_SCRATCH_URL"] = "postgresql://me:canary-word@127.0.0.1:1/postgres"
    users.write("tests/test_own.py", "def test_with(migrated_url): pass\ndef test_without(): pass\n")
    users.write("tests/test_migrations.py", CHECKS)
    ran = users.pytest()
    heads = {"test_single_head_revision[shared]", "test_single_head_revision[acme]"}
    assert (ran.code, ran.of("PASSED")) == (1, {"test_without", *heads}), ran.text
    assert "the scratch server at me@127.0.0.1:1/postgres refuses" in ran.text
    assert "hint: look at the server that `EHG_SCRATCH_URL` names" in ran.text
    assert "canary-word" not in ran.text


def test_a_project_that_cannot_be_loaded(users: Users) -> None:
    """What is wrong with it stands where the ready tests should be; other tests of the run are not touched."""
    users.write("targets/t.yaml", "targets: [\n")
    users.write("tests/test_migrations.py", CHECKS)
    users.write("tests/test_own.py", "def test_without(): pass\n")
    ran = users.pytest("--continue-on-collection-errors")
    assert (ran.code, ran.of("PASSED")) == (1, {"test_without"}), ran.text
    assert "targets/t.yaml" in ran.text
    assert "Traceback" not in ran.text


def test_where_no_project_is(tmp_path: Path) -> None:
    """The hint names the setting, and no option of a command that is not pytest."""
    users = Users(tmp_path)
    users.write("pytest.ini", "[pytest]\nehg_project = ../nowhere\n")
    users.write("test_own.py", "def test_own(migrated_database): pass\n")
    ran = users.pytest()
    assert (ran.code, ran.of("ERROR")) == (1, {"test_own"}), ran.text
    assert f"there is no `alembic.ini` in `{tmp_path.parent}/nowhere`" in ran.text
    assert "hint: write `ehg_project = DIR` where pytest has its settings" in ran.text


def test_where_the_project_is(users: Users, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In another folder than pytest's own, by a setting of pytest's."""
    other = Users(tmp_path_factory.mktemp("elsewhere"), users.variables)
    other.write("pytest.ini", f"[pytest]\nehg_project = {users.folder}\n")
    other.write("tests/test_own.py", OWN)
    ran = other.pytest("-k", "test_names")
    assert (ran.code, ran.of("PASSED")) == (0, {"test_names"}), ran.text


def test_runs_that_do_not_use_it(tmp_path: Path) -> None:
    """There need be no project, and nothing of the package is imported but the plugin itself."""
    users = Users(tmp_path)
    users.write("pytest.ini", "[pytest]\naddopts = --strict-markers\n")
    users.write(
        "test_own.py",
        """
        import sys
        HEAVY = ("ehg_migrate", "alembic", "sqlalchemy", "psycopg", "click")
        loaded = {name for name in sys.modules if name.split(".")[0] in HEAVY}

        def test_imports():
            plugin = {f"ehg_migrate.testing{module}" for module in ("", ".plugin", ".telling")}
            assert loaded == {"ehg_migrate", *plugin}
        """,
    )
    ran = users.cold_pytest()
    assert (ran.code, ran.of("PASSED")) == (0, {"test_imports"}), ran.text


def test_a_run_that_is_killed(users: Users, pg: Cluster) -> None:
    """Its databases are there as long as nobody uses the server, and the next run takes them away."""
    users.write("tests/test_own.py", OWN)
    users.write(
        "tests/test_stuck.py",
        """
        import sys

        def test_stuck(migrated_connection):
            print("here", flush=True)
            sys.stdin.read()
        """,
    )
    with users.start("-s", "-k", "stuck") as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "here" in line)
        process.kill()
    assert len(scratch_databases(pg)) == 2, "the template's copy and the test's own"
    ran = users.pytest("-k", "test_shared")
    assert ran.code == 0, ran.text
    assert scratch_databases(pg) == set()
