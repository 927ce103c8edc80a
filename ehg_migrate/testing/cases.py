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
    """Branches that stand together in a database, and the targets where they do."""

    branches: tuple[str, ...]
    targets: tuple[Target, ...]

    @property
    def speaker(self) -> Target:
        """The target that is tried out for all of them."""
        return self.targets[0]

    def __str__(self) -> str:
        return "+".join(self.branches)


def branches(project: Project) -> list[Branch]:
    """Those that have revisions."""
    return [Branch(name, revisions) for name, revisions in project.revisions.branches.items() if revisions]


def combinations(project: Project) -> list[Combination]:
    """Each once, with all that revisions may ask besides (`x`, Alembic's options). Branches without a revision not."""
    full = {branch.name for branch in branches(project)}
    groups: dict[tuple[tuple[str, ...], str], list[Target]] = {}
    for target in project.fleet.targets:
        standing = tuple(b for b in target.branches if b in full)
        besides = (sorted(target.x.items()), sorted(target.alembic.items()))
        places = (target.version_table_schema, target.version_table)
        if standing:
            groups.setdefault((standing, repr((besides, places))), []).append(target)
    return [Combination(standing, tuple(targets)) for (standing, _), targets in groups.items()]
