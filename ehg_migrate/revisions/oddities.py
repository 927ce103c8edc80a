"""What is odd about the revisions of one target and works here all the same, as it may not with stock Alembic. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from ehg_migrate.errors import Problem, quoted
from ehg_migrate.revisions.graph import Graph, Revision

# `version_num` of a version table that stock Alembic made; ours is wider
_STOCK_ID_LENGTH = 32


def graph_warnings(graph: Graph) -> Iterator[Problem]:
    """All of it, each as a warning of `lint`."""
    yield from _second_heads(graph)
    yield from _bases_and_labels(graph)
    for i, r in enumerate(graph.revisions):
        if not _is_ordinary(graph, i, r):
            yield from _revision_warnings(graph, i, r)


def _is_ordinary(graph: Graph, i: int, r: Revision) -> bool:
    """A step further in its line, of which nothing can be said. Nearly all are, and each is in the scope of many."""
    below = graph.edges[i]
    if r.depends_on or len(r.id) > _STOCK_ID_LENGTH or len(below) > 1:
        return False
    return not below or graph.revisions[below[0]].branch == r.branch


def _second_heads(graph: Graph) -> Iterator[Problem]:
    """Two files that continue the same revision, which nothing merges, and no label says that it is meant."""
    children: dict[tuple[str, ...], list[Revision]] = {}
    lines = [r for r in graph.revisions if len(r.parents) == 1 and not r.labels]
    continued = Counter(r.parents for r in lines)  # mostly once each, and looked through for every target
    for r in lines:
        if continued[r.parents] > 1:
            children.setdefault((r.branch, *r.parents), []).append(r)
    above = _descendants(graph) if children else []
    for (branch, parent), siblings in children.items():
        pairs = combinations(siblings, 2)
        apart = next((p for p in pairs if not above[graph.index[p[0].id]] & above[graph.index[p[1].id]]), None)
        if apart:
            one, other = apart
            own = graph.bits(r.id for r in graph.revisions if r.branch == branch)
            heads = graph.ids(graph.maximal(own & (above[graph.index[one.id]] | above[graph.index[other.id]])))
            yield Problem(
                "second_head",
                f"branch `{branch}` has a second head: `{one.path}` and `{other.path}` both continue revision "
                f"`{parent}`",
                f"merge them with `alembic merge -m WHY {shlex.join(heads)}`, or set `down_revision` of one that no "
                "target has yet to the other",
                other.path,
            )


def _descendants(graph: Graph) -> list[int]:
    """For each revision the bits of itself and of all that need it."""
    result = [1 << i for i in range(len(graph.revisions))]
    for i in sorted(range(len(result)), key=lambda i: -graph.ancestors[i].bit_count()):  # who needs more comes first
        for below in graph.edges[i]:
            result[below] |= result[i]
    return result


def _bases_and_labels(graph: Graph) -> Iterator[Problem]:
    for branch in dict.fromkeys(r.branch for r in graph.revisions):
        members = [r for r in graph.revisions if r.branch == branch]
        bases = [r for r in members if not r.parents]
        if len(bases) > 1 and any(not b.labels for b in bases):
            files = quoted(b.path for b in bases)
            yield Problem(
                "second_base",
                f"branch `{branch}` has {len(bases)} first revisions: {files}",
                "give each its own label if that is meant, else a `down_revision`",
                bases[1].path,
            )
        if not any(r.labels for r in members):
            yield Problem(
                "no_label",
                f"branch `{branch}` has no label, so stock Alembic does not know `{branch}@head`",
                f'write `branch_labels = ("{branch}",)` in its first revision, unless a target has that: then it would '
                "be an `edited_file`; `lint_ignore = no_label` in alembic.ini is the way",
                (bases or members)[0].path,
            )


def _revision_warnings(graph: Graph, i: int, r: Revision) -> Iterator[Problem]:
    if len(r.id) > _STOCK_ID_LENGTH:
        yield Problem(
            "long_id",
            f"revision id `{r.id}` has {len(r.id)} characters; a version table made by stock Alembic holds "
            f"{_STOCK_ID_LENGTH}",
            "shorten it before anybody applies it",
            r.path,
        )
    for label in r.depends_on:
        if label in graph.labels and label not in graph.index:
            first = graph.revisions[graph.labels[label]].id
            yield Problem(
                "label_dependency",
                f"`depends_on` names the label `{label}`, which stands for its FIRST revision `{first}`, not its head",
                f"name the revision that is needed; write `{first}` if the first is meant",
                r.path,
            )
    if any(p in graph and graph[p].branch != r.branch for p in r.parents):
        yield Problem(
            "crossing_down_revision",
            f"`down_revision` of `{r.id}` lies in another branch, so that branch's label spreads to this one",
            "use `down_revision = None` and `depends_on`",
            r.path,
        )
    for needless in _needless(graph, i):
        yield Problem(
            "redundant_parent",
            f"revision `{r.id}` names `{needless}`, which another of its parents needs already; stock Alembic stops "
            "there with a KeyError",
            f"leave `{needless}` out",
            r.path,
        )


def _needless(graph: Graph, i: int) -> list[str]:
    """Alembic looks for rows of all parents only where several have one, so where only one is needed all is well."""
    edges = graph.edges[i]
    needless = [e for e in edges if any(o != e and graph.ancestors[o] >> e & 1 for o in edges)]
    return [graph.revisions[e].id for e in needless] if len(edges) - len(needless) > 1 else []
