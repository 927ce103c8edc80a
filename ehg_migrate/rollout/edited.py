"""Revision files that are not what they were when they were applied, as a look at a target and a worker say it."""

from __future__ import annotations

from collections.abc import Sequence

from ehg_migrate.database.session import Session
from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem
from ehg_migrate.model import Step


def edited_file(revision: str, path: str, now: str, then: str, run: str, commit: str) -> Problem:
    """Its checksum is `now`, and was `then` when the run applied it here."""
    return Problem(
        "edited_file",
        f"revision `{revision}` was edited after run `{run}` applied it here (checksum {then[:12]}, now {now[:12]})",
        "put the change into a new revision and restore the file"
        f"{f' from commit {commit[:12]}' if commit else ''}; where other targets have it as it is now: if "
        "`ehg-migrate drift -t TARGET` shows nothing, `alembic -x target=TARGET stamp --purge REV ...`, with all its "
        "HEADS, takes it so here too",
        path,
    )


def done_otherwise(session: Session, steps: Sequence[Step]) -> list[Problem]:
    """Those of the steps that another runner did meanwhile from other files: its checkout was another."""
    if not steps:
        return []
    asked = query("applied_checksums", session.target), {"target": session.target.name}
    applied = {row[0]: row[1:4] for row in session.lock.execute(*asked).fetchall()}
    found = ((s, applied[s.revision]) for s in steps if s.revision in applied)
    return [edited_file(s.revision, s.path, s.checksum, *how) for s, how in found if how[0] not in ("", s.checksum)]
