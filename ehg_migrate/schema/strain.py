"""What a step asked of the tables that were there before it: locks, rewrites, scans, changed rows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ehg_migrate.database.trace import EXCLUSIVE, Sent, Touch, Trace
from ehg_migrate.errors import some
from ehg_migrate.schema.effects import Effect, effect

_ROWS = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "SELECT"})
"""Commands that work on rows and on nothing else."""

_REWRITES = frozenset({"CLUSTER", "VACUUM", "REFRESH MATERIALIZED VIEW"})
"""Commands that write a table anew without reading it from its beginning to its end."""

_CODE = frozenset({("DO",), ("CALL",), ("SELECT",)})
"""What runs code of which nothing is seen but its effects."""

_NAMED = 5  # tables that a message names
_WRITER_LOCK = "ShareLock"  # of an index that is built: readers go on


def strains(trace: Trace, ignore: Collection[str] = (), *, changes_schema: bool = True) -> tuple[Effect, ...]:
    """Each rule at most once for a table. `changes_schema`: whether the step did anything but work on rows."""
    found: dict[tuple[str, tuple[str, ...]], Effect] = {}
    for sent in trace.sent:
        for e in (*_of_data(sent), *_of_schema(sent), *_held(sent)):
            found.setdefault((e.rule, e.tables), e)
    under_lock = {tables for rule, tables in found if rule == "held_lock"}
    for sent in trace.sent if changes_schema else ():
        for touch in sent.touched:
            if touch.written and not _thrown_away(sent, touch) and (touch.table,) not in under_lock:
                e = _one("backfill", touch, sent)
                found.setdefault((e.rule, e.tables), e)
    return tuple(e for e in (*found.values(), *_many_locks(trace)) if e.rule not in ignore)


def _of_schema(sent: Sent) -> Iterator[Effect]:
    for touch in sent.touched:
        if _thrown_away(sent, touch):
            continue
        if touch.rewritten:
            yield _one("rewrite", touch, sent)
        elif _scanned_for_schema(sent, touch):
            index = touch.locks == (_WRITER_LOCK,) and "ALTER DOMAIN" not in sent.tags  # which reads its tables so, too
            yield _one("index_build" if index else "scan", touch, sent)


def _of_data(sent: Sent) -> Iterator[Effect]:
    for touch in sent.touched:
        if _thrown_away(sent, touch):
            yield _one("truncate", touch, sent)
        elif touch.written and "DELETE" in sent.tags:
            yield _one("delete", touch, sent)


def _held(sent: Sent) -> Iterator[Effect]:
    """Long work under an exclusive lock that was there before, or that the same block of code may have taken first."""
    locked = {*sent.held, *_locked_first(sent)}
    for touch in sent.touched:
        work = touch.rewritten or _scanned_for_schema(sent, touch)
        # a table that is rewritten under its own lock is said to be rewritten
        if not _thrown_away(sent, touch) and ((touch.written and locked) or (work and locked - {touch.table})):
            yield _one("held_lock", touch, sent)


def _locked_first(sent: Sent) -> set[str]:
    """Tables that this message locked, unless it is one statement or all its work on rows came before the others."""
    last_rows = max((i for i, tag in enumerate(sent.tags) if tag in _ROWS), default=-1)
    first_other = next((i for i, tag in enumerate(sent.tags) if tag not in _ROWS), len(sent.tags))
    if last_rows < first_other and sent.tags not in _CODE:
        return set()
    return {t.table for t in sent.touched if EXCLUSIVE in t.locks}


def _many_locks(trace: Trace) -> Iterator[Effect]:
    tables = sorted({t.table for sent in trace.sent for t in sent.touched if EXCLUSIVE in t.locks})
    if len(tables) > 1:
        line = next(s.line for s in trace.sent for t in s.touched if EXCLUSIVE in t.locks and t.table != tables[0])
        yield effect("many_locks", some(tables, _NAMED), tuple(tables), line)


def _thrown_away(sent: Sent, touch: Touch) -> bool:
    """Whether nothing of its rows is kept."""
    emptied = _REWRITES.isdisjoint(sent.tags) if touch.emptied else "TRUNCATE TABLE" in sent.tags
    return touch.rewritten and emptied


def _scanned_for_schema(sent: Sent, touch: Touch) -> bool:
    """Whether it was read whole under a lock by something else than a query; a function may hide what that is."""
    query = _ROWS.issuperset(sent.tags) and not touch.locked
    return touch.scanned and bool(touch.locks) and not touch.written and not query


def _one(rule: str, touch: Touch, sent: Sent) -> Effect:
    return effect(rule, f"table {touch.table}", (touch.table,), sent.line)
