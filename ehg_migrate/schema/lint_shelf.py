"""What rehearsals have found of steps, kept in `.ehg/lint` for the next command."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehg_migrate.files import keep_newest, write_whole
from ehg_migrate.model import Step
from ehg_migrate.schema.effects import effect
from ehg_migrate.schema.judging import Seen
from ehg_migrate.settings import Settings

_FORM = 4  # raised when the same steps are judged in another way than before, or the file is another
_MOST = 200  # files; those that were not written for longest go first


@dataclass(frozen=True, slots=True)
class Kept:
    """What a rehearsal has seen of the steps of a case, and words where it was on another PostgreSQL than theirs."""

    steps: tuple[Seen, ...]
    elsewhere: str = ""


class Known:
    """Steps by their plan and the case that was rehearsed. A file that is wrong is as if it were not there."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.root / ".ehg" / "lint"

    def find(self, digest: str, steps: Sequence[Step], key: str, *, back: bool = False) -> Kept | None:
        """Of the plan with this digest, for the case with this key. With `back` only where taken back, too."""
        data = _read(self._file(digest, key))
        found = _steps(steps, data) if data and (data["back"] or not back) else None
        return Kept(found, str(data["elsewhere"])) if data and found is not None else None

    def last(self, digest: str, steps: Sequence[Step], target: str) -> tuple[Seen, ...] | None:
        """Of the plan with this digest, for the case that this target was last in: others' ground may be another."""
        found = [data for file in self._files(digest) if (data := _read(file)) and target in data["at"]]
        newest = max(found, key=lambda data: float(data["at"][target]), default=None)
        return _steps(steps, newest) if newest else None

    def has(self, digest: str) -> bool:
        """Whether anything is known of the plan with this digest."""
        return bool(self._files(digest))

    def keep(self, digest: str, key: str, targets: Sequence[str], kept: Kept, *, back: bool) -> None:
        """For the next time; nothing where it cannot be written."""
        steps = [[[e.rule, e.identity, list(e.tables), e.line] for e in s.effects] for s in kept.steps]
        at = dict.fromkeys(targets, time.time())
        self._write(digest, key, {"form": _FORM, "back": back, "at": at, "steps": steps, "elsewhere": kept.elsewhere})

    def met(self, digest: str, key: str, targets: Sequence[str]) -> None:
        """These targets are in the case with this key now, which is known."""
        if data := _read(self._file(digest, key)):
            self._write(digest, key, {**data, "at": {**data["at"], **dict.fromkeys(targets, time.time())}})

    def _files(self, digest: str) -> list[Path]:
        try:
            return list(self._folder.glob(f"{digest}-*.json"))
        except OSError:  # another user's folder, closed to this one
            return []

    def _file(self, digest: str, key: str) -> Path:
        return self._folder / f"{digest}-{key}.json"

    def _write(self, digest: str, key: str, data: dict[str, Any]) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._file(digest, key), json.dumps(data))
            keep_newest(self._folder.glob("*.json"), _MOST)
        except OSError:
            return


def _read(file: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        good = data["form"] == _FORM and {"back", "steps", "elsewhere"} <= data.keys()
        return data if good and all(isinstance(when, float) for when in data["at"].values()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _steps(steps: Sequence[Step], data: dict[str, Any]) -> tuple[Seen, ...] | None:
    try:
        return tuple(_seen(s, d) for s, d in zip(steps, data["steps"], strict=True))
    except (ValueError, KeyError, TypeError):
        return None


def _seen(step: Step, data: list[Any]) -> Seen:
    return Seen(step, tuple(effect(rule, name, tuple(on), line) for rule, name, on, line in data))
