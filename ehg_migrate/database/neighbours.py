"""What a step on one schema did to the other schemas of its database: seen before it is committed, and refused.

Nothing is foretold from its text: whatever way a statement took, a row of a catalogue was written by the transaction or
a lock is held by it. What a step does outside of its transaction can only be seen afterwards.
"""

from __future__ import annotations

import psycopg

from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import Target

_NAMED = 5  # objects that a message names before the rest is counted


class Neighbours:
    """Those of a target that is one schema. `work` is the connection of the steps, `work_pid` its backend."""

    def __init__(self, target: Target, lock: psycopg.Connection, work: psycopg.Connection, work_pid: int) -> None:
        self._lock = lock
        self._work = work
        self._asked = {
            "pid": work_pid,
            "ours": [
                target.schema,
                target.meta_schema,
                target.version_table_schema,
                "information_schema",
                *target.touches,
            ],
        }
        self._before: dict[tuple[str, str], str] | None = None  # since the step left its transaction

    def refuse(self, what: str, *, at_end: bool = True) -> None:
        """Raises TargetError where the open transaction wrote to a neighbour; psycopg.Error. Three round trips.

        `at_end`: nothing follows but the COMMIT, so triggers that wait for it are not waited for.
        """
        if at_end:
            self._work.execute("SET CONSTRAINTS ALL IMMEDIATE")
        row = self._lock.execute(query("neighbours_locked"), self._asked).fetchone()
        assert row is not None
        changed = self._work.execute(query("neighbours_changed"), {**self._asked, "next": row[0]}).fetchall()
        found = sorted({*row[1], *(r[0] for r in changed)})
        if found:
            raise TargetError(_touched(what, found))

    def remember(self) -> None:
        """The step is about to leave its transaction. Raises psycopg.Error."""
        if self._before is None:
            self._before = self._now()

    def changed_since(self, what: str) -> Problem | None:
        """What is another since `remember`, whoever did it; asked once. Raises psycopg.Error."""
        before, self._before = self._before, None
        if before is None:
            return None
        now = self._now()
        found = sorted(f"{kind} {name}" for kind, name in {k for k, _ in before.items() ^ now.items()})
        return _changed(what, found) if found else None

    def _now(self) -> dict[tuple[str, str], str]:
        rows = self._lock.execute(query("neighbours_now"), self._asked).fetchall()
        return {(kind, name): number for kind, name, number in rows}


def _touched(what: str, found: list[str]) -> Problem:
    return Problem(
        "touched_neighbour",
        f"{what} made or changed what is in other schemas, so nothing of it was kept: {quoted(found, _NAMED)}",
        "write names without a schema; or name the schema in `touches` of the target, if it belongs to all of them",
    )


def _changed(what: str, found: list[str]) -> Problem:
    return Problem(
        "changed_neighbour",
        f"while {what} was outside its transaction, other schemas changed, by it or by somebody else: "
        f"{quoted(found, _NAMED)}",
        "look at what it does there: it cannot be taken back by itself",
    )
