"""Taking over a database that already holds revisions: its rows written into our version table, nothing run."""

from __future__ import annotations

import time

import psycopg

from ehg_migrate.database.faults import ConnectError, run_fault
from ehg_migrate.database.journal import Entry, Moment
from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.errors import TargetError
from ehg_migrate.model import Origin, Plan, Result, Status, Target
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.planning import adopted_already


def declared(graph: Graph, plan: Plan) -> tuple[str, ...]:
    """The revisions that adopting declares applied, oldest first."""
    return tuple(graph.revisions[i].id for i in graph.newest_first(graph.closure(plan.goal)))[::-1]


def adopt(target: Target, password: str | None, plan: Plan, graph: Graph, run: str, origin: Origin) -> Result:
    """Writes `plan.goal` as the target's version rows, and a journal entry for each revision declared applied.

    In one transaction under the lock. Never raises for the target. A foreign version table is left as it is.
    """
    start = time.monotonic()
    try:
        with Session(target, password, run, origin, adopting=True) as session:
            _write(session, plan, graph)
            heads = session.leave()
    except TargetError as e:
        status = Status.FAILED if isinstance(e, ConnectError) else Status.REFUSED
        return Result(target.name, status, plan.heads, plan.heads, problem=e.problem)
    except psycopg.Error as e:
        return Result(target.name, Status.FAILED, plan.heads, plan.heads, problem=run_fault(e).problem)
    seconds = time.monotonic() - start
    return Result(target.name, Status.SUCCEEDED, plan.heads, heads, notes=plan.notes, seconds=seconds)


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
