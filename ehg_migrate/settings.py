"""The project's own settings: where its folders are, and what `alembic.ini` says to Alembic and to us.

Everything of ours stands in `[ehg_migrate]`; `[alembic]` stays Alembic's, and only what both must agree on is read.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ehg_migrate.errors import ConfigurationError, Problem

T = TypeVar("T")

INI = "alembic.ini"
MOST_PARALLEL = 256
_OURS = "ehg_migrate"
_KNOWN = {"ledger", "ledger_password", "lint_ignore", "metadata", "parallel"}
_LEDGERS = ("sqlite:///", "postgresql://", "postgres://", "postgresql+psycopg://")
_METADATA = re.compile(r"(?P<branch>[^\s=]+)\s*=\s*(?P<place>[\w.]+:[\w.]+)")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a project's `alembic.ini` says; `root` is the folder that holds it."""

    root: Path
    recursive: bool
    ledger_url: str
    ledger_secret: str  # a reference such as `env:LEDGER_PASSWORD`, or nothing
    lint_ignore: frozenset[str]
    parallel: int
    metadata: tuple[tuple[str, str], ...] = ()  # (branch, `package.module:attribute`), for autogenerate

    @property
    def ini(self) -> Path:
        """The configuration file itself."""
        return self.root / INI

    @property
    def local_home(self) -> Path:
        """Where the embedded PostgreSQL of `--local` keeps its files."""
        return self.root / ".ehg" / "local"

    def ledger_file(self, *, local: bool) -> Path | None:
        """The SQLite file of the ledger; None where the ledger is a PostgreSQL. `--local` has its own."""
        if local:
            return self.root / ".ehg" / "local-ledger.sqlite"
        prefix = "sqlite:///"
        return Path(self.ledger_url.removeprefix(prefix)) if self.ledger_url.startswith(prefix) else None

    @property
    def versions(self) -> Path:
        """The folder whose sub-folders are the branches."""
        return self.root / "versions"


def read_settings(root: Path) -> Settings:
    """The settings of the project in `root`. Raises ConfigurationError: no project there, or all its mistakes."""
    path = root / INI
    if not path.is_file():
        raise ConfigurationError(
            Problem(
                "no_project",
                f"there is no `{INI}` in `{root}`",
                "run `ehg-migrate init DIR` to lay out a project, or name yours with `--project DIR`",
            )
        )
    parser = configparser.ConfigParser({"here": str(root).replace("%", "%%")})
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=INI)
    except (configparser.Error, UnicodeDecodeError, OSError) as e:
        raise ConfigurationError(_problem(INI, " ".join(str(e).split()), "correct the file")) from e
    problems = list(_unknown(parser))
    settings = _settings(root, parser, problems)
    if problems:
        raise ConfigurationError(problems)
    return settings


def _unknown(parser: configparser.ConfigParser) -> Iterator[Problem]:
    """What stands in our section and is no setting; a mistyped one would silently keep its default."""
    ours = parser.options(_OURS) if parser.has_section(_OURS) else []
    for name in ours:
        if name not in _KNOWN and name not in parser.defaults():
            yield _problem(
                f"{INI}: [{_OURS}] {name}", "there is no such setting", f"known are {', '.join(sorted(_KNOWN))}"
            )


def _settings(root: Path, parser: configparser.ConfigParser, problems: list[Problem]) -> Settings:
    """The settings; what is wrong with one goes to `problems`, and its default takes its place."""

    def read(name: str, default: str, make: Callable[[str], T], section: str = _OURS) -> T:
        try:
            return make(parser.get(section, name, fallback=default))
        except _Wrong as e:
            problems.append(_problem(f"{INI}: [{section}] {name}", str(e), e.hint))
        except configparser.InterpolationError as e:
            hint = "write `%%` where a `%` is meant"
            problems.append(_problem(f"{INI}: [{section}] {name}", " ".join(str(e).split()), hint))
        return make(default)

    return Settings(
        root=root,
        recursive=read("recursive_version_locations", "false", _boolean, "alembic"),
        ledger_url=_anchored(root, read("ledger", "sqlite:///.ehg/ledger.sqlite", _ledger_url)),
        ledger_secret=read("ledger_password", "", str),
        lint_ignore=read("lint_ignore", "", lambda text: frozenset(text.replace(",", " ").split())),
        parallel=read("parallel", "8", _parallel),
        metadata=read("metadata", "", _metadata),
    )


class _Wrong(ValueError):
    """A value that cannot be used, and what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _problem(where: str, message: str, hint: str) -> Problem:
    return Problem("ini", message, hint, where)


def _boolean(text: str) -> bool:
    states = configparser.ConfigParser.BOOLEAN_STATES
    if text.lower() not in states:
        raise _Wrong(f"expected true or false, found `{text}`", "write `true` or `false`")
    return states[text.lower()]


def _parallel(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_PARALLEL:
        raise _Wrong(f"expected a whole number from 1 to {MOST_PARALLEL}, found `{text}`", "for example `parallel = 8`")
    return int(text)


def _metadata(text: str) -> tuple[tuple[str, str], ...]:
    """`branch=package.module:attribute`, one on a line."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        parts = _METADATA.fullmatch(line)
        if parts is None:
            raise _Wrong(f"expected `branch = package.module:attribute`, found `{line}`", "write one on each line")
        if parts["branch"] in found:
            raise _Wrong(f"branch `{parts['branch']}` stands twice", "a branch has one MetaData: keep one of the two")
        found[parts["branch"]] = parts["place"]
    return tuple(found.items())


def _ledger_url(text: str) -> str:
    if not text.startswith(_LEDGERS):
        # the value is not shown: a password may stand in it
        raise _Wrong(
            "this is no place for a ledger", "write `sqlite:///PATH` or `postgresql://USER@HOST:PORT/DATABASE`"
        )
    return text


def _anchored(root: Path, url: str) -> str:
    """A SQLite path is relative to the project, not to wherever the command was started."""
    prefix = "sqlite:///"
    return f"{prefix}{root / url.removeprefix(prefix)}" if url.startswith(prefix) else url
