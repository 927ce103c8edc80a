"""The verbs that look at schemas as they are: compare, clusters, snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.model import NO_PLATFORM, Target
from ehg_migrate.project.base import ProjectBase, Selectors, nobody

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.schema.comparing import Comparison, Grouping, Side
    from ehg_migrate.schema.facts import Catalog
    from ehg_migrate.schema.scope import Scope
    from ehg_migrate.schema.snapshot import Snapshot


class Regard(TypedDict, total=False):
    """What counts beside what always does; all off."""

    owners: bool  # who owns an object
    ignore_versions: bool  # versions of extensions do not count
    platform_tables: bool  # policies and triggers that stand on tables of Supabase's, such as `auth.users`


class Regarded(TypedDict):
    """Fields of a Scope."""

    watched: tuple[str, ...]
    owners: bool


class ComparingProject(ProjectBase):
    """A project that can say what its targets' schemas are. Nothing here needs revisions, or writes to a target."""

    def compare(self, left: str, right: str, *, notice: Notice = nobody, **regard: Unpack[Regard]) -> Comparison:
        """What separates two sides: targets, schemas of targets (`acme/staging`), snapshots (`acme.json`, `./acme`).

        One of them may be what given heads produce on the other, a target: `heads:REV,REV`, `release:NAME`; `heads:` is
        what it holds. Raises UsageError for sides that cannot be held against each other and TargetError for one that
        cannot be read, or made.
        """
        from ehg_migrate.schema.comparing import compared

        sides = self._side(left), self._side(right)
        (one, _), (other, _) = self._read(sides, regard, notice)
        return compared(left, one, right, other)

    def snapshot(self, name: str, **regard: Unpack[Regard]) -> Snapshot:
        """What the schema of a target, or of one schema of it, is now. Raises TargetError."""
        from ehg_migrate.schema.snapshot import Snapshot

        ((catalog, scope),) = self._read((self._side(name),), regard)
        return Snapshot(name, datetime.now(UTC), catalog.fingerprint, scope, catalog)

    def clusters(self, selectors: Selectors = (), **regard: Unpack[Regard]) -> Grouping:
        """The selected targets grouped by what their schemas are, and what separates each group from the largest.

        One connection and one message a target; a catalogue is read of one target in each group. Trouble with a target
        is in the answer.
        """
        from ehg_migrate.schema.comparing import find_clusters
        from ehg_migrate.schema.scope import within

        targets, passwords = self._reach(selectors)
        whole = self._scope(targets, regard)
        return find_clusters(targets, passwords, self._at_once, lambda t: within(t.schema, whole))

    def _side(self, text: str) -> Side:
        """As it is written; a target that is one schema is that one."""
        from ehg_migrate.schema.comparing import side
        from ehg_migrate.schema.snapshot import MANIFEST

        one = side(text)
        if one.target == text and text not in self.fleet.by_name and (Path(text) / MANIFEST).is_file():
            message = f"no target is called `{text}`, and a folder is written with a slash"
            raise UsageError(Problem("no_match", message, f"write `{text}/`"))
        return replace(one, schema=one.schema or self._one(one.target).schema) if one.target else one

    def _read(
        self, sides: tuple[Side, ...], regard: Regard, notice: Notice = nobody
    ) -> tuple[tuple[Catalog, Scope], ...]:
        """The catalogue of each side, all read in one scope, and that scope with the side's own schema."""
        from ehg_migrate.schema.comparing import read_sides, scopes_of, without_heads
        from ehg_migrate.schema.tree import read_saved

        without_heads(sides)
        snapshots = {s.text: read_saved(s.file) for s in sides if s.file}
        names = tuple(dict.fromkeys(self._one(s.target).name for s in sides if s.target))
        targets, passwords = self._reach(names) if names else ((), {})
        scopes = scopes_of(sides, snapshots, self._scope(targets, regard))
        live = {s: scope for s, scope in scopes.items() if s.target}
        read = read_sides(live, targets, passwords, self._at_once)
        return tuple((snapshots[s.text].catalog if s.file else read[s], scopes[s]) for s in sides)

    def _scope(self, targets: Iterable[Target], regard: Regard) -> Scope:
        """One scope for all of them: whatever the version table of one is called, it is nobody's schema."""
        from ehg_migrate.schema.scope import Scope, scope_of, without_platform

        targets = tuple(targets)
        kept = {name for target in targets for name in scope_of(target).without_tables}
        own = bool(targets) and all(target.platform == NO_PLATFORM for target in targets)
        return replace(
            without_platform(Scope()) if own else Scope(),
            without_tables=tuple(sorted({*kept, *Scope().without_tables})),
            extension_versions=not regard.get("ignore_versions"),
            **self._regarded(regard),
        )

    def _regarded(self, regard: Regard) -> Regarded:
        """What of a scope is chosen for one command."""
        from ehg_migrate.schema.scope import SUPABASE_TABLES

        return Regarded(
            watched=SUPABASE_TABLES if regard.get("platform_tables") else (), owners=bool(regard.get("owners"))
        )
