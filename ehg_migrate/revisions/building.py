"""Revisions as their files have them, made into a Graph: the names that they give each other resolved. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ehg_migrate.errors import Problem
from ehg_migrate.revisions.graph import Graph, Revision


def build(revisions: Sequence[Revision]) -> tuple[Graph, tuple[Problem, ...]]:
    """The graph of these revisions, in load order, and everything about it that cannot be resolved.

    The graph is usable only where the second value is empty.
    """
    index, labels, problems = _names(revisions)
    edges: list[tuple[int, ...]] = []
    for r in revisions:
        if len(r.parents) == 1 and not r.depends_on and r.parents[0] in index:  # nearly all, in every target's scope
            edges.append((index[r.parents[0]],))
            continue
        found, missing = _edges(r, revisions, index, labels)
        edges.append(found)
        problems += missing
    ancestors, unresolved = _ancestors(edges)
    if unresolved:
        problems.append(_circle_problem(revisions, _circle(edges, unresolved)))
    return Graph(tuple(revisions), tuple(edges), tuple(ancestors), index, labels), tuple(problems)


def _names(revisions: Sequence[Revision]) -> tuple[dict[str, int], dict[str, int], list[Problem]]:
    index: dict[str, int] = {}
    labels: dict[str, int] = {}
    problems: list[Problem] = []
    for i, r in enumerate(revisions):
        if r.id in index:
            problems.append(_taken(f"revision id `{r.id}`", r, revisions[index[r.id]]))
        index[r.id] = i
    for i, r in enumerate(revisions):
        for label in r.labels:
            if label in labels or label in index:
                problems.append(_taken(f"branch label `{label}`", r, revisions[labels.get(label, index.get(label, i))]))
            labels[label] = i
    return index, labels, problems


def _taken(what: str, revision: Revision, other: Revision) -> Problem:
    places = f"in `{other.path}` and in `{revision.path}`"
    if other is revision:
        places = f"`{revision.path}` has it as its revision id, too"
    return Problem(
        "duplicate_id" if what.startswith("revision") else "duplicate_label",
        f"{what} is used twice: {places}",
        "give one of them another name",
        where=revision.path,
    )


def _edges(
    r: Revision, revisions: Sequence[Revision], index: dict[str, int], labels: dict[str, int]
) -> tuple[tuple[int, ...], list[Problem]]:
    found: list[int] = []
    problems: list[Problem] = []
    for name, attribute in [(p, "down_revision") for p in r.parents] + [(d, "depends_on") for d in r.depends_on]:
        # a label stands for the revision that declares it, the FIRST of its branch, as in Alembic
        at = index.get(name, labels.get(name) if attribute == "depends_on" else None)
        if at is not None:
            if at not in found:
                found.append(at)
            continue
        what, hint = "which is in none of the folders it is used with", "restore the missing file, or correct the name"
        if name in labels:
            what, hint = "which is a label, not an id", f"write the id: `{revisions[labels[name]].id}`"
        message = f"`{attribute}` of revision `{r.id}` names `{name}`, {what}"
        problems.append(Problem("missing_revision", message, hint, where=r.path))
    return tuple(found), problems


def _ancestors(edges: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Ancestor sets of all revisions, and the revisions that are in a circle or above one."""
    above: list[list[int]] = [[] for _ in edges]
    waiting = [len(e) for e in edges]
    for i, below in enumerate(edges):
        for e in below:
            above[e].append(i)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    result = [0] * len(edges)
    while ready:
        i = ready.pop()
        result[i] = 1 << i
        for e in edges[i]:
            result[i] |= result[e]
        for child in above[i]:
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    return result, [i for i, n in enumerate(waiting) if n]


def _circle(edges: Sequence[tuple[int, ...]], unresolved: Sequence[int]) -> list[int]:
    """One circle among these revisions, each needing the next, the last the first."""
    stuck = set(unresolved)
    path: list[int] = [unresolved[0]]
    while True:
        below = next(e for e in edges[path[-1]] if e in stuck)  # who is stuck needs another who is
        if below in path:
            return path[path.index(below) :]
        path.append(below)


def _circle_problem(revisions: Sequence[Revision], circle: Sequence[int]) -> Problem:
    names = " needs ".join(f"`{revisions[i].id}`" for i in (*circle, circle[0]))
    return Problem(
        "cycle",
        f"revisions need one another in a circle: {names}",
        "correct `down_revision` or `depends_on` in one of them",
        where=revisions[circle[0]].path,
    )
