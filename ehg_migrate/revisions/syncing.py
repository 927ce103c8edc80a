"""The revisions by which one target comes to hold what another holds. Pure."""

from __future__ import annotations

from ehg_migrate.errors import Problem, quoted
from ehg_migrate.model import Plan, Verb
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.planner import overlap_note


def plan_sync(graph: Graph, target: str, heads: tuple[str, ...], source: Graph, held: tuple[str, ...]) -> Plan:
    """From `heads` to what the source holds of the target's branches; up or down, or both.

    What the target holds of branches that the source does not have stays, unless it needs what goes. What the source
    holds of branches that the target does not have is no revision of the target's, and is told in a note.
    """
    theirs = set(source.ids(source.closure(held)))
    branches = {r.branch for r in source.revisions}
    active = graph.closure(heads)
    wanted = 0
    for i, r in enumerate(graph.revisions):
        if r.id in theirs or (active >> i & 1 and r.branch not in branches):
            wanted |= 1 << i
    for i in range(len(graph.revisions)):
        if graph.ancestors[i] & ~wanted & ~(1 << i):
            wanted &= ~(1 << i)
    goal = graph.ids(graph.maximal(wanted))
    notes = (*overlap_note(graph, heads), *_own(sorted(theirs - {r.id for r in graph.revisions})))
    return Plan(target, Verb.SYNC, heads, goal, graph.steps(heads, goal), notes)


def _own(revisions: list[str]) -> tuple[Problem, ...]:
    if not revisions:
        return ()
    names = quoted(revisions)
    message = f"{names}: of branches that this target does not have; what they made comes as SQL"
    return (Problem("own_branches", message, "put revisions that several targets need into `shared` or a group"),)
