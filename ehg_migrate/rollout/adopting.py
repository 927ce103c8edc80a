"""Taking over a database that already holds revisions: its rows written into our version table, nothing run."""

from __future__ import annotations

import time

import psycopg

from ehg_migrate.database.faults import ConnectError, is_lost, no_step, run_fault
from ehg_migrate.database.journal import Entry, Moment
from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Origin, Plan, Result, Status, Target
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.planning import adopted_already
from ehg_migrate.rollout.reasons import lock_broken


def declared(graph: Graph, plan: Plan) -> tuple[str, ...]:
    """The revisions that adopting declares applied, oldest first."""
    return tuple(graph.revisions[i].id for i in graph.newest_first(graph.closure(plan.goal)))[::-1]


def adopt(target: Target, password: str | None, plan: Plan, graph: Graph, run: str, origin: Origin) -> Result:
    """Writes `plan.goal` as the target's version rows, and a journal entry for each revision declared applied.

    In one transaction under the lock. Never raises for the target. A foreign version table is left as it is. Where it
    is not sure what was committed, the target is entered once more, to see.
    """
    start = time.monotonic()
    lost: Problem | None = None
    while True:
        try:
            with Session(target, password, run, origin, adopting=True) as session:
                status, heads, problem = _tried(session, plan, graph, again=lost is not None)
        except TargetError as e:
            return _not_adopted(target, plan, e, lost)
        if status is not Status.INDETERMINATE or lost:
            notes = plan.notes if status is Status.SUCCEEDED else ()
            seconds = time.monotonic() - start
            return Result(target.name, status, plan.heads, heads, problem=problem, notes=notes, seconds=seconds)
        lost = problem


Tried = tuple[Status, tuple[str, ...], Problem | None]


def _tried(session: Session, plan: Plan, graph: Graph, *, again: bool) -> Tried:
    """What became of it, and the version rows; `again` after an attempt that may have been committed."""
    written = again and set(session.found.heads) == set(plan.goal)
    if session.broken_by and not written:
        return Status.FAILED, session.leave(), lock_broken(session.broken_by)
    try:
        if not written:
            _write(session, plan, graph)
            written = True
        return Status.SUCCEEDED, session.leave(), None
    except psycopg.Error as e:
        gone = is_lost(session.lock)  # here: whoever leaves the session closes it
        problem = no_step(run_fault(e, lost=gone).problem)
        return (Status.INDETERMINATE, (), problem) if written or gone else (Status.FAILED, plan.heads, problem)


def _not_adopted(target: Target, plan: Plan, error: TargetError, lost: Problem | None) -> Result:
    """It could not be entered, or is ours already; after a lost line nobody knows what had been committed."""
    if not isinstance(error, ConnectError):
        return Result(target.name, Status.REFUSED, plan.heads, plan.heads, problem=error.problem)
    if lost:
        return Result(target.name, Status.INDETERMINATE, plan.heads, problem=lost)
    return Result(target.name, Status.FAILED, plan.heads, plan.heads, problem=error.problem)


def _write(session: Session, plan: Plan, graph: Graph) -> None:
    if session.found.heads:
        raise TargetError(adopted_already(session.found.heads))
    with session.lock.transaction():
        for head in plan.goal:
            session.lock.execute(query("put_row", session.target), {"revision": head})
        for revision in declared(graph, plan):
            session.journal.record(
                session.lock,
                Entry(
                    "adopted",
                    revision=revision,
                    direction="up",
                    branch=graph[revision].branch,
                    checksum=graph[revision].checksum,
                    heads_before=(),
                    heads_after=plan.goal,
                    began=Moment.now(),
                ),
            )
