"""For what the ready tests run: the branches of a project, and the combinations of them that its targets have."""

from __future__ import annotations

from dataclasses import dataclass

from ehg_migrate.model import Target
from ehg_migrate.project import Project
from ehg_migrate.revisions.graph import Revision


@dataclass(frozen=True)
class Branch:
    """A folder of versions/ and what is in it."""

    name: str
    revisions: tuple[Revision, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Combination:
    """Branches that stand together in a database, and the targets where they do; the first one speaks for all."""

    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return "+".join(self.targets[0].branches)


def branches(project: Project) -> list[Branch]:
    """Those that have revisions."""
    return [Branch(name, revisions) for name, revisions in project.revisions.branches.items() if revisions]


def combinations(project: Project) -> list[Combination]:
    """Each once, with all that revisions may ask besides (`x`, Alembic's options); those without a revision not."""
    groups: dict[object, list[Target]] = {}
    for target in project.fleet.targets:
        if project.revisions.graph(target.branches).heads:
            seen = repr((sorted(target.x.items()), sorted(target.alembic.items()), target.version_table))
            groups.setdefault((target.branches, seen, target.version_table_schema), []).append(target)
    return [Combination(tuple(targets)) for targets in groups.values()]
