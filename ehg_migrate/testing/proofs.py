"""What the ready tests hold against the project. Each gives the words of its failure, or nothing."""

from __future__ import annotations

import shlex
from textwrap import dedent

from ehg_migrate.environment.matching import unmatched
from ehg_migrate.environment.models import named_models
from ehg_migrate.errors import TargetError
from ehg_migrate.report.rehearsal import rehearsal_lines
from ehg_migrate.report.text import number, some
from ehg_migrate.schema.rehearsal import Case
from ehg_migrate.testing.cases import Branch, Combination
from ehg_migrate.testing.kit import Kit


def second_heads(branch: Branch) -> str:
    """The revisions of a branch that none of the same branch stands on, where there are several."""
    below = {name for r in branch.revisions for name in (*r.parents, *r.depends_on)}
    heads = [r for r in branch.revisions if r.id not in below]
    if len(heads) == 1:
        return ""
    lines = [f"branch `{branch}` has {number(len(heads), 'head')}:", *(f"  {r.id} ({r.path})" for r in heads)]
    merge = f"`alembic merge -m WHY {shlex.join(r.id for r in heads)}`"
    hint = f"  hint: merge them with {merge}, or set `down_revision` of one that no target has yet to the other"
    return "\n".join([*lines, hint])


def broken_upgrade(kit: Kit, combination: Combination) -> str:
    """The revision that cannot be run on what those before it have made."""
    try:
        kit.scratch.drop(kit.made(kit.everything(combination.speaker)))
    except TargetError as e:
        return f"{_who(combination)}: {e}"
    return ""


def inconsistent_steps(kit: Kit, combination: Combination) -> str:
    """The steps that cannot be taken back exactly, with every object that differs."""
    target = combination.speaker
    graph = kit.project.revisions.graph(target.branches)
    names = tuple(t.name for t in combination.targets)
    case = Case(names, kit.recipe(target, ()), graph.steps((), graph.heads))
    found = kit.rehearsing.run(case)
    return "" if found.good else "\n".join(rehearsal_lines([found]))


def has_models(kit: Kit, combination: Combination) -> bool:
    """Whether `metadata` in alembic.ini names a model for any of these branches."""
    named = {branch for branch, _ in kit.project.settings.metadata}
    return bool(named & set(combination.speaker.branches))


def unmatched_models(kit: Kit, combination: Combination) -> str:
    """The operations that the revisions lack to make what the models say."""
    target = combination.speaker
    models = named_models(kit.project.settings)
    with kit.state(kit.everything(target)) as database, database.connect() as connection:
        operations = unmatched(connection, target, models)
    if operations is None:
        return ""
    lines = [line for line in dedent(operations).splitlines() if line.strip() and not line.startswith("#")]
    wanted = "its revisions do not make what its models say; this is missing:"
    hint = "  hint: `ehg-migrate revision -m WHAT --branch BRANCH --autogenerate TARGET` writes it"
    return "\n".join([f"{_who(combination)}: {wanted}", *(f"  {line}" for line in lines), hint])


def _who(combination: Combination) -> str:
    return f"{combination} ({some([t.name for t in combination.targets])})"
