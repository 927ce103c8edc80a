"""What is wrong with versions/, said before anything runs.

A finding is an error only where a step would fail, version rows would be corrupted or a wrong target reached;
everything else is a warning, which `lint_ignore` in alembic.ini settles by the name of its rule.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from ehg_migrate.errors import Problem, quoted
from ehg_migrate.model import SHARED
from ehg_migrate.revisions.graph import Graph, Revision
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.rules import EFFECT_NAMES, EFFECT_RULE, SQL_RULE, meant

# `version_num` of a version table that stock Alembic made; ours is wider
_STOCK_ID_LENGTH = 32
LONGEST_ID = 255

RULES = (
    frozenset({"second_head", "second_base", "no_label", "long_id", "label_dependency", "crossing_down_revision"})
    | {"redundant_parent", "dependency_direction", "loose_file", "same_id_in_branches", "unused_branch"}
    | {"no_version_locations"}
)  # fmt: skip
"""The rules whose findings are warnings, so that `lint_ignore` may name them."""


_NOT_LOCATED = Problem(
    "no_version_locations",
    "stock `alembic` looks for revisions in the installed package, and writes new ones there",
    "write `version_locations = %(here)s/versions`, `recursive_version_locations = true` and "
    "`revision_environment = true`",
    "alembic.ini: [alembic]",
)


@dataclass(frozen=True, slots=True)
class Findings:
    """Errors stop every command that would touch a target; warnings are shown."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def lint(
    history: History,
    scopes: Iterable[tuple[str, ...]],
    targets: frozenset[str],
    ignore: frozenset[str],
    levels: Iterable[str] = (),
    *,
    located: bool = True,
) -> Findings:
    """Everything about these revisions, for the branch combinations (`scopes`) that the fleet really has.

    `ignore` and `levels` are names of rules from alembic.ini, and `located` says whether that tells stock Alembic where
    the revisions are.
    """
    errors = [*_unknown_rules(ignore), *_unknown_levels(levels), *_unknown_allowed(history), *history.problems]
    warnings = [] if located else [_NOT_LOCATED]
    scopes = list(dict.fromkeys(scopes))
    for scope in scopes:
        graph, problems = history.build(scope)
        errors += problems
        if not problems:
            warnings += _graph_warnings(graph)
    lacking, meant = _directions(history, targets, scopes)
    errors += lacking
    errors += _too_long(history)
    warnings += meant
    warnings += [*_loose(history), *_same_id_apart(history, scopes), *_unused(history, scopes)]
    # what many scopes share is found in each of them
    return Findings(tuple(dict.fromkeys(errors)), tuple(dict.fromkeys(w for w in warnings if w.code not in ignore)))


def _unknown_rules(ignore: frozenset[str]) -> Iterator[Problem]:
    """A rule that was mistyped would go on warning, and one that was renamed be ignored no more."""
    hint = f"those are {', '.join(sorted(RULES))}; "
    hint += f"squawk's as `{SQL_RULE}RULE`, those of rehearsals as `{EFFECT_RULE}RULE`"
    for rule in sorted(r for r in ignore - RULES - EFFECT_NAMES if not r.startswith(SQL_RULE)):
        near = meant(rule, EFFECT_NAMES) if rule.startswith(EFFECT_RULE) else hint
        yield Problem(
            "unknown_rule", f"`{rule}` is no rule that can be ignored", near, "alembic.ini: [ehg_migrate] lint_ignore"
        )


def _unknown_levels(levels: Iterable[str]) -> Iterator[Problem]:
    for rule in sorted(r for r in levels if r not in EFFECT_NAMES and not r.startswith(SQL_RULE)):
        message = f"`{rule}` is no rule that has a level of its own"
        where = "alembic.ini: [ehg_migrate] lint_levels"
        yield Problem("unknown_rule", message, meant(rule, EFFECT_NAMES), where)


def _unknown_allowed(history: History) -> Iterator[Problem]:
    for r in _all(history):
        for rule, _ in r.allowed:
            if rule not in EFFECT_NAMES:
                message = f"`lint_allow` names `{rule}`, which is no rule about what a step does"
                yield Problem("unknown_rule", message, meant(rule, EFFECT_NAMES), r.path)


def _too_long(history: History) -> Iterator[Problem]:
    for r in _all(history):
        if len(r.id) > LONGEST_ID:
            yield Problem(
                "revision_id_length",
                f"revision id `{r.id[:40]}...` has {len(r.id)} characters",
                "shorten it",
                r.path,
            )


def _directions(
    history: History, targets: frozenset[str], scopes: Sequence[tuple[str, ...]]
) -> tuple[list[Problem], list[Problem]]:
    """Dependencies go from a target's own branch to groups and shared, not back: else other targets lack them.

    Errors where a target does lack it, warnings where each that has the one branch has the other too.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    homes = {name: r for r in _all(history) for name in (r.id, *r.labels)}
    own = {b: {name for r in revisions for name in (r.id, *r.labels)} for b, revisions in history.branches.items()}
    for r in _all(history):
        for name in (*r.parents, *r.depends_on):
            other = homes.get(name)
            if other is None or name in own[r.branch] or _rank(other.branch, targets) <= _rank(r.branch, targets):
                continue
            lacking = any(r.branch in scope and other.branch not in scope for scope in scopes)
            (errors if lacking else warnings).append(
                Problem(
                    "dependency_direction",
                    f"revision `{r.id}` of branch `{r.branch}` needs `{name}` of branch `{other.branch}`, "
                    f"which other targets {'do not' if lacking else 'need not'} have",
                    "depend only toward a group and `shared`; move the revision to the more special branch",
                    r.path,
                )
            )
    return errors, warnings


def _rank(branch: str, targets: frozenset[str]) -> int:
    return 0 if branch == SHARED else 2 if branch in targets else 1


def _graph_warnings(graph: Graph) -> Iterator[Problem]:
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
            yield Problem(
                "second_head",
                f"branch `{branch}` has a second head: `{one.path}` and `{other.path}` both continue revision "
                f"`{parent}`",
                "merge them with `alembic merge`, or set `down_revision` of one that no target has yet to the other",
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
                f'write `branch_labels = ("{branch}",)` in its first revision',
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
    edges = graph.edges[i]
    return [graph.revisions[e].id for e in edges if any(o != e and graph.ancestors[o] >> e & 1 for o in edges)]


def _loose(history: History) -> Iterator[Problem]:
    for path in history.loose:
        yield Problem(
            "loose_file",
            "the file lies in no branch, so no target gets it",
            f"move it into a folder of versions/, such as versions/{SHARED}/",
            path,
        )


def _same_id_apart(history: History, scopes: list[tuple[str, ...]]) -> Iterator[Problem]:
    """The same id in two branches that no target has together: allowed, but rows no longer tell databases apart."""
    homes: dict[str, Revision] = {}
    holding: dict[str, set[tuple[str, ...]]] = defaultdict(set)  # branch -> scopes
    for scope in scopes:
        for branch in scope:
            holding[branch].add(scope)
    for r in _all(history):
        other = homes.setdefault(r.id, r)
        if other is not r and holding[other.branch].isdisjoint(holding[r.branch]):
            yield Problem(
                "same_id_in_branches",
                f"revision id `{r.id}` is used in branch `{other.branch}` (`{other.path}`) too",
                "rename one: with one id for two things, a database of the other branch cannot be recognised",
                r.path,
            )


def _unused(history: History, scopes: list[tuple[str, ...]]) -> Iterator[Problem]:
    used = {b for scope in scopes for b in scope}
    for branch in history.branches:
        if branch not in used:
            yield Problem(
                "unused_branch",
                "no target has this branch",
                "add it to a target's `branches`, name it as the target whose own it is, or delete the folder",
                f"versions/{branch}",
            )


def _all(history: History) -> Iterator[Revision]:
    for revisions in history.branches.values():
        yield from revisions
