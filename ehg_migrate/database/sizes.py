"""How large tables are on their targets, asked live: one connection and one message a target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

import psycopg
from psycopg import sql

from ehg_migrate.database.answers import tuple_rows
from ehg_migrate.database.asking import Connection, ask_all
from ehg_migrate.database.faults import look_fault
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Target

_SIZES = "\n".join(
    line
    for line in resources.files(__package__).joinpath("sizes.sql").read_text(encoding="utf-8").splitlines()
    if not line.startswith("--")
)


@dataclass(frozen=True, slots=True)
class Size:
    """What a table holds, its partitions together."""

    bytes: int  # with indexes
    heap: int  # bytes of its rows alone
    rows: int | None  # PostgreSQL's estimate; None where it was never analyzed


Sizes = Mapping[str, Size | None]
"""Table, quoted and qualified -> its size; None where there is no such table."""


def read_sizes(
    targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int, tables: Mapping[str, Iterable[str]]
) -> dict[str, Sizes | Problem]:
    """For each target the sizes of its `tables`, or why they cannot be read. Reads only; never raises for a target."""

    async def ask(connection: Connection, target: Target) -> Sizes:
        names = sql.Literal(sorted(tables[target.name]))
        try:
            async with connection.cursor(row_factory=tuple_rows) as cursor:
                await cursor.execute(sql.SQL(_SIZES).format(tables=names), prepare=False)
                while cursor.description is None and cursor.nextset():
                    pass
                return {row[0]: Size(*row[2:]) if row[1] else None for row in await cursor.fetchall()}
        except psycopg.Error as e:
            raise TargetError(look_fault(e)) from e

    return ask_all(targets, passwords, at_once, ask)  # type: ignore[return-value]  # ask gives Sizes
