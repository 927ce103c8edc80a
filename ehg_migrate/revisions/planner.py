"""The plans of an upgrade, a downgrade and an adoption. Pure; each has the exact steps from given rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ehg_migrate.errors import Problem, TargetError, UsageError, quoted
from ehg_migrate.model import Plan, Verb
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.specs import Releases, resolve_all


def plan_upgrade(graph: Graph, target: str, heads: tuple[str, ...], to: Iterable[str], releases: Releases) -> Plan:
    """Adds what `to` needs and takes nothing away. Raises UsageError for a name that is no revision here."""
    goal = graph.canonical({*heads, *resolve_all(graph, to, releases)})
    return Plan(target, Verb.UPGRADE, heads, goal, graph.steps(heads, goal), overlap_note(graph, heads))


def refuse_base(to: Iterable[str]) -> None:
    """Raises UsageError where an upgrade is to lead to where nothing is applied: it would do nothing, and be well."""
    if found := [spec for s in to if (spec := s.strip()).rpartition("@")[2] == "base"]:
        message = f"{quoted(found)} stands for no revision, and an upgrade takes nothing away"
        raise UsageError(Problem("to_base", message, f"`ehg-migrate downgrade TARGET --to {found[0]}` takes back"))


def plan_downgrade(graph: Graph, target: str, heads: tuple[str, ...], to: Sequence[str], releases: Releases) -> Plan:
    """Takes away what stands above each revision of `to`, and whatever elsewhere needs what is taken away.

    Raises UsageError for a name that is no revision here, TargetError where a revision is not applied or has no way
    back.
    """
    from ehg_migrate.revisions.descending import left_after  # what goes up does without

    goal = left_after(graph, heads, to, releases)
    return Plan(target, Verb.DOWNGRADE, heads, goal, graph.steps(heads, goal), overlap_note(graph, heads))


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
                else "declare what is applied with `--heads REV`; where nothing is, `ehg-migrate upgrade -t TARGET` is "
                "enough",
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
            "they do no harm; the next run that has a step here takes them out before it",
        ),
    )
