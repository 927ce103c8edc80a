"""`rehearse --as-is` and `--probe-data`: whether pending steps fail on these very targets, by drift or by rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.model import Address
from tests.acceptance.test_drift import Fleet, scratch_databases, scratch_url
from tests.conftest import MakeProject
from tests.integration.fleets import column, entries, execute
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision

FIRST = revision(
    "first",
    up="""
        CREATE TABLE kinds (code text PRIMARY KEY);
        CREATE TABLE notes (id int PRIMARY KEY, body text, kind text, "odd ""Name" text, size int DEFAULT 1);
        CREATE INDEX notes_kind ON notes (kind);
        CREATE VIEW kinds_of_notes AS SELECT id, kind FROM notes;
        ALTER TABLE notes ENABLE ROW LEVEL SECURITY""",
    label="shared",
)
SECOND = revision(
    "second", "first", up="ALTER TABLE notes ADD COLUMN extra text", down_sql="ALTER TABLE notes DROP COLUMN extra"
)


@pytest.fixture
def fleet(tmp_path: Path, make_project: MakeProject, make_database: Callable[[str], Address], pg: Cluster) -> Fleet:
    """Three targets at `first`; `second` is pending."""
    addresses = {name: make_database(name) for name in ("good", "alike", "bent")}
    make_project(tmp_path, entries(addresses), {"shared/1": FIRST})
    fleet = Fleet(tmp_path, addresses, {"EHG_SCRATCH_URL": scratch_url(pg)})
    assert fleet.run("upgrade", "--yes").code == 0
    add_revision(tmp_path, "shared/2", SECOND)
    return fleet


def test_steps_that_fail_only_where_somebody_has_changed_the_schema(fleet: Fleet, pg: Cluster) -> None:
    """One rehearsal for the targets as they should be and one for those that have drifted alike; nothing is changed."""
    for name in ("alike", "bent"):
        execute(
            pg,
            fleet.addresses[name],
            "ALTER TABLE notes ADD COLUMN extra text DEFAULT 'by hand'",
            "DROP VIEW kinds_of_notes",
            "CREATE TABLE stray (id int)",
        )
        with pg.admin(fleet.addresses[name].dbname) as c:
            c.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notes_kind'::regclass")
    before = scratch_databases(pg)
    assert fleet.run("rehearse").code == 0, "on what its revisions produce it would go"
    said = fleet.run("rehearse", "--as-is")
    assert said.code == 1, said
    assert "good: from first to second" in said.out
    assert "alike, bent: from first to second" in said.out
    for line in ("  second: fails", "  as it is: 7 differences (column public.kinds_of_notes.id, "):
        assert any(x.startswith(line) for x in said.out.splitlines()), said.out
    assert "hint: is it for what was changed by hand, as said above? it fails so on the target then; mend" in said.out
    assert said.out.splitlines()[-1] == "2 steps rehearsed in 2 cases: not good for alike, bent"
    good, bent = fleet.run("rehearse", "--as-is", "--json").json["data"]
    assert (good["drift"], good["unlike"], bent["unlike"]) == ([], [], [])
    assert ("changed", "index", "public.notes_kind") in {(d["change"], d["kind"], d["identity"]) for d in bent["drift"]}
    assert (bent["steps"][0]["problem"]["sqlstate"], bent["steps"][0]["phase"]) == ("42701", "forward")
    assert scratch_databases(pg) == before


THIRD = revision(
    "third",
    "second",
    up="""
        DROP VIEW kinds_of_notes;
        ALTER TABLE notes ALTER COLUMN body SET NOT NULL, ADD CONSTRAINT small CHECK (size < 10),
            ALTER COLUMN kind TYPE varchar(5), ADD FOREIGN KEY (kind) REFERENCES kinds, ADD COLUMN late int NOT NULL,
            ADD CONSTRAINT later CHECK (size > 100) NOT VALID;
        CREATE UNIQUE INDEX once ON notes (lower("odd ""Name") text_pattern_ops DESC) WHERE size > 1;
        ALTER TABLE notes ALTER COLUMN size TYPE smallint;
        ALTER TABLE notes ALTER COLUMN extra SET NOT NULL;
        CREATE TABLE new (id int NOT NULL UNIQUE, note int REFERENCES notes)""",
)


def test_rows_that_the_steps_would_fail_on(fleet: Fleet, pg: Cluster) -> None:
    """Each demand on rows that are there is asked for; not those on what the steps make themselves."""
    add_revision(fleet.folder, "shared/3", THIRD)
    quiet = fleet.run("rehearse", "-t", "good", "--probe-data", "--json").json["data"][0]
    assert (quiet["probed"], quiet["problem"]) == ([], None)
    assert {p["rule"] for p in quiet["steps"][1]["probes"]} == {
        "not_null", "check", "type", "foreign_key", "new_column", "unique"
    }  # fmt: skip
    execute(
        pg,
        fleet.addresses["bent"],
        """INSERT INTO notes (id, body, kind, "odd ""Name", size) VALUES
           (1, NULL, 'too long', 'a', 5), (2, 'b', NULL, 'A', 70000), (3, 'c', NULL, 'A', 2)""",
    )
    said = fleet.run("rehearse", "-t", "bent", "--probe-data")
    found = [line.split(": ")[2] for line in said.out.splitlines() if line.startswith("  bent: third: ")]
    assert sorted(found) == sorted(
        [
            "[rows] not_null public.notes.body",
            "[rows] new_column public.notes.late",
            "[rows] type public.notes.kind",
            "[rows] type public.notes.size",
            "[rows] check small on public.notes",
            "[rows] foreign_key notes_kind_fkey on public.notes",
            "[rows] unique public.once",
        ]
    ), said.out
    assert "too long" not in said.out, "no value of a row is shown"
    assert column(pg, fleet.addresses["bent"], "SELECT count(*)::text FROM notes") == {"3"}
    assert fleet.run("rehearse", "--all-branches", "--probe-data").code == 2
