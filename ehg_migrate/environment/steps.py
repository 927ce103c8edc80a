"""Our planned steps as Alembic's: the function of a revision, and exactly the version rows that the plan says."""

from __future__ import annotations

from alembic.runtime.migration import MigrationInfo, RevisionStep
from alembic.script import Script, ScriptDirectory

from ehg_migrate.model import Direction, Step


class ExactStep(RevisionStep):
    """One planned step. Alembic derives row changes from the step's parents, which goes wrong (KeyError, needless rows)
    where one parent implies another; here they are the difference between the plan's rows before and after.
    """

    def __init__(self, script: ScriptDirectory, step: Step, revision: Script | None = None) -> None:
        # without it the whole directory is loaded
        revision = revision or script.get_revision(step.revision)
        assert isinstance(revision, Script)
        super().__init__(script.revision_map, revision, step.direction is Direction.UP)
        self._removed = sorted(set(step.heads_before) - set(step.heads_after))
        self._added = sorted(set(step.heads_after) - set(step.heads_before))

    @property
    def info(self) -> MigrationInfo:
        """What callbacks are told. Alembic's own wants dependencies resolved, and so every file."""
        revision = self.revision
        return MigrationInfo(
            revision_map=self.revision_map,
            up_revisions=revision.revision,
            down_revisions=revision._versioned_down_revisions,
            is_upgrade=self.is_upgrade,
            is_stamp=False,
        )

    def should_delete_branch(self, heads: set[str]) -> bool:
        """A row goes and none comes."""
        return not self._added

    def should_create_branch(self, heads: set[str]) -> bool:
        """A row comes and none goes."""
        return not self._removed

    def should_merge_branches(self, heads: set[str]) -> bool:
        """Several rows become one."""
        return len(self._removed) > 1

    def should_unmerge_branches(self, heads: set[str]) -> bool:
        """One row becomes several."""
        return len(self._added) > 1

    def merge_branch_idents(self, heads: set[str]) -> tuple[list[str], str, str]:
        """(rows to delete, row to update, what it becomes)"""
        return self._removed[:-1], self._removed[-1], self._added[0]

    def unmerge_branch_idents(self, heads: set[str]) -> tuple[str, str, tuple[str, ...]]:
        """(row to update, what it becomes, rows to insert)"""
        return self._removed[0], self._added[-1], tuple(self._added[:-1])

    def update_version_num(self, heads: set[str]) -> tuple[str, str]:
        """(row to update, what it becomes)"""
        return self._removed[0], self._added[0]

    @property
    def delete_version_num(self) -> str:
        """The row that goes."""
        return self._removed[0]

    @property
    def insert_version_num(self) -> str:
        """The row that comes."""
        return self._added[0]
