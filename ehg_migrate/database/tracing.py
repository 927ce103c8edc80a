"""Watches what a revision's function does to the server, from inside its own session: for rehearsals only.

After each message of the revision one question is asked on the same connection, in the same transaction: what it has
locked, read whole, written and rewritten by now. So a DO block hides nothing but the order of what is in it. Outside a
transaction locks are gone before they can be seen; there only commands and rewritten tables are known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial, wraps
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from ehg_migrate.database.leaving import TargetConnection, TargetCursor
from ehg_migrate.database.trace import EXCLUSIVE, STRONG, Change, Sent, Touch, Trace

_WRITES = "RowExclusiveLock"  # of INSERT, UPDATE, DELETE and COPY, with rows or without
_CHANGES_ROWS = frozenset({"UPDATE", "DELETE", "MERGE"})  # commands that also scan
_RELATION = "pg_class"
_ATTRIBUTES = "attributes"
"""How `trace_objects.sql` calls the relation that a composite type's attributes are kept in."""


@dataclass(frozen=True, slots=True)
class _Object:
    """One row of `trace_objects.sql`."""

    catalog: str
    oid: int
    kind: str
    schema: str
    name: str
    root: str | None  # the partitioned table that it is a part of
    file: int | None
    space: int | None
    columns: tuple[str, ...]
    types: tuple[str, ...]
    scans: int  # that the statistics of this session have not handed on yet
    rows: int
    indexes: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """One row of `trace_state.sql`."""

    locks: frozenset[str] = frozenset()
    file: int | None = None
    space: int | None = None
    scans: int = 0
    rows: int = 0


_Objects = Mapping[tuple[str, int], _Object]


class Tracer:
    """Watches the one step of a session, on its working connection, and writes its Trace into a file."""

    def __init__(self, driver: TargetConnection, file: Path) -> None:
        self._driver = driver
        self._plainly = driver.cursor_factory
        self._file = file
        self._code = ""  # the revision's file
        self._sent: list[Sent] = []
        self._before: _Objects = {}
        self._seen: dict[int, _Seen] = {}
        self._rewritten: set[int] = set()  # what has been said to be: a partition has the name of its whole there

    def running(self, function: Callable[..., None]) -> Callable[..., None]:
        """A revision's function, watched while it runs. Nothing is written where it fails."""

        @wraps(function)
        def run(**arguments: Any) -> None:
            self._before = self._objects()
            code = getattr(function, "__code__", None)  # it may be anything that can be called
            self._code = code.co_filename if code else ""
            self._driver.cursor_factory = partial(_Cursor, self)  # type: ignore[assignment]  # called as a class is
            try:
                function(**arguments)
            finally:
                self._driver.cursor_factory = self._plainly
            self._finish()

        return run

    def sent(self, tags: tuple[str, ...]) -> None:
        """A message of the revision has been answered. Raises psycopg.Error."""
        if self._is_quiet():
            self._sent.append(Sent(self._line(), tags))
            return
        former, now = self._seen, self._state()
        held = {oid for oid, seen in former.items() if EXCLUSIVE in seen.locks}
        still = {oid for oid in held if oid in now and EXCLUSIVE in now[oid].locks}
        touched = tuple(self._touches(former, now, not _CHANGES_ROWS.isdisjoint(tags)))
        if self._driver.autocommit and self._driver.info.transaction_status == TransactionStatus.IDLE:
            touched = (*touched, *self._rewritten_unseen(self._objects()))
        self._sent.append(Sent(self._line(), tags, self._two_of(still), touched))
        self._seen = {**former, **now} if self._driver.autocommit else now

    def _is_quiet(self) -> bool:
        """Whether nothing can be asked now: a statement failed, answers are awaited, or no transaction is open."""
        pipeline = self._driver.pgconn.pipeline_status != PipelineStatus.OFF
        status = self._driver.info.transaction_status
        idle = status == TransactionStatus.IDLE and not self._driver.autocommit
        return pipeline or idle or status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS)

    def _touches(self, former: Mapping[int, _Seen], now: Mapping[int, _Seen], changes_rows: bool) -> Iterator[Touch]:
        for oid, seen in now.items():
            table = self._before.get((_RELATION, oid))
            if table is None or table.kind not in ("table", "materialized view", "foreign table"):
                continue
            old = former.get(oid) or _Seen(frozenset(), table.file, table.space, table.scans, table.rows)
            rewritten = seen.file is not None and seen.file != old.file
            self._rewritten |= {oid} if rewritten else set()
            kept = table.kind != "table" or seen.space != old.space
            new = seen.locks - old.locks
            scanned = seen.scans > old.scans
            # the tables here are empty: an UPDATE is known by the first lock of its kind, a second one by what it reads
            again = changes_rows and scanned and _WRITES in seen.locks
            touch = Touch(
                table.root or table.name,
                tuple(sorted(STRONG & seen.locks)),
                locked=bool(STRONG & new),
                rewritten=rewritten,
                scanned=scanned,
                written=seen.rows > old.rows or _WRITES in new or again,
                # TRUNCATE reads the empty table once for each index; what keeps the rows reads them once more
                emptied=rewritten and not kept and seen.scans - old.scans <= table.indexes,
            )
            # what was only locked before is not told again: a step of many tables would tell of all with each statement
            if touch.locked or touch.rewritten or touch.scanned or touch.written:
                yield touch

    def _two_of(self, oids: set[int]) -> tuple[str, ...]:
        """The first two tables: they tell whether there is one, and one beside any other."""
        found = (self._before.get((_RELATION, oid)) for oid in oids)
        return tuple(sorted({o.root or o.name for o in found if o and o.kind in ("table", "materialized view")}))[:2]

    def _line(self) -> int:
        """The line of the revision's file that sends this."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename == self._code:
                return frame.f_lineno
            frame = frame.f_back  # type: ignore[assignment]  # None at the end
        return 0

    def _finish(self) -> None:
        after = self._objects()
        unseen = tuple(self._rewritten_unseen(after))
        sent = (*self._sent, Sent(0, (), touched=unseen)) if unseen else tuple(self._sent)
        trace = Trace(sent, tuple(_changes(self._before, after)), tuple(r[0] for r in self._ask("trace_keys")))
        self._file.write_text(trace.dumps(), encoding="utf-8")

    def _rewritten_unseen(self, after: _Objects) -> Iterator[Touch]:
        """Tables that were rewritten outside a transaction, and of which that has not been said yet."""
        for key, now in after.items():
            old = self._before.get(key)
            if old and now.file and now.file != old.file and now.kind != "sequence" and now.oid not in self._rewritten:
                self._rewritten.add(now.oid)
                yield Touch(old.root or old.name, rewritten=True)

    def _objects(self) -> _Objects:
        return {(o.catalog, o.oid): o for o in map(_object, self._ask("trace_objects"))}

    def _state(self) -> dict[int, _Seen]:
        return {row[0]: _Seen(frozenset(row[1]), *row[2:]) for row in self._ask("trace_state")}

    def _ask(self, name: str) -> list[tuple[Any, ...]]:
        # the driver's own cursor: nobody hears of this one
        with psycopg.Cursor(self._driver) as cursor:
            return cursor.execute(_query(name)).fetchall()


class _Cursor(TargetCursor):
    def __init__(self, tracer: Tracer, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._tracer = tracer

    def execute(self, query: Any, *arguments: Any, **more: Any) -> Any:
        super().execute(query, *arguments, **more)
        self._tracer.sent(tuple(_tag(r.command_status) for r in self._results))
        return self

    def executemany(self, query: Any, *arguments: Any, **more: Any) -> None:
        super().executemany(query, *arguments, **more)
        self._tracer.sent((_tag((self.statusmessage or "").encode()),))


def _object(row: tuple[Any, ...]) -> _Object:
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    return _Object(*values)


def _tag(status: bytes | None) -> str:
    """The words of a command's status without its counts: `INSERT 0 5` is `INSERT`."""
    return (status or b"").decode("ascii", "replace").rstrip("0123456789 ")


def _changes(before: _Objects, after: _Objects) -> Iterator[Change]:
    for key in sorted({*before, *after}, key=str):
        old, now = before.get(key), after.get(key)
        of_type = _ATTRIBUTES in (old and old.kind, now and now.kind)  # the type has a row of its own
        if old is None or now is None:
            there = old or now
            assert there is not None
            if not of_type:
                yield Change("gone" if old else "made", there.kind, there.schema, there.name)
            continue
        if old.name != now.name and not of_type:
            yield Change("renamed", old.kind, old.schema, now.name, old.name)
        if (old.columns, old.types) != (now.columns, now.types):
            yield Change("changed", "composite type" if of_type else now.kind, old.schema, now.name)
        # a dropped column keeps its place, without a name; one that is made after it, under the same name, has another
        for one, other in zip(old.columns, now.columns, strict=False):
            if one and not other:
                yield Change("gone", "column", old.schema, f"{old.name}.{one}")
            if one and other and one != other:
                yield Change("renamed", "column", old.schema, f"{now.name}.{other}", f"{old.name}.{one}")


@cache
def _query(name: str) -> bytes:
    return resources.files(__package__).joinpath(f"{name}.sql").read_bytes()
