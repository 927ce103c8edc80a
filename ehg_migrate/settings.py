"""The project's own settings: where its folders are, and what `alembic.ini` says to Alembic and to us.

Everything of ours stands in `[ehg_migrate]`; `[alembic]` stays Alembic's, and only what both must agree on is read.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import Path

from ehg_migrate.errors import ConfigurationError, Problem

INI = "alembic.ini"
_KNOWN = {"ledger", "ledger_password", "lint_ignore", "metadata", "parallel"}
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

    @property
    def versions(self) -> Path:
        """The folder whose sub-folders are the branches."""
        return self.root / "versions"


def read_settings(root: Path) -> Settings:
    """The settings of the project in `root`. Raises ConfigurationError: no project there, or a mistake in the file."""
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
        parser.read(path, encoding="utf-8")
        return _settings(root, parser)
    except (configparser.Error, UnicodeDecodeError, ValueError) as e:
        raise ConfigurationError(Problem("ini", str(e).replace("\n", " "), "correct the file", where=INI)) from e


def _settings(root: Path, parser: configparser.ConfigParser) -> Settings:
    ours = dict(parser["ehg_migrate"]) if parser.has_section("ehg_migrate") else {}
    unknown = sorted(set(ours) - _KNOWN - {"here"})
    if unknown:
        raise ValueError(f"[ehg_migrate] has no setting `{unknown[0]}`; known are {', '.join(sorted(_KNOWN))}")
    parallel = int(ours.get("parallel", "8"))
    if parallel < 1:
        raise ValueError(f"[ehg_migrate] parallel = {parallel}: expected 1 or more")
    return Settings(
        root=root,
        recursive=parser.getboolean("alembic", "recursive_version_locations", fallback=False),
        ledger_url=_ledger_url(root, ours.get("ledger", "sqlite:///.ehg/ledger.sqlite")),
        ledger_secret=ours.get("ledger_password", ""),
        lint_ignore=frozenset(ours.get("lint_ignore", "").replace(",", " ").split()),
        parallel=parallel,
        metadata=_metadata(ours.get("metadata", "")),
    )


def _metadata(text: str) -> tuple[tuple[str, str], ...]:
    """`branch=package.module:attribute`, one on a line."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        parts = _METADATA.fullmatch(line)
        if parts is None:
            raise ValueError(f"[ehg_migrate] metadata: expected `branch=package.module:attribute`, found `{line}`")
        if parts["branch"] in found:
            raise ValueError(
                f"[ehg_migrate] metadata names branch `{parts['branch']}` twice; a branch has one MetaData"
            )
        found[parts["branch"]] = parts["place"]
    return tuple(found.items())


def _ledger_url(root: Path, url: str) -> str:
    """A SQLite path is relative to the project, not to wherever the command was started."""
    prefix = "sqlite:///"
    return f"{prefix}{root / url.removeprefix(prefix)}" if url.startswith(prefix) else url
