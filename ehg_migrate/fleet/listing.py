"""Which files of targets/ are read, and which are not although somebody may believe that their targets are migrated."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

ENDINGS = (".yaml", ".yml")
_LEFT_ALONE = (".", "_")  # as versions/ has it


def is_read(path: Path) -> bool:
    """Whether this, in targets/ itself, is a target file by its name."""
    return path.suffix in ENDINGS and not path.name.startswith(".")


def overlooked(paths: Iterable[Path]) -> Iterator[Path]:
    """Of what targets/ holds the files that look like target files and are not read: in folders, or `X.YAML`.

    Folders whose name begins with `.` or `_` are somebody's own. What cannot be listed holds nothing.
    """
    for path in sorted(paths):
        if path.name.startswith(".") or is_read(path):
            continue
        if path.suffix.lower() in ENDINGS:
            yield path
        elif path.is_dir() and not path.name.startswith(_LEFT_ALONE):
            yield from _below(path)


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(_LEFT_ALONE))
        for name in sorted(names):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield Path(parent, name)
