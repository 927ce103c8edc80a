"""Which revisions Alembic's ScriptDirectory sees, and where a new file goes: a target's branches, or one folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionMap


def scope(script: ScriptDirectory, folders: Iterable[Path]) -> None:
    """Points the same object at other folders: the command that called env.py goes on with it.

    In reverse order of application: Alembic takes what is listed last first.
    """
    _point(script, folders)
    script.revision_map = RevisionMap(script._load_revisions)


def write_to(script: ScriptDirectory, folder: Path) -> None:
    """From now on new files go into this folder; what is loaded stays loaded."""
    _ = script.revision_map.heads  # loads what is not loaded yet
    _point(script, (folder,))


def _point(script: ScriptDirectory, folders: Iterable[Path]) -> None:
    script.version_locations = [str(f) for f in folders]
    for memo in ("_version_locations", "_singular_version_location"):
        script.__dict__.pop(memo, None)
