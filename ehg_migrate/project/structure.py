"""The verbs that keep what a target's schema is in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ehg_migrate.project.comparing import ComparingProject, Regard

if TYPE_CHECKING:
    from ehg_migrate.schema.saving import Saved


class StructureProject(ComparingProject):
    """A project whose schemas can live beside its code."""

    def save_snapshot(self, name: str, folder: Path, *, check: bool = False, **regard: Unpack[Regard]) -> Saved:
        """The schema of a target (or `target/schema`) as a file for each object; with `check` nothing is written.

        The answer says what was, or is, different. Raises TargetError, UsageError.
        """
        from ehg_migrate.schema.saving import check_tree, save_tree

        found = self.snapshot(name, **regard)
        return check_tree(folder, found) if check else save_tree(folder, found)

    def dump(self, name: str, **regard: Unpack[Regard]) -> str:
        """SQL that makes the schema of a target (or `target/schema`) anew; without owners and publications.

        Raises TargetError; LocalServerError where the embedded PostgreSQL, whose pg_dump it is, is not installed.
        """
        from ehg_migrate.schema.comparing import scopes_of
        from ehg_migrate.schema.dump import dump_schema

        one = self._side(name)
        targets, passwords = self._reach((self._one(one.target).name,))
        scope = scopes_of((one,), {}, self._scope(targets, regard))[one]
        return dump_schema(targets[0], passwords.get(targets[0].name), scope)
