"""Changes of one schema that no revision makes: the schema itself, SQL that was proven, rows from a file.

Under the target's lock, with an entry in its journal, in one transaction that is not committed where it touched a
neighbour. There is no Alembic in it, and so no worker.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import psycopg

from ehg_migrate.database.connections import Notice
from ehg_migrate.database.faults import ConnectError, is_lost, run_fault
from ehg_migrate.database.journal import Entry, Moment
from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import GATES, Origin, Result, Status, Target
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.reasons import lock_broken

Judge = Callable[[psycopg.Connection], Problem | None]
"""Looks at the schema in the open transaction: why it must not go on, if so."""


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is to be done to a target that holds `heads`; each statement may be several."""

    event: str  # of the journal
    statements: Sequence[str]
    heads: tuple[str, ...]
    detail: str  # for the journal
    before: Judge = lambda connection: None
    after: Judge = lambda connection: None


@dataclass(frozen=True, slots=True)
class Place:
    """A target as it is reached, and in whose name."""

    target: Target
    password: str | None
    run: str
    origin: Origin
    notice: Notice


def amend(place: Place, amendment: Amendment) -> Result:
    """All of it or nothing, and never twice. Never raises for the target."""
    kept = partial(_is_journalled, event=amendment.event)
    look = (
        f"look before anything else: where `ehg-migrate history TARGET` has run `{place.run}`, all of it is kept; else "
        "nothing is, and it may be run again"
    )
    return _worked(place, amendment.heads, lambda session: _amended(session, amendment), kept, look)


def make_schema(place: Place, graph: Graph, heads: tuple[str, ...]) -> Result:
    """The schema, empty; what the record says of one that was dropped is declared not to be there any more.

    A schema that is there and empty is as good as one made now; any other is refused. Never raises for the target.
    """
    return _worked(place, heads, lambda session: _made(session, graph), _is_made, "run again")


def _worked(
    place: Place, heads: tuple[str, ...], work: Callable[[Session], None], kept: Callable[[Session], bool], look: str
) -> Result:
    """`kept` tells in another session what became of the work; where that cannot be had, `look` is what to do."""
    start, name = time.monotonic(), place.target.name
    try:
        with _session(place) as session:
            problem = _tried(session, work)
            after = session.heads() if problem else session.leave()
    except TargetError as e:
        status = Status.FAILED if isinstance(e, ConnectError) else Status.REFUSED
        return Result(name, status, heads, heads, problem=e.problem, seconds=time.monotonic() - start)
    except psycopg.Error as e:  # the end of the transaction was not heard of
        result = _left(place, heads, kept, run_fault(e, lost=True).problem, look)
        return replace(result, seconds=time.monotonic() - start)
    status = Status.SUCCEEDED if problem is None else Status.REFUSED if problem.code in GATES else Status.FAILED
    return Result(name, status, heads, after, problem=problem, seconds=time.monotonic() - start)


def _session(place: Place, *, begun: bool = False) -> Session:
    return Session(place.target, place.password, place.run, place.origin, place.notice, begun=begun)


def _left(place: Place, heads: tuple[str, ...], kept: Callable[[Session], bool], lost: Problem, look: str) -> Result:
    """What a session has left that was lost, seen under its locks, so that its last statement has ended."""
    name = place.target.name
    try:
        with _session(place, begun=True) as session:
            there, broken_by = kept(session), session.broken_by
            after = session.leave()
    except (TargetError, psycopg.Error):
        return Result(name, Status.INDETERMINATE, heads, problem=replace(lost, hint=look))
    if there:
        return Result(name, Status.SUCCEEDED, heads, after)
    return Result(name, Status.FAILED, heads, after, problem=lock_broken(broken_by) if broken_by else lost)


def _is_journalled(session: Session, event: str) -> bool:
    """Its entry is of the same transaction."""
    return session.journal.has(session.lock, event)


def _is_made(session: Session) -> bool:
    row = session.lock.execute(query("is_empty"), {"own": session.target.schema}).fetchone()
    return row is not None and not session.found.heads


def _tried(session: Session, work: Callable[[Session], None]) -> Problem | None:
    """What went wrong, with nothing of it kept. Raises psycopg.Error where that is not sure."""
    try:
        work(session)
    except TargetError as e:
        problem = e.problem
    except psycopg.Error as e:
        if is_lost(session.work) or is_lost(session.lock):
            raise
        problem = run_fault(e).problem
        if problem.code == "statement_failed":
            problem = replace(problem, hint="nothing of the SQL was kept; correct it and run again")
    else:
        return None
    session.work.close()  # which ends its transaction whatever state it is in: a COPY may have begun
    return problem


def _amended(session: Session, amendment: Amendment) -> None:
    if set(session.found.heads) != set(amendment.heads):
        raise TargetError(STALE)
    session.work.autocommit = False
    session.prepare_work()
    began = Moment.now()
    _judged(amendment.before(session.work))
    for statement in amendment.statements:
        session.work.execute(statement.encode())
    _judged(amendment.after(session.work))
    if session.neighbours:
        session.neighbours.refuse("the SQL")
    text = "\n".join(amendment.statements)
    session.journal.record(
        session.work,
        Entry(
            amendment.event,
            revision="",
            direction="",
            branch="",
            checksum=hashlib.sha256(text.encode()).hexdigest(),
            heads_before=session.found.heads,
            heads_after=session.found.heads,
            began=began,
            detail=amendment.detail,
        ),
    )
    session.work.commit()


def _judged(problem: Problem | None) -> None:
    if problem:
        raise TargetError(problem)


def _made(session: Session, graph: Graph) -> None:
    target = session.target
    row = session.lock.execute(query("is_empty"), {"own": target.schema}).fetchone()
    if row and not (row[0] and not session.found.heads):
        raise TargetError(_exists(target))
    with session.lock.transaction():
        try:
            if row is None:  # else it is its owner's, and IF NOT EXISTS too would demand the privilege to make it
                session.lock.execute(query("create_schema", target))
        except psycopg.errors.InsufficientPrivilege as e:
            raise TargetError(_no_privilege(target, e)) from e
        _forget(session, graph)


def _forget(session: Session, graph: Graph) -> None:
    """The version rows of a schema that was dropped say of nothing that it is there."""
    heads = session.found.heads
    for head in heads:
        session.lock.execute(query("clear_row", session.target), {"revision": head})
    known = graph.closure(h for h in heads if h in graph)
    for revision in graph.ids(known) if heads else ():
        session.journal.record(
            session.lock,
            Entry(
                "stamped",
                revision=revision,
                direction="down",
                branch=graph[revision].branch,
                checksum=graph[revision].checksum,
                heads_before=heads,
                heads_after=(),
                began=Moment.now(),
                detail="the schema was dropped, and is made anew",
            ),
        )


STALE = Problem(
    "stale_plan", "the schema is not any more what the statements were proven for", "somebody changed it; begin again"
)


def _exists(target: Target) -> Problem:
    return Problem(
        "schema_exists",
        f"schema `{target.schema}` is there already, and not empty",
        "`ehg-migrate upgrade -t TARGET` brings it to its heads; "
        "`ehg-migrate adopt TARGET` takes over what another tool has made",
    )


def _no_privilege(target: Target, error: psycopg.Error) -> Problem:
    role = target.address.user.partition(".")[0]
    schema = target.schema.replace('"', '""')
    return Problem(
        "no_privilege",
        f"schema `{target.schema}` cannot be made: {error.diag.message_primary}",
        f'let the owner of the database run: CREATE SCHEMA "{schema}" AUTHORIZATION "{role}"; then again',
        sqlstate=error.sqlstate,
    )
