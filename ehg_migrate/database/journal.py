"""The target's own append-only record: what was done to it, written where and when it was done."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import psycopg

from ehg_migrate.database.statements import joined, query
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import JournalEntry, Origin, Target

if TYPE_CHECKING:
    from ehg_migrate.database.flight import Flight

_SWALLOWED = Problem(
    "journal_swallowed",
    "the journal took no entry, without an error: a trigger or a rule on it does away with its rows",
    "take that from `migration_journal`: without its entry no step is committed",
)


@dataclass(frozen=True, slots=True)
class Moment:
    """When something began: by the wall clock, for people, and by one that nobody sets, for how long it took."""

    at: datetime
    ticks: float

    @classmethod
    def now(cls) -> Self:
        """This one."""
        return cls(datetime.now(UTC), time.monotonic())

    @property
    def seconds(self) -> float:
        """Since then."""
        return time.monotonic() - self.ticks


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the server says while it writes an entry."""

    transaction: str | None  # what became of the one that was asked about: this, in progress, committed, aborted
    rows: tuple[str, ...]  # the version rows, if they were asked for


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be written of a revision."""

    event: str
    revision: str
    direction: str
    branch: str
    checksum: str
    heads_before: tuple[str, ...]
    heads_after: tuple[str, ...]
    began: Moment
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes the entries of one run on one target."""

    target: Target
    run: str
    origin: Origin

    def record(
        self, connection: psycopg.Connection, entry: Entry, *, transaction: str | None = None, rows: bool = False
    ) -> Recorded:
        """Writes it in whatever transaction `connection` is in. Raises psycopg.Error.

        TargetError where the server did not write it, and did not say so. In the same message it asks what became of a
        `transaction`, and for the version `rows`.
        """
        statement = joined("record record_answer record_rows" if rows else "record record_answer", self.target)
        found = connection.execute(statement, self._values(entry, transaction)).fetchone()
        if found is None:
            raise TargetError(_SWALLOWED)
        return Recorded(found[0], tuple(found[1]) if rows else ())

    def done(self, connection: psycopg.Connection) -> frozenset[str]:
        """The revisions that this run has done here, up or down. Raises psycopg.Error."""
        asked = query("done_in_run", self.target), {"target": self.target.name, "run": self.run}
        return frozenset(row[0] for row in connection.execute(*asked).fetchall())

    def has(self, connection: psycopg.Connection, event: str) -> bool:
        """Whether this run has such an entry here. Raises psycopg.Error."""
        asked = query("has_event", self.target), {"target": self.target.name, "run": self.run, "event": event}
        return connection.execute(*asked).fetchone() is not None

    def send(self, flight: Flight, entry: Entry, transaction: str) -> None:
        """Lets it go along.

        It fails there where it is not written, the version rows are not `heads_after`, or the transaction is another.
        """
        flight.ask(joined("record_within record record_planned", self.target), self._values(entry, transaction))

    def _values(self, entry: Entry, transaction: str | None) -> dict[str, object]:
        return {
            "target": self.target.name,
            "run": self.run,
            "event": entry.event,
            "revision": entry.revision,
            "direction": entry.direction,
            "branch": entry.branch,
            "checksum": entry.checksum,
            "heads_before": list(entry.heads_before),
            "heads_after": list(entry.heads_after),
            "started_at": entry.began.at,
            "seconds": entry.began.seconds,
            "actor": self.origin.actor,
            "host": self.origin.host,
            "git_commit": self.origin.git_commit,
            "tool_version": self.origin.tool_version,
            "detail": entry.detail,
            "transaction": transaction,
        }


def read_entry(row: Mapping[str, Any]) -> JournalEntry:
    """A row of the `journal` query as the noun that it is. Raises ValueError where somebody made the table another."""
    entry = JournalEntry(
        **{
            **row,
            "heads_before": tuple(row["heads_before"]),
            "heads_after": tuple(row["heads_after"]),
        }
    )
    if not _as_made(entry):
        raise ValueError("an entry of the journal holds what is none of ours")
    return entry


def _as_made(e: JournalEntry) -> bool:
    """Whether every value is one that an entry of ours can have."""
    texts = (
        e.run,
        e.event,
        e.revision,
        e.direction,
        e.branch,
        e.checksum,
        e.actor,
        e.host,
        e.git_commit,
        e.tool_version,
    )
    return (
        all(isinstance(text, str) for text in (*texts, e.detail, e.target, *e.heads_before, *e.heads_after))
        and e.direction in ("up", "down", "")
        and isinstance(e.seq, int)
        and isinstance(e.started_at, datetime)
        and e.started_at.tzinfo is not None
        and isinstance(e.seconds, float)
        and math.isfinite(e.seconds)
    )
