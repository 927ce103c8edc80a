"""What a plain step has sent to one target, kept to be sent to the next one of the same process as it is.

A plain step whose statements were all sent without waiting for an answer has not learned anything from its target, so
its statements follow from its file and from what is known before it begins. Making them takes Alembic and SQLAlchemy
longer than sending them takes us.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from psycopg.sql import SQL

from ehg_migrate.database.claim import Facts
from ehg_migrate.database.leaving import TargetConnection
from ehg_migrate.database.statements import query
from ehg_migrate.model import Step, Target


@dataclass(frozen=True, slots=True)
class Statement:
    """One, as the driver's cursor was given it, and the line of the revision that it comes from."""

    query: Any
    arguments: tuple[Any, ...]
    more: Mapping[str, Any]
    path: str
    line: int

    def place(self) -> TracebackType | None:
        """What an error of this statement says of its line, as it would if the line had just been run."""
        try:
            exec(compile("\n" * (self.line - 1) + "raise LookupError", self.path, "exec"), {})  # noqa: S102 - ours
        except LookupError as e:
            return e.__traceback__.tb_next if e.__traceback__ else None
        return None


Key = tuple[bytes, str, Hashable]
"""The revision's file, its function, and all else that its statements depend on."""

made: dict[Key, tuple[Statement, ...]] = {}
"""The statements of steps that this process, or another of its run, has done; new ones come last."""


def key(source: bytes, function: str, around: Hashable) -> Key | None:
    """Under what a step's statements are kept; None where it is not known what they depend on."""
    return (hashlib.sha256(source).digest(), function, around) if around is not None else None


def known(step: Step, around: Hashable) -> tuple[Statement, ...] | None:
    """The statements of a planned step, from the file that the plan was made from, if this process has done it."""
    return made.get((bytes.fromhex(step.checksum), step.direction.function, around))


def told_since(number: int) -> Iterator[tuple[str, bytes]]:
    """What was made after the first `number`, for another process: a step's checksum, and what `hear` takes."""
    for made_key in list(made)[number:]:
        # what cannot be pickled is made there anew
        with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
            yield made_key[0].hex(), pickle.dumps((made_key, made[made_key]))


def hear(pickled: bytes) -> None:
    """Keeps what another process of this run has made."""
    made_key, statements = pickle.loads(pickled)  # noqa: S301 - from our own process, through a pipe of ours
    made.setdefault(made_key, statements)


def surroundings(facts: Facts, driver: TargetConnection, target: Target) -> Hashable:
    """All that the statements of a plain step depend on beside its file, where no models are named: with them names
    follow conventions that the project's own code sets.
    """
    escapes = driver.info.parameter_status("standard_conforming_strings")
    return (facts, driver.info.server_version, escapes, repr(sorted(target.alembic.items())))


def row_changes(step: Step, target: Target) -> Iterator[tuple[SQL, dict[str, str]]]:
    """The statements, of one row each, that bring the version rows from before a step to after it, as Alembic does."""
    removed = sorted(set(step.heads_before) - set(step.heads_after))
    added = sorted(set(step.heads_after) - set(step.heads_before))
    if removed and added:
        yield query("move_row", target), {"revision": removed.pop(), "becomes": added.pop()}
    for row in removed:
        yield query("clear_row", target), {"revision": row}
    for row in added:
        yield query("put_row", target), {"revision": row}
