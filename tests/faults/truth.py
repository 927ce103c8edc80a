"""What a target's database holds, read past every proxy from its catalogues, its journal and the steps' own trail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.faults.histories import History, Node

_OBJECTS = r"""
SELECT CASE WHEN c.relkind = 'i' AND NOT i.indisvalid THEN 'invalid ' ELSE '' END
       || CASE c.relkind WHEN 'r' THEN 'table' WHEN 'i' THEN 'index' WHEN 'v' THEN 'view' ELSE c.relkind::text END
       || ' ' || c.relname
  FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
 WHERE c.relnamespace IN ('public'::regnamespace, 'lab'::regnamespace) AND c.relname NOT LIKE '%\_pkey'
   AND NOT (c.relnamespace = 'lab'::regnamespace AND c.relname IN ('trail', 'data', 'big', 'trail_seq_seq'))
   AND c.relkind <> 'S'
UNION ALL
SELECT 'type ' || t.typname || '(' || string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) || ')'
  FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid GROUP BY t.oid, t.typname
"""
_JOURNAL = (
    "SELECT run, event, revision, direction, heads_before, heads_after, target_name, seconds"
    " FROM ehg_migrate.migration_journal ORDER BY seq"
)
_TRAIL = "SELECT revision, direction, target, extract(epoch FROM at)::float FROM lab.trail ORDER BY seq"


@dataclass(frozen=True)
class Entry:
    """One row of the journal."""

    run: str
    event: str
    revision: str
    direction: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    target: str
    seconds: float


@dataclass(frozen=True)
class Truth:
    """One moment of one database."""

    rows: tuple[str, ...]
    journal: tuple[Entry, ...]
    trail: tuple[tuple[str, str, str], ...]  # (revision, direction, target), in order
    times: tuple[float, ...]  # of its rows, by the server's clock
    objects: frozenset[str]
    data: Counter[tuple[str, str]]  # (revision, target)

    @property
    def last(self) -> float:
        """When its last step ran; 0 where none has."""
        return max(self.times, default=0.0)

    def applied(self) -> frozenset[str]:
        """By the journal: what went up and did not come down again."""
        last = {e.revision: e.direction for e in self.journal if e.event == "done"}
        return frozenset(r for r, direction in last.items() if direction == "up")

    def unfinished(self) -> dict[str, Entry]:
        """By the journal: what left its transaction and was not seen to end."""
        last = {e.revision: e for e in self.journal if e.event in ("done", "started")}
        return {r: e for r, e in last.items() if e.event == "started"}

    def done(self, run: str) -> list[tuple[str, str]]:
        """What one run did, in order."""
        return [(e.revision, e.direction) for e in self.journal if e.event == "done" and e.run == run]


def read_truth(connection: psycopg.Connection) -> Truth:
    """In one snapshot."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(
            "SET LOCAL lock_timeout = '20s'"
        )  # a lock that nobody should hold is a finding, no standstill
        ours = connection.execute("SELECT to_regclass('ehg_migrate.migration_journal') IS NOT NULL").fetchone()
        laid_out = bool(ours and ours[0])
        rows = _all(connection, "SELECT version_num FROM ehg_migrate.alembic_version ORDER BY 1") if laid_out else []
        journal = _all(connection, _JOURNAL) if laid_out else []
        trail = _all(connection, _TRAIL)
        return Truth(
            rows=tuple(sorted(r[0] for r in rows)),
            journal=tuple(Entry(r[0], r[1], r[2], r[3], tuple(r[4]), tuple(r[5]), *r[6:]) for r in journal),
            trail=tuple((r, d, t) for r, d, t, _ in trail),
            times=tuple(at for *_, at in trail),
            objects=frozenset(r[0] for r in _all(connection, _OBJECTS)),
            data=Counter((r, t) for r, t in _all(connection, "SELECT revision, target FROM lab.data")),
        )


def _all(connection: psycopg.Connection, statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode()).fetchall()


def objects_of(node: Node, target: str) -> frozenset[str]:
    """What a step leaves in the catalogues: `table t` becomes `table t_<revision>_<target>`, a plain one without it."""
    found, end = set(), node.id if node.kind.plain else f"{node.id}_{target}"
    for thing in node.kind.objects:
        name, bracket, labels = thing.partition("(")
        found.add(f"{name}_{end}{bracket}{labels}")
    return frozenset(found)


def expected_objects(history: History, target: str, applied: frozenset[str]) -> frozenset[str]:
    """What all these steps leave."""
    return frozenset(o for i in applied for o in objects_of(history.by_id[i], target))


def expected_data(history: History, target: str, applied: frozenset[str]) -> Counter[tuple[str, str]]:
    """The rows that all these steps leave in lab.data."""
    return Counter({(i, target): history.by_id[i].kind.rows for i in applied if history.by_id[i].kind.rows})
