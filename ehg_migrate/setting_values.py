"""What a single setting of alembic.ini may be: numbers, sizes, words, places. Raises `Wrong`."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path

MOST_PARALLEL = 256
LEAST_MEMORY = 256 << 20
_LONGEST = 60  # characters of a wrong value that are shown
_LEDGERS = ("sqlite:///", "postgresql://", "postgres://", "postgresql+psycopg://")
_LEVEL = re.compile(r"(?P<rule>[^\s=]+)\s*=\s*(?P<level>note|warning|error)")
_METADATA = re.compile(r"(?P<branch>[^\s=]+)\s*=\s*(?P<place>[\w.]+:[\w.]+)")


class Wrong(ValueError):
    """A value that cannot be used, and what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def boolean(text: str) -> bool:
    """As Alembic reads it."""
    states = configparser.ConfigParser.BOOLEAN_STATES
    if text.lower() not in states:
        raise Wrong(f"expected true or false, found {_shown(text)}", "write `true` or `false`")
    return states[text.lower()]


def parallel(text: str) -> int:
    """From 1 to MOST_PARALLEL."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_PARALLEL:
        raise Wrong(
            f"expected a whole number from 1 to {MOST_PARALLEL}, found {_shown(text)}", "for example `parallel = 8`"
        )
    return int(text)


def length(text: str) -> int | None:
    """Of the words in a new file's name; Alembic has its own default."""
    if text and not re.fullmatch(r"[0-9]{1,4}", text):
        raise Wrong(f"expected a whole number, found {_shown(text)}", "for example `truncate_slug_length = 40`")
    return int(text) if text else None


def failures(text: str) -> int:
    """A number of them; 0 for no limit."""
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise Wrong(f"expected a whole number, 0 for no limit, found {_shown(text)}", "for example `max_failures = 3`")
    return int(text)


def memory(text: str) -> int:
    """Bytes. Less than Python and its libraries need would end every worker before its first step."""
    if not text:
        return 0
    parts = re.fullmatch(r"([0-9]{1,6})\s*(MB|GB)", text)
    size = int(parts[1]) << (20 if parts[2] == "MB" else 30) if parts else 0
    if size < LEAST_MEMORY:
        raise Wrong(
            f"expected `256MB` or more, found {_shown(text)}",
            "for example `worker_memory = 2GB`; leave it out for no limit",
        )
    return size


def prelude(root: Path, text: str) -> str:
    """The text of the SQL file that is named, relative to the project."""
    if not text:
        return ""
    try:
        return (root / text).read_text(encoding="utf-8-sig")  # as editors on Windows begin it, and psql takes it
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise Wrong(f"{_shown(text)} cannot be read: {why}", "name a file of SQL, relative to alembic.ini") from None


def one_of(name: str, words: tuple[str, ...], text: str) -> str:
    """One of the words that the setting of this name may be."""
    if text not in words:
        expected = f"{', '.join(words[:-1])} or {words[-1]}"
        raise Wrong(f"expected {expected}, found {_shown(text)}", f"for example `{name} = always`")
    return text


def levels(text: str) -> tuple[tuple[str, str], ...]:
    """`rule = level`, one on a line."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        parts = _LEVEL.fullmatch(line)
        if parts is None:
            raise Wrong(f"expected `rule = note`, `warning` or `error`, found {_shown(line)}", "write one on each line")
        found[parts["rule"]] = parts["level"]
    return tuple(found.items())


def large(text: str) -> int:
    """Bytes."""
    parts = re.fullmatch(r"([0-9]{1,9})\s*(kB|MB|GB|TB)", text)
    if parts is None:
        raise Wrong(f"expected a size such as `100MB`, found {_shown(text)}", "in kB, MB, GB or TB")
    return int(parts[1]) << {"kB": 10, "MB": 20, "GB": 30, "TB": 40}[parts[2]]


def _shown(text: str) -> str:
    line = "".join(c if c.isprintable() else "?" for c in text)
    return f"`{line[:_LONGEST]}...`" if len(line) > _LONGEST else f"`{line}`"


def metadata(text: str) -> tuple[tuple[str, str], ...]:
    """`branch=package.module:attribute`, one on a line."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        parts = _METADATA.fullmatch(line)
        if parts is None:
            raise Wrong(f"expected `branch = package.module:attribute`, found {_shown(line)}", "write one on each line")
        if parts["branch"] in found:
            raise Wrong(f"branch `{parts['branch']}` stands twice", "a branch has one MetaData: keep one of the two")
        found[parts["branch"]] = parts["place"]
    return tuple(found.items())


def ledger_url(text: str) -> str:
    """A SQLite file or a PostgreSQL."""
    if not text.startswith(_LEDGERS):
        # the value is not shown: a password may stand in it
        raise Wrong("this is no place for a ledger", "write `sqlite:///PATH` or `postgresql://USER@HOST:PORT/DATABASE`")
    return text


def anchored(root: Path, url: str) -> str:
    """A SQLite path is relative to the project, not to wherever the command was started."""
    prefix = "sqlite:///"
    return f"{prefix}{root / url.removeprefix(prefix)}" if url.startswith(prefix) else url


def module_folders(root: Path, text: str) -> tuple[Path, ...]:
    """The folders of the project that `prepend_sys_path` names; what is none is left out."""
    return tuple(sorted(f for f in _named(root, text) if f != root and f.is_relative_to(root) and f.is_dir()))


def lie_elsewhere(root: Path, text: str) -> bool:
    """Whether a folder that `version_locations` names holds files, and is neither in versions/ nor around it."""
    versions = root / "versions"
    others = (f for f in _named(root, text) if not (f.is_relative_to(versions) or versions.is_relative_to(f)))
    full = {f.resolve() for f in others if any(f.glob("*.py"))}
    return bool(full) and not full.issubset(f.resolve() for f in (versions, *versions.glob("*")))  # by links


def _named(root: Path, text: str) -> set[Path]:
    """What may be the paths in it, however it separates them."""
    pieces = {*text.splitlines(), *text.split(os.pathsep), *re.findall(r"[^\s,;:'\"\[\]]+", text)}
    return {Path(os.path.normpath(root / piece.strip())) for piece in pieces if "\0" not in piece}
