"""Old runs leave the ledger, as a user says it, and nothing is lost that anybody still goes by."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ehg_migrate.model import Address
from tests.support.cli import ehg
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, make_fleet, step


@pytest.fixture
def fleet(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    """One target and four runs, of which all but the last are of years ago."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    made = make_fleet(pg, tmp_path / "project", {"acme": make_database("acme")}, {})
    before = None
    for revision in ("a", "b", "c", "d"):
        made.write(f"shared/{revision}", step(revision, before))
        made.upgrade()
        before = revision
    with closing(sqlite3.connect(made.folder / ".ehg" / "ledger.sqlite")) as ledger:
        newest = "(SELECT max(place) FROM runs)"
        ledger.execute(f"UPDATE runs SET heartbeat_at = '2020-01-01T00:00:00.000000+00:00' WHERE place < {newest}")
        ledger.commit()
    return made


def test_old_runs_go(fleet: Fleet) -> None:
    """After the question; what they did is still known to the target, and can be taken back."""
    runs = [run.id for run in fleet.load().runs()]
    said = ehg(fleet.folder, "runs", "prune", "--older-than", "30")
    assert (said.code, said.out) == (2, "")
    assert f"3 old runs would be deleted from the ledger: `{runs[3]}` to `{runs[1]}`\n" in said.err
    assert "then add `--yes`" in said.err
    assert len(fleet.load().runs()) == 4

    said = ehg(fleet.folder, "runs", "prune", "--older-than", "30", "--yes")
    assert (said.code, said.out) == (0, "3 old runs were deleted\n")
    assert [run.id for run in fleet.load().runs()] == [runs[0]]
    assert ehg(fleet.folder, "status").code == 0
    assert ehg(fleet.folder, "rollback", runs[1], "--yes").code == 4  # a later run is in its way
    assert ehg(fleet.folder, "rollback", runs[0], "--yes").code == 0
    assert ehg(fleet.folder, "rollback", runs[1], "--yes").code == 0
    assert fleet.held() == {"acme": ["b"]}

    said = ehg(fleet.folder, "runs", "prune", "--older-than", "30", "--yes")
    assert (said.code, said.out) == (0, "there is no run older than 30 days that the ledger can do without\n")


def test_one_run(fleet: Fleet) -> None:
    newest, *older = [run.id for run in fleet.load().runs()]
    with closing(sqlite3.connect(fleet.folder / ".ehg" / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE runs SET heartbeat_at = '2999-01-01T00:00:00.000000+00:00' WHERE id <> ?", [older[0]])
        ledger.commit()
    said = ehg(fleet.folder, "runs", "prune", "--older-than", "1", "--yes")
    assert (said.code, said.out) == (0, "1 old run was deleted\n")
    assert [run.id for run in fleet.load().runs()] == [newest, *older[1:]]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("runs", "prune"), "Missing option '--older-than'"),
        (("runs", "prune", "--older-than", "0"), "0 is not in the range"),
        (("runs", "prune", "--older-than", "99999999999"), "is not in the range"),
        (("runs", "--local", "prune", "--older-than", "1"), "Options stand behind `prune`, not before it."),
        (("runs", "clean"), "No such command 'clean'"),
    ],
    ids=["no age", "none", "too many", "option before", "another word"],
)
def test_what_is_refused(fleet: Fleet, words: tuple[str, ...], why: str) -> None:
    said = ehg(fleet.folder, *words, "--yes") if words[-1] == "1" else ehg(fleet.folder, *words)
    assert said.code == 2
    assert why in said.err
    assert len(fleet.load().runs()) == 4
