"""Bad input on the command line: what is said, word for word, and how it ends. The table stands in bad_input.yaml."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehg_migrate.model import Address
from tests.support.cli import PROGRAM, Said, ehg, environment, normalised
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry, write_project

TABLE: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("bad_input.yaml").read_text())
CANARY = "S3cretCanary"

REVISIONS = {
    "shared/s1": revision("s1", label="shared", doc="first", up="CREATE TABLE s1 (id int)", down_sql="DROP TABLE s1"),
    "shared/s2": revision("s2", "s1", doc="second"),
    "shared/restart1": revision("restart1", "s2"),
    "shared/restart2": revision("restart2", "restart1"),
    "crm/c1": revision("c1", label="crm", depends=["s1"]),
    "acme/a1": revision("a1", label="acme"),
}


@pytest.fixture(scope="module")
def places(make_module_database: Callable[[str], Address]) -> dict[str, Address]:
    """Two empty databases, for the mistakes that show only once a target answers."""
    return {"acme": make_module_database("bad"), "beta": make_module_database("bad")}


def lay_out(folder: Path, places: dict[str, Address], row: dict[str, Any]) -> None:
    """A right project of two targets, and the row's files instead of its own; a file of the value null is removed."""
    acme = target_entry(places["acme"], branches=["crm"], tags=["canary"], env="staging")
    write_project(folder, {"acme": acme, "beta": target_entry(places["beta"])}, REVISIONS)
    (folder / "targets" / "t.yaml").rename(folder / "targets" / "a.yaml")
    for name, text in row.get("files", {}).items():
        file = folder / name
        if text is None:
            file.unlink()
            continue
        file.write_text(text.replace("<port>", str(places["acme"].port)).replace("<acme>", places["acme"].dbname))
        file.chmod(0o600 if name in row.get("private", ()) else 0o644)


def said(folder: Path, pg: Cluster, row: dict[str, Any]) -> Said:
    """What the row's command says in `folder`."""
    variables = {PASSWORD_VARIABLE: pg.password, **row.get("env", {})}
    return ehg(folder, *row["args"], typed=row.get("typed", ""), **variables)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: " ".join(row["args"])[:60])
def test_bad_input(row: dict[str, Any], places: dict[str, Address], pg: Cluster, tmp_path: Path) -> None:
    """Exactly these lines on stderr, nothing on stdout, this exit code; all mistakes at once, and no password."""
    folder = tmp_path / "project"
    lay_out(folder, places, row)
    found = said(folder, pg, row)
    err = normalised(found.err.replace(str(folder), "<project>"))
    assert (found.out, found.code) == ("", row.get("exit", 2))
    if "mentions" in row:
        assert row["mentions"] in err
        assert "Traceback" not in err
    else:
        assert err == row["err"]
    assert CANARY not in found.err


def test_a_folder_that_has_gone(tmp_path: Path) -> None:
    """A shell stands where a deployment has put another folder in its place; that is no fault of a target."""
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", f"rmdir '{gone}'; '{PROGRAM}' status"]
    done = subprocess.run(command, cwd=gone, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "error: the folder in which this is run is gone\n"
        "  hint: `cd` into it anew, or name the project with `--project` and a path from the root\n"
    )


def test_nothing_was_done(places: dict[str, Address], pg: Cluster) -> None:
    """Whatever was wrong was found before the first step: both databases are as empty as they were made."""
    for address in places.values():
        with pg.open(address) as c:
            schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'ehg_migrate'"
            tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            assert [c.execute(q.encode()).fetchone() for q in (schemas, tables)] == [(0,), (0,)]


def test_the_table_is_large() -> None:
    """Each row is another mistake."""
    assert len({str(row) for row in TABLE}) == len(TABLE) >= 45
