"""Customers who mean harm: what they have made in their own databases is run nowhere but there, and by nobody else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ehg_migrate.model import Address
from tests.integration.fleets import entries, execute
from tests.support.cli import ehg
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
