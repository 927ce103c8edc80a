"""The project's own settings: where its folders are, and what `alembic.ini` says to Alembic and to us.

Everything of ours stands in `[ehg_migrate]`; `[alembic]` stays Alembic's, and only what both must agree on is read.
"""

from __future__ import annotations

import codecs
import configparser
import contextlib
import errno
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ehg_migrate import setting_values as values
from ehg_migrate.errors import ConfigurationError, Problem
from ehg_migrate.files import is_there

T = TypeVar("T")

INI = "alembic.ini"
VERIFY = ("auto", "always", "never")
"""After a run: where a reference can be made, or it is a failure that none can, or not at all."""
LINT = ("auto", "always", "off")
"""Before an upgrade: where its steps can be rehearsed, or it is refused where they cannot, or not at all."""
LARGE_TABLE = 100 << 20
_OURS = "ehg_migrate"
OUR_ENVIRONMENT = (
    f"write `script_location = {_OURS}:environment`; an env.py that is still needed ends with "
    f"`from {_OURS}.environment.hosting import run` and `run()`, in place of all that connects "
    "(`ehg-migrate docs moving`)"
)
"""What to do about an env.py that does not run our steps where they belong."""
_LARGEST = 1024 * 1024  # bytes
_NAMED = 8  # lines that are named
_KNOWN = (
    {"large_table", "ledger", "ledger_password", "lint", "lint_ignore", "lint_levels", "max_failures", "metadata"}
    | {"parallel", "prelude", "verify", "worker_memory"}
)  # fmt: skip
_ALEMBICS = ("prepend_sys_path", "recursive_version_locations", "script_location", "version_locations")
_READ_BY_ALEMBIC = ("file_template", "output_encoding", "timezone", "truncate_slug_length")
_ELSEWHERE = _KNOWN - {"metadata"}  # names that nobody gives to settings of their own, in sections that are theirs


@dataclass(frozen=True, slots=True)
class Settings:
    """What a project's `alembic.ini` says; `root` is the folder that holds it."""

    root: Path
    recursive: bool
    ledger_url: str
    ledger_secret: str  # a reference such as `env:LEDGER_PASSWORD`, or nothing
    lint_ignore: frozenset[str]
    parallel: int
    max_failures: int = 0  # after how many failures of a run no other target begins; 0 for no limit
    metadata: tuple[tuple[str, str], ...] = ()  # (branch, `package.module:attribute`), for autogenerate
    worker_memory: int = 0  # bytes that the process of a target may have; 0 for no limit
    prelude: str = ""  # SQL that makes what revisions rely on and do not: on scratch databases, and some local ones
    verify: str = "auto"  # whether a run holds targets against their revisions after it: one of VERIFY
    lint: str = "auto"  # whether `upgrade` looks first at what its steps do in a rehearsal: one of LINT
    lint_levels: tuple[tuple[str, str], ...] = ()  # (rule, its level in this project)
    large_table: int = LARGE_TABLE  # bytes, indexes included, from which on a rewrite or scan is what its rule says
    environment: str = ""  # Alembic's `script_location`, the folder of env.py
    module_folders: tuple[Path, ...] = ()  # where modules of the project are found, beside `root`
    odd: frozenset[str] = frozenset()  # rules of `lint` for what stands in alembic.ini, or is missing there

    @property
    def ini(self) -> Path:
        """The configuration file itself."""
        return self.root / INI

    @property
    def kept_revisions(self) -> Path:
        """What was read from versions/ before; made by itself, and never needed."""
        return self.root / ".ehg" / "revisions.json"

    @property
    def kept_targets(self) -> Path:
        """What was read from targets/ before; made by itself, and never needed."""
        return self.root / ".ehg" / "targets.json"

    @property
    def tripwires(self) -> Path:
        """What the last looks at the targets' schemas saw; made by itself, and never needed."""
        return self.root / ".ehg" / "tripwires.json"

    @property
    def local_home(self) -> Path:
        """Where the embedded PostgreSQL of `--local` keeps its files."""
        return self.root / ".ehg" / "local"

    @property
    def scratch_home(self) -> Path:
        """Where the embedded servers of scratch databases keep their data."""
        return self.root / ".ehg" / "scratch"

    @property
    def local_ledger(self) -> Path:
        """The SQLite file of the ledger of `--local`, which goes with its databases."""
        return self.root / ".ehg" / "local-ledger.sqlite"

    def ledger_file(self, *, local: bool) -> Path | None:
        """The SQLite file of the ledger; None where the ledger is a PostgreSQL. `--local` has its own."""
        if local:
            return self.local_ledger
        prefix = "sqlite:///"
        return Path(self.ledger_url.removeprefix(prefix)) if self.ledger_url.startswith(prefix) else None

    @property
    def versions(self) -> Path:
        """The folder whose sub-folders are the branches."""
        return self.root / "versions"


def read_settings(root: Path) -> Settings:
    """The settings of the project in `root`. Raises ConfigurationError: no project there, or all its mistakes."""
    check_folder(root)
    path = root / INI
    if not _found(root, path):
        raise ConfigurationError(
            Problem(
                "no_project",
                f"there is no `{INI}` in `{root}`",
                _elsewhere(root),
            )
        )
    parser = configparser.ConfigParser({"here": str(root).replace("%", "%%")})
    try:
        parser.read_string(_read(path), source=INI)
    except (configparser.Error, UnicodeDecodeError, OSError) as e:
        # the cause quotes lines of the file, and a password may stand in one by mistake
        raise ConfigurationError(_problem(INI, _reason(e), "correct the file")) from None
    problems = list(_unknown(parser))
    _add_pyproject(root, parser)
    settings = _settings(root, parser, problems)
    problems += _foreign_environment(settings)
    if problems:
        raise ConfigurationError(problems)
    return settings


def _found(root: Path, path: Path) -> bool:
    """Whether the file is there. Raises ConfigurationError where the folder is closed to us."""
    try:
        return is_there(path) and path.is_file()
    except OSError as e:
        message = f"`{INI}` in `{root}` cannot be read: {e.strerror}"
        hint = "let this user read what is in the folder, or name another with `--project DIR`"
        raise ConfigurationError(Problem("no_project", message, hint)) from e


def _elsewhere(root: Path) -> str:
    """Where a project may be: above is it for who has gone down into it."""
    if above := next((folder for folder in root.parents if (folder / INI).is_file()), None):
        return f"there is one in `{above}`: go there, or say `--project {shlex.quote(str(above))}`"
    return "run `ehg-migrate init DIR` to lay out a project, or name yours with `--project DIR`"


def check_folder(root: Path) -> None:
    """Raises ConfigurationError for a project's folder that Alembic would take for two: lines separate them for us."""
    if "\n" in str(root):
        message = f"the project's folder {str(root)!r} has a line break in its path"
        raise ConfigurationError(Problem("folder_name", message, "give it, or the folder above, another name"))


def _add_pyproject(root: Path, parser: configparser.ConfigParser) -> None:
    """What Alembic takes from pyproject.toml, since alembic.ini has none of it; what is wrong there it says itself."""
    names = [n for n in _ALEMBICS if not parser.has_option("alembic", n)]
    path = root / "pyproject.toml"
    if not names or not path.is_file():
        return
    import tomllib  # most projects do without

    with contextlib.suppress(OSError, ValueError):
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("alembic", {})
        parser.read_dict({"alembic": {n: str(found[n]) for n in names if n in found}})


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise OSError(errno.EFBIG, "it is larger than 1 MiB")
    if data.startswith(codecs.BOM_UTF8):
        what = "the file begins with a byte order mark, which stock Alembic does not read either"
        raise ConfigurationError(_problem(INI, what, "save it as UTF-8 without one"))
    if (place := data.find(b"\0")) >= 0:
        what = f"line {data.count(10, 0, place) + 1} holds a NUL, which no path and no name can have"
        raise ConfigurationError(_problem(INI, what, "remove it"))
    return data.decode("utf-8")


def _reason(error: Exception) -> str:
    """What is wrong with the file, and where; never what stands there."""
    match error:
        case configparser.MissingSectionHeaderError():
            return f"line {error.lineno} stands before the first `[section]`"
        case configparser.DuplicateOptionError():
            return f"`{error.option}` stands twice in `[{error.section}]`, again on line {error.lineno}"
        case configparser.DuplicateSectionError():
            return f"`[{error.section}]` stands twice, again on line {error.lineno}"
        case configparser.ParsingError():
            lines = ", ".join(str(number) for number, _ in error.errors[:_NAMED])
            return f"expected `name = value` on line {lines}"
        case UnicodeDecodeError():
            return f"the file is not UTF-8: line {error.object.count(10, 0, error.start) + 1}"
    return f"the file cannot be read: {error.strerror if isinstance(error, OSError) else type(error).__name__}"


def _unknown(parser: configparser.ConfigParser) -> Iterator[Problem]:
    """What is no setting of ours, and ours in another section, or a section of a wrong name: all silently ignored."""
    for section in (s for s in parser.sections() if s != _OURS):
        if re.sub(r"[\W_]", "", section.lower()) == _OURS.replace("_", ""):
            yield _problem(f"{INI}: [{section}]", "there is no such section", f"write `[{_OURS}]`")
            continue
        for name in sorted(_ELSEWHERE.intersection(parser.options(section)) - parser.defaults().keys()):
            what = f"nobody reads it in this section: it is a setting of `[{_OURS}]`"
            yield _problem(f"{INI}: [{section}] {name}", what, f"move the line below `[{_OURS}]`")
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
        except values.Wrong as e:
            problems.append(_problem(f"{INI}: [{section}] {name}", str(e), e.hint))
        except configparser.InterpolationError:
            what = "a `%` in it begins neither `%%` nor `%(name)s` of a name that is known"  # the value is not shown
            problems.append(_problem(f"{INI}: [{section}] {name}", what, "write `%%` where a `%` is meant"))
        return make(default)

    for name in _READ_BY_ALEMBIC:  # of which it would say in the midst of a run that a revision is to be corrected
        read(name, "", values.length if name == "truncate_slug_length" else str, "alembic")
    return Settings(
        root=root,
        recursive=read("recursive_version_locations", "false", values.boolean, "alembic"),
        ledger_url=values.anchored(root, read("ledger", "sqlite:///.ehg/ledger.sqlite", values.ledger_url)),
        ledger_secret=read("ledger_password", "", str),
        lint_ignore=read("lint_ignore", "", lambda text: frozenset(text.replace(",", " ").split())),
        parallel=read("parallel", "8", values.parallel),
        max_failures=read("max_failures", "0", values.failures),
        metadata=read("metadata", "", values.metadata),
        worker_memory=read("worker_memory", "", values.memory),
        prelude=read("prelude", "", lambda text: values.prelude(root, text)),
        verify=read("verify", "auto", partial(values.one_of, "verify", VERIFY)),
        lint=read("lint", "auto", partial(values.one_of, "lint", LINT)),
        lint_levels=read("lint_levels", "", values.levels),
        large_table=read("large_table", "100MB", values.large),
        environment=read("script_location", "", str, "alembic"),
        module_folders=read("prepend_sys_path", "", partial(values.module_folders, root), "alembic"),
        odd=frozenset(_odd(root, parser)),
    )


def _odd(root: Path, parser: configparser.ConfigParser) -> Iterator[str]:
    ours = parser.get("alembic", "script_location", raw=True, fallback="") == f"{_OURS}:environment"
    if ours and not parser.has_option("alembic", "version_locations"):  # stock commands look beside our env.py
        yield "no_version_locations"
    with contextlib.suppress(configparser.InterpolationError, OSError):  # stock Alembic says that, where it is asked
        if values.lie_elsewhere(root, parser.get("alembic", "version_locations", fallback="")):
            yield "other_locations"
    if parser.get("alembic", "sqlalchemy.url", raw=True, fallback=""):
        yield "ignored_url"


def _foreign_environment(settings: Settings) -> Iterator[Problem]:
    """An env.py as `alembic init` writes it connects by itself: our steps would be run there, and not on a target."""
    try:
        text = (settings.root / settings.environment / "env.py").read_text(encoding="utf-8", errors="replace")
    except OSError:  # ours, in the installed package, or none: whoever runs it says so
        return
    if "run_migrations" in text and _OURS not in text:
        what = "its env.py runs migrations on a connection of its own: they would reach the database that this names, "
        yield _problem(f"{INI}: [alembic] script_location", f"{what}and no target", OUR_ENVIRONMENT)


def _problem(where: str, message: str, hint: str) -> Problem:
    return Problem("ini", message, hint, where)
