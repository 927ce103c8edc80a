"""How a person names revisions: `shared@head`, `app_1@ae10`, `ae1027a6acf`, `ae10`, `heads`, `base`, `release:v41`.

Relative names (`+1`, `-1`) are refused: with several branches they mean something else on each target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ehg_migrate.errors import Problem, UsageError, quoted
from ehg_migrate.revisions.graph import Graph

# a shorter beginning of an id meets others by chance; Alembic asks for as many
_SHORTEST_PREFIX = 4
_RELATIVE = re.compile(r"[+-]\d+$")
RELEASE = "release:"

NO_REVISION = "no_such_revision"
NO_BRANCH = "unknown_branch"
ABSENT = frozenset({NO_REVISION, NO_BRANCH})
"""Codes for a name that is well formed and that a target does not have; another target may have it."""

Releases = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Release point -> branch -> that branch's heads in it."""


def resolve_all(graph: Graph, specs: Iterable[str], releases: Releases) -> tuple[str, ...]:
    """The revisions that these names stand for on a target with this graph. Raises UsageError."""
    found: set[str] = set()
    for spec in specs:
        found.update(resolve(graph, spec, releases))
    return tuple(sorted(found))


def resolve(graph: Graph, spec: str, releases: Releases) -> tuple[str, ...]:
    """The same for one name. `base` and `branch@base` stand for no revision. Raises UsageError."""
    spec = spec.strip()
    if spec.startswith(RELEASE):
        return _release(graph, spec.removeprefix(RELEASE), releases)
    if _RELATIVE.search(spec) and not branch_exists(graph, spec):
        raise _unknown(
            spec,
            "relative revisions mean something else on each target",
            "name the revision; `ehg-migrate status` shows them",
        )
    branch, at, name = spec.rpartition("@")
    scope = branch_members(graph, branch) if at else graph.everything
    if name == "base":
        return ()
    if name in ("head", "heads"):
        return _heads(graph, spec, scope, single=name == "head")
    if not at and name not in graph and (name in graph.labels or branch_exists(graph, name)):
        raise _unknown(spec, f"`{name}` is a branch, not a revision", f"write `{name}@head` for its newest revision")
    return (_by_id(graph, name, scope),)


def branch_exists(graph: Graph, branch: str) -> bool:
    """Whether the target has a folder or a label of this name."""
    return branch in graph.labels or any(r.branch == branch for r in graph.revisions)


def branch_members(graph: Graph, branch: str) -> int:
    """The revisions of a folder, or of a label: those that stand on the one that declares it. Raises UsageError."""
    members = 0
    for i, r in enumerate(graph.revisions):
        if r.branch == branch:
            members |= 1 << i
    if members:
        return members
    if branch not in graph.labels:
        known = quoted(dict.fromkeys(r.branch for r in graph.revisions))
        raise UsageError(Problem(NO_BRANCH, f"there is no branch `{branch}` here", f"branches here: {known}"))
    return lineage_above(graph, graph.labels[branch])


def lineage_above(graph: Graph, i: int) -> int:
    """A revision and all that stand on it through `down_revision` (not through `depends_on`)."""
    children: dict[int, list[int]] = {}
    for j, r in enumerate(graph.revisions):
        for parent in r.parents:
            children.setdefault(graph.index[parent], []).append(j)
    members, reached = 1 << i, [i]
    while reached:
        for child in children.get(reached.pop(), ()):
            if not members >> child & 1:
                members |= 1 << child
                reached.append(child)
    return members


def _heads(graph: Graph, spec: str, scope: int, *, single: bool) -> tuple[str, ...]:
    heads = graph.ids(graph.maximal(scope))
    if single and len(heads) > 1:
        names = quoted(heads)
        raise _unknown(spec, f"`{spec}` is not one revision but {len(heads)}: {names}", f"write `{spec}s`, or name one")
    return heads


def _by_id(graph: Graph, name: str, scope: int) -> str:
    if name in graph:
        found = [name] if scope >> graph.index[name] & 1 else []
    elif len(name) >= _SHORTEST_PREFIX:
        found = [i for i in graph.ids(scope) if i.startswith(name)]
    else:
        found = []
    if len(found) == 1:
        return found[0]
    if found:
        raise _unknown(name, f"`{name}` begins {len(found)} ids: {', '.join(found[:5])}", "write more of the id")
    hint = "`ehg-migrate plan` and `ehg-migrate history TARGET` show the ids"
    raise UsageError(Problem(NO_REVISION, f"there is no revision `{name}` here", hint, where=f"revision `{name}`"))


def _release(graph: Graph, name: str, releases: Releases) -> tuple[str, ...]:
    """What stood in the release of the branches that the target has, under whatever name they stand now.

    Of a branch whose folder was renamed since, target or group, the ids tell: left out, it would not be upgraded, and a
    downgrade would take back all of it.
    """

    def moved(revision: str) -> bool:
        return revision in graph and graph[revision].branch not in releases[name]

    if name not in releases:
        known = quoted(releases) if releases else "none"
        raise UsageError(
            Problem("unknown_release", f"there is no release point `{name}`", f"known release points: {known}")
        )
    branches = {r.branch for r in graph.revisions}
    ids = [i for branch, heads in releases[name].items() for i in heads if branch in branches or moved(i)]
    missing = [i for i in ids if i not in graph]
    if missing:
        raise UsageError(
            Problem(
                "release_gone",
                f"release point `{name}` names revision `{missing[0]}`, which is no longer in versions/",
                "restore the file, or record the release point anew",
            )
        )
    return tuple(sorted(ids))


def _unknown(spec: str, message: str, hint: str) -> UsageError:
    return UsageError(Problem("revision_spec", message, hint, where=f"revision `{spec}`"))
