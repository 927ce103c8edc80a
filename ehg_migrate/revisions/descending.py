"""Which rows a downgrade leaves, and which downgrade leads to given rows. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from ehg_migrate.errors import Problem, TargetError, UsageError
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.specs import RELEASE, Releases, branch_members, lineage_above, resolve


def left_after(graph: Graph, heads: tuple[str, ...], to: Sequence[str], releases: Releases) -> tuple[str, ...]:
    """The rows once what stands above each revision of `to` is gone, and whatever elsewhere needs what is gone.

    Raises UsageError for a name that is no revision here, TargetError where a revision is not applied.
    """
    active = graph.closure(heads)
    removed = 0
    for spec in to:
        removed |= _above(graph, spec.strip(), active, releases)
    for i in range(len(graph.revisions)):
        if active >> i & 1 and graph.ancestors[i] & removed:
            removed |= 1 << i
    return graph.ids(graph.maximal(active & ~removed))


def options_to(graph: Graph, heads: tuple[str, ...], before: tuple[str, ...], done: Collection[str]) -> str:
    """The `--to` of each branch with which `downgrade` takes away what was `done` since the rows from `before`.

    And nothing else that does not need it: what somebody has declared since may be a customer's. Empty where none do.
    """
    if not all(h in graph for h in (*heads, *before)):
        return ""
    gone = graph.closure(heads) & graph.bits(r for r in done if r in graph)
    kept = graph.closure(before)
    to = [spec for branch in _branches(graph, gone) for spec in _top(graph, branch, kept)]
    try:
        left = left_after(graph, heads, to, {})
    except (TargetError, UsageError):
        return ""
    if not gone or graph.closure(left) & gone:
        return ""
    return " ".join(f"--to {shlex.quote(spec)}" for spec in to) if left else "--to base"


def _branches(graph: Graph, revisions: int) -> list[str]:
    return list(dict.fromkeys(graph[i].branch for i in graph.ids(revisions)))


def _top(graph: Graph, branch: str, kept: int) -> tuple[str, ...]:
    """What is to stay uppermost of a branch."""
    return graph.ids(graph.maximal(branch_members(graph, branch) & kept)) or (f"{branch}@base",)


def _above(graph: Graph, spec: str, active: int, releases: Releases) -> int:
    """What a downgrade to this revision takes away by itself: the applied revisions above it on its own line."""
    if spec == "base":
        return active
    if spec.startswith(RELEASE):
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
                    "`ehg-migrate history TARGET` shows what is applied",
                )
            )
        removed |= lineage_above(graph, i) & ~(1 << i) & active
    return removed
