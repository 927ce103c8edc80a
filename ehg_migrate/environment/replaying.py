"""What a plain step has sent to one target, kept to be sent to the next one of the same process as it is.

A plain step whose statements were all sent without waiting for an answer has not learned anything from its target, so
its statements follow from its file and from what is known before it begins. Making them takes Alembic and SQLAlchemy
longer than sending them takes us.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from psycopg.sql import SQL

from ehg_migrate.database.claim import Facts
from ehg_migrate.database.leaving import TargetConnection
from ehg_migrate.database.statements import query
from ehg_migrate.environment.naming import Memo, Named, named_in
from ehg_migrate.model import Direction, Step, Target


@dataclass(frozen=True, slots=True)
class Statement:
    """One, and the line of the revision that it comes from."""

    text: bytes
    line: int

    def place(self, path: Path) -> TracebackType | None:
        """What an error of this statement says of its line in this file, as it would if that had just been run.

        Branches may hold the same file, so whose it is stands in the plan.
        """
        try:
            exec(compile("\n" * (self.line - 1) + "raise LookupError", path, "exec"), {})  # noqa: S102 - ours
        except LookupError as e:
            return e.__traceback__.tb_next if e.__traceback__ else None
        return None


@dataclass(frozen=True, slots=True)
class Made:
    """What a step sends, and which types have been named when it ends."""

    statements: tuple[Statement, ...]
    named: Named


Key = tuple[bytes, str, Hashable]
"""The revision's file, its function, and all else that its statements depend on but the types named before it."""

made: dict[tuple[Key, Named | None], Made] = {}
"""What steps have sent that this process, or another of its run, has done; new ones come last.

With the types that were named before, or None where the step has nothing to do with those.
"""

waited: set[tuple[str, Direction]] = set()
"""Steps, by checksum and direction, that this process could not make known: something of them is to be waited for."""


def key(source: bytes, function: str, around: Hashable) -> Key | None:
    """Under what a step is kept; None where it is not known what it depends on."""
    return (hashlib.sha256(source).digest(), function, around) if around is not None else None


def keep(under: Key, statements: Iterable[Statement], before: Named, memo: Memo) -> None:
    """Keeps what a step has sent; `memo` is the one that it ran with, `before` what was in it."""
    made[under, before if memo.asked else None] = Made(tuple(statements), named_in(memo))


def found(under: Key | None, named: Named) -> Made | None:
    """What is known of a step, where these types have been named before it."""
    if under is None:
        return None
    free = made.get((under, None))
    return Made(free.statements, named) if free else made.get((under, named))


def known(step: Step, around: Hashable, named: Named) -> Made | None:
    """The same of a planned step, by the file that the plan was made from."""
    return found((bytes.fromhex(step.checksum), step.direction.function, around), named)


def told_since(number: int) -> Iterator[tuple[str, bytes]]:
    """What was made after the first `number`, for another process: a step's checksum, and what `hear` takes."""
    for made_key in list(made)[number:]:
        (checksum, *_), _ = made_key
        yield checksum.hex(), pickle.dumps((made_key, made[made_key]))


def hear(pickled: bytes) -> None:
    """Keeps what another process of this run has made."""
    made_key, sent = pickle.loads(pickled)  # noqa: S301 - from our own process, through a pipe of ours
    made.setdefault(made_key, sent)


def surroundings(facts: Facts, driver: TargetConnection, target: Target) -> Hashable:
    """All that the statements of a plain step depend on beside its file, where no models are named: with them names
    follow conventions that the project's own code sets.

    Not the numbers of hstore, which every database has its own of: they are for values, and a step has none.
    """
    facts = replace(facts, hstore=(0, 0, facts.hstore[2]) if facts.hstore else None)
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
