"""What we keep in a target is closed to every role but ours: shown by trying, as those roles, all there is to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ehg_migrate.model import Address
from tests.integration.fleets import SHARED
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, make_fleet

API = ("anon", "authenticated", "service_role")
OTHERS = ("authenticator", "stranger", "favoured")
RELATIONS = {"alembic_version", "migration_journal", "migration_lease"}
SEQUENCES = {"migration_journal_seq_seq"}
TRIES = (
    "SELECT 1 FROM {}",
    "SELECT count(*) FROM {}",
    "INSERT INTO {} DEFAULT VALUES",
    "DELETE FROM {}",
    "TRUNCATE {}",
    "LOCK TABLE {}",
    "CREATE TRIGGER t AFTER INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
    "DROP TABLE {} CASCADE",
)
SEQUENCE_TRIES = ("SELECT * FROM {}", "ALTER SEQUENCE {} RESTART")

# what a careless project has, for every schema: all that is made is for everybody
OPEN = """
ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON TABLES TO PUBLIC, anon, authenticated, service_role, favoured;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres
    GRANT ALL ON SEQUENCES TO PUBLIC, anon, authenticated, service_role, favoured;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON SCHEMAS TO PUBLIC, anon, authenticated, service_role, favoured;
"""


@pytest.fixture
def others(pg: Cluster) -> Iterator[None]:
    """Two roles beside Supabase's: one with no rights at all, and one that default privileges favour."""
    with pg.admin() as c:
        c.execute("CREATE ROLE stranger; CREATE ROLE favoured")
    yield
    with pg.admin() as c:
        c.execute("DROP ROLE stranger; DROP ROLE favoured")


@pytest.fixture
def fleet(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: None
) -> Iterator[Fleet]:
    """One target with open default privileges, upgraded, and with one session at work in it (so with a lease)."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    address = make_database("closed")
    with pg.admin(address.dbname) as c:
        c.execute(OPEN.encode())
    yield make_fleet(pg, tmp_path, {"acme": address}, SHARED)
    with pg.admin(address.dbname) as c:
        c.execute("DROP OWNED BY favoured")


def refusals(c: psycopg.Connection, role: str, tries: tuple[str, ...], place: sql.Identifier) -> list[str]:
    """Which of these a role is not refused."""
    done = []
    for statement in tries:
        try:
            with c.transaction(force_rollback=True):
                c.execute(sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
                c.execute(sql.SQL(statement).format(place))
        except psycopg.errors.InsufficientPrivilege:
            continue
        except psycopg.IntegrityError:
            pass  # it was let in, and had nothing good to say
        done.append(f"{role}: {statement}")
    return done


def names(c: psycopg.Connection, kinds: str) -> set[str]:
    """Relations of our schema of these kinds."""
    found = "SELECT relname FROM pg_class WHERE relnamespace = 'ehg_migrate'::regnamespace AND relkind = ANY(%s)"
    return {row[0] for row in c.execute(found, [list(kinds)]).fetchall()}


@pytest.mark.parametrize("role", [*API, *OTHERS])
def test_nothing_of_ours_can_be_reached(fleet: Fleet, role: str) -> None:
    """Not read, written, locked, changed or dropped, nor anything made beside it; what revisions made is theirs."""
    assert fleet.upgrade().results[0].status.good
    with fleet.admin("acme") as c:
        assert (names(c, "rv"), names(c, "S")) == (RELATIONS, SEQUENCES)
        done = [t for name in sorted(RELATIONS) for t in refusals(c, role, TRIES, sql.Identifier("ehg_migrate", name))]
        for name in SEQUENCES:
            done += refusals(c, role, SEQUENCE_TRIES, sql.Identifier("ehg_migrate", name))
        done += refusals(c, role, ("CREATE TABLE {} ()",), sql.Identifier("ehg_migrate", "mine"))
        done += refusals(c, role, ("DROP SCHEMA {} CASCADE",), sql.Identifier("ehg_migrate"))
        assert done == []
        if role in (*API, "favoured"):  # the privileges are open indeed, and a revision's tables are its own business
            assert refusals(c, role, ("SELECT FROM {}",), sql.Identifier("public", "s1")) != []


def test_a_role_of_the_house_may_be_let_in_and_stays_in(fleet: Fleet) -> None:
    """Grants that somebody makes later are not taken away by the next run; `doctor` names only those of an API."""
    fleet.upgrade()
    with fleet.admin("acme") as c:
        c.execute("GRANT USAGE ON SCHEMA ehg_migrate TO stranger")
        c.execute("GRANT SELECT ON ehg_migrate.migration_journal TO stranger")
    fleet.upgrade()
    with fleet.admin("acme") as c:
        assert refusals(c, "stranger", ("SELECT FROM {}",), sql.Identifier("ehg_migrate", "migration_journal"))
        c.execute("DROP OWNED BY stranger")


def test_a_version_table_that_is_kept_in_public(fleet: Fleet) -> None:
    """It stays as open as its owner left it, and `doctor` says to whom and how it is closed; the rest is closed."""
    with fleet.admin("acme") as c:
        c.execute("SET ROLE postgres; CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)")
    file = fleet.folder / "targets" / "t.yaml"
    file.write_text(file.read_text() + "    alembic: {version_table_schema: public}\n")
    assert fleet.upgrade().results[0].status.good
    with fleet.admin("acme") as c:
        assert names(c, "rv") == RELATIONS - {"alembic_version"}
        for role in API:
            assert len(refusals(c, role, TRIES[:5], sql.Identifier("public", "alembic_version"))) >= 4
            for name in sorted(RELATIONS - {"alembic_version"}):
                assert refusals(c, role, TRIES, sql.Identifier("ehg_migrate", name)) == []
    said = fleet.cli("doctor", "-t", "acme")
    assert said.returncode == 1
    hint = "REVOKE ALL ON TABLE public.alembic_version FROM "
    assert hint in said.stdout
    with fleet.admin("acme") as c:
        c.execute("REVOKE ALL ON TABLE public.alembic_version FROM PUBLIC, anon, authenticated")
    assert hint not in fleet.cli("doctor", "-t", "acme").stdout
