"""How each schema of a fleet stands: there or not, how large, and whom it is like. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from ehg_migrate.database.asking import Connection, ask_all
from ehg_migrate.database.faults import look_fault
from ehg_migrate.database.probe import Reading
from ehg_migrate.database.probe import read as read_state
from ehg_migrate.errors import Problem
from ehg_migrate.model import State, Target
from ehg_migrate.schema.catalog import read_fingerprint_async
from ehg_migrate.schema.recipe import drift_scope

_SIZES = """
SELECT count(*) AS tables, coalesce(sum(greatest(s.n_live_tup, 0)), 0)::bigint AS rows,
       coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes
  FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
 WHERE c.relkind IN ('r', 'm') AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
"""


@dataclass(frozen=True, slots=True)
class Measure:
    """What one connection brought home of a schema."""

    fingerprint: str
    tables: int
    rows: int  # as the server's statistics estimate them
    bytes: int  # with indexes and what is stored apart


@dataclass(frozen=True, slots=True)
class Standing:
    """One target that is a schema. `alike` are the targets whose schemas equal it, whatever they are called."""

    target: str
    database: str
    schema: str
    protected: bool
    exists: bool | None  # None where that is not known
    state: State
    measure: Measure | None = None  # None where there is nothing to measure, or it could not be
    alike: tuple[str, ...] = ()
    problem: Problem | None = None  # why it could not be


class Measuring:
    """A probe that measures schemas on the same connections: `probe` for `read_states`, then `found` by target."""

    def __init__(self) -> None:
        self.found: dict[str, Measure | Problem] = {}
        self.exists: dict[str, bool] = {}

    def probe(
        self, targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int
    ) -> dict[str, Reading | Problem]:
        """As `database.probe.probe`."""
        return ask_all(targets, passwords, at_once, self._ask)  # type: ignore[return-value]  # _ask: a Reading

    async def _ask(self, connection: Connection, target: Target) -> Reading:
        reading = await read_state(connection, target)
        self.exists[target.name] = reading.has_schema
        if reading.has_schema:
            try:
                self.found[target.name] = await _measure(connection, target)
            except psycopg.Error as e:
                self.found[target.name] = look_fault(e)
        return reading


async def _measure(connection: Connection, target: Target) -> Measure:
    """Raises psycopg.Error, also where a table stays locked."""
    fingerprint = await read_fingerprint_async(connection, drift_scope(target), target.limits.look)
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '2s'")
        row = await (await connection.execute(_SIZES, (target.schema,))).fetchone()
    assert row is not None
    tables, rows, size = (int(str(value)) for value in row.values())
    return Measure(fingerprint, tables, rows, size)


def standings(targets: Sequence[Target], states: Iterable[State], measured: Measuring) -> tuple[Standing, ...]:
    """For each target, in their order."""
    by_name = {s.target: s for s in states}
    return tuple(_standing(t, by_name[t.name], measured) for t in targets)


def _standing(target: Target, state: State, measured: Measuring) -> Standing:
    found = measured.found.get(target.name)
    measure, problem = (None, found) if isinstance(found, Problem) else (found, None)
    others = [
        name
        for name, other in measured.found.items()
        if measure and name != target.name and isinstance(other, Measure) and other.fingerprint == measure.fingerprint
    ]
    return Standing(
        target=target.name,
        database=str(target.address),
        schema=target.schema,
        protected=target.protected,
        exists=measured.exists.get(target.name),
        state=state,
        measure=measure,
        alike=tuple(sorted(others)),
        problem=problem,
    )
