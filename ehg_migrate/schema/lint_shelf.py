"""What rehearsals have found of steps, kept in `.ehg/lint` for the next command."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ehg_migrate.model import Step
from ehg_migrate.schema.effects import effect
from ehg_migrate.schema.judging import Seen
from ehg_migrate.settings import Settings

_FORM = 1  # raised when the same steps are judged in another way than before
_MOST = 200  # files; those that were not written for longest go first


class Known:
    """Steps by their plan and the case that was rehearsed. A file that is wrong is as if it were not there."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.root / ".ehg" / "lint"

    def find(
        self, digest: str, steps: Sequence[Step], key: str = "*", *, back: bool = False
    ) -> tuple[Seen, ...] | None:
        """Of the plan with this digest, for the case with this key, or for whichever was rehearsed last.

        With `back` only where the steps were taken back, too.
        """
        files = self._folder.glob(f"{digest}-{key}.json")
        for file in sorted(files, key=_written, reverse=True):
            try:
                data = json.loads(file.read_text(encoding="utf-8"))
                if data["form"] == _FORM and (data["back"] or not back):
                    return tuple(_seen(s, d) for s, d in zip(steps, data["steps"], strict=True))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    def keep(self, digest: str, key: str, steps: Sequence[Seen], *, back: bool) -> None:
        """For the next time; nothing where it cannot be written."""
        known = [[[e.rule, e.identity, list(e.tables), e.line] for e in s.effects] for s in steps]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished = self._folder / f"{digest}-{key}.{secrets.token_hex(4)}.new"
            unfinished.write_text(json.dumps({"form": _FORM, "back": back, "steps": known}), encoding="utf-8")
            unfinished.replace(self._folder / f"{digest}-{key}.json")
            for file in sorted(self._folder.glob("*.json"), key=_written, reverse=True)[_MOST:]:
                file.unlink(missing_ok=True)
        except OSError:
            return


def _seen(step: Step, data: list[Any]) -> Seen:
    return Seen(step, tuple(effect(rule, name, tuple(on), line) for rule, name, on, line in data))


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # another process forgot it
