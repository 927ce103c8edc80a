"""`alembic revision` and `merge` without a database: the file goes into the folder of its branch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alembic import context
from alembic.operations.ops import MigrationScript
from alembic.script import Script

from ehg_migrate.environment.invocation import Invocation
from ehg_migrate.environment.placing import Place, find_branch, find_place
from ehg_migrate.environment.scoping import scope, write_to
from ehg_migrate.errors import Problem, UsageError, quoted
from ehg_migrate.fleet.fleet import Fleet
from ehg_migrate.model import SHARED
from ehg_migrate.revisions.history import History
from ehg_migrate.settings import Settings

DIRECTIVES = "process_revision_directives"
"""Alembic's option, which a project may have as well as we."""


def prepare_file(invocation: Invocation, settings: Settings, fleet: Fleet, history: History, own: Any = None) -> None:
    """Sets up what Alembic needs to write the file by itself when env.py is done; `own` is the project's DIRECTIVES.

    Raises UsageError.
    """
    if invocation.command == "merge":
        _prepare_merge(invocation, settings)
        return
    revision = invocation.revision
    assert revision is not None
    given = revision.command_args
    # equal ids may stand in branches that no target has together, so only those are loaded that go with the one meant
    branch = find_branch(given, settings.versions, history, _in_order(history.branches))
    branches = _beside(branch, fleet, _homes(given["depends_on"], history))
    place = find_place(given, settings.versions, history, branches)
    folders = [settings.versions / b for b in reversed(branches)]
    scope(context.script, [f for f in folders if f.is_dir()])
    directive(place)(None, None, revision.generated_revisions)
    if own:
        own(context.get_context(), place.head, revision.generated_revisions)
    write_to(context.script, place.folder)


def directive(place: Place) -> Any:
    """Alembic's `process_revision_directives`: head, folder and label of the file."""

    def process(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
        script = directives[0]
        script.head = place.head  # type: ignore[assignment]  # several heads are taken as well
        script.version_path = str(place.folder)
        script.branch_label = place.label

    return process


def _prepare_merge(invocation: Invocation, settings: Settings) -> None:
    wanted = getattr(invocation.arguments, "revisions", None)
    if not wanted:
        return  # Alembic's Python API: the file goes beside the first of the heads
    found = context.script.get_revisions(wanted)
    homes = dict.fromkeys(_branch_of(s, settings.versions) for s in found if s is not None)
    if len(homes) != 1:
        names = quoted(homes)
        raise UsageError(
            Problem(
                "one_branch",
                f"these heads lie in {names}; a merge across branches would tie every target to all of them",
                "name the heads of one branch; to need another branch use `alembic revision --depends-on`",
            )
        )
    write_to(context.script, settings.versions / next(iter(homes)))


def _branch_of(script: Script, versions: Path) -> str:
    return Path(script.path).resolve().relative_to(versions.resolve()).parts[0]


def _in_order(branches: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(branches, key=lambda b: b != SHARED))


def _beside(branch: str, fleet: Fleet, needed: frozenset[str]) -> Sequence[str]:
    """Every branch that some target has together with this one, in order of application, this one last.

    What the new file needs is among them, also before a target has both.
    """
    together = {b for t in fleet.targets if branch in t.branches for b in t.branches} or {SHARED}
    return (*_in_order(sorted((together | needed) - {branch})), branch)


def _homes(revisions: str | Iterable[str] | None, history: History) -> frozenset[str]:
    """The branches of revisions that are named by their ids."""
    names = {revisions} if isinstance(revisions, str) else set(revisions or ())
    return frozenset(b for b, found in history.branches.items() if any(r.id in names for r in found))
