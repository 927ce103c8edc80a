"""Customers who mean harm: what they have made in their own databases is run nowhere but there, and by nobody else."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from psycopg import sql

from ehg_migrate.model import Address, JournalEntry
from tests.acceptance.test_drift import scratch_url
from tests.acceptance.test_hostile import MEMORY
from tests.integration.fleets import entries, execute
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, write_project

TRAPS = (
    # whoever makes these anew runs `trap`
    "CREATE FUNCTION trap() RETURNS int LANGUAGE plpgsql AS "
    "$$ BEGIN COPY (SELECT 1) TO PROGRAM 'touch {marker}'; RETURN 1; END $$",
    "CREATE FUNCTION constant_trap() RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
    "$$ DECLARE n int; BEGIN EXECUTE 'SELECT trap()' INTO n; RETURN n; END $$",
    "CREATE MATERIALIZED VIEW kept AS SELECT trap() AS n WITH NO DATA",
    "CREATE TABLE held (n int)",
    "ALTER TABLE held ADD CHECK (n > constant_trap()) NOT VALID",
    # whoever writes into the table runs this one
    "CREATE FUNCTION trap_of_rows() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RESET ROLE; RESET SESSION AUTHORIZATION; PERFORM trap(); RETURN NEW; END $$",
    "CREATE TRIGGER trapped BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION trap_of_rows()",
)


@pytest.fixture
def marker() -> Iterator[Path]:
    """A file that whoever runs the server can make."""
    with tempfile.TemporaryDirectory(prefix="ehg-trap-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder) / "sprung"


def test_a_clone_runs_nothing_of_its_customers_on_this_machine(
    marker: Path, make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """On the embedded server, which is a process of this machine's user: as clone, as goal, as drift, as revision."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    made = revision("s1", up="CREATE TABLE notes (id int)", label="shared")
    write_project(tmp_path, entries(addresses), {"shared/1": made})

    def run(command: str) -> str:
        said = ehg(tmp_path, *command.split(), **{PASSWORD_VARIABLE: CANARY, "EHG_SCRATCH_URL": None})
        assert not marker.exists(), command
        assert said.code in (0, 1), said
        return said.everything

    run("upgrade --yes")
    execute(pg, addresses["acme"], *(trap.format(marker=marker) for trap in TRAPS))
    add_revision(tmp_path, "shared/2", revision("s2", "s1", up="INSERT INTO notes VALUES (1)"))
    assert "permission denied to COPY to or from an external program" in run("compare beta acme --sql")
    run("compare acme beta --sql --allow-destructive")
    run("snapshot acme --json")
    said = run("rehearse --as-is -t acme")
    assert "permission denied to COPY to or from an external program" in said
    run("revision --from-drift acme --branch acme -m kept")


NASTY = (
    'x\n\\! touch all\n::error::all is well\n1 matches (acme)\n##vso[task.setvariable variable=PATH]; " $(touch all)'
)
COMMANDS = re.compile(r"^\s*::|##vso|^\\|^1 matches", re.MULTILINE)
"""What GitHub obeys at the beginning of a line, Azure anywhere; psql; and what looks like a line of ours."""


def test_no_line_of_what_stands_in_a_target_is_ours_or_a_command(
    make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """Names and rows with line breaks: in reports, in a script for psql, and in the commands of hints."""
    address = make_database("acme")
    made = revision("s1", up="CREATE TABLE notes (id int)", label="shared")
    write_project(tmp_path, entries({"acme": address}), {"shared/1": made})
    given = {PASSWORD_VARIABLE: CANARY, "EHG_SCRATCH_URL": scratch_url(pg)}

    def run(command: str) -> str:
        said = ehg(tmp_path, *command.split(), **given)
        assert "Traceback" not in said.err
        assert COMMANDS.findall(said.everything) == [], said.everything
        return said.everything

    first = ehg(tmp_path, "upgrade", "--yes", "--json", **given).json["data"]["id"]
    named = sql.SQL("CREATE TABLE {} (n int)").format(sql.Identifier(NASTY[:60])).as_string(None)
    written = sql.SQL(
        "INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,"
        " heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version, detail)"
        " SELECT target_name, {0}, event, {0}, direction, {0}, checksum, heads_before, heads_after, now(), 1, {0}, {0},"
        " {0}, {0}, {0} FROM ehg_migrate.migration_journal"
    ).format(sql.Literal(NASTY))
    execute(pg, address, named, written.as_string(None))
    for command in ("drift", "compare acme heads:", "snapshot acme", "history acme"):
        assert "\\! touch" in run(command)
        assert "##vso" in str(json.loads(run(f"{command} --json")))
    said = run(f"rollback {first} --yes")
    pasted = re.search(r"hint: run `(ehg-migrate rollback '.*)` first", said, re.DOTALL)
    assert pasted is not None
    assert shlex.split(pasted[1])[:2] == ["ehg-migrate", "rollback"]
    assert shlex.split(pasted[1])[3:] == ["-t", "acme"]
    row = sql.SQL("INSERT INTO ehg_migrate.alembic_version VALUES ({})").format(sql.Literal(NASTY))
    execute(pg, address, row.as_string(None))
    for command in ("status", "doctor", "upgrade --yes", "show " + first):
        run(command)
    stock = ehg(tmp_path, "upgrade", "heads", program=ALEMBIC, **given)
    assert "\\! touch" in stock.err
    assert COMMANDS.findall(stock.everything) == [], stock.everything
    script = ehg(tmp_path, "plan", "--sql", **given).out
    assert "\\! touch" in script
    assert [line for line in script.splitlines() if line and not line.startswith("--")] == []


FORGED = ["x", "[]", "{}", "null", '{"invalid_indexes": 7}', '{"invalid_indexes": [[{}]]}', "[" * 60_000]


def test_a_step_that_somebody_says_was_begun(
    make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """Whatever is noted of it: it is done, where it has left nothing, and it is no fault of ours."""
    addresses = {f"t{n}": make_database("begun") for n in range(len(FORGED))}
    write_project(tmp_path, entries(addresses), {"shared/1": revision("s1", label="shared")})
    assert ehg(tmp_path, "upgrade", "--yes", **{PASSWORD_VARIABLE: CANARY}).code == 0
    for address, detail in zip(addresses.values(), FORGED, strict=True):
        begun = sql.SQL(
            "INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,"
            " heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version, detail)"
            " SELECT target_name, run, 'started', 's2', 'up', branch, checksum, heads_after, heads_after, now(), 1,"
            " actor, host, git_commit, tool_version, {} FROM ehg_migrate.migration_journal"
        )
        execute(pg, address, begun.format(sql.Literal(detail)).as_string(None))
    add_revision(tmp_path, "shared/2", revision("s2", "s1"))
    said = ehg(tmp_path, "upgrade", "--yes", **{PASSWORD_VARIABLE: CANARY})
    assert (said.code, f"{len(FORGED)} succeeded" in said.out) == (0, True), said


_JOURNAL = """INSERT INTO ehg_migrate.migration_journal (seq, target_name, run, event, revision, direction, branch,
    checksum, heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version, detail)
    SELECT seq + n, target_name, run, '{event}', {revision}, direction, branch, checksum, heads_before, heads_after,
    started_at, seconds, actor, host, git_commit, tool_version, {detail}
    FROM ehg_migrate.migration_journal, generate_series(1, 8) AS n"""
_LONG = "repeat('r', 15000000) || n"
HUGE = {
    "applied revisions": (_JOURNAL.format(event="done", revision=_LONG, detail="''"),),
    "details": (_JOURNAL.format(event="failed", revision="revision", detail=_LONG),),
}


@pytest.mark.parametrize("what", HUGE)
def test_no_target_takes_the_memory_of_all(
    what: str, make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """120 MB in our own tables: what reads the journal says that this target is strange, and does the others."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    made = revision("s1", up="CREATE TABLE notes (id int)", label="shared")
    write_project(tmp_path, entries(addresses), {"shared/1": made})
    given = {PASSWORD_VARIABLE: CANARY}
    first = ehg(tmp_path, "upgrade", "--yes", "--json", **given).json["data"]["id"]
    index = "DROP INDEX ehg_migrate.migration_journal_latest"
    number = "ALTER TABLE ehg_migrate.migration_journal ALTER seq DROP IDENTITY"
    execute(pg, addresses["acme"], index, number, *HUGE[what])
    assert ehg(tmp_path, "status", memory=MEMORY, **given).code in (0, 1)
    said = ehg(tmp_path, "history", "acme", memory=MEMORY, **given)
    assert (said.code, "its journal is larger than 100 MB" in said.err) == (1, True), said.err[:1000]
    run = ehg(tmp_path, "rollback", first, "--yes", "--json", memory=MEMORY, **given).json["data"]
    assert {r["target"]: r["status"] for r in run["results"]} == {"acme": "refused", "beta": "succeeded"}


NOTED = {
    # what stands in the comment on a journal in the place of default privileges
    "no list": "abc",
    "no JSON": ["["],
    "too little": ["[]"],
    "no list in it": ["7"],
    "another kind": ['["", "Q", "SELECT", "anon", false]'],
    "no privilege": ['["", "r", "; SELECT", "anon", false]'],
    "no words": ["[{}, [], {}, {}, {}]"],
    "too deep": ["[" * 200_000],
}


@pytest.mark.parametrize("noted", NOTED.values(), ids=NOTED)
def test_what_one_target_says_of_its_ground_is_no_trouble_of_others(
    noted: object, make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """The journal's comment is its owner's: where it is not as it was written, it is as if it were not there."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    made = revision("s1", up="ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO anon", label="shared")
    write_project(tmp_path, entries(addresses), {"shared/1": made})
    given = {PASSWORD_VARIABLE: CANARY, "EHG_SCRATCH_URL": scratch_url(pg)}
    assert ehg(tmp_path, "upgrade", "--yes", **given).code == 0
    forged = sql.Literal(json.dumps({"role": addresses["acme"].user, "default privileges": noted})).as_string(None)
    execute(pg, addresses["acme"], f"COMMENT ON TABLE ehg_migrate.migration_journal IS {forged}")
    said = ehg(tmp_path, "drift", "--json", **given)
    assert {d["target"]: d["verdict"] for d in said.json["data"]} == {"acme": "matches", "beta": "matches"}, said


FORGED = {
    # column of the journal -> what a view in its place has there
    "nested heads": ("heads_before", "ARRAY[ARRAY['s1']]"),
    "no head": ("heads_after", "ARRAY[NULL]::text[]"),
    "a number of text": ("seconds", "'x'::text"),
    "a moment that never was": ("started_at", "'x'::text"),
    "bytes": ("detail", r"'\x00ff'::bytea"),
    "nothing": ("event", "NULL::text"),
    "sideways": ("direction", "'left'::text"),
    "no number": ("seconds", "'NaN'::float8"),
    "a moment of no zone": ("started_at", "started_at::timestamp"),
}


@pytest.mark.parametrize(("column", "value"), FORGED.values(), ids=FORGED)
def test_a_journal_that_somebody_made_another_is_its_targets_trouble_alone(
    column: str, value: str, make_database: Callable[[str], Address], tmp_path: Path, pg: Cluster
) -> None:
    """A rollback refuses this target and takes the others back; `history` says what it is."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    made = revision("s1", up="CREATE TABLE notes (id int)", down_sql="DROP TABLE notes", label="shared")
    write_project(tmp_path, entries(addresses), {"shared/1": made})
    given = {PASSWORD_VARIABLE: CANARY}
    first = ehg(tmp_path, "upgrade", "--yes", "--json", **given).json["data"]["id"]
    columns = ("target_name", *(f.name for f in fields(JournalEntry) if f.name != "target"))
    shown = ", ".join(f"{value} AS {name}" if name == column else name for name in columns)
    execute(
        pg,
        addresses["acme"],
        "ALTER TABLE ehg_migrate.migration_journal RENAME TO old",
        f"CREATE VIEW ehg_migrate.migration_journal AS SELECT {shown} FROM ehg_migrate.old",
    )
    said = ehg(tmp_path, "history", "acme", **given)
    assert (said.code, "is none of ours" in said.err) == (1, True), said
    run = ehg(tmp_path, "rollback", first, "--yes", "--json", **given).json["data"]
    assert {r["target"]: r["status"] for r in run["results"]} == {"acme": "refused", "beta": "succeeded"}


_COSTLY = "SCRAM-SHA-256$2000000000:c2FsdHNhbHRzYWx0MTIzNA==$" + ":".join(["A" * 43 + "="] * 2)
"""What a password with so many iterations is kept as; libpq takes an hour or more for them."""


def test_a_login_that_takes_hours_is_its_targets_trouble_alone(
    make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """How much is computed for a password stands in it, on the server: no look and no run waits for that."""
    addresses = {name: make_database(name) for name in ("acme", "beta")}
    made = revision("s1", up="CREATE TABLE notes (id int)", label="shared")
    name = f"costly_{addresses['acme'].dbname}"
    role = sql.Identifier(name)
    with pg.admin() as c:
        c.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        # past ALTER ROLE, which computes with it once, to know that it is not empty
        c.execute("UPDATE pg_authid SET rolpassword = %s WHERE rolname = %s", [_COSTLY, name])
    try:
        costly = replace(addresses["acme"], user=name)
        limits = {"connect_timeout": "1s"}
        write_project(tmp_path, entries({**addresses, "acme": costly}), {"shared/1": made}, defaults=limits)
        given = {PASSWORD_VARIABLE: CANARY}
        run = ehg(tmp_path, "upgrade", "--yes", "--json", **given).json["data"]
        assert {r["target"]: r["status"] for r in run["results"]} == {"acme": "failed", "beta": "succeeded"}
        states = ehg(tmp_path, "status", "--json", **given).json["data"]
        assert [(s["kind"], (s["problem"] or {}).get("code")) for s in states] == [
            ("unreachable", "endless_login"),
            ("up_to_date", None),
        ]
        findings = ehg(tmp_path, "doctor", "--json", **given).json["data"]
        logins = {f["target"]: f["level"] for f in findings if f["check"] == "login"}
        assert logins == {"acme": "error", "beta": "ok"}
        stock = ehg(tmp_path, "-x", "target=acme", "current", program=ALEMBIC, **given)
        assert (stock.code != 0, "the login was still being computed" in stock.err) == (True, True), stock
    finally:
        with pg.admin() as c:
            c.execute(sql.SQL("DROP ROLE {}").format(role))
