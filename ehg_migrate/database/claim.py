"""How a target becomes ours: its lock taken, our tables in place, our name on them, and what it holds, in one message.

The lock is polled, never waited for: a blocked waiter is an open transaction, and CREATE INDEX CONCURRENTLY waits for
those.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import psycopg
from psycopg import sql

from ehg_migrate.database.connections import Notice, check_settings, settings
from ehg_migrate.database.faults import NOTHING_OF_OURS, TAKES_NO_WRITES
from ehg_migrate.database.journal import Journal
from ehg_migrate.database.records import Canonical, refuse_another, refuse_recorded
from ehg_migrate.database.statements import joined, layout, query, version_name
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import Target

_LONGEST_ID = 255  # of a version table that we make; where another has no limit, a longer id is not to be had either
ANOTHER_DATABASE = "another_database"
_POLL = 0.25  # seconds between two looks at a lock that somebody else has
_LEAVING = 5.0  # seconds for a session that the run itself has lost: the server notices within half a second, mostly


@dataclass(frozen=True, slots=True)
class Facts:
    """What SQLAlchemy wants to know of a server."""

    default_schema: str | None  # none where the search_path leads nowhere
    isolation_level: str
    hstore: tuple[int, int, str] | None  # the numbers of the type and of its array, and its name

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """Of the one row that the statement `facts` gives."""
        schema, isolation, number, array, name = row
        return cls(schema, isolation, (number, array, name) if number else None)


@dataclass(frozen=True, slots=True)
class Found:
    """A target at the moment when it became ours."""

    heads: tuple[str, ...]
    unfinished: frozenset[tuple[str, str]]  # (direction, revision) of steps that began outside a transaction
    version_id_length: int
    broken_by: str  # who ended the session that this run had here before
    facts: Facts


class Claim:
    """One runner's, on the connection that is to hold the lock; that one still listens to the proof's channel."""

    def __init__(
        self,
        lock: psycopg.Connection,
        journal: Journal,
        key: int,
        notice: Notice,
        *,
        adopting: bool,
        canonical: Canonical | None = None,
        done: Sequence[str] = (),
        begun: bool = False,
    ) -> None:
        self._lock = lock
        self._target = journal.target
        self._journal = journal
        self._keys = {"key": key, "work_key": key + 1}
        self._notice = notice
        self._adopting = adopting
        self._canonical = canonical
        self._done = done  # what its run has committed here before
        self._begun = begun  # whether it may have begun something here, so that there is something to be found out

    def make(self) -> Found:
        """Raises TargetError: another runner is at work, somebody else's Alembic was, no privilege; psycopg.Error."""
        found = self._ask()
        if found is None:
            self._wait()
            self._lay_out()
            found = self._ask()
        if found is None:
            from ehg_migrate.database.asking import strange  # seldom

            raise TargetError(
                strange("something that a table of ours needs is not there, as what a trigger on it reads")
            )
        return found

    def _ask(self) -> Found | None:
        """Everything at once; None where the lock is another's or a table of ours is missing."""
        origin = self._journal.origin
        values = {
            **settings(self._target),
            "within": False,
            **self._keys,
            "schema": self._target.version_table_schema,
            "version": version_name(self._target),
            "target": self._target.name,
            "run": self._journal.run,
            "actor": origin.actor,
            "host": origin.host,
            "pid": origin.pid,
            "git_commit": origin.git_commit,
        }
        try:
            answers = together(self._lock, self._target, _ENTERING, values)
        except NOTHING_OF_OURS:
            return None
        except TAKES_NO_WRITES:
            if not self._begun:
                raise
            answers = together(self._lock, self._target, _LOOKING, values)
        check_settings(answers["settings"][0], self._target)
        if not answers["claim"][0][0]:
            return None
        facts, former = Facts.of(answers["facts"][0]), answers.get("clear_lease")
        refuse_home(facts.default_schema, self._target)
        return Found(
            heads=tuple(row[0] for row in answers["version_heads"]),
            unfinished=frozenset(answers["unfinished"] and self._unfinished()),
            version_id_length=id_length(answers),
            broken_by=former[0][1] if former and former[0][0] == self._journal.run else "",
            facts=replace(facts, default_schema=self._target.schema or facts.default_schema),
        )

    def _unfinished(self) -> list[tuple[str, str]]:
        """Those of this target, where there are some of anybody's."""
        asked = query("unfinished", self._target), {"target": self._target.name}
        return self._lock.execute(*asked).fetchall()

    # --- where somebody else has the lock

    def _wait(self) -> None:
        queue = max(self._target.limits.queue, _LEAVING if self._begun else 0)
        deadline = time.monotonic() + queue
        told = False
        while True:
            row = self._lock.execute(query("claim"), self._keys).fetchone()
            if row and row[0]:
                return
            holder = self._holder(self._keys["work_key" if row and row[1] else "key"])
            if time.monotonic() >= deadline:
                raise TargetError(_busy(holder, queue))
            if holder and self._journal.run not in holder and not told:
                self._notice(f"waiting for another runner: {holder}")
                told = True
            time.sleep(_POLL)  # there is no way to wait for an advisory lock without an open statement

    def _holder(self, key: int) -> str:
        row = self._lock.execute(query("holder"), {"key": key}, binary=True).fetchone()
        if row is None:
            return ""  # it has just gone
        pid, application, address, since, _ = row
        lease = self._lease(pid)
        if lease:
            run, actor, host, process, commit, taken = lease
            origin = f"{actor} on {host} (process {process}, commit {commit[:12] or 'none'})"
            return f"run {run} of {origin} since {taken:%F %T %Z}"
        # another role's session hides when it began and where it comes from
        began = f" since {since:%F %T %Z}" if since else ""
        return f"backend {pid} `{application}` from {address or 'an unknown address'}{began}"

    def _lease(self, pid: int) -> tuple[str, str, str, int, str, datetime] | None:
        try:
            return self._lock.execute(query("lease", self._target), {"pid": pid}, binary=True).fetchone()
        except NOTHING_OF_OURS:
            return None  # the holder is just making the tables

    # --- where our tables are missing

    def _lay_out(self) -> None:
        asked = query("layout", self._target), {"version": version_name(self._target)}
        found = self._lock.execute(*asked).fetchone() or (False, False, False, None, False)
        journal, version, has_foreign, elsewhere, lease = found
        if self._done and not journal:
            raise TargetError(another_database(self._done))
        if not version and not self._adopting:
            refuse_another(self._lock, self._target, has_foreign, elsewhere)
            if self._canonical and not journal:
                refuse_recorded(self._lock, self._target, self._canonical)
        if not (journal and version and lease):
            self._make_layout()

    def _make_layout(self) -> None:
        try:
            self._lock.execute(layout(self._target))  # several statements in one message: all or nothing
        except psycopg.errors.InsufficientPrivilege as e:
            raise TargetError(
                Problem(
                    "no_privilege",
                    f"our tables cannot be made: {e.diag.message_primary}",
                    "`ehg-migrate doctor -t TARGET` says what is missing, and what gives it",
                    sqlstate=e.sqlstate,
                )
            ) from e


# The claim is a transaction of its own: where a role's transactions keep their first snapshot, what is read after it
# would be older than the lock.
_ENTERING = (
    "BEGIN", "UNLISTEN *", "RESET search_path", "settings", "claim", "COMMIT",
    "id_length", "facts", "clear_lease", "take_lease", "number_on", "version_heads", "unfinished",
)  # fmt: skip
_LOOKING = tuple(name for name in _ENTERING if name not in ("clear_lease", "take_lease", "number_on"))


def together(
    connection: psycopg.Connection, target: Target, names: tuple[str, ...], values: dict[str, Any]
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of several statements, sent as one message.

    Each is in capitals itself, or the names of its parts in `queries.sql`, of which the first is its own. They read
    anyone's entries of the journal. Raises psycopg.Error; a statement that fails undoes those before it, back to the
    last COMMIT.
    """
    texts = [sql.SQL(n) if n[0].isupper() else joined(n, target, anyone=True) for n in names]
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(sql.SQL(";\n").join(texts), values)
    rows = [cursor.fetchall() if cursor.description else [] for _ in cursor.results()]
    return {name.partition(" ")[0]: found for name, found in zip(names, rows, strict=True)}


def id_length(answers: dict[str, list[tuple[Any, ...]]]) -> int:
    """How long the id of a revision may be, by the answer to that question."""
    found = answers["id_length"]
    return found[0][0] if found else _LONGEST_ID


def another_database(done: Sequence[str]) -> Problem:
    """What is said where a run has come back to a target, and what it has committed there is not in the journal."""
    return Problem(
        ANOTHER_DATABASE,
        f"what answers at this address has nothing of {quoted(done, 8)}, which this run has committed there: it is "
        "another database by now, or one that was set back in time",
        "find out where the address leads, and why; where that is right, run again: it goes on from what is there",
    )


def refuse_home(schema: str | None, target: Target) -> None:
    """Raises TargetError where the first schema of the path is that of temporary tables, or ours."""
    if schema == target.meta_schema and not target.schema:
        raise TargetError(
            Problem(
                "home_is_ours",
                f"what its revisions make without naming a schema would be among our own tables: `{schema}` comes "
                "first in the `search_path` of this role or database",
                "ALTER ROLE, or ALTER DATABASE, ... SET search_path without it, or RESET it",
            )
        )
    if schema and schema.startswith("pg_temp_") and not target.schema:
        raise TargetError(
            Problem(
                "temporary",
                "what its revisions make without naming a schema would be temporary, and gone with the session: "
                "`pg_temp` comes first in the `search_path` of this role or database",
                "ALTER ROLE, or ALTER DATABASE, ... SET search_path with another schema before it, or RESET it",
            )
        )


def _busy(holder: str, waited: float) -> Problem:
    return Problem(
        "locked",
        f"another runner is at work here, waited {waited:g} s: {holder or 'it has just gone'}",
        "let it end, or raise `queue_timeout`; `ehg-migrate locks break TARGET` ends one that is dead or will not end",
    )
