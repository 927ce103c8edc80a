"""The plan of a rollback: a run's own steps reversed, where that is exact. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import JournalEntry, Plan, Step, Verb
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.planner import overlap_note

_DECLARED = ("adopted", "stamped")


def plan_rollback(graph: Graph, target: str, heads: tuple[str, ...], run: str, journal: Sequence[JournalEntry]) -> Plan:
    """Back to exactly the heads before `run`, by the target's own journal (oldest entry first).

    What later runs did must have been taken back, so that all that is left since is the run's own, or a part of it;
    where it did nothing, only what it failed at.
    Raises TargetError where the way back is not exact: something else was done since, a file changed, the graph
    changed, a revision was only declared, or left half done.
    """
    of_run = [e for e in journal if e.run == run and e.event != "failed"]
    if not of_run:
        _nothing_completed(run, journal)
        return Plan(target, Verb.ROLLBACK, heads, heads, (), undoes=run)
    since = [e for e in journal if e.seq >= of_run[0].seq and e.event != "failed"]
    try:
        return _plan_back(graph, target, heads, of_run, since)
    except TargetError as e:
        if "--to REV" in e.problem.hint and _is_back(graph, heads, of_run[0], since[-1]):
            raise TargetError(replace(e.problem, hint=_BACK)) from None
        raise TargetError(_with_way(e.problem, _way(graph, heads, of_run))) from None


_BACK = "by its version rows it is back already; mend by hand what is not, which `ehg-migrate drift -t TARGET` "
_BACK += "shows; where that shows nothing, nothing is left to do"


def _is_back(graph: Graph, heads: tuple[str, ...], first: JournalEntry, last: JournalEntry) -> bool:
    """Whether the target holds what it held before the run, and the journal knows how that came about."""
    known = all(h in graph for h in (*heads, *first.heads_before, *last.heads_after))
    return known and graph.canonical(heads) == graph.canonical(first.heads_before) == graph.canonical(last.heads_after)


def _way(graph: Graph, heads: tuple[str, ...], of_run: Sequence[JournalEntry]) -> str:
    """The options of the downgrade that takes back what the run did; none where it has made nothing."""
    from ehg_migrate.revisions.descending import options_to  # seldom

    done = {e.revision for e in of_run if e.event == "done" and e.direction == "up"}
    return options_to(graph, heads, of_run[0].heads_before, done)


def _with_way(problem: Problem, options: str) -> Problem:
    """With that downgrade in its hint: at night nobody looks heads up."""
    hint = problem.hint
    if problem.code == "no_downgrade":
        hint = (
            "write one in the file, and say `ehg-migrate downgrade TARGET --to REV`, for it is another file then; or "
            "restore the target from a backup"
        )
    return replace(problem, hint=hint.replace("--to REV", options) if options else hint)


def _plan_back(
    graph: Graph, target: str, heads: tuple[str, ...], of_run: Sequence[JournalEntry], since: Sequence[JournalEntry]
) -> Plan:
    run = of_run[0].run
    own, left = _changes(of_run), _changes(since)
    _nothing_declared(run, since)
    _nothing_by_hand(run, since)
    _nothing_half_done(run, since, left)
    _nothing_else(run, own, left)
    _still_known(graph, run, of_run, [e for e in since if e.revision in own])
    _as_recorded(graph, run, heads, since[-1])
    goal = graph.canonical(of_run[0].heads_before)
    steps = graph.steps(heads, goal)
    _same_steps(run, left, steps)
    notes = overlap_note(graph, heads) if left or not own else (_taken_back(run, since[-1].run),)
    return Plan(target, Verb.ROLLBACK, heads, goal, steps, notes, undoes=run, journal=since[-1].seq)


def _changes(entries: Iterable[JournalEntry]) -> dict[str, JournalEntry]:
    """By revision the step that these entries did and that no later one of them took back.

    What a rollback of a rollback has brought back is the work of the run that did it first; what another run does anew
    is that one's.
    """
    net: dict[str, JournalEntry] = {}
    taken: dict[tuple[str, str | None], JournalEntry] = {}  # what was done to a revision, by who took it back
    for e in entries:
        if e.event != "done":
            continue
        before = net.pop(e.revision, None)
        if before is None or before.direction == e.direction:
            net[e.revision] = taken.get((e.revision, e.undoes), e)
        else:
            taken[e.revision, e.run] = before
    return net


def _nothing_completed(run: str, journal: Sequence[JournalEntry]) -> None:
    """Where the run failed at once and another has done that since, the target is not as it was before the run."""
    failed = {(e.revision, e.direction): e.seq for e in journal if e.run == run}
    since = _changes(e for e in journal if e.seq > min(failed.values(), default=0))
    others = tuple(dict.fromkeys(e.run for r, e in since.items() if (r, e.direction) in failed))
    if others:
        last = shlex.quote(others[-1])  # as in `_nothing_else`
        raise inexact(
            run,
            f"it did nothing here, and what it failed at was done since: by {quoted(others)}",
            f"`ehg-migrate rollback {last} -t TARGET` takes that back",
        )


def refuse_completed(run: str, journal: Sequence[JournalEntry], completions: Collection[str]) -> None:
    """Raises TargetError where the run did nothing, and one of these, which completed it, did what is there now.

    What was left undone by it is its matter all the same, unlike what somebody else has brought since.
    """
    left = {e.run for e in _changes(journal).values()}
    if others := [other for other in completions if other in left]:
        raise inexact(
            run,
            f"it did nothing here, and {quoted(others)}, which completed it, did",
            f"`ehg-migrate rollback {shlex.quote(others[-1])} -t TARGET` takes that back",
        )


def _nothing_declared(run: str, since: Sequence[JournalEntry]) -> None:
    declared = [e for e in since if e.event in _DECLARED]
    if declared:
        own = declared[0].run == run  # what another tool has made must not be dropped for a wrong word of ours
        who = "it" if own else f"run `{declared[0].run}`"
        raise inexact(
            run,
            f"{who} declared revisions to be applied and did not run them",
            "`alembic -x target=TARGET stamp --purge REV ...` declares others, of every branch, or none with `base`"
            if own
            else "`ehg-migrate downgrade TARGET --to REV` runs their `downgrade()`, after showing what it would do",
        )


def _nothing_by_hand(run: str, since: Sequence[JournalEntry]) -> None:
    """SQL that is in no revision has no way back; rows that a later run brought are in nobody's way."""
    for e in since:
        if e.event == "corrected" or (e.event == "seeded" and e.run == run):
            who = "it" if e.run == run else f"run `{e.run}`"
            what = (
                "changed the schema by SQL of `schema sync`" if e.event == "corrected" else "brought rows from a file"
            )
            raise inexact(
                run,
                f"{who} {what}, which has no way back",
                "`ehg-migrate downgrade TARGET --to REV` takes back revisions alone",
            )


def _nothing_half_done(run: str, since: Sequence[JournalEntry], left: Mapping[str, JournalEntry]) -> None:
    """Taking a step of the run back may have been cut: taking it back is what follows, and finishes that."""
    half: dict[str, JournalEntry] = {}
    for e in since:
        if e.event == "started":
            half[e.revision] = e
        elif e.event == "done":
            half.pop(e.revision, None)
    half = {r: e for r, e in half.items() if e.direction == "up" or r not in left}
    if half:
        raise inexact(
            run,
            f"revision `{next(iter(half))}` ran outside a transaction and did not end",
            "run `ehg-migrate upgrade -t TARGET` to finish it and roll that back too, or repair it by hand and use "
            "`ehg-migrate downgrade TARGET --to REV`",
        )


def _nothing_else(run: str, own: Mapping[str, JournalEntry], left: Mapping[str, JournalEntry]) -> None:
    """Steps of its own that another has done again are the other's: a job that is repeated must not take them back.

    Nor may its hint, where nothing is left of the run: the others' work would go for nothing.
    """
    other = [e.run for r, e in left.items() if e.run != run or r not in own or own[r].direction != e.direction]
    if not other:
        return
    names = quoted(dict.fromkeys(other))
    if not any(e.run == run for e in left.values()):
        raise inexact(
            run,
            f"nothing of it is left, and later runs changed the target: {names}",
            "there is nothing to take back: `ehg-migrate history TARGET` shows who did, and what was done since",
        )
    last = shlex.quote(other[-1])  # who writes into the journal chooses it, and somebody pastes this into a shell
    hint = f"run `ehg-migrate rollback {last} -t TARGET` first"  # of this one, and not of all that it was for
    raise inexact(run, f"later runs changed the target: {names}", hint)


def _still_known(graph: Graph, run: str, of_run: Iterable[JournalEntry], steps: Iterable[JournalEntry]) -> None:
    for revision in (h for e in of_run for h in (*e.heads_before, *e.heads_after)):
        if revision not in graph:
            raise inexact(
                run,
                f"revision `{revision}` is not in versions/ of this checkout",
                "use the checkout that applied it",
            )
    for e in steps:
        if e.event == "done" and e.checksum != graph[e.revision].checksum:
            raise inexact(
                run,
                f"`{graph[e.revision].path}` was edited after it was applied (checksum {e.checksum[:12]})",
                f"use the file as it was (git commit {e.git_commit or 'unknown'}), or "
                "`ehg-migrate downgrade TARGET --to REV`",
            )


def _as_recorded(graph: Graph, run: str, heads: tuple[str, ...], last: JournalEntry) -> None:
    known = all(h in graph for h in last.heads_after)
    if not known or graph.canonical(heads) != graph.canonical(last.heads_after):
        raise inexact(
            run,
            f"the target holds {quoted(heads)}, and run `{last.run}` left {quoted(last.heads_after)}",
            "somebody set its version rows by hand, or one was lost: `ehg-migrate status -t TARGET` tells; then "
            "`ehg-migrate downgrade TARGET --to REV`, which shows what it would do",
        )


def _same_steps(run: str, left: Mapping[str, JournalEntry], planned: Iterable[Step]) -> None:
    """The planned steps must be what is left of the run, reversed; else the graph has changed, or a script has run."""
    opposite = {"up": "down", "down": "up"}
    if sorted((r, opposite[e.direction]) for r, e in left.items()) != sorted(
        (s.revision, s.direction) for s in planned
    ):
        raise inexact(
            run,
            "the steps back are not the run's own steps reversed: `down_revision` or `depends_on` changed since, or a "
            "script of `ehg-migrate plan --sql`, which no journal tells of, has done a part of them",
            "use the checkout that applied it, or "
            "`ehg-migrate downgrade TARGET --to REV`, which shows what it would do",
        )


def _taken_back(run: str, by: str) -> Problem:
    return Problem("taken_back", f"run `{run}` is taken back here already, by run `{by}`")


def inexact(run: str, message: str, hint: str) -> TargetError:
    """Why a run is not taken back."""
    return TargetError(Problem("rollback_inexact", f"run `{run}` cannot be taken back exactly: {message}", hint))
