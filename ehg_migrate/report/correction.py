"""Corrective SQL as a script: what it makes of what, what is proven, what is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ehg_migrate.report.text import number, problem_lines
from ehg_migrate.schema.search import PREAMBLE

if TYPE_CHECKING:
    from ehg_migrate.schema.carrying import Carried
    from ehg_migrate.schema.correction import Corrective
    from ehg_migrate.schema.corrections import Statement
    from ehg_migrate.schema.proof import Correction, Left


def correction_lines(found: Corrective) -> Iterator[str]:
    """A script for psql or a SQL editor; all but statements is comments."""
    yield f"-- makes `{found.left}` like `{found.right}`: {number(found.differences, 'difference')}"
    if found.problem:
        first, *more = problem_lines(found.problem)
        yield from _commented([f"UNPROVEN: {first}", *more])
        return
    if not found.differences:
        return
    yield from _commented(_claim(found))
    yield from left_lines(found.remaining)
    yield from _withheld(found.withheld)
    if found.statements:
        yield ""
        yield "BEGIN;"
        yield f"{PREAMBLE};"
        yield from statement_lines(found.statements)
        yield "COMMIT;"


def _claim(found: Corrective) -> Iterator[str]:
    where = f"on a clone of `{found.left}` (PostgreSQL {found.scratch_version}, without rows)"
    count = number(len(found.statements), "statement")
    if found.proven:
        yield f"proven: after the {count} below {where} no difference is left"
    elif found.statements:
        yield f"NOT PROVEN as a whole: after the {count} below {where} {_differ(len(found.remaining))}"
    else:
        yield f"NOT PROVEN: no statement was found that brings it nearer; {_differ(len(found.remaining))}"
    destructive = sum(s.destructive for s in found.statements)
    if destructive:
        yield f"{number(destructive, 'statement')} marked `destructive` may lose rows, or what cannot be made anew"


def _differ(count: int) -> str:
    return f"{number(count, 'object')} still {'differs' if count == 1 else 'differ'}:"


def left_lines(remaining: Iterable[Left]) -> Iterator[str]:
    """What still differs, and what the server said, as comments."""
    for left in remaining:
        clauses = ", ".join(c.name for c in left.difference.clauses)
        what = f"{left.difference.kind} {left.difference.identity}"
        yield from _commented([f"  {what} ({clauses})" if left.difference.change.value == "changed" else f"  {what}"])
        yield from _commented([f"    {left.reason}"] if left.reason else [])


def _withheld(withheld: tuple[Statement, ...]) -> Iterator[str]:
    if withheld:
        yield from _commented(["left out, since they are destructive (`--allow-destructive` runs them):"])
        yield from _commented(f"  {s.sql};" for s in withheld)


def statement_lines(statements: Iterable[Statement]) -> Iterator[str]:
    """Each with its semicolon; a destructive one is marked in the line before."""
    for statement in statements:
        if statement.destructive:
            yield "-- destructive"
        yield f"{statement.sql};"


def _commented(lines: Iterable[str]) -> Iterator[str]:
    yield from (f"-- {line}" for text in lines for line in text.splitlines())


def carried_lines(target: str, branch: str, carried: Carried, *, local: bool = False) -> Iterator[str]:
    """What is known of a revision that carries a target's drift, and what comes next; `local` of its local database."""
    yield from _way("upgrade", carried.upgrade, f"what the revisions of {target} produce equals {target}")
    yield from _way("downgrade", carried.downgrade, "it is what it was before")
    yield f"review it: it is for every target of branch {branch}, and sees a rename as one object less and one more;"
    if local:  # stock commands know the target only, which need not have it
        yield f"the local database of {target} has all of it already: `ehg-migrate local wipe` before the next upgrade"
        return
    yield f"{target} has all of it already: say so with `alembic -x target={target} stamp {branch}@head`"


def _way(name: str, correction: Correction, outcome: str) -> Iterator[str]:
    if correction.proven:
        yield f"{name}: proven, after {number(len(correction.statements), 'statement')} {outcome}"
        return
    yield f"{name}: NOT PROVEN, {_differ(len(correction.left))}"
    for left in correction.left:
        yield f"  {left.difference.kind} {left.difference.identity}{f': {left.reason}' if left.reason else ''}"
    if correction.withheld:
        yield f"  left out, since destructive: {number(len(correction.withheld), 'statement')}; they stand in the file"
