"""The end of a stock `stamp`: what it declares is written into the journal, in its own transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from alembic import context

from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.environment.recording import Recorder, driver_connection
from ehg_migrate.model import Direction
from ehg_migrate.revisions.graph import Graph


def settle(session: Session, recorder: Recorder, graph: Graph, *, purges: bool) -> None:
    """Takes out rows that another one implies, and journals what the stamp has changed. Raises psycopg.Error.

    Where a row of each branch was named, Alembic could not go on from all of them. What `purges` says all anew, so
    that the journal knows no more and no less afterwards, and each file as it is now.
    """
    driver, target = driver_connection(context.get_bind()), session.target
    rows = [row[0] for row in driver.execute(query("version_heads", target)).fetchall()]
    heads = graph.canonical(rows)
    for row in sorted(set(rows) - set(heads)):
        driver.execute(query("clear_row", target), {"revision": row})
    before = session.found.heads
    if purges:
        entries = driver.execute(query("applied_checksums", target), {"target": target.name}).fetchall()
        cut = frozenset(revision for _, revision in session.found.unfinished)
        changes = restated(graph, before, heads, {row[0]: row[1] for row in entries}, cut)
    else:
        changes = changed(graph, before, heads)
    recorder.settle(heads, changes, driver)


def changed(graph: Graph, before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[tuple[str, Direction]]:
    """Which revisions come and go between these rows, all of which are known here."""
    had, has = graph.closure(before), graph.closure(after)
    return _in_order(graph, had & ~has, has & ~had)


def restated(
    graph: Graph, before: tuple[str, ...], after: tuple[str, ...], applied: Mapping[str, str], cut: Collection[str]
) -> Iterator[tuple[str, Direction]]:
    """What a journal lacks that by its entries has these revisions `applied` (id -> checksum), and the steps of others
    `cut` outside a transaction: whoever says anew what is there has looked what they left.
    """
    has = graph.closure(after)
    for revision in sorted({*before, *applied, *cut}):
        if revision not in graph:  # a row that nobody here knows, or what was squashed
            yield revision, Direction.DOWN
    had = graph.closure(h for h in before if h in graph) | graph.bits(r for r in (*applied, *cut) if r in graph)
    same = graph.bits(
        r for r, checksum in applied.items() if r in graph and r not in cut and checksum == graph[r].checksum
    )
    yield from _in_order(graph, had & ~has, has & ~same)


def _in_order(graph: Graph, downs: int, ups: int) -> Iterator[tuple[str, Direction]]:
    for i in graph.newest_first(downs):
        yield graph.revisions[i].id, Direction.DOWN
    for i in graph.newest_first(ups)[::-1]:
        yield graph.revisions[i].id, Direction.UP
