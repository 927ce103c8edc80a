"""The statements of plain steps made without sending any: Alembic and SQLAlchemy work on a connection that notes them.

Only plain files are loaded (plain.py), from the very bytes whose checksum the plan has, so it does not matter for which
target they are loaded, and what they work on is kept for the next one.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import psycopg
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from psycopg.adapt import AdaptersMap
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ehg_migrate.database.flight import text_with
from ehg_migrate.database.leaving import TargetConnection, text_of
from ehg_migrate.database.single import NeedsPair, SingleSession
from ehg_migrate.environment.dialect import DRIVER
from ehg_migrate.environment.hosting import options, scripts, url_of
from ehg_migrate.environment.naming import NOTHING, Memo, Named, named_in
from ehg_migrate.environment.pipelining import is_silent, line_in
from ehg_migrate.environment.replaying import Statement, keep, key, known, waited
from ehg_migrate.model import Step
from ehg_migrate.revisions.plain import plain_functions
from ehg_migrate.settings import Settings


def make_known(settings: Settings, session: SingleSession, steps: Iterable[Step], around: Hashable) -> None:
    """Runs the functions of those that are not known, each after what is known of those before it.

    Raises NeedsPair where anything is not plain, and whatever a function raises.
    """
    room, named = _room(settings, session, around), NOTHING
    for step in steps:
        if made := known(step, around, named):
            named = made.named
            continue
        try:
            named = room.make(step, settings.root / step.path, named)
        except BaseException as e:
            _last.clear()  # SQLAlchemy may take its transaction for broken
            if isinstance(e, NeedsPair):
                waited.add((step.checksum, step.direction))
            raise


class _Notes:
    """Stands for the driver's connection, with all of it that SQLAlchemy has to do with."""

    autocommit = False

    def __init__(self, driver: TargetConnection) -> None:
        self.driver = driver  # of the target for which something is made now
        self.adapters = AdaptersMap(psycopg.adapters)
        self.function: CodeType | None = None  # the one that runs
        self.statements: list[Statement] = []

    @property
    def info(self) -> psycopg.ConnectionInfo:
        """What the server is."""
        return self.driver.info

    def add_notice_handler(self, handler: Callable[..., None]) -> None:
        """There is nobody who would say anything."""

    def cursor(self) -> _Cursor:
        """One that notes."""
        return _Cursor(self)

    def commit(self) -> None:
        """Nothing was sent."""

    rollback = close = commit

    def note(self, query: Any, arguments: tuple[Any, ...]) -> None:
        """Raises NeedsPair where this must be waited for: its answer may decide what comes next."""
        line = line_in(self.function, sys._getframe(2)) if self.function else None
        if line is None or any(arguments) or not is_silent(text_of(query, self.driver)):
            raise NeedsPair
        self.statements.append(Statement(text_with(self.driver, query, *arguments), line.tb_lineno))


class _Cursor:
    description = None
    rowcount = -1

    def __init__(self, notes: _Notes) -> None:
        self._notes = notes

    def execute(self, query: Any, *arguments: Any) -> None:
        """It is only noted."""
        self._notes.note(query, arguments)

    def close(self) -> None:
        """Nothing was opened."""


class _Room:
    """What functions of revisions work in, for targets that are alike in all that statements depend on (`around`)."""

    def __init__(self, settings: Settings, session: SingleSession, around: Hashable) -> None:
        self.around = around
        self.notes = _Notes(session.work)
        engine = create_engine(
            url_of(session.target).set(drivername=DRIVER),
            creator=lambda: self.notes,
            poolclass=NullPool,
            facts=session.found.facts,
        )
        self._environment = EnvironmentContext(*scripts(settings, session.target))
        with self._environment:
            self._environment.configure(connection=engine.connect(), **options(session.target))
            self._migration = self._environment.get_context()

    def make(self, step: Step, path: Path, before: Named) -> Named:
        """Keeps what a step sends where these types have been named before; those that are afterwards."""
        source = path.read_bytes()
        if hashlib.sha256(source).hexdigest() != step.checksum:
            raise NeedsPair  # the file is another than at the time of the plan
        function = _function(source, path, step.direction.function)
        self._migration.impl.memo = memo = Memo(before)  # type: ignore[assignment]  # used as the dictionary that it was
        self.notes.function, self.notes.statements = function.__code__, []
        with self._environment, Operations.context(self._migration):
            function()
        under = key(source, function.__name__, self.around)
        assert under is not None
        keep(under, self.notes.statements, before, memo)
        return named_in(memo)


_last: list[_Room] = []


def _room(settings: Settings, session: SingleSession, around: Hashable) -> _Room:
    if not (_last and _last[0].around == around):
        _last[:] = [_Room(settings, session, around)]
    _last[0].notes.driver = session.work
    return _last[0]


def _function(source: bytes, path: Path, name: str) -> FunctionType:
    tree = ast.parse(source, path)
    if name not in plain_functions(tree):
        raise NeedsPair
    module = ModuleType(path.stem)
    exec(compile(tree, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - a revision is a program
    function = getattr(module, name)
    assert isinstance(function, FunctionType)
    return function
