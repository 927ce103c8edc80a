"""A snapshot's folder made to hold exactly what a catalogue says, or held against it; files of others stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.files import is_there, write_whole
from ehg_migrate.schema.snapshot import MANIFEST, Snapshot
from ehg_migrate.schema.tree import files_of, is_manifest, our_files


@dataclass(frozen=True, slots=True)
class Saved:
    """What separates the files of a folder from a schema, or separated them until they were written. Sorted paths."""

    name: str  # the target, or `target/schema`
    folder: str
    fingerprint: str
    files: int  # that there should be, `snapshot.json` among them
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()  # ours, of objects that are no longer there

    @property
    def same(self) -> bool:
        """Whether the files say what the schema is."""
        return not (self.missing or self.changed or self.extra)


def check_tree(folder: Path, snapshot: Snapshot) -> Saved:
    """Reads the folder only. Raises UsageError: it cannot be read, or a file of somebody else stands in the way."""
    with _readable(folder):
        return _held_against(folder, snapshot, files_of(snapshot))


def save_tree(folder: Path, snapshot: Snapshot) -> Saved:
    """Writes what is missing or changed, removes what is extra, `snapshot.json` last. Raises UsageError, and then
    nothing was written if a file of somebody else stands in the way.
    """
    files = files_of(snapshot)
    with _readable(folder):
        found = _held_against(folder, snapshot, files)
        _save(folder, files, found)
    return found


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        message = f"`{e.filename or folder}` cannot be read or written: {e.strerror}"
        raise UsageError(Problem("unwritable", message, "choose another folder, or free its disk")) from e


def _save(folder: Path, files: Mapping[str, str], found: Saved) -> None:
    for path in found.extra:
        (folder / path).unlink()
        _remove_empty(folder, path)
    for path in sorted({*found.missing, *found.changed}, key=lambda p: (p == MANIFEST, p)):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, files[path], mode=0o666)


def _held_against(folder: Path, snapshot: Snapshot, files: Mapping[str, str]) -> Saved:
    there = {*our_files(folder), *([MANIFEST] if is_manifest(folder / MANIFEST) else [])}
    for path in sorted({*files, *there}):
        _refuse_foreign(folder, path, path in there)
    changed = [p for p in sorted(there & files.keys()) if (folder / p).read_bytes() != files[p].encode()]
    return Saved(
        snapshot.name,
        str(folder),
        snapshot.fingerprint,
        len(files),
        tuple(sorted(files.keys() - there)),
        tuple(changed),
        tuple(sorted(there - files.keys())),
    )


def _refuse_foreign(folder: Path, path: str, ours: bool) -> None:
    file = folder / path
    links = [p for p in (file, *(folder / parent for parent in PurePosixPath(path).parents)) if p.is_symlink()]
    within = [p for p in links if p != folder]
    if within or (is_there(file) and not ours):
        what = f"`{within[0]}` is a link" if within else f"`{file}` is not of this tool"
        raise UsageError(Problem("foreign_file", what, "move it away, or choose another folder"))


def _remove_empty(folder: Path, path: str) -> None:
    with suppress(OSError):  # something else is in it
        for parent in PurePosixPath(path).parents[:-1]:
            (folder / parent).rmdir()
