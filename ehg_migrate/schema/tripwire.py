"""What the last full look at each target saw, and the token by which the target says that nothing was changed since.

A token never decides what a schema is: only that a fingerprint which was made before is still that of the target. See
`sql/token.sql` for why that is so. What is kept is never needed, and whatever is wrong with it, it is not there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ehg_migrate.files import write_whole
from ehg_migrate.model import Target
from ehg_migrate.schema.recipe import drift_scope, reading_of


@dataclass(frozen=True, slots=True)
class Seen:
    """One full look: how the catalogue was read, the token before it, and the fingerprint that was made."""

    reading: str
    token: str
    fingerprint: str


class Tripwires:
    """The last looks at the targets of a project, in one file that only its owner can read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = _read(file)
        self._new: dict[str, Seen] = {}

    def last(self, target: Target) -> Seen | None:
        """The last look at a target; None where there was none, or one that read the catalogue in another way."""
        seen = self._seen.get(target.name)
        return seen if seen and seen.reading == _reading(target) else None

    def remember(self, target: Target, token: str, fingerprint: str) -> None:
        """A full look; `token` was taken before the fingerprint, so what came in between is seen the next time."""
        self._new[target.name] = Seen(_reading(target), token, fingerprint)

    def save(self) -> None:
        """Writes the new looks down beside those that another process has written meanwhile; silent where it cannot."""
        if not self._new:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            seen = {name: asdict(s) for name, s in {**_read(self._file), **self._new}.items()}
            write_whole(self._file, json.dumps(seen))


def _read(file: Path) -> Mapping[str, Seen]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): Seen(**{key: str(value) for key, value in seen.items()}) for name, seen in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _reading(target: Target) -> str:
    return reading_of(drift_scope(target))
