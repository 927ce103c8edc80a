"""What earlier commands read from revision files: a long history then costs no parsing, and the files still decide.

A file counts as unchanged while its size, both its times and its inode are what they were. A change within one tick of
the file system's clock would not show in these, so a file that was changed just before it was read is not kept; git
treats its index the same way. What is kept is JSON under a checksum: whatever is wrong with it, it is as if it were not
there. It is never needed: where it cannot be written, every command reads all files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from ehg_migrate.revisions.graph import Revision

_FIELDS = tuple(f.name for f in fields(Revision))
_TICK = 2_000_000_000  # nanoseconds between two times that the coarsest file systems tell apart

Signature = tuple[int, ...]


def forget_compiled(path: Path) -> None:
    """Removes what Python has compiled of a revision file and would run in place of it, unless it is newer.

    Python takes it for the file's where the size and the second of the last change are what they were then. The latter
    may be any: unpacking an archive or an image sets it. When that was done is a time that nobody sets.
    """
    # OSError: there is none; or the folder may not be written to, as in an image, whose maker has compiled it, and
    # a command that only reads must work there. NotImplementedError: this Python keeps none.
    with contextlib.suppress(OSError, NotImplementedError):
        compiled = Path(cache_from_source(str(path)))
        if compiled.stat().st_mtime_ns <= path.stat().st_ctime_ns + _TICK:
            compiled.unlink()


class Kept:
    """The revisions of unchanged files, by the file's path. A context manager: leaving it writes down the new ones."""

    def __init__(self, file: Path, readers: Iterable[Path]) -> None:
        """Nothing is kept that `readers`, the files of our own code that read revisions, would now read otherwise."""
        self._file = file
        read_by = [part for reader in readers for part in (str(reader), *_signature(reader.stat()))]
        self._key = [*_FIELDS, *sys.version_info[:2], *read_by]
        self._old = self._load()
        self._now: dict[str, tuple[Signature, Revision]] = {}
        self._new = False
        self.novel = False  # a file was read that is new or changed since another command read the others
        self._temporary: Path | None = None
        self._made_folder = False
        self._begun = 0  # by the clock of the file system, before the first file was read

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary is None:
            return
        with contextlib.suppress(OSError):
            if self._new:
                self._temporary.write_text(self._text(), encoding="ascii")
                self._temporary.replace(self._file)
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
            if self._made_folder:
                self._file.parent.rmdir()  # fails where something is kept in it

    def find(self, path: str, stat: os.stat_result) -> Revision | None:
        """What the file says, if it is as it was when it was read. None means: read it now, and `keep` it."""
        known = self._old.get(path)
        if known is not None and known[0] == _signature(stat):
            self._now[path] = known
            return known[1]
        if self._temporary is None:
            self._begin()
        return None

    def keep(self, path: str, stat: os.stat_result, revision: Revision) -> None:
        """Remembers what was read after `stat` was taken, and after `find` had not found it."""
        self.novel = bool(self._old)
        if max(stat.st_mtime_ns, stat.st_ctime_ns) + _TICK < self._begun:
            self._now[path] = (_signature(stat), revision)
            self._new = True

    def _begin(self) -> None:
        folder = self._file.parent
        with contextlib.suppress(OSError):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                self._made_folder = True
            descriptor, name = tempfile.mkstemp(prefix=f"{self._file.name}.", dir=folder)  # 0600
            self._begun = os.fstat(descriptor).st_mtime_ns
            os.close(descriptor)
            self._temporary = Path(name)

    def _load(self) -> Mapping[str, tuple[Signature, Revision]]:
        try:
            digest, _, body = self._file.read_text(encoding="ascii").partition("\n")
            if digest != _digest(body):
                return {}
            data = json.loads(body)
        except (OSError, ValueError):
            return {}
        if data["key"] != self._key:
            return {}
        return {path: (tuple(signature), _revision(values)) for path, (signature, values) in data["files"].items()}

    def _text(self) -> str:
        files = {path: (signature, _values(revision)) for path, (signature, revision) in self._now.items()}
        body = json.dumps({"key": self._key, "files": files}, separators=(",", ":"))
        return f"{_digest(body)}\n{body}"


def _signature(stat: os.stat_result) -> Signature:
    return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()


def _values(revision: Revision) -> tuple[Any, ...]:
    return tuple(getattr(revision, name) for name in _FIELDS)


def _revision(values: list[Any]) -> Revision:
    return Revision(*map(_plain, values))


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value
