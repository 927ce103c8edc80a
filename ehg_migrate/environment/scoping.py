"""Which revisions Alembic's ScriptDirectory sees, and where a new file goes: a target's branches, or one folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionMap
from alembic.util import CommandError


def scope(script: ScriptDirectory, folders: Iterable[Path]) -> None:
    """Points the same object at other folders: the command that called env.py goes on with it.

    In reverse order of application: Alembic takes what is listed last first.
    """
    _point(script, folders)
    script.revision_map = RevisionMap(script._load_revisions)


def write_to(script: ScriptDirectory, folder: Path) -> None:
    """From now on new files go into this folder, none over another one; what is loaded stays loaded."""
    _ = script.revision_map.heads  # loads what is not loaded yet
    _point(script, (folder,))
    as_ever = script._generate_template

    def generate(src: Path, dest: Path, **kw: Any) -> None:
        if dest.exists():  # `file_template` need not have the id in it, nor a time to the second two names
            hint = "another message gives it another name, and so does `%%(rev)s` in `file_template` of alembic.ini"
            raise CommandError(f"there is already `{dest}`, which the new file would replace: {hint}")
        as_ever(src, dest, **kw)

    script._generate_template = generate  # type: ignore[method-assign]  # there is no hook before it


def _point(script: ScriptDirectory, folders: Iterable[Path]) -> None:
    script.version_locations = [str(f) for f in folders]
    for memo in ("_version_locations", "_singular_version_location"):
        script.__dict__.pop(memo, None)
