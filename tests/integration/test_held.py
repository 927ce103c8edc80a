"""Targets on hold: upgrades leave them alone and say so; a look, and a way back, are as ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ehg_migrate.errors import GateError
from ehg_migrate.model import Address, RunStatus, Status
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]

TARGETS = ("a", "b", "c")
STEPS = {"shared/s1": step("s1", None, label="shared"), "shared/s2": step("s2", "s1")}
FAR, PAST = "9999-01-01", "2020-01-01"
WHY = f"the target is held until {FAR}: closing of the books"


@pytest.fixture
def fleet(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Three targets."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    return make_fleet(pg, tmp_path / "project", {name: make_database(name) for name in TARGETS}, STEPS)


def hold(fleet: Fleet, *names: str, until: str = FAR, **more: str) -> None:
    """From now on only these are on hold."""
    file = fleet.folder / "targets" / "t.yaml"
    found = yaml.safe_load(file.read_text())
    held = {"hold": "closing of the books", **({"hold_until": until} if until else {}), **more}
    for name, entry in found["targets"].items():
        entry.pop("hold", None), entry.pop("hold_until", None)
        entry.update(held if name in names else {})
    file.write_text(yaml.safe_dump(found))


def test_the_others_go_on(fleet: Fleet) -> None:
    """It is not even asked, nor its secret looked for; the run is as good as without it, and says why that is."""
    hold(fleet, "c", password="env:NOT_THERE_YET")
    planned = ehg(fleet.folder, "plan")
    assert (planned.code, f"c: skipped, {WHY}" in planned.out) == (0, True)
    assert planned.out.endswith(", nothing to do on 0, 1 skipped (c)\n")
    done = ehg(fleet.folder, "upgrade", "--yes", "--json")
    results = {r["target"]: r for r in done.json["data"]["results"]}
    assert (done.code, {t: r["status"] for t, r in results.items()}) == (
        0,
        {"a": "succeeded", "b": "succeeded", "c": "skipped"},
    )
    assert [(n["code"], n["message"]) for n in results["c"]["notes"]] == [("held", WHY)]
    assert fleet.tables("c") == []


def test_nothing_but_held_targets(fleet: Fleet) -> None:
    """Who wants just them is told no, with the exit code of a rule: a deployment that needs them must not go on."""
    hold(fleet, "b", "c")
    for command in (("upgrade", "--yes"), ("plan",), ("plan", "--lint")):
        said = ehg(fleet.folder, *command, "-t", "c", "-t", "b")
        assert (said.code, said.out) == (4, "")
        assert f"error: {WHY}\n  at targets/t.yaml: targets.c\n" in said.err
    assert (fleet.tables("b"), fleet.tables("c")) == ([], [])


def test_a_schema_that_is_held_gets_no_rows(fleet: Fleet, tmp_path: Path) -> None:
    """Nor is it made: it is asked nothing."""
    hold(fleet, "a", schema="app", password="env:NOT_THERE_YET")
    file = tmp_path / "rows.sql"
    file.write_text("SELECT 1")
    for change in (lambda p: p.seed("a", file), lambda p: p.plan_creation("a")):
        with pytest.raises(GateError) as caught:
            change(fleet.load())
        assert [p.code for p in caught.value.problems] == ["held"]


def test_a_shard_of_nothing_but_held_targets(fleet: Fleet) -> None:
    """It is a part of a selection that goes on, as one that is empty: no job of the pipeline is red for it."""
    hold(fleet, "b")
    for number, name in enumerate(TARGETS, 1):
        said = ehg(fleet.folder, "upgrade", "--yes", "--json", "--shard", f"{number}/3")
        (result,) = said.json["data"]["results"]
        assert (said.code, result["target"]) == (0, name)
        assert result["status"] == ("skipped" if name == "b" else "succeeded")
    assert ehg(fleet.folder, "plan", "--shard", "2/3", "-o", "plan.json").code == 0
    assert ehg(fleet.folder, "upgrade", "--plan", "plan.json", "--yes").code == 0
    assert fleet.tables("b") == []
    assert ehg(fleet.folder, "upgrade", "--yes", "-t", "b", "--shard", "1/3").code == 4
    hold(fleet)  # the plan has no steps for it
    said = ehg(fleet.folder, "upgrade", "--plan", "plan.json", "--yes")
    assert (said.code, fleet.tables("b")) == (4, [])


def test_until_that_day(fleet: Fleet) -> None:
    """A day that has come holds nothing; without a day it is held for good."""
    hold(fleet, "c", until=PAST)
    assert {r.status for r in fleet.upgrade().results} == {Status.SUCCEEDED}
    assert fleet.load().status(("c",))[0].notes == ()
    fleet.write("shared/s3", step("s3", "s2"))
    hold(fleet, "c", until="")
    assert result_of(fleet.upgrade(), "c").status is Status.SKIPPED


def test_what_is_not_held_back(fleet: Fleet) -> None:
    """Status is read as of any target, with a note; its run can be taken back; stock Alembic is refused an upgrade."""
    first = fleet.upgrade()
    fleet.write("shared/s3", step("s3", "s2"))
    hold(fleet, "c")
    (state,) = json.loads(ehg(fleet.folder, "status", "-t", "c", "--json").out)["data"]
    assert (state["kind"], [n["message"] for n in state["notes"]]) == ("pending", [WHY])
    assert f", held until {FAR}" in ehg(fleet.folder, "targets", "-t", "c").out
    stock = ehg(fleet.folder, "-x", "target=c", "upgrade", "heads", program=ALEMBIC)
    assert (stock.code, WHY in stock.err) == (255, True)
    assert fleet.held()["c"] == ["s2"]
    assert ehg(fleet.folder, "rollback", first.id, "-t", "c", "--yes").code == 0
    assert fleet.held()["c"] == []


def test_waves(fleet: Fleet) -> None:
    """It holds nothing back in the waves behind it."""
    hold(fleet, "c")
    (fleet.folder / "targets" / "waves.yaml").write_text("waves:\n- {name: canary, targets: [c]}\n")
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": []}


def test_saved_plan(fleet: Fleet) -> None:
    """An approved target that was put on hold since then is refused, and the others are done."""
    saved = fleet.folder / "plan.json"
    assert ehg(fleet.folder, "plan", "-o", str(saved)).code == 0
    hold(fleet, "c")
    said = ehg(fleet.folder, "upgrade", "--plan", str(saved), "--yes")
    assert (said.code, f"now it gets none: {WHY}" in said.err) == (4, True)
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": []}


def test_resume(fleet: Fleet) -> None:
    """A run that is completed leaves out what was put on hold since; where nothing else is missing, it says so."""
    with fleet.connect("c") as c:
        c.execute("CREATE TABLE s2 (n int)")
    run = fleet.upgrade()
    hold(fleet, "c")
    with pytest.raises(GateError, match="is held until"):
        fleet.load().plan_resume(run.id)
