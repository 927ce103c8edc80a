"""`Wish`: the state of which a test wants a database, and what it is in a project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ehg_migrate.errors import Problem, UsageError, quoted
from ehg_migrate.model import SHARED, Address, Target
from ehg_migrate.project import Project
from ehg_migrate.revisions.specs import NO_BRANCH, resolve_all

_NOWHERE = Address("", 0, "", "", "disable")
_FORMS = '`target="acme"` or `branches=["shared"]`, and `heads=["acme@head"]` if not all of them'


@dataclass(frozen=True, slots=True)
class Wish:
    """The arguments of the marker `ehg`: all heads of a target's branches, or of these branches, or only `heads`."""

    target: str | None = None
    branches: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()

    @classmethod
    def of(cls, args: Sequence[Any], given: dict[str, Any]) -> Wish:
        """Checked: no other argument, a target or branches, text everywhere. Raises UsageError."""
        unknown = [*map(repr, args), *(name for name in given if name not in ("target", "branches", "heads"))]
        if unknown:
            raise _wrong(f"the marker `ehg` takes no {', '.join(unknown)}")
        target = given.get("target")
        lists = {name: given.get(name) or () for name in ("branches", "heads")}
        for name, value in lists.items():
            if isinstance(value, str) or not all(isinstance(v, str) for v in value):
                raise _wrong(f"`{name}` of the marker `ehg` is no list of names: {value!r}")
        if not (target is None or isinstance(target, str)):
            raise _wrong(f"`target` of the marker `ehg` is no name: {target!r}")
        if target and lists["branches"]:
            raise _wrong("the marker `ehg` has a target and branches")
        return cls(target, tuple(lists["branches"]), tuple(lists["heads"]))


def target_of(project: Project, wish: Wish) -> Target:
    """Whose branches are meant; without a target or branches the only target's, or branch `shared`. Raises UsageError.

    Where branches are named, the first target that has them all says what revisions see besides (`x`, `alembic`).
    """
    if wish.target:
        return _one(project.fleet.select((wish.target,)), wish.target)
    if not wish.branches and len(project.fleet.targets) == 1:
        return project.fleet.targets[0]
    branches = _ordered(project, wish.branches or (SHARED,))
    owner = next((t for t in project.fleet.targets if set(branches) <= set(t.branches)), None)
    return replace(owner or Target("tests", _NOWHERE, ()), branches=branches, upgrade_to=("heads",))


def heads_of(project: Project, target: Target, wish: Wish) -> tuple[str, ...]:
    """The revisions that the database holds in the end. Raises UsageError for a name that is no revision."""
    graph = project.revisions.graph(target.branches)
    return graph.canonical(resolve_all(graph, wish.heads or target.upgrade_to, project.releases))


def _one(found: Sequence[Target], name: str) -> Target:
    if len(found) != 1:
        raise _wrong(f"`{name}` is {len(found)} targets")
    return found[0]


def _ordered(project: Project, branches: Sequence[str]) -> tuple[str, ...]:
    """In the order of application: `shared`, then as they are written."""
    known = project.revisions.branches
    for branch in branches:
        if branch not in known:
            names = quoted(known)
            raise UsageError(Problem(NO_BRANCH, f"there is no branch `{branch}`", f"there are {names}"))
    return tuple(sorted(dict.fromkeys(branches), key=lambda b: b != SHARED))


def _wrong(message: str) -> UsageError:
    return UsageError(Problem("marker", message, f"write {_FORMS}"))
