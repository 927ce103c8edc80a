"""The references of a project on disk: one file each, written whole or not at all, readable by its owner only.

A disk that is full, or that a container may not write to, decides nothing: then a reference is of this process only.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NoReturn

from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.files import keep_newest, write_whole
from ehg_migrate.schema.facts import Catalog, Fact

_MOST = 500  # files; those that were not used for longest go first


@dataclass(frozen=True)
class Reference:
    """The catalogue that the revisions of a state produce, as it was made on a scratch server."""

    key: str
    heads: tuple[str, ...]
    server_version: str  # of the scratch server
    seconds: float  # that making it took
    fingerprint: str
    path: Path
    unkept: Catalog | None = field(default=None, compare=False, repr=False)  # where there is no file

    def catalog(self) -> Catalog:
        """All its facts, read from its file. Raises TargetError where that was damaged or removed meanwhile."""
        if self.unkept is not None:
            return self.unkept
        try:
            with self.path.open(encoding="utf-8") as file:
                facts = [Fact(**json.loads(line)) for line in islice(file, 1, None)]
        except (OSError, ValueError, TypeError):
            facts = []
        catalog = Catalog.of(facts, self.server_version)
        if catalog.fingerprint != self.fingerprint:
            self._forget()
        return catalog

    def _forget(self) -> NoReturn:
        with contextlib.suppress(OSError):
            self.path.unlink()
        message = f"what revisions produce was kept in `{self.path}`, which is damaged or gone"
        raise TargetError(Problem("no_reference", message, "begin again: it is made anew"))


class Shelf:
    """A folder of references: a line of JSON that says what it is, then one for each fact."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> Reference | None:
        """The reference of this key; None where there is none, or none that can be read."""
        path = self._path(key)
        try:
            with path.open(encoding="utf-8") as file:
                head = json.loads(file.readline())
            with contextlib.suppress(OSError):  # a disk that is read only
                os.utime(path)
            return Reference(
                key, tuple(head["heads"]), head["server_version"], head["seconds"], head["fingerprint"], path
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it is made anew, which writes over it

    def put(self, key: str, heads: tuple[str, ...], catalog: Catalog, seconds: float) -> Reference:
        """Writes a reference; one that cannot be written is held in memory."""
        reference = Reference(key, heads, catalog.server_version, seconds, catalog.fingerprint, self._path(key))
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(reference.path, "".join(_lines(reference, catalog)))
            keep_newest(self._folder.glob("*.jsonl"), _MOST)  # using one changes its time
        except OSError:
            return replace(reference, unkept=catalog)
        return reference

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.jsonl"


def _lines(reference: Reference, catalog: Catalog) -> Iterator[str]:
    head = {
        "heads": reference.heads,
        "server_version": reference.server_version,
        "seconds": reference.seconds,
        "fingerprint": reference.fingerprint,
    }
    yield f"{json.dumps(head)}\n"
    for fact in catalog.facts:
        yield f"{json.dumps({'kind': fact.kind, 'identity': fact.identity, 'definition': fact.definition})}\n"
