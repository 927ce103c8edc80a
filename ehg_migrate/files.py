"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """In the place of what was there, as UTF-8. A reader sees one or the other, and a full disk changes nothing.

    Raises OSError.
    """
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123 - `Path` takes no mode
            file.write(text)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
