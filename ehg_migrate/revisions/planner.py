"""Who makes the plan: an upgrade, a downgrade, a rollback. Pure; each gives the exact steps from given rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import JournalEntry, Plan, Verb
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.specs import Releases, branch_members, lineage_above, resolve, resolve_all


def plan_upgrade(graph: Graph, target: str, heads: tuple[str, ...], to: Iterable[str], releases: Releases) -> Plan:
    """Adds what `to` needs and takes nothing away. Raises UsageError for a name that is no revision here."""
    goal = graph.canonical({*heads, *resolve_all(graph, to, releases)})
    return Plan(target, Verb.UPGRADE, heads, goal, graph.steps(heads, goal), overlap_note(graph, heads))


def plan_downgrade(graph: Graph, target: str, heads: tuple[str, ...], to: Sequence[str], releases: Releases) -> Plan:
    """Takes away what stands above each revision of `to`, and whatever elsewhere needs what is taken away.

    Raises UsageError for a name that is no revision here, TargetError where a revision is not applied or has no way
    back.
    """
    active = graph.closure(heads)
    removed = 0
    for spec in to:
        removed |= _above(graph, spec, active, releases)
    for i in range(len(graph.revisions)):
        if active >> i & 1 and graph.ancestors[i] & removed:
            removed |= 1 << i
    goal = graph.ids(graph.maximal(active & ~removed))
    return Plan(target, Verb.DOWNGRADE, heads, goal, graph.steps(heads, goal), overlap_note(graph, heads))


def _above(graph: Graph, spec: str, active: int, releases: Releases) -> int:
    """What a downgrade to this revision takes away by itself: the applied revisions above it on its own line."""
    if spec == "base":
        return active
    if spec.startswith("release:"):
        return active & ~graph.closure(resolve(graph, spec, releases))
    branch, at, name = spec.rpartition("@")
    if at and name == "base":
        return active & branch_members(graph, branch)
    removed = 0
    for revision in resolve(graph, spec, releases):
        i = graph.index[revision]
        if not active >> i & 1:
            raise TargetError(
                Problem(
                    "not_applied",
                    f"revision `{revision}` is not applied, so there is nothing above it to take back",
                    "`history` shows what is applied",
                )
            )
        removed |= lineage_above(graph, i) & ~(1 << i) & active
    return removed


def plan_rollback(graph: Graph, target: str, heads: tuple[str, ...], run: str, journal: Sequence[JournalEntry]) -> Plan:
    """Back to exactly the heads before `run`, by the target's own journal (oldest entry first).

    Raises TargetError where that is not exact: something was done since, a file changed, the graph changed, or a step
    of the run was left half done.
    """
    of_run = [e for e in journal if e.run == run and e.event != "failed"]
    if not of_run:
        return Plan(target, Verb.ROLLBACK, heads, heads, (), undoes=run)
    _only_declared(run, of_run)
    _nothing_since(run, journal, of_run)
    _nothing_half_done(run, of_run)
    goal = of_run[0].heads_before
    _still_known(graph, run, of_run)
    if graph.canonical(heads) != graph.canonical(of_run[-1].heads_after):
        raise _inexact(
            run,
            f"the target holds {_names(heads)}, and the run left {_names(of_run[-1].heads_after)}",
            "somebody stamped it by hand; use `downgrade`, which shows what it would do",
        )
    steps = graph.steps(heads, goal)
    _same_steps(run, of_run, [(s.revision, str(s.direction)) for s in steps])
    return Plan(target, Verb.ROLLBACK, heads, goal, steps, overlap_note(graph, heads), undoes=run)


def _only_declared(run: str, of_run: Sequence[JournalEntry]) -> None:
    if any(e.event in ("adopted", "stamped") for e in of_run):
        raise _inexact(
            run,
            "it declared revisions to be applied and did not run them",
            "`downgrade` runs their `downgrade()`, which shows what it would do",
        )


def _nothing_since(run: str, journal: Sequence[JournalEntry], of_run: Sequence[JournalEntry]) -> None:
    later = [e.run for e in journal if e.seq > of_run[-1].seq and e.event not in ("failed", "started")]
    if later:
        names = ", ".join(f"`{r}`" for r in dict.fromkeys(later))
        raise _inexact(run, f"later runs changed the target: {names}", f"roll back `{later[-1]}` first")


def _nothing_half_done(run: str, of_run: Sequence[JournalEntry]) -> None:
    done = {e.revision for e in of_run if e.event != "started"}
    half = [e.revision for e in of_run if e.event == "started" and e.revision not in done]
    if half:
        raise _inexact(
            run,
            f"revision `{half[0]}` ran outside a transaction and did not end",
            "run `upgrade` to finish it, or repair it by hand, then roll back",
        )


def _still_known(graph: Graph, run: str, of_run: Sequence[JournalEntry]) -> None:
    for e in of_run:
        for revision in (*e.heads_before, *e.heads_after):
            if revision not in graph:
                raise _inexact(
                    run,
                    f"revision `{revision}` is not in versions/ of this checkout",
                    "use the checkout that applied it",
                )
        if e.event == "done" and e.checksum != graph[e.revision].checksum:
            raise _inexact(
                run,
                f"`{graph[e.revision].path}` was edited after it was applied (checksum {e.checksum[:12]})",
                f"use the file as it was (git commit {e.git_commit or 'unknown'}), or use `downgrade`",
            )


def _same_steps(run: str, of_run: Sequence[JournalEntry], planned: list[tuple[str, str]]) -> None:
    """The planned steps must be the run's own, the other way round; anything else means that the graph has changed."""
    opposite = {"up": "down", "down": "up"}
    net: dict[str, str] = {}
    for e in of_run:
        if e.event != "done":
            continue
        if net.get(e.revision) == opposite[e.direction]:
            del net[e.revision]
        else:
            net[e.revision] = e.direction
    if sorted((r, opposite[d]) for r, d in net.items()) != sorted(planned):
        raise _inexact(
            run,
            "the steps back are not the run's own steps reversed: `down_revision` or `depends_on` changed since",
            "use the checkout that applied it, or use `downgrade`, which shows what it would do",
        )


def plan_adoption(
    graph: Graph, target: str, foreign: tuple[str, ...], declared: Sequence[str], releases: Releases
) -> Plan:
    """Declares that a database holds what its old version table says, or what `declared` names. Runs nothing.

    Raises UsageError for a name that is no revision here, TargetError for rows that no file here explains.
    """
    if declared:
        return Plan(target, Verb.ADOPT, (), graph.canonical(resolve_all(graph, declared, releases)), ())
    unknown = [h for h in foreign if h not in graph]
    if unknown or not foreign:
        raise TargetError(
            Problem(
                "unknown_revision",
                f"`public.alembic_version` holds {_names(tuple(unknown))}, which this target's branches do not have"
                if unknown
                else "there is no `public.alembic_version` with rows to take over",
                "bring its revision files into versions/, or declare what is applied with `--heads`",
            )
        )
    note = Problem(
        "old_table_stays",
        "`public.alembic_version` stays as it is and is no longer read",
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
            f"the version table holds {_names(tuple(extra))} although another row implies it",
            "the next run takes the needless rows out before its first step",
        ),
    )


def _names(revisions: tuple[str, ...]) -> str:
    return ", ".join(f"`{r}`" for r in revisions) or "nothing"


def _inexact(run: str, message: str, hint: str) -> TargetError:
    return TargetError(Problem("rollback_inexact", f"run `{run}` cannot be taken back exactly: {message}", hint))
