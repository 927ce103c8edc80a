"""What must hold before the first step: rows that Alembic can take, room for ids, nothing half done lying about."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Step
from ehg_migrate.rollout.jobs import Job


def check_ids(session: Session, steps: tuple[Step, ...]) -> None:
    """Raises TargetError if a revision id is longer than the version table of this target takes."""
    longest = max((r for s in steps for r in s.heads_after), key=len, default="")
    if len(longest) > session.version_id_length:
        raise TargetError(
            Problem(
                "long_id",
                f"revision id `{longest}` has {len(longest)} characters; the version table of this target takes "
                f"{session.version_id_length}",
                f"ALTER TABLE {session.target.version_table} ALTER version_num TYPE varchar(255)",
            )
        )


def was_started(session: Session, revision: str) -> tuple[str, ...] | None:
    """The INVALID indexes from before this revision left its transaction; None if it never did."""
    row = session.lock.execute(
        query("started_detail", session.target), {"target": session.target.name, "revision": revision}
    ).fetchone()
    return tuple(json.loads(row[0])["invalid_indexes"]) if row else None


def refuse_half_done(session: Session, steps: tuple[Step, ...]) -> None:
    """Raises TargetError if the next step was cut outside a transaction and left INVALID indexes.

    A repeated `CREATE INDEX CONCURRENTLY IF NOT EXISTS` would take such an index for a good one.
    """
    for step in steps[:1]:
        before = was_started(session, step.revision)
        if before is not None and (left := leftovers(session, before)):
            raise TargetError(half_done(step, left))


def half_done(step: Step, left: list[str]) -> Problem:
    """A step that was cut outside a transaction and left INVALID indexes."""
    return Problem(
        "half_done",
        f"revision `{step.revision}` was cut outside a transaction; INVALID indexes: {', '.join(left)}",
        drop_hint(left),
        step.path,
    )


def leftovers(session: Session, before: tuple[str, ...]) -> list[str]:
    """INVALID indexes that were not there before."""
    return sorted(set(session.invalid_indexes()) - set(before))


def drop_hint(left: list[str]) -> str:
    """What to do about INVALID indexes."""
    return "; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in left) + "; then run again"


def normalize(session: Session, job: Job, heads: tuple[str, ...]) -> None:
    """Takes out version rows that another row implies. What is applied does not change by it; the journal says so.

    Only from the rows that the plan was made for: on any others, what is needless is not known here.
    """
    if not job.plan.steps or set(heads) != set(job.plan.heads):
        return
    keep = job.plan.steps[0].heads_before
    with session.lock.transaction():
        for row in sorted(set(heads) - set(keep)):
            session.lock.execute(query("clear_row", session.target), {"revision": row})
            branch, checksum = job.known.get(row, ("", ""))
            session.journal.record(
                session.lock,
                "normalized",
                revision=row,
                direction="",
                branch=branch,
                checksum=checksum,
                heads_before=heads,
                heads_after=keep,
                started_at=datetime.now(UTC),
            )
