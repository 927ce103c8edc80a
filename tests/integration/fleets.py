"""What the tests of whole fleets share: revisions that make one table each, and questions to databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ehg_migrate.model import Address, Run, State, Status
from tests.support.postgres import Cluster
from tests.support.project import revision, target_entry


def making(
    table: str, down: str | Sequence[str] | None = None, *, label: str | None = None, depends: Sequence[str] = ()
) -> str:
    """A revision named after the table that it makes and drops."""
    return revision(
        table,
        down,
        up=f"CREATE TABLE {table} (id int PRIMARY KEY)",
        down_sql=f"DROP TABLE {table}",
        label=label,
        depends=depends,
    )


SHARED = {
    "shared/1": making("s1", label="shared"),
    "shared/2": making("s2", "s1"),
    "shared/3": making("s3", "s2"),
}
"""The branch of every target: s1, s2, s3."""


def own(name: str, *, needs: str = "s2") -> dict[str, str]:
    """A target's or group's branch of two revisions, `<name>_1` and `<name>_2`; the second needs a shared one."""
    return {
        f"{name}/1": making(f"{name}_1", label=name, depends=["s1"]),
        f"{name}/2": making(f"{name}_2", f"{name}_1", depends=[needs]),
    }


def entries(addresses: Mapping[str, Address], **more: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Target entries by name; `more` are further fields of single ones."""
    return {name: target_entry(address, **more.get(name, {})) for name, address in addresses.items()}


def tables(pg: Cluster, address: Address) -> set[str]:
    """The tables that revisions made, from the catalogue."""
    return column(
        pg, address, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )


def rows(pg: Cluster, address: Address) -> set[str]:
    """The version rows as they stand."""
    return column(pg, address, "SELECT version_num FROM ehg_migrate.alembic_version")


def journal(pg: Cluster, address: Address) -> list[tuple[str, str, str]]:
    """(event, direction, revision), oldest first."""
    with pg.connect(address.dbname) as c:
        return c.execute("SELECT event, direction, revision FROM ehg_migrate.migration_journal ORDER BY seq").fetchall()


def column(pg: Cluster, address: Address, statement: str) -> set[str]:
    """The first values of all rows."""
    with pg.connect(address.dbname) as c:
        return {row[0] for row in c.execute(statement.encode()).fetchall()}


def execute(pg: Cluster, address: Address, *statements: str) -> None:
    """By hand, past every tool."""
    with pg.connect(address.dbname) as c:
        for statement in statements:
            c.execute(statement.encode())


def nothing_of_ours(pg: Cluster, address: Address) -> bool:
    """Whether neither our schema, nor an advisory lock, nor a session of ours is in the database."""
    with pg.admin(address.dbname) as c:
        row = c.execute(
            "SELECT to_regnamespace('ehg_migrate') IS NULL AND NOT EXISTS (SELECT FROM pg_locks l JOIN pg_database d"
            " ON d.oid = l.database WHERE locktype = 'advisory' AND datname = current_database())"
        ).fetchone()
    assert row is not None
    return bool(row[0])


def statuses(run: Run) -> dict[str, Status]:
    """By target."""
    return {r.target: r.status for r in run.results}


def by_target(states: Sequence[State]) -> dict[str, State]:
    """States by the name of their target."""
    return {s.target: s for s in states}
