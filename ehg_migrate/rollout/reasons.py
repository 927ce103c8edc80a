"""Why a target is not what its plan was made for, or not what it should have become, or why nobody can say."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterable, Sequence
from dataclasses import replace

from psycopg import sql

from ehg_migrate.database import damage
from ehg_migrate.errors import Problem, quoted
from ehg_migrate.model import Direction, Result, Run, Step, StepResult, Target
from ehg_migrate.revisions.graph import Graph, Revision

BY_ANOTHER = Problem("done_by_another", "another runner brought the target to the plan's goal in the meantime")
WRITTEN_AS_ANOTHER = Problem(
    "written_as_another",
    "by its journal, the last work in this database was on another target of targets/",
    "`ehg-migrate history TARGET` names that one: is the entry's address that of its database? Where this is a copy of "
    "it, or they have changed names, all is well, and the next step here ends this note",
)
NEVER_RUN = "never_run"
UNACCOUNTED = "unaccounted"


def by_another(revisions: Sequence[str]) -> tuple[Problem, ...]:
    """That another runner has done these steps of a plan, if there are any, while this one had lost the target."""
    said = f"another runner did {quoted(revisions, 8)} in the meantime, while this one had lost its session"
    return (Problem("done_by_another", said, "`ehg-migrate history TARGET` shows which run"),) if revisions else ()


def of_saved_plan(bad: Iterable[Result]) -> Problem:
    """What does the rest of a saved plan, where these targets are not where it wanted them."""
    stale = all(r.problem is not None and r.problem.code == "stale_plan" for r in bad)
    return Problem(
        "saved_plan",
        "this was a saved plan, which `resume` and `retry` leave alone: they plan anew, and nobody has approved that",
        "for what it does not fit any more: `ehg-migrate plan -o FILE` of the same targets, and that one approved"
        if stale
        else "when it is mended, `ehg-migrate upgrade --plan FILE` with the same file does the rest",
    )


def died(run: Run) -> Problem:
    """Its process is gone, and it never said how it ended."""
    done = f"it has results for {len(run.results)} of {len(run.targets)} targets"
    hint = f"{run.completed_by} completes it; `ehg-migrate show {run.id}` tells how far it came"
    return Problem("died_run", f"run `{run.id}` of {run.origin.actor} on {run.origin.host} died: {done}", hint)


def lost_rows(applied: Sequence[str], unknown: Sequence[str], heads: Sequence[str], schema: str) -> Problem:
    """Nothing is in the version table, and the journal beside it says what was applied and never taken back.

    To begin from nothing would do all of it again: rows twice, or tables dropped because they are in the way. Of what
    was applied this checkout does not have `unknown`; `heads` are the rows that stand for the others.
    """
    declared = " --heads ".join(map(shlex.quote, heads)) or "REV"
    problem = damage.lost_rows(applied)
    if unknown:  # rows that are written from here would lack them, and the checkout that has them do them again
        more = quoted(unknown, 8)
        hint = "use the checkout that has it: `ehg-migrate status -t TARGET` names there what to do; "
        hint += f"if its file was taken out for good, `ehg-migrate adopt TARGET --heads {declared}`"
        return replace(problem, message=f"{problem.message}; and {more}, which this checkout does not have", hint=hint)
    hint = f"is the schema still there? `ehg-migrate adopt TARGET --heads {declared}` writes the rows again. If the "
    return replace(problem, hint=f"{hint}database was really emptied, drop schema `{schema}` too")


def doubled_rows(heads: Sequence[str], target: Target) -> Problem:
    """A row of the version table is there twice, with the statements that mend that."""
    table = sql.Identifier(target.version_table_schema, target.version_table)
    mending = _ONCE_AGAIN.format(table=table).as_string(None)
    return replace(damage.doubled_rows(heads), hint=mending)


_ONCE_AGAIN = sql.SQL(
    "DELETE FROM {table} a USING {table} b WHERE a.version_num = b.version_num AND a.ctid > b.ctid; "
    "ALTER TABLE {table} ADD PRIMARY KEY (version_num)"
)


def unaccounted(revisions: Sequence[str], heads: Sequence[str], after: Sequence[str]) -> Problem:
    """A part of the version rows is gone; or somebody has taken something back, and the journal does not know.

    `heads` are the rows that stand for the `revisions`, `after` all rows with those.
    """
    compare = f"`ehg-migrate compare TARGET {_heads(after)}`"
    return Problem(
        UNACCOUNTED,
        f"by the target's journal {quoted(revisions, 8)} is applied too, and no version row says so",
        f"was a row lost? If {compare} shows no difference in what is named here, it is still there, and "
        f"`alembic -x target=TARGET stamp {shlex.join(heads)}` writes the row; where somebody has taken it back by "
        "hand, `ehg-migrate upgrade -t TARGET` does it again",
    )


def never_run(revisions: Sequence[str], above: Revision, run: str) -> Problem:
    """They were put below one that was applied already, so that its version row stands for them too."""
    return Problem(
        NEVER_RUN,
        f"{quoted(revisions, 8)} counts as applied, since `{above.id}` needs it now; but run `{run}` applied that "
        "without it, and by the target's journal it was never run here",
        "set `down_revision` and `depends_on` back to what they were then, and `ehg-migrate upgrade -t TARGET` runs "
        "what is missing (`alembic merge` joins two lines); `ehg-migrate drift -t TARGET` shows what is missing now",
        above.path,
    )


def half_done(graph: Graph, heads: Sequence[str], direction: str, revision: str) -> Problem:
    """A step that was cut outside a transaction. One whose file is gone is finished nowhere; a stamp ends this."""
    finish = "upgrade -t TARGET" if direction == Direction.UP else "downgrade TARGET --to REV"
    here = revision in graph
    where = "" if here else "from the checkout that has it "
    hint = f"`ehg-migrate {finish}` {where}finishes it, or names what it left behind"
    if not here:
        hint += "; where its file was taken out for good: take away by hand what `ehg-migrate drift -t TARGET` shows "
        hint += f"of it, and `alembic -x target=TARGET stamp --purge {shlex.join(heads) or 'base'}` ends this note"
    return Problem(
        "half_done",
        f"revision `{revision}` began outside a transaction and nobody saw it end",
        hint,
        graph[revision].path if here else "",
    )


def half_taken_back(graph: Graph, heads: tuple[str, ...], revision: str) -> Problem:
    """A revision whose downgrade was cut outside a transaction: its row is there, a part of its schema may be gone."""
    r = graph[revision]
    below = r.parents[0] if r.parents else f"{r.branch}@base"
    after = graph.ids(graph.maximal(graph.closure(heads) & ~(1 << graph.index[revision]))) or ("base",)
    # what cannot be done a second time would be the end of every way out
    stamp = shlex.quote(below) if len(r.parents) == 1 else f"--purge {shlex.join(after)}"
    hint = f"finish that with `ehg-migrate downgrade TARGET --to {shlex.quote(below)}`; "
    hint += "then `ehg-migrate upgrade -t TARGET`, if it is wanted again. "
    hint += f"`ehg-migrate compare TARGET {_heads(after)}` shows what is left of it; if it fails since a part is gone "
    hint += f"already, take the rest away by hand; and when nothing is left: `alembic -x target=TARGET stamp {stamp}`"
    return Problem(
        "half_taken_back",
        f"taking back revision `{revision}` was cut outside a transaction: a part of it may be gone",
        hint,
        r.path,
    )


def still_true(notes: Iterable[Problem], done: Sequence[StepResult]) -> tuple[Problem, ...]:
    """What was noted of a target before these steps, but for what they have mended: needless rows go before the first,
    and a step that was cut, or whose row was lost, is done again.
    """
    up = {s.revision for s in done if s.direction is Direction.UP}

    def is_over(note: Problem) -> bool:
        if note.code == "overlapping_rows":
            return bool(done)
        return note.code in ("half_done", UNACCOUNTED) and up.issuperset(re.findall("`(.+?)`", note.message))

    return tuple(n for n in notes if not is_over(n))


def is_there(step: Step, notes: Iterable[Problem] = ()) -> str:
    """What to do where a step makes what the target has: it may be a customer's, or that very step's, its row lost.

    `notes` are those of the plan: what the journal says of the step. `adopt` takes over a target that holds nothing
    yet; a row beside others is stamped. Steps above it may be there too, so not all of a comparison is about this one.
    """
    after, revision = _heads(step.heads_after), shlex.quote(step.revision)
    lost = "a version row was lost (`ehg-migrate history TARGET`)"
    why = f"somebody made it by hand, or {lost}"
    if any(n.code == UNACCOUNTED for n in notes):
        why = f"by the target's journal it may be what was applied before, and {lost}"
    return (
        f"{why}. If `ehg-migrate compare TARGET {after}` shows no difference in what this step makes, "
        f"`alembic -x target=TARGET stamp {revision}` says that it is applied; else move it out of the way, with the "
        "rows that it may hold, and run again"
    )


def is_gone(step: Step) -> str:
    """What to do where a downgrade finds nothing of what it takes away: somebody was faster, by hand."""
    after = step.heads_after or ("base",)
    return (
        f"was it taken away here by hand? If `ehg-migrate compare TARGET {_heads(after)}` shows nothing of this step "
        f"any more, `alembic -x target=TARGET stamp --purge {shlex.join(after)}` says that it is taken back; else make "
        "it anew and run again, or correct the revision"
    )


def _heads(rows: Sequence[str]) -> str:
    """What these rows produce, as a side of `compare` in a shell."""
    return shlex.quote(f"heads:{','.join(rows)}")


def lock_broken(by: str) -> Problem:
    """Somebody has told this run to leave the target."""
    return Problem(
        "lock_broken",
        f"{by} ended the session of this run with `locks break`; its open step was rolled back",
        "ask why, then run again",
    )


def wrong_heads(heads: tuple[str, ...], goal: tuple[str, ...]) -> Problem:
    """All steps are done, and the rows are others."""
    return Problem(
        "wrong_heads",
        f"after all steps the version table holds {quoted(heads)} instead of {quoted(goal)}",
        "a revision changed the version table, or another tool did; look with `ehg-migrate history TARGET`",
    )


def not_readable(lost: Problem, step: Step, why: Problem) -> Problem:
    """The connection was lost in a step, and what the target holds since cannot be read."""
    return Problem(
        "indeterminate",
        f"{lost.message} in step `{step.revision}`; it cannot be read since: {why.message}",
        "run `ehg-migrate status -t TARGET` when the target answers again; then the same command again goes on from "
        "what it holds",
        lost.where,
        lost.sqlstate,
    )


def stale_plan(planned: tuple[str, ...], found: tuple[str, ...]) -> Problem:
    """The plan does not begin where the target is."""
    return Problem(
        "stale_plan",
        f"the plan was made for {quoted(planned)}, and the target holds {quoted(found)}",
        "another runner or a person changed it; plan again",
    )


def undone_meanwhile(revisions: Sequence[str]) -> Problem:
    """A run that comes back to a target does nothing again that somebody took back while it was away."""
    return Problem(
        "taken_back",
        f"while this run had lost its session {quoted(revisions, 8)}, which it had done here, was taken back",
        "`ehg-migrate history TARGET` shows who did that; if it is to be done after all, run again",
    )


def deadline_reached(deadline: float, then: str = " and the connection closed") -> Problem:
    """The worker has ended its own work."""
    return Problem(
        "deadline",
        f"the deadline of {deadline:g} s was reached{then}",
        "look what it waited for, raise `deadline` for this target, and run again",
    )


def worker_overdue(grace: float, deadline: float) -> Problem:
    """The runner has killed it."""
    return Problem(
        "deadline",
        f"the worker did not end {grace:g} s after its deadline of {deadline:g} s and was killed",
        "a revision hangs outside the database, or the target has stopped to answer; look at its code, or raise "
        "`deadline`",
    )


def worker_ended(code: int) -> Problem:
    """It is gone without a word; `code` is its exit code, negative where a signal has ended it."""
    if code < 0:
        return Problem(
            "worker_killed",
            f"the worker was ended by {_signal(-code)}",
            "killed by hand, out of memory, or a crash in a revision's library; see its output",
        )
    return Problem(
        "worker_died",
        f"the worker ended by itself with exit code {code}",
        # 255 is also what is told where the fork server was gone, so that nobody heard how it ended
        "a revision ended the process (`os._exit`), or what workers are forked from has ended; see its output",
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {number}"
