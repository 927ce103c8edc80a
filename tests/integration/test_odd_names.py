"""Names that hurt elsewhere: each is refused with its file, entry and field, or works to the end on a real server."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from ehg_migrate.errors import EhgMigrateError, Problem
from ehg_migrate.fleet import values
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.model import Address, StateKind, Status
from ehg_migrate.project import Project
from ehg_migrate.report.junit import junit
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry, write_project
from tests.support.running import Fleet, make_fleet

ELSEWHERE = target_entry(Address("127.0.0.1", 1, "u", "d", "disable"))
"""No test gets as far as to connect there."""

ODD = {
    "quotes": """a'b"c""",
    "double quotes": 'a"b',
    "dots": "a..b",
    "slashes": "../../a/b",
    "format": "a{}b{0}{meta}",
    "percent": "a%b%s%(x)s%%",
    "dollars": "a$$b$1",
    "dollar quote": "$x$; DROP TABLE s1; $x$",
    "semicolon": "a; DROP SCHEMA ehg_migrate CASCADE; --",
    "backslash": "a\\b\\'",
    "spaces": "a  b",
    "comma": "a,b",
    "unicode": "名前é",
    "combining": "e\u0301",
    "homoglyph": "\u0430cme",
    "emoji": "🔑" * 8,
    "minus": "-rf",
    "word": "select",
    "upper": "AbC",
    "glob": "a*?[b]",
    "markup": "<b>|`x`|</b>",
    "63 bytes": "a" * 63,
    "64 bytes": "a" * 64,
    "64 bytes, cut in a character": "é" * 32,
    "200 characters": "a" * 200,
    "newline": "a\nb",
    "tab": "a\tb",
    "NUL": "a\0b",
    "escape": "a\x1b[2Jb",
    "right to left": "a\u202eb",
    "zero width": "a\u200bb",
    "surrogate": "a\udc80b",
}


UNSEEN = {"newline", "tab", "NUL", "escape", "right to left", "zero width", "surrogate"}
NO_ID = UNSEEN | {"semicolon", "minus", "quotes", "backslash"}
NO_IDENTIFIER = UNSEEN | {"64 bytes", "64 bytes, cut in a character", "200 characters", "percent"}
NO_NAME = set(ODD) - {"word", "upper", "63 bytes"}


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)


def there_and_back(fleet: Fleet) -> None:
    """Upgrade, status, history, reports, rollback: all of it works, and what is printed can be shown."""
    run = fleet.upgrade()
    assert {r.target: r.problem for r in run.results if r.problem} == {}
    project = fleet.load()
    assert {(s.kind, s.notes) for s in project.status()} == {(StateKind.UP_TO_DATE, ())}
    first = run.results[0]
    assert [e.revision for e in project.history(first.target)] == [s.revision for s in first.steps]
    for command in ("status", f"history {first.target}", f"show {run.id}", "doctor", "plan --sql"):
        said = fleet.cli(*command.split())
        assert not {c for c in said.stdout if not c.isprintable()} - {"\n"}, command
        assert "Traceback" not in said.stderr
    assert ET.fromstring(junit(run)).get("failures") == "0"  # noqa: S314 - whether it can be read is the question
    back = fleet.run(project.plan_rollback(run.id))
    assert {r.target: r.problem for r in back.results if r.problem} == {}
    assert {s.heads for s in fleet.load().status()} == {()}


def test_revision_ids_that_can_be_shown_work(pg: Cluster, database: Address, tmp_path: Path) -> None:
    """One chain of them, in files whose names are as odd, each with a table of its own."""
    chain = [ODD[what] for what in ODD if what not in NO_ID]
    revisions = {
        f"shared/{number} {_file_name(id_)}": revision(
            id_,
            down,
            up=f"CREATE TABLE t{number} ()",
            down_sql=f"DROP TABLE t{number}",
            label=None if down else "shared",
        )
        for number, (down, id_) in enumerate(pairwise([None, *chain]))
    }
    fleet = make_fleet(pg, tmp_path, {"acme": database}, revisions)
    there_and_back(fleet)
    assert fleet.tables("acme") == []
    for id_ in chain:
        assert fleet.load().plan(to=(id_,)).plans[0].goal == (id_,)


def _file_name(text: str) -> str:
    return text.replace("/", "_")[:40]


@pytest.mark.parametrize("what", sorted(NO_ID))
def test_other_revision_ids_are_refused(what: str, tmp_path: Path) -> None:
    """With the file, and without a character that cannot be shown."""
    head = f"revision = {ODD[what]!a}\ndown_revision = None\n\ndef upgrade(): pass\n\ndef downgrade(): pass\n"
    (problem,) = mistakes(write_project(tmp_path, {"acme": ELSEWHERE}, {"shared/1": head}))
    assert (problem.where, problem.code) == ("versions/shared/1.py", "revision_file")
    assert problem.message.isprintable()
    assert problem.hint.startswith("rename the revision")


def test_version_tables_that_postgresql_keeps_work(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path
) -> None:
    """Tables in schemas of the same names, a target for each."""
    good = {f"t{n}": ODD[what] for n, what in enumerate(what for what in ODD if what not in NO_IDENTIFIER)}
    addresses = {target: make_database("odd") for target in good}
    for target, name in good.items():
        with pg.connect(addresses[target].dbname) as c:
            c.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    more = {t: {"alembic": {"version_table": name, "version_table_schema": name}} for t, name in good.items()}
    fleet = make_fleet(pg, tmp_path, addresses, {"shared/1": revision("s1", label="shared")}, more)
    there_and_back(fleet)
    for target, name in good.items():
        place = sql.Identifier(name, name)
        with pg.connect(addresses[target].dbname) as c:
            assert c.execute(sql.SQL("SELECT * FROM {}").format(place)).fetchall() == []


def test_version_tables_beside_each_other(pg: Cluster, database: Address, tmp_path: Path) -> None:
    """Of several projects in one database, all in our schema: their keys have different names, however long."""
    for number, table in enumerate(("alembic_version", "versions", "v" * 63, "ü" * 31)):
        more = {f"p{number}": {"alembic": {"version_table": table}}}
        steps = {"shared/1": revision(f"s{number}", label="shared")}
        run = make_fleet(pg, tmp_path / f"{number}", {f"p{number}": database}, steps, more).upgrade()
        assert [(r.status, r.problem) for r in run.results] == [(Status.SUCCEEDED, None)]
    with pg.connect(database.dbname) as c:
        keys = c.execute("SELECT conname FROM pg_constraint WHERE conname ~ '_pkc$' ORDER BY 1").fetchall()
    assert sorted(k for (k,) in keys) == sorted(
        ["alembic_version_pkc", "versions_pkc", "v" * 59 + "_pkc", "ü" * 29 + "_pkc"]
    )


@pytest.mark.parametrize("field", ["version_table", "version_table_schema"])
@pytest.mark.parametrize("what", sorted(NO_IDENTIFIER))
def test_other_version_tables_are_refused(what: str, field: str, tmp_path: Path) -> None:
    """What PostgreSQL would cut, psycopg take for a placeholder, or nobody see: with entry and field, or the line."""
    entry = {**ELSEWHERE, "alembic": {field: ODD[what]}}
    (problem,) = mistakes(write_project(tmp_path, {"acme": entry}, {"shared/1": revision("s1")}))
    places = {f"targets/t.yaml: targets.acme.alembic.{field}", "targets/t.yaml"}
    assert problem.where in (places if what in UNSEEN else places - {"targets/t.yaml"})
    assert problem.message.isprintable()
    assert problem.hint


@pytest.mark.parametrize("field", ["target", "tags", "branches", "env"])
@pytest.mark.parametrize("what", sorted(NO_NAME))
def test_names_that_become_paths_are_letters_and_digits(what: str, field: str, tmp_path: Path) -> None:
    """No name of a target file can leave the project: refused with entry and field, or with the line."""
    name = ODD[what]
    entry = ELSEWHERE if field == "target" else {**ELSEWHERE, field: name if field == "env" else [name]}
    write_project(tmp_path, {}, {"shared/1": revision("s1")})
    file = {"targets": {name if field == "target" else "acme": entry}}
    (tmp_path / "targets" / "t.yaml").write_text(yaml.safe_dump(file))
    problems = mistakes(tmp_path)
    assert all(p.where.startswith("targets/t.yaml") and p.hint and p.message.isprintable() for p in problems)
    assert all(p.where.isprintable() for p in problems)


@given(text=st.text(max_size=70) | st.text("./\\-_a0{}%$*", max_size=8))
def test_every_name_that_is_taken_is_one_step_below_its_folder(text: str) -> None:
    """The rule for all names that become folders, locks or application names."""
    try:
        name = values.target_name(text)
    except Refused as refused:
        assert refused.message.isprintable()  # noqa: PT017 - either outcome is right
    else:
        assert PurePosixPath("versions", name).parts == ("versions", text)
        assert name not in (".", "..")
        assert name.isascii()
        assert len(name) <= 63


def test_links_do_not_lead_out_of_the_project(tmp_path: Path) -> None:
    """A branch that is a link to elsewhere is refused; a revision beside it is not read."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.py").write_text("raise SystemExit('read')")
    folder = write_project(tmp_path / "project", {"acme": ELSEWHERE}, {"shared/1": revision("s1", label="shared")})
    (folder / "versions" / "acme").rmdir()
    (folder / "versions" / "acme").symlink_to(tmp_path / "outside")
    assert [(p.code, p.where) for p in mistakes(folder)] == [("branch_outside", "versions/acme")]


def mistakes(folder: Path) -> tuple[Problem, ...]:
    """What a project is refused for."""
    with pytest.raises(EhgMigrateError) as caught:
        Project.load(folder)
    return caught.value.problems
