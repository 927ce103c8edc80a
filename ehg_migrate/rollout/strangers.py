"""Version rows that a target's branches do not know: who might?"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ehg_migrate.database.probe import Applied
from ehg_migrate.errors import Problem, quoted
from ehg_migrate.model import StateKind, Target
from ehg_migrate.revisions.history import History


def judge(
    target: Target,
    heads: Sequence[str],
    details: Mapping[str, Applied],
    history: History,
    written_as: str,
    fleet: Collection[str],
) -> tuple[StateKind, Problem]:
    """What is said of the worst of them, which names the others: who mends one alone comes to the next.

    `details` is what the journal knows, by revision; `written_as` whom its newest entry names, `fleet` all targets.
    """
    told = {head: _one(head, details, history) for head in heads}
    worst = next((h for h in heads if told[h][0] is StateKind.UNKNOWN), heads[0])
    kind, problem = told[worst]
    if others := [h for h in heads if h != worst]:
        message = f"{problem.message}; nor are these of its branches here: {quoted(others, 8)}"
        problem = replace(problem, message=message)
    if problem.code == "other_branch":
        branches = {b for h in heads for b in history.holders(h)}
        problem = replace(problem, hint=_whose_branch(target, branches, written_as, fleet))
    return kind, problem


def _one(head: str, details: Mapping[str, Applied], history: History) -> tuple[StateKind, Problem]:
    branches = history.holders(head)
    if branches:
        return StateKind.AHEAD, Problem(
            "other_branch",
            f"the version table holds `{head}` of branch {quoted(branches)}, which this target does not have",
        )
    known = details.get(head)
    if known:
        return StateKind.AHEAD, Problem(
            "newer_checkout",
            f"the version table holds `{head}`, which run `{known.run}` applied from commit "
            f"{known.git_commit or 'unknown'} and this checkout does not have",
            "update the checkout; to go back, run `ehg-migrate downgrade TARGET --to REV` from the checkout that has "
            f"the revision; only if its file was taken out for good: {_OTHER_ROWS}",
        )
    return StateKind.UNKNOWN, Problem(
        "unknown_revision",
        f"the version table holds `{head}`, which neither this checkout nor the target's journal knows",
        "either its file was deleted or the row was written by hand: find out which before anything is changed; then "
        f"{_OTHER_ROWS}",
    )


_OTHER_ROWS = (
    "`alembic -x target=TARGET stamp --purge REV ...` writes other rows (name what it really holds of every branch), "
    "and `ehg-migrate drift -t TARGET` tells whether they are right"
)


def no_more_for(revisions: Sequence[str], heads: Sequence[str], run: str) -> Problem:
    """Of revisions that these rows stood for in the checkout that wrote them, as after a squash, and here do not."""
    return Problem(
        "newer_checkout",
        f"by the target's journal {quoted(revisions, 8)} is applied, and the version rows {quoted(heads, 8)} that run "
        f"`{run}` left stood for that; in this checkout they do not: `depends_on` or `down_revision` is another",
        "take the newer checkout, where this is the older one; else set them back, or where they are to stay so "
        f"`alembic -x target=TARGET stamp {shlex.join(revisions)}` writes the rows that it takes now",
    )


def _whose_branch(target: Target, branches: Collection[str], written_as: str, fleet: Collection[str]) -> str:
    """What to do about rows of these `branches`, which the target does not have, in a database last `written_as`."""
    where = "is the entry's address that of another target?"
    if written_as != target.name and written_as in fleet:
        where = f"is the entry's address that of `{written_as}`? Its journal was last written for that target."
    elif written_as != target.name and written_as in branches:
        return (
            f"its journal was last written for `{written_as}`: if that is its former name, rename its folder "
            f"`versions/{written_as}` to `versions/{target.name}`; else {where}"
        )
    return f"{where} If not, add the branch to its `branches`, where it is a group's"
