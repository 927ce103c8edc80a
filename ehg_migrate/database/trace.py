"""What a step did to a server, as its own session saw it: values that travel from the worker to a rehearsal. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

EXCLUSIVE = "AccessExclusiveLock"
"""The lock that keeps readers out."""

STRONG = frozenset({"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", EXCLUSIVE})
"""Locks that keep writers out."""


@dataclass(frozen=True, slots=True)
class Touch:
    """What one statement did to one table that was there before the step; a partition counts as its whole."""

    table: str  # `public.orders`, quoted
    locks: tuple[str, ...] = ()  # those of STRONG that the step holds on it after the statement
    locked: bool = False  # one of these was taken by the statement
    rewritten: bool = False  # it has other files now
    scanned: bool = False  # it was read from its beginning to its end
    written: bool = False  # rows were added, changed or deleted, or could have been
    emptied: bool = False  # it has other files because nothing of the old ones was read, as by TRUNCATE


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of the revision: a statement, or a text of several."""

    line: int  # of the revision's file; 0 where it is not known
    tags: tuple[str, ...]  # PostgreSQL's words for what was done: `ALTER TABLE`, `UPDATE`, `DO`
    held: tuple[str, ...] = ()  # two of the tables that the step had locked against readers before it, and still has
    touched: tuple[Touch, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """An object that has another name or shape after the step: `renamed`, `changed`, `made`, `gone`."""

    how: str
    kind: str  # as facts call it
    schema: str  # unquoted; where it is, or was
    name: str  # now; before, if it is gone
    former: str = ""  # of what was renamed


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that was seen of one step."""

    sent: tuple[Sent, ...] = ()
    changes: tuple[Change, ...] = ()
    without_index: tuple[str, ...] = ()  # foreign keys after the step whose columns no index begins with

    def dumps(self) -> str:
        """As a line of JSON."""
        return json.dumps(asdict(self))


NOTHING = Trace()
"""Of a step that nobody watched."""


def loads(text: str) -> Trace:
    """What `dumps` wrote; nothing at all where the text is empty."""
    if not text.strip():
        return NOTHING
    data: dict[str, Any] = json.loads(text)
    sent = tuple(
        Sent(s["line"], tuple(s["tags"]), tuple(s["held"]), tuple(_touch(t) for t in s["touched"]))
        for s in data["sent"]
    )
    return Trace(sent, tuple(Change(**c) for c in data["changes"]), tuple(data["without_index"]))


def _touch(data: dict[str, Any]) -> Touch:
    return Touch(**{**data, "locks": tuple(data["locks"])})
