"""Which revisions a stock command runs Alembic chooses; what the version rows become by each our graph says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from alembic import context
from alembic.runtime.migration import MigrationContext, RevisionStep

from ehg_migrate.environment import hosting
from ehg_migrate.environment.models import Models
from ehg_migrate.environment.steps import ExactStep
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import Direction, Step
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.history import History

Steps = Callable[[tuple[str, ...], MigrationContext], Sequence[RevisionStep]]
"""Alembic's own choice of steps from given version rows."""


def exactly(
    chosen: Steps,
    graph: Graph,
    models: Models,
    check: Callable[[tuple[Step, ...]], None],
    before: Callable[[Step], None],
) -> Callable[..., Iterator[object]]:
    """Alembic chooses which revisions go up or down; the version rows of each step come from the graph.

    Alembic's own arithmetic of rows fails where one parent of a revision implies another.
    """

    def fn(heads: tuple[str, ...], migration: MigrationContext) -> Iterator[object]:
        steps = chosen(heads, migration)
        if not all(isinstance(s, RevisionStep) for s in steps):  # a stamp runs nothing
            yield from steps
            return
        planned = _planned(graph, heads, steps)
        check(planned)
        for step in planned:
            before(step)
            migration.opts["target_metadata"] = models.get(step.branch)
            yield ExactStep(context.script, step)
            hosting.commit_rest(migration)

    return fn


def _planned(graph: Graph, heads: tuple[str, ...], steps: Sequence[RevisionStep]) -> tuple[Step, ...]:
    active = graph.closure(heads)
    for step in steps:
        bit = 1 << graph.index[step.revision.revision]
        active = active | bit if step.is_upgrade else active & ~bit
    planned = graph.steps(heads, graph.ids(graph.maximal(active)))
    wanted = {(s.revision.revision, Direction.UP if s.is_upgrade else Direction.DOWN) for s in steps}
    if {(s.revision, s.direction) for s in planned} != wanted:
        raise TargetError(
            Problem(
                "not_closed",
                "stock Alembic would leave a revision without one that it needs",
                "use `ehg-migrate downgrade TARGET --to REV`, which shows what it would do",
            )
        )
    return planned


def check_rows(heads: tuple[str, ...], graph: Graph, history: History) -> None:
    """Raises TargetError for version rows that Alembic would stumble over in the middle."""
    for head in heads:
        if head in graph:
            continue
        branches = history.holders(head)
        place = (
            f"of branch {quoted(sorted(branches))}, which this target does not have"
            if branches
            else "which no file here has"
        )
        hint = "is the address that of another target? else add the branch to its `branches`"
        raise TargetError(
            Problem(
                "unknown_revision",
                f"the version table holds `{head}` {place}",
                hint if branches else "update the checkout, or find out who wrote the row",
            )
        )
    needless = sorted(set(heads) - set(graph.canonical(heads)))
    if needless:
        raise TargetError(
            Problem(
                "overlapping_rows",
                f"the version table holds {quoted(sorted(needless))} although another row implies it",
                "stock Alembic cannot go on from them; `ehg-migrate upgrade -t TARGET` and `ehg-migrate downgrade "
                "TARGET --to REV` can, and take such rows out before their first step",
            )
        )
