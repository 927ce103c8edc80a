"""Work on one target that is not a plan, made a run: recorded in the ledger from before it until after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from ehg_migrate.database.origin import find_origin, new_run_id
from ehg_migrate.ledger import Ledger
from ehg_migrate.model import Result, Run, RunStatus, Verb
from ehg_migrate.rollout.book import Book
from ehg_migrate.settings import Settings


def carry_out_one(
    settings: Settings, verb: Verb, target: str, wish: tuple[str, ...], ledger: Callable[[], Ledger],
    work: Callable[[Run], Result],
) -> Run:  # fmt: skip
    """The run, with what `work` gives; that does not raise. Trouble with the ledger is a note."""
    run = Run(new_run_id(), verb, target, find_origin(settings.root), datetime.now(UTC), targets=(target,), wish=wish)
    with Book(ledger, run) as book:
        result = work(run)
        book.record(result)
        status = RunStatus.SUCCEEDED if result.status.good else RunStatus.FAILED
        book.finish(status)
    return replace(run, status=status, finished_at=datetime.now(UTC), results=(result,), notes=tuple(book.notes))
