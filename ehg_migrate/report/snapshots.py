"""What became of the files of a snapshot, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ehg_migrate.report.text import number

if TYPE_CHECKING:
    from ehg_migrate.schema.saving import Saved


def saved_lines(found: Saved) -> Iterator[str]:
    """Each file that was written or removed, then the sum."""
    yield from _files(found, "new", "changed", "removed")
    kept = found.files - len(found.missing) - len(found.changed)
    yield f"`{found.name}` in `{found.folder}`: {number(found.files, 'file')}, {kept} as before ({_mark(found)})"


def checked_lines(found: Saved) -> Iterator[str]:
    """Each file that is not what the schema is, then the verdict."""
    yield from _files(found, "missing", "changed", "extra")
    if found.same:
        yield f"`{found.folder}` says what `{found.name}` is ({_mark(found)})"
    else:
        yield f"`{found.folder}` does not say what `{found.name}` is"


def _files(found: Saved, *words: str) -> Iterator[str]:
    for word, paths in zip(words, (found.missing, found.changed, found.extra), strict=True):
        yield from (f"{word:<8} {path}" for path in paths)


def _mark(found: Saved) -> str:
    return f"fingerprint {found.fingerprint[:12]}"
