"""What a plain step has sent to one target, kept to be sent to the next one of the same process as it is.

A plain step whose statements were all sent without waiting for an answer has not learned anything from its target, so
its statements follow from its file and from what is known before it begins. Making them takes Alembic and SQLAlchemy
longer than sending them takes us.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from sqlalchemy import Connection

from ehg_migrate.database.leaving import TargetConnection
from ehg_migrate.environment.dialect import SessionDialect
from ehg_migrate.model import Target


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
"""The statements of steps that this process has done."""


def key(source: bytes, function: str, around: Hashable) -> Key | None:
    """Under what a step's statements are kept; None where it is not known what they depend on."""
    return (hashlib.sha256(source).digest(), function, around) if around is not None else None


def surroundings(connection: Connection, driver: TargetConnection, target: Target, *, models: bool) -> Hashable:
    """All that the statements of a plain step depend on beside its file; None where more is possible.

    With `models` names follow conventions that the project's own code sets.
    """
    dialect = connection.dialect
    if models or not isinstance(dialect, SessionDialect):
        return None
    escapes = driver.info.parameter_status("standard_conforming_strings")
    return (dialect.facts, driver.info.server_version, escapes, repr(sorted(target.alembic.items())))
