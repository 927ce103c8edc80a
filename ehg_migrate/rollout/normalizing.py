"""Version rows that another row implies, as stock Alembic leaves them after some downgrades: taken out first."""

from __future__ import annotations

from ehg_migrate.database.journal import Entry, Moment
from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.rollout.jobs import Job


def normalize(session: Session, job: Job, heads: tuple[str, ...]) -> None:
    """Takes out version rows that another row implies. What is applied does not change by it; the journal says so.

    Only from the rows that the plan was made for: on any others, what is needless is not known here.
    """
    if not job.plan.steps or set(heads) != set(job.plan.heads):
        return
    keep = job.plan.steps[0].heads_before
    needless = sorted(set(heads) - set(keep))
    if not needless:
        return
    with session.lock.transaction():
        for row in needless:
            session.lock.execute(query("clear_row", session.target), {"revision": row})
            branch, checksum = job.known.get(row, ("", ""))
            session.journal.record(
                session.lock,
                Entry(
                    "normalized",
                    revision=row,
                    direction="",
                    branch=branch,
                    checksum=checksum,
                    heads_before=heads,
                    heads_after=keep,
                    began=Moment.now(),
                ),
            )
