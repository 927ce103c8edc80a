"""What must hold before the first step, whoever runs it: room for its ids, nothing half done lying about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query, version_name
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import Direction, Plan, Step
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.loading import is_as_planned


def check_ids(session: Session, steps: tuple[Step, ...]) -> None:
    """Raises TargetError if a revision id is longer than the version table of this target takes."""
    longest = max((r for s in steps for r in s.heads_after), key=len, default="")
    if len(longest) > session.found.version_id_length:
        raise TargetError(
            Problem(
                "long_id",
                f"revision id `{longest}` has {len(longest)} characters; the version table of this target takes "
                f"{session.found.version_id_length}",
                f"ALTER TABLE {version_name(session.target)} ALTER version_num TYPE varchar(255)",
            )
        )


def check_steps(session: Session, steps: tuple[Step, ...]) -> None:
    """All that must hold before these steps but that their files are as planned. Raises TargetError."""
    check_ids(session, steps)
    refuse_half_taken_back(session, steps)
    refuse_half_done(session, steps)


def refuse_damaged_rows(session: Session, graph: Graph) -> None:
    """Raises TargetError if there is no version row, and the journal says what is applied: it would be done twice.

    Or if a row is there twice: what is done to one of them leaves the other.
    """
    name, heads = session.target.name, session.found.heads
    if len(set(heads)) < len(heads):
        from ehg_migrate.database.damage import doubled_rows  # seldom

        raise TargetError(doubled_rows(heads))
    if heads:
        return
    entries = session.lock.execute(query("applied_checksums", session.target), {"target": name}).fetchall()
    if applied := sorted(row[0] for row in entries if row[0] in graph):  # others may be another project's
        from ehg_migrate.database.damage import lost_rows  # seldom

        raise TargetError(lost_rows(applied))


def check_journal(session: Session, plan: Plan) -> None:
    """Raises TargetError if somebody has worked here since a rollback was planned: what is there may be theirs.

    The version rows do not tell: what was taken back and done again leaves the same.
    """
    if not plan.journal:
        return
    asked = {"target": session.target.name, "seq": plan.journal, "run": session.journal.run}
    if came := [row[0] for row in session.lock.execute(query("came_since", session.target), asked).fetchall()]:
        message = f"since the rollback was planned the target was changed by {quoted(came, 8)}"
        raise TargetError(Problem("stale_plan", message, "`ehg-migrate history TARGET` shows what it did; plan again"))


def check_files(root: Path, steps: tuple[Step, ...], beside: Mapping[str, str]) -> None:
    """Raises TargetError where a step's file, or one `beside` that it takes in (path -> checksum), is not as planned.

    A run may last, and a checkout change.
    """
    files = {**{s.path: s.checksum for s in steps}, **(beside if steps else {})}
    other = [path for path, checksum in files.items() if not is_as_planned(root / path, checksum)]
    if other:
        named = quoted(other, 8)
        hint = "look at what it is now, and plan again"
        raise TargetError(Problem("stale_plan", f"since the plan was made it was edited or taken away: {named}", hint))


def was_started(session: Session, revision: str) -> tuple[str, ...] | None:
    """The INVALID indexes from before this revision left its transaction; None if it never did, as far as was found."""
    if revision not in {r for _, r in session.found.unfinished}:
        return None
    row = session.lock.execute(
        query("started_detail", session.target), {"target": session.target.name, "revision": revision}
    ).fetchone()
    try:
        return tuple(map(str, json.loads(row[0])["invalid_indexes"])) if row else None
    except (ValueError, TypeError, LookupError, RecursionError):  # no note of ours, so none was there before
        return ()


def refuse_half_done(session: Session, steps: tuple[Step, ...]) -> None:
    """Raises TargetError if one of the steps was cut outside a transaction and left INVALID indexes.

    A repeated `CREATE INDEX CONCURRENTLY IF NOT EXISTS` would take such an index for a good one. It need not be the
    next step: in a plan from other heads another branch may come first.
    """
    for step in steps:
        before = was_started(session, step.revision)
        if before is not None and (left := leftovers(session, before)):
            raise TargetError(half_done(step, left))


def refuse_half_taken_back(session: Session, steps: tuple[Step, ...]) -> None:
    """Raises TargetError if a downgrade was cut outside a transaction and these steps do not finish it.

    Its version row is still there, and a part of what it stands for may be gone.
    """
    downs = {s.revision for s in steps if s.direction is Direction.DOWN}
    for direction, revision in sorted(session.found.unfinished):
        if direction == Direction.DOWN and revision not in downs:
            raise TargetError(
                Problem(
                    "half_taken_back",
                    f"taking back revision `{revision}` was cut outside a transaction: a part of it may be gone",
                    "finish taking it back first; `ehg-migrate status -t TARGET` shows the command",
                )
            )


def half_done(step: Step, left: list[str]) -> Problem:
    """A step that was cut outside a transaction and left INVALID indexes."""
    return Problem(
        "half_done",
        f"revision `{step.revision}` was cut outside a transaction; INVALID indexes: {', '.join(left)}",
        f"{drop_hint(left)}; then run again",
        step.path,
    )


def leftovers(session: Session, before: tuple[str, ...]) -> list[str]:
    """INVALID indexes that were not there before."""
    return sorted(set(session.invalid_indexes()) - set(before))


def drop_hint(left: list[str]) -> str:
    """What to do about INVALID indexes, before anything else."""
    return "; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in left)
