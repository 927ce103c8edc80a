"""`lint --sql`: the SQL of revisions read by squawk, as a user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.integration.fleets import entries
from tests.support.cli import ehg
from tests.support.project import revision

ACME, BETA = (Address("127.0.0.1", 1, "postgres", name, "disable") for name in ("acme", "beta"))
REVISIONS = {
    "shared/1": revision("made", up="CREATE TABLE t (id serial PRIMARY KEY, name varchar(10))", label="shared"),
    "shared/2": revision("risky", "made", up="ALTER TABLE t ADD COLUMN n int NOT NULL;\nCREATE INDEX i ON t (n)"),
    "shared/3": revision("asking", "risky", up_code="op.get_bind().exec_driver_sql('SELECT 1').scalar() + 1"),
    "shared/mute": revision(
        "mute", "asking", up_code="class Mute(Exception):\n    def __str__(self): raise OSError\nraise Mute"
    ),
    "shared/4": revision("broken", "mute", up="ALTER TABLE t ADD COLUMN"),
}


@pytest.fixture
def project(tmp_path: Path, make_project: MakeProject) -> Path:
    """Two targets that have the same revisions and cannot be reached."""
    return make_project(tmp_path, entries({"acme": ACME, "beta": BETA}), REVISIONS)


def test_each_revision_is_read_once(project: Path) -> None:
    """Rule, level, revision and statement; no word about what Alembic writes by itself; nobody is connected to."""
    said = ehg(project, "lint", "--sql", "--json", "--exit-code")
    assert said.code == 3, said
    found = [(f["step"]["revision"], f["level"], f["rule"]) for f in said.json["data"]["findings"]]
    assert sorted(set(found)) == [
        ("asking", "warning", "not_rendered"),
        ("broken", "error", "syntax-error"),
        ("mute", "warning", "not_rendered"),
        ("risky", "warning", "adding-required-field"),
        ("risky", "warning", "require-concurrent-index-creation"),
    ]
    (index,) = [f for f in said.json["data"]["findings"] if f["rule"] == "require-concurrent-index-creation"]
    assert index["statement"].startswith("CREATE INDEX i ON t (n)")


def test_a_rule_that_is_settled(tmp_path: Path, make_project: MakeProject) -> None:
    """`lint_ignore` names squawk's rules after `sql:`; one that squawk does not know is refused."""
    revisions = {"shared/1": REVISIONS["shared/1"], "shared/2": REVISIONS["shared/2"]}
    rules = "sql:adding-required-field, sql:require-concurrent-index-creation"
    make_project(tmp_path, entries({"acme": ACME}), revisions, settings={"lint_ignore": rules})
    said = ehg(tmp_path, "lint", "--sql", "--exit-code")
    assert (said.code, said.out) == (0, "0 findings\n"), said
    make_project(tmp_path, entries({"acme": ACME}), revisions, settings={"lint_ignore": "sql:no-such-rule"})
    said = ehg(tmp_path, "lint", "--sql")
    assert said.code == 2
    assert "no-such-rule" in said.err


def test_names_and_lines_of_all_kinds(tmp_path: Path, make_project: MakeProject) -> None:
    """Whatever the locale of the shell; what squawk calls a line is one."""
    text = '-- \u2028 \x0c\nCREATE INDEX i ON "größe" (n)'
    make_project(tmp_path, entries({"acme": ACME}), {"shared/1": revision("one", up=text, label="shared")})
    said = ehg(tmp_path, "lint", "--sql", "--json", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", LC_ALL="POSIX")
    assert said.code == 0, said
    assert [f["statement"] for f in said.json["data"]["findings"]] == ['CREATE INDEX i ON "größe" (n);']


def test_a_squawk_that_does_not_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said so, and no more."""
    (project / "squawk").write_text("no program")
    (project / "squawk").chmod(0o755)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(project))
    with Project.load(project) as loaded, pytest.raises(UsageError, match=r"squawk cannot be run: .*Exec format error"):
        loaded.lint_sql()


def test_pending_steps_only(project: Path) -> None:
    """Asks the targets what is pending: of one that cannot be reached nothing is known, which is said."""
    said = ehg(project, "lint", "--sql", "--pending")
    assert said.code == 1, said
    assert {line.partition(": ")[0] for line in said.out.splitlines()[:-1]} == {"acme", "beta"}, said
    assert said.out.splitlines()[-1] == "0 findings"
