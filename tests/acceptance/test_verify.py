"""After a run the targets are held against their revisions: what `upgrade` says, records and ends with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.model import Address
from tests.acceptance.test_drift import Fleet, scratch_url
from tests.conftest import MakeProject
from tests.integration.fleets import entries, execute
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision

REVISIONS = {
    "shared/1": revision("one", up="CREATE TABLE one (id int PRIMARY KEY, n int)", label="shared"),
    "shared/2": revision("two", "one", up="CREATE TABLE two (id int)", down_sql="DROP TABLE two"),
}


@pytest.fixture
def fleet(tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster) -> Fleet:
    """Two targets at revision `one`, unverified; the second has lost a column since."""
    addresses = {name: make_database(name) for name in ("good", "bad")}
    make_project(tmp_path, entries(addresses), REVISIONS, settings={"verify": "auto"})
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    assert fleet.run("upgrade", "--to", "one", "--verify", "never", "--yes").code == 0
    execute(pg, addresses["bad"], "ALTER TABLE one DROP COLUMN n")
    return fleet


def test_a_target_that_is_stamped_right_and_wrong(fleet: Fleet) -> None:
    """Its status is of its own kind, names the object, and stands in exit code, ledger and JSON; the other is good."""
    said = fleet.run("upgrade", "--yes")
    assert said.code == 1, said
    assert said.out.splitlines()[-1].endswith(": 1 succeeded (good), 1 schema_differs (bad)"), said.out
    assert "missing column public.one.n" in said.err
    assert "the schemas of 2 targets were held against the revisions in" in said.err
    (run,) = fleet.run("runs", "--limit", "1", "--json").json["data"]
    assert run["status"] == "failed"
    bad = next(r for r in fleet.run("show", run["id"], "--json").json["data"]["results"] if r["target"] == "bad")
    assert (bad["status"], bad["problem"]["code"], bad["heads_after"]) == ("schema_differs", "schema_differs", ["two"])
    assert [s["revision"] for s in bad["steps"]] == ["two"]


def test_a_target_that_differed_is_not_good_until_it_was_looked_at(fleet: Fleet, pg: Cluster) -> None:
    """Nothing is pending, and still: neither `upgrade` nor `resume` nor `retry` calls it good before it matches."""
    fleet.run("upgrade", "--yes")
    run = fleet.run("runs", "--limit", "1", "--json").json["data"][0]["id"]
    status = fleet.run("status")
    assert (status.code, status.out.count("saw that the schema is not")) == (0, 1), status
    assert f"bad: run `{run}` saw that the schema is not what the revisions produce\n" in status.out
    for again in (("upgrade",), ("resume", run), ("retry", run)):
        said = fleet.run(*again, "--yes")
        assert (said.code, "1 schema_differs (bad)" in said.out) == (1, True), said
        assert "missing column public.one.n" in said.err
    unseen = fleet.run("upgrade", "--yes", "--verify", "never")
    assert (unseen.code, "1 schema_differs (bad)" in unseen.out) == (1, True), unseen
    looked = fleet.run("runs", "--limit", "2", "--json").json["data"][1]["id"]
    seen = f"run `{looked}` saw that the schema is not what the revisions produce"
    assert unseen.err.count(f"bad: schema_differs in 0.00 s\n  {seen}, and nobody has looked at it since") == 1, unseen
    again = fleet.run("upgrade", "--yes", "--verify", "never")
    assert seen in again.err, "not the run that did not look either"
    assert f"bad: {seen}\n" in fleet.run("status").out
    execute(pg, fleet.addresses["bad"], "ALTER TABLE one ADD COLUMN n int")
    unseen = fleet.run("upgrade", "--yes", "--verify", "never", "--json")
    (bad,) = (r for r in unseen.json["data"]["results"] if r["target"] == "bad")
    assert (bad["status"], bad["problem"]["code"], bad["heads_after"]) == ("schema_differs", "differed_before", ["two"])
    add_revision(fleet.folder, "shared/3", revision("three", "two", up="CREATE TABLE three (id int)"))
    worked = fleet.run("upgrade", "--yes", "--verify", "never", "--json")
    (bad,) = (r for r in worked.json["data"]["results"] if r["target"] == "bad")
    assert (bad["status"], bad["problem"]["code"], bad["heads_after"]) == (
        "schema_differs",
        "differed_before",
        ["three"],
    )
    mended = fleet.run("resume", run, "--yes")
    assert (mended.code, mended.out.splitlines()[-1].split(": ")[1]) == (0, "1 up_to_date (bad)"), mended
    assert fleet.run("upgrade", "--yes", "--verify", "never").code == 0


def test_a_target_that_differed_is_so_under_another_name(fleet: Fleet) -> None:
    """Whatever its name is now, and though a good one has taken it over: what the ledger saw is of the database."""
    fleet.run("upgrade", "--yes")
    file = fleet.folder / "targets" / "t.yaml"
    file.write_text(file.read_text().replace("  good:", "  x:").replace("  bad:", "  good:").replace("  x:", "  bad:"))
    seen = fleet.run("upgrade", "-t", "good", "--verify", "never", "--yes", "--json").json["data"]["results"]
    assert [r["status"] for r in seen] == ["schema_differs"]
    said = fleet.run("upgrade", "-t", "bad", "--verify", "always", "--yes")
    assert said.code == 0, said
    said = fleet.run("upgrade", "--yes")
    assert (said.code, said.out.split(": ")[1]) == (1, "1 up_to_date (bad), 1 schema_differs (good)\n"), said
    assert "missing column public.one.n" in said.err
    file.write_text(file.read_text().replace("  good:", "  renamed:"))
    said = fleet.run("upgrade", "-t", "renamed", "--yes")
    assert (said.code, "1 schema_differs (renamed)" in said.out) == (1, True), said


def test_the_way_back_is_verified_too(fleet: Fleet) -> None:
    """After a rollback the schema is held against the heads before."""
    assert fleet.run("upgrade", "-t", "good", "--yes").code == 0
    run = fleet.run("runs", "--limit", "1", "--json").json["data"][0]["id"]
    said = fleet.run("rollback", run, "--yes")
    assert said.code == 0, said
    assert "the schema of 1 target was held against the revisions in" in said.err
    assert fleet.run("upgrade", "-t", "bad", "--verify", "never", "--yes").code == 0
    said = fleet.run("downgrade", "bad", "--to", "one", "--yes")
    assert (said.code, said.out.splitlines()[-1].split(": ")[1]) == (1, "1 schema_differs (bad)"), said


def test_where_no_reference_can_be_made(fleet: Fleet, pg: Cluster) -> None:
    """By default a note says so and the run stays what it was; with `always` the target is not good."""
    wants = "assert op.get_bind().exec_driver_sql('SELECT count(*) FROM one').scalar(), 'no rows'"
    add_revision(fleet.folder, "shared/3", revision("three", "two", up_code=wants))
    execute(pg, fleet.addresses["good"], "INSERT INTO one VALUES (1)")
    said = fleet.run("upgrade", "-t", "good", "--yes")
    assert said.code == 0, said
    assert "not verified: good: what its revisions produce cannot be found out: revision `three` fails" in said.err
    assert fleet.run("downgrade", "good", "--to", "two", "--yes").code == 0
    said = fleet.run("upgrade", "-t", "good", "--verify", "always", "--yes")
    assert (said.code, said.out.splitlines()[-1].split(": ")[1]) == (1, "1 indeterminate (good)"), said


def test_too_many_different_states(
    tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """Nine targets of which each has a branch of its own: said, and left to those who ask for it."""
    names = [f"own{n}" for n in range(9)]
    revisions = {f"{n}/1": revision(f"of_{n}", up=f"CREATE TABLE {n} (id int)", label=n) for n in names}
    addresses = {name: make_database(name) for name in names}
    make_project(tmp_path, entries(addresses), revisions, settings={"verify": "auto"})
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    said = fleet.run("upgrade", "--yes")
    assert said.code == 0, said
    assert "not verified: 9 targets are in 9 different states" in said.err
    assert "`ehg-migrate drift` holds them against their revisions" in said.err
    assert "the next run looks at all that it changes, and not at these again" in said.err
    again = fleet.run("upgrade", "--yes", "--verify", "always")
    assert (again.code, "held against the revisions in" in again.err) == (0, False), again


def test_targets_with_branches_of_their_own_may_be_in_one_state(
    tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """Where nothing of their branches is applied yet, a state is what is applied: all are looked at."""
    names = [f"own{n}" for n in range(9)]
    revisions = {f"{n}/1": revision(f"of_{n}", up=f"CREATE TABLE {n} (id int)", label=n) for n in names}
    revisions["shared/1"] = revision("one", up="CREATE TABLE one (id int)", label="shared")
    addresses = {name: make_database(name) for name in names}
    execute(pg, addresses["own3"], "CREATE TABLE by_hand (id int)")
    make_project(tmp_path, entries(addresses), revisions, settings={"verify": "auto"})
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    said = fleet.run("upgrade", "--yes", "--to", "one")
    assert (said.code, "1 schema_differs (own3)" in said.out) == (1, True), said
    assert "the schemas of 9 targets were held against the revisions" in said.err
