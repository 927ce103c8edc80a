"""Privileges that somebody else than the owner has given: on a clone the owner has, and so can take them back there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ehg_migrate.database.answers import tuple_rows
from ehg_migrate.database.asking import Connection
from ehg_migrate.schema.corrections import Statement
from ehg_migrate.schema.difference import Difference
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.search import named


@dataclass(frozen=True, slots=True)
class Given:
    """One row of `grantors.sql`."""

    object: str  # as a statement names it
    privilege: str
    grantee: str
    grantor: str


async def read_given(connection: Connection) -> tuple[Given, ...]:
    """What others than the owners have given in this database; wants no privilege. Raises psycopg.Error."""
    async with connection.transaction(), connection.cursor(row_factory=tuple_rows) as cursor:
        await cursor.execute("SET LOCAL search_path = ''")
        await cursor.execute(_query())
        return tuple(Given(*map(str, row)) for row in await cursor.fetchall())


def kept(
    statements: Iterable[Statement], given: Iterable[Given], before: Iterable[Difference], scope: Scope
) -> Iterator[tuple[Difference, str]]:
    """Of these differences those that stay, since a statement takes back what is another's to take back; and why."""
    others = list(given)
    for sql in (s.sql for s in statements if s.sql.startswith("REVOKE ")):
        if found := next((g for g in others if _takes(sql, g)), None):
            why = f"`{found.grantee}` has privileges from `{found.grantor}`, who alone takes them back"
            yield from ((d, why) for d in before if _is_of(named(d.identity, scope), found.object))


def _takes(sql: str, given: Given) -> bool:
    """Whether it takes this privilege from whom it was given to, or from him who gave it on."""
    starts = (f"REVOKE {given.privilege} ", f"REVOKE GRANT OPTION FOR {given.privilege} ")
    ends = tuple(f" {given.object} FROM {role}" for role in (given.grantee, given.grantor))
    return sql.startswith(starts) and sql.endswith(ends)


def _is_of(identity: str, object_: str) -> bool:
    """Whether it is the object or a column of it."""
    return identity == object_ or identity.startswith(f"{object_}.")


@cache
def _query() -> bytes:
    return resources.files(__package__).joinpath("grantors.sql").read_bytes()
