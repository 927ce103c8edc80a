"""What a reference is made from, and the keys by which what is made is found again: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import resources

from ehg_migrate.model import NO_PLATFORM, Step, Target
from ehg_migrate.revisions.beside import Contents
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.schema.brought import BROUGHT
from ehg_migrate.schema.ground import Ground
from ehg_migrate.schema.scope import Scope, scope_of, within

_FORM = 2  # raised when a reference is made or written in another way than before


@dataclass(frozen=True)
class Recipe:
    """A state of a target, to be made anew from nothing: these steps on this ground.

    Two targets with equal keys share a reference, whatever their names.
    """

    target: Target  # any of those that share it: its branches, `-x` arguments and Alembic options count
    heads: tuple[str, ...]
    steps: tuple[Step, ...]
    ground: Ground
    server: str  # the scratch server, by its label
    graph: Graph = field(compare=False, repr=False)  # that the steps are of
    contents: Contents = field(compare=False, repr=False)  # of what a step runs, files beside it included

    @cached_property
    def chain(self) -> tuple[str, ...]:
        """A key for the bare ground, and one for the state after each step."""
        target = self.target
        start = [_FORM, self.server, self.ground.digest, dict(target.x), repr(sorted(target.alembic.items()))]
        keys = [_digest([*start, target.version_table_schema, target.version_table])]
        for step in self.steps:
            content = self.contents.of(self.graph[step.revision], step)
            keys.append(_digest([keys[-1], step.revision, step.direction, content]))
        return tuple(keys)

    @property
    def key(self) -> str:
        """Names the catalogue of the state; another one where the catalogue is read in another way."""
        return _digest([self.chain[-1], reading_of(self.scope)])

    @property
    def milestones(self) -> tuple[int, ...]:
        """Numbers of steps after which the state is worth keeping: where the first branch ends, and the whole."""
        first = next((i for i, s in enumerate(self.steps) if s.branch != self.steps[0].branch), len(self.steps))
        return tuple(dict.fromkeys((first, len(self.steps))))

    @property
    def scope(self) -> Scope:
        """What is read of the state: versions of extensions are the server's, not the revisions'."""
        return drift_scope(self.target)


def recipe(
    target: Target, heads: Sequence[str], graph: Graph, ground: Ground, server: str, contents: Contents
) -> Recipe:
    """The state of a target that holds `heads`, all of them revisions of `graph`.

    Raises TargetError where one of its revisions has no `upgrade()`.
    """
    goal = graph.canonical(heads)
    steps, below = graph.steps((), goal), ground.below(target)
    if any(graph[s.revision].sets_defaults for s in steps):
        below = below.at_first
    return Recipe(target, goal, steps, below, server, graph, contents)


def drift_scope(target: Target) -> Scope:
    """The scope in which a target is held against a reference: what the platform brings to every project is no fact."""
    scope = replace(within(target.schema, scope_of(target)), extension_versions=False, migrator=True)
    if target.platform == NO_PLATFORM:
        return scope
    names = dict.fromkeys((*scope.without_extensions, *(name for name, _ in BROUGHT.values())))
    return replace(scope, without_extensions=tuple(names))


def reading_of(scope: Scope) -> str:
    """Another one where a catalogue is read in another scope, or by other statements."""
    return _digest([repr(scope), _catalog_digest()])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


@cache
def _catalog_digest() -> str:
    """Of the statements that read a catalogue."""
    files = sorted(resources.files(__package__).joinpath("sql").iterdir(), key=lambda file: file.name)
    return _digest([file.read_text(encoding="utf-8") for file in files if file.is_file()])
