"""Targets that read dates, moments and intervals in ways of their own are held against what revisions become there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ehg_migrate.model import Address
from tests.acceptance.test_drift import Fleet, scratch_databases, scratch_url
from tests.acceptance.test_lint_effect import findings
from tests.integration.fleets import entries, execute
from tests.support.cli import ehg
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, write_project

WRITTEN = revision(
    "written",
    up="""
        CREATE TABLE days (at timestamptz CHECK (at > '2026-01-01'), day date DEFAULT '03/04/2026',
                           pause interval DEFAULT '-1 2:00:00');
        ALTER TABLE days ENABLE ROW LEVEL SECURITY;
        CREATE TABLE log (at timestamptz) PARTITION BY RANGE (at);
        CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        REVOKE ALL ON log, log_2026 FROM anon, authenticated""",
    down_sql="DROP TABLE log, days",
    label="shared",
)
LOCAL = revision(
    "local",
    "written",
    up="ALTER TABLE days DROP CONSTRAINT days_at_check; ALTER TABLE days ALTER at TYPE timestamp",
    down_sql="ALTER TABLE days ALTER at TYPE timestamptz; ALTER TABLE days ADD CHECK (at > '2026-01-01')",
)


READ = revision(
    "read",
    up=r"""
        CREATE TABLE texts (path text DEFAULT 'C:\temp', words text[] DEFAULT '{a,NULL}', n int CHECK (n = NULL));
        CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM made_later';
        ALTER FUNCTION counted() SET search_path FROM CURRENT;
        REVOKE ALL ON texts FROM anon, authenticated;
        REVOKE ALL ON FUNCTION counted() FROM PUBLIC, anon, authenticated""",
    label="shared",
)
_UNUSUAL = {
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "check_function_bodies": "off",
    "quote_all_identifiers": "on",
}


def laid_out(folder: Path, make: Callable[[str], Address], pg: Cluster) -> Fleet:
    """One target as Supabase makes them, and one that reads in three other ways; each holds `written`."""
    addresses = {name: make(name) for name in ("plain", "other")}
    name = addresses["other"].dbname
    with pg.admin() as c:
        for setting in ("TimeZone = 'Europe/Berlin'", "DateStyle = 'ISO, DMY'", "IntervalStyle = 'sql_standard'"):
            c.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
    write_project(folder, entries(addresses), {"shared/1": WRITTEN}, settings={"large_table": "100kB"})
    fleet = Fleet(folder, addresses, {"EHG_SCRATCH_URL": scratch_url(pg), PASSWORD_VARIABLE: pg.password})
    said = fleet.run("upgrade", "--yes", "--verify", "always", "--lint", "off")
    assert said.code == 0, said
    return fleet


def test_a_target_is_held_against_what_its_revisions_become_there(
    tmp_path: Path, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """A bound, a check and defaults that are other values there are no drift; what a hand has changed there is.

    Nor does it matter how whoever looks reads them.
    """
    fleet = laid_out(tmp_path, make_database, pg)
    said = fleet.run("drift", "--full", "--exit-code")
    assert (said.code, said.out.splitlines()[-1]) == (0, "2 matches (plain, other)"), said
    assert fleet.run("compare", "plain", "other", "--exit-code").code == 3, "they are not alike, and that is told"
    assert fleet.run("compare", "other", "heads:", "--exit-code").code == 0
    said = ehg(tmp_path, "drift", "--full", "--exit-code", **fleet.variables, PGTZ="Asia/Tokyo", PGDATESTYLE="SQL, YMD")
    assert said.code == 0, said
    execute(pg, fleet.addresses["other"], "ALTER TABLE days ALTER day SET DEFAULT '04/03/2026'")
    assert fleet.run("drift", "--exit-code").code == 3
    assert scratch_databases(pg) == set()


def test_a_step_that_rewrites_a_table_in_one_time_zone_only(
    tmp_path: Path, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """`timestamptz` is `timestamp` where the zone is UTC; elsewhere each row is written anew, and that is an error."""
    fleet = laid_out(tmp_path, make_database, pg)
    for address in fleet.addresses.values():
        execute(pg, address, "INSERT INTO days SELECT '2026-02-01' FROM generate_series(1, 5000)", "ANALYZE days")
    add_revision(tmp_path, "shared/2", LOCAL)
    found = findings(fleet.run("lint", "--effect", "--json"))
    assert {key: f["level"] for key, f in found.items() if key[0] == "effect:rewrite"} == {
        ("effect:rewrite", "other"): "error"
    }


def test_what_else_decides_what_a_text_becomes(
    tmp_path: Path, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """Backslashes, NULL in an array, a comparison with NULL, a body that nobody looks into, quotes: no drift."""
    address = make_database("other")
    with pg.admin() as c:
        for name, value in _UNUSUAL.items():
            c.execute(f'ALTER ROLE postgres IN DATABASE "{address.dbname}" SET {name} = {value}'.encode())
    write_project(tmp_path, entries({"other": address}), {"shared/1": READ})
    fleet = Fleet(tmp_path, {"other": address}, {"EHG_SCRATCH_URL": scratch_url(pg), PASSWORD_VARIABLE: pg.password})
    said = fleet.run("upgrade", "--yes", "--verify", "always", "--lint", "always")
    assert said.code == 0, said
    said = fleet.run("drift", "--full", "--exit-code")
    assert (said.code, said.out.splitlines()[-1]) == (0, "1 matches (other)"), said
    with pg.connect(address.dbname) as c:
        assert c.execute("INSERT INTO texts DEFAULT VALUES RETURNING path, words, n").fetchone() == (
            "C:\temp",
            ["a", "NULL"],
            None,
        )


def test_a_schema_that_is_called_as_the_role(
    tmp_path: Path, make_database: Callable[[str], Address], pg: Cluster
) -> None:
    """What revisions make lands there and nowhere else; where none of them makes it, that is told, and what does."""
    address = make_database("own")
    with pg.admin(address.dbname) as c:
        c.execute("CREATE SCHEMA postgres AUTHORIZATION postgres")
    step = revision("landing", up="CREATE TABLE landed (n int)", label="shared")
    write_project(tmp_path, entries({"own": address}), {"shared/1": step}, settings={"prelude": "prelude.sql"})
    (tmp_path / "prelude.sql").write_text("SELECT 1")
    fleet = Fleet(tmp_path, {"own": address}, {"EHG_SCRATCH_URL": scratch_url(pg), PASSWORD_VARIABLE: pg.password})
    said = fleet.run("upgrade", "--yes", "--verify", "always")
    assert (said.code, "with `CREATE SCHEMA postgres`" in said.err) == (1, True), said
    assert "with `CREATE SCHEMA postgres`" in fleet.run("drift").everything
    (tmp_path / "prelude.sql").write_text("CREATE SCHEMA postgres")
    said = fleet.run("drift", "--full", "--exit-code")
    assert (said.code, said.out.splitlines()[-1]) == (0, "1 matches (own)"), said
