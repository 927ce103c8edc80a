"""What is said of a version table that has lost rows, or holds one twice, by whatever command sees it."""

from __future__ import annotations

from collections.abc import Sequence

from ehg_migrate.errors import Problem, quoted

LOST_ROWS = "lost_rows"


def lost_rows(applied: Sequence[str]) -> Problem:
    """It holds none, and the target's journal says that these revisions are applied: they would be done twice."""
    named = quoted(applied, 8)
    message = f"the version table is empty or gone, though by the target's journal this is applied: {named}"
    return Problem(LOST_ROWS, message, "`ehg-migrate status -t TARGET` says how the rows are written again")


def doubled_rows(heads: Sequence[str]) -> Problem:
    """It has lost its primary key, and of these rows one is there twice: what is done to one leaves the other."""
    double = sorted({h for h in heads if heads.count(h) > 1})
    message = f"the version table holds {quoted(double)} more than once, so it has no primary key any more"
    return Problem("doubled_rows", message, "`ehg-migrate status -t TARGET` says how that is mended")
