"""What is wrong with versions/, said before anything runs.

A finding is an error only where a step would fail, version rows would be corrupted or a wrong target reached;
everything else is a warning, which `lint_ignore` in alembic.ini settles by the name of its rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ehg_migrate.errors import Problem
from ehg_migrate.model import SHARED
from ehg_migrate.revisions.graph import Revision
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.rules import EFFECT_NAMES, EFFECT_RULE, SQL_RULE, meant

LONGEST_ID = 255

RULES = (
    frozenset({"second_head", "second_base", "no_label", "long_id", "label_dependency", "crossing_down_revision"})
    | {"redundant_parent", "dependency_direction", "loose_file", "same_id_in_branches", "unused_branch"}
    | {"no_version_locations", "other_locations", "ignored_url", "label_of_another"}
)  # fmt: skip
"""The rules whose findings are warnings, so that `lint_ignore` may name them."""


_OF_ALEMBIC_INI = (
    Problem(
        "no_version_locations",
        "stock `alembic` looks for revisions in the installed package, and writes new ones there",
        "write `version_locations = %(here)s/versions`, `recursive_version_locations = true` and "
        "`revision_environment = true`",
        "alembic.ini: [alembic]",
    ),
    Problem(
        "other_locations",
        "`version_locations` names a folder outside of versions/: no target gets the revisions in it",
        "move them into folders of versions/, and name only those (`ehg-migrate docs moving`)",
        "alembic.ini: [alembic]",
    ),
    Problem(
        "ignored_url",
        "nothing connects to this `sqlalchemy.url`, and a password in it can be read by all who have the file",
        "delete the line; addresses stand in targets/, which name where the secrets are",
        "alembic.ini: [alembic]",
    ),
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
    odd: Collection[str] = (),
) -> Findings:
    """Everything about these revisions, for the branch combinations (`scopes`) that the fleet really has.

    `ignore` and `levels` are names of rules from alembic.ini, and `odd` those that this file itself is against.
    """
    from ehg_migrate.revisions.oddities import graph_warnings  # files that are kept as good are not looked at

    errors = [*_unknown_rules(ignore), *_unknown_levels(levels), *_unknown_allowed(history), *history.problems]
    warnings = [p for p in _OF_ALEMBIC_INI if p.code in odd]
    scopes = list(dict.fromkeys(scopes))
    for scope in scopes:
        graph, problems = history.build(scope)
        errors += problems
        if not problems:
            warnings += graph_warnings(graph)
    lacking, meant = _directions(history, targets, scopes)
    errors += lacking
    errors += _too_long(history)
    warnings += meant
    warnings += [*_loose(history), *_foreign_labels(history), *_same_id_apart(history, scopes)]
    warnings += _unused(history, scopes)
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


def _loose(history: History) -> Iterator[Problem]:
    for path in history.loose:
        yield Problem(
            "loose_file",
            "the file lies in no branch, so no target gets it",
            f"move it into a folder of versions/, such as versions/{SHARED}/",
            path,
        )


def _foreign_labels(history: History) -> Iterator[Problem]:
    """A first file that was copied from another branch and kept its label, mostly."""
    for r in _all(history):
        for label in r.labels:
            if label != r.branch and label in history.branches:
                yield Problem(
                    "label_of_another",
                    f"`{label}@head` is branch `{label}` here, and `{r.branch}` with stock Alembic, by this label",
                    f'write `branch_labels = ("{r.branch}",)`, or another name that no branch has',
                    r.path,
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
            hint = "rename one: with one id for two things, a database of the other branch cannot be recognised"
            if r.checksum == other.checksum:  # of a group that was split: databases hold it by this id
                hint = "keep it in one group that both list, and only what differs in groups of their own"
            message = f"revision id `{r.id}` is used in branch `{other.branch}` (`{other.path}`) too"
            yield Problem("same_id_in_branches", message, hint, r.path)


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
