"""Who makes the plan: an upgrade, a downgrade, a rollback. Pure; each gives the exact steps from given rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import JournalEntry, Plan, Step, Verb
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.specs import Releases, resolve_all

_DECLARED = ("adopted", "stamped")


def plan_upgrade(graph: Graph, target: str, heads: tuple[str, ...], to: Iterable[str], releases: Releases) -> Plan:
    """Adds what `to` needs and takes nothing away. Raises UsageError for a name that is no revision here."""
    goal = graph.canonical({*heads, *resolve_all(graph, to, releases)})
    return Plan(target, Verb.UPGRADE, heads, goal, graph.steps(heads, goal), overlap_note(graph, heads))


def plan_downgrade(graph: Graph, target: str, heads: tuple[str, ...], to: Sequence[str], releases: Releases) -> Plan:
    """Takes away what stands above each revision of `to`, and whatever elsewhere needs what is taken away.

    Raises UsageError for a name that is no revision here, TargetError where a revision is not applied or has no way
    back.
    """
    from ehg_migrate.revisions.descending import left_after  # what goes up does without

    goal = left_after(graph, heads, to, releases)
    return Plan(target, Verb.DOWNGRADE, heads, goal, graph.steps(heads, goal), overlap_note(graph, heads))


def plan_rollback(graph: Graph, target: str, heads: tuple[str, ...], run: str, journal: Sequence[JournalEntry]) -> Plan:
    """Back to exactly the heads before `run`, by the target's own journal (oldest entry first).

    What later runs did must have been taken back, so that all that is left since is the run's own, or a part of it.
    Raises TargetError where the way back is not exact: something else was done since, a file changed, the graph
    changed, a revision was only declared, or left half done.
    """
    of_run = [e for e in journal if e.run == run and e.event != "failed"]
    if not of_run:
        return Plan(target, Verb.ROLLBACK, heads, heads, (), undoes=run)
    since = [e for e in journal if e.seq >= of_run[0].seq and e.event != "failed"]
    try:
        return _plan_back(graph, target, heads, of_run, since)
    except TargetError as e:
        if "--to REV" in e.problem.hint and _is_back(graph, heads, of_run[0], since[-1]):
            raise TargetError(replace(e.problem, hint=_BACK)) from None
        raise TargetError(_with_way(e.problem, _way(graph, heads, of_run))) from None


_BACK = "by its version rows it is back already; mend by hand what is not, which `ehg-migrate drift` shows"


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
    return Plan(target, Verb.ROLLBACK, heads, goal, steps, notes, undoes=run)


def _changes(entries: Iterable[JournalEntry]) -> dict[str, JournalEntry]:
    """By revision the step that these entries did and that no later one of them took back."""
    net: dict[str, JournalEntry] = {}
    for e in entries:
        if e.event == "done" and net.pop(e.revision, e).direction == e.direction:
            net[e.revision] = e
    return net


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
            "run `ehg-migrate upgrade` to finish it and roll that back too, or repair it by hand and use "
            "`ehg-migrate downgrade TARGET --to REV`",
        )


def half_taken_back(graph: Graph, target: str, heads: tuple[str, ...], revision: str) -> Problem:
    """A revision whose downgrade was cut outside a transaction: its row is there, a part of its schema may be gone."""
    r = graph[revision]
    below = r.parents[0] if r.parents else f"{r.branch}@base"
    hint = f"finish that with `ehg-migrate downgrade {target} --to {below}`; "
    hint += "then `ehg-migrate upgrade`, if it is wanted again"
    if len(r.parents) == 1:  # what cannot be done a second time would be the end of every way out
        after = graph.ids(graph.maximal(graph.closure(heads) & ~(1 << graph.index[revision])))
        hint += (
            f". `ehg-migrate compare {target} heads:{','.join(after)}` shows what is left of it; if it fails since a "
        )
        hint += "part is gone already, take the rest away by hand; and when nothing is left: "
        hint += f"`alembic -x target={target} stamp {below}`"
    return Problem(
        "half_taken_back",
        f"taking back revision `{revision}` was cut outside a transaction: a part of it may be gone",
        hint,
        r.path,
    )


def _nothing_else(run: str, own: Mapping[str, JournalEntry], left: Mapping[str, JournalEntry]) -> None:
    other = [e.run for r, e in left.items() if r not in own or own[r].direction != e.direction]
    if other:
        names = quoted(dict.fromkeys(other))
        last = shlex.quote(other[-1])  # who writes into the journal chooses it, and somebody pastes this into a shell
        raise inexact(run, f"later runs changed the target: {names}", f"run `ehg-migrate rollback {last}` first")


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
            "somebody stamped it by hand; use `ehg-migrate downgrade TARGET --to REV`, which shows what it would do",
        )


def _same_steps(run: str, left: Mapping[str, JournalEntry], planned: Iterable[Step]) -> None:
    """The planned steps must be what is left of the run, reversed; anything else means that the graph has changed."""
    opposite = {"up": "down", "down": "up"}
    if sorted((r, opposite[e.direction]) for r, e in left.items()) != sorted(
        (s.revision, s.direction) for s in planned
    ):
        raise inexact(
            run,
            "the steps back are not the run's own steps reversed: `down_revision` or `depends_on` changed since",
            "use the checkout that applied it, or "
            "`ehg-migrate downgrade TARGET --to REV`, which shows what it would do",
        )


def _taken_back(run: str, by: str) -> Problem:
    return Problem("taken_back", f"run `{run}` is taken back here already, by run `{by}`")


def plan_adoption(
    graph: Graph,
    target: str,
    foreign: tuple[str, ...],
    declared: Sequence[str],
    releases: Releases,
    schema: str = "public",
) -> Plan:
    """Declares that a database holds what its old version table, in `schema`, says, or what `declared` names.

    Nothing would be run.

    Raises UsageError for a name that is no revision here, TargetError for rows that no file here explains.
    """
    if declared:
        return Plan(target, Verb.ADOPT, (), graph.canonical(resolve_all(graph, declared, releases)), ())
    unknown = [h for h in foreign if h not in graph]
    if unknown or not foreign:
        raise TargetError(
            Problem(
                "unknown_revision",
                f"`{schema}.alembic_version` holds {quoted(unknown)}, which this target's branches do not have"
                if unknown
                else f"there is no `{schema}.alembic_version` with rows to take over",
                "bring its revision files into versions/, or declare what is applied with `--heads`"
                if unknown
                else "declare what is applied with `--heads REV`; where nothing is, `ehg-migrate upgrade` is enough",
            )
        )
    note = Problem(
        "old_table_stays",
        f"`{schema}.alembic_version` stays as it is and is no longer read",
        "drop it when no other tool uses it",
    )
    return Plan(target, Verb.ADOPT, (), graph.canonical(foreign), (), (note,))


def overlap_note(graph: Graph, heads: tuple[str, ...]) -> tuple[Problem, ...]:
    """Rows that another row implies, as stock Alembic leaves after some downgrades; the run takes them out first."""
    extra = sorted(set(heads) - set(graph.canonical(heads)))
    if not extra:
        return ()
    return (
        Problem(
            "overlapping_rows",
            f"the version table holds {quoted(extra)} although another row implies it",
            "the next run takes the needless rows out before its first step",
        ),
    )


def inexact(run: str, message: str, hint: str) -> TargetError:
    """Why a run is not taken back."""
    return TargetError(Problem("rollback_inexact", f"run `{run}` cannot be taken back exactly: {message}", hint))
