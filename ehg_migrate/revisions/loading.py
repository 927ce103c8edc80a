"""Alembic's view of the project: its Config, and a revision module loaded as Alembic loads it."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import ModuleType

from alembic import context
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from alembic.util import load_python_file

from ehg_migrate.settings import Settings
from ehg_migrate.turns import PROCESS


def alembic_config(settings: Settings, x: Mapping[str, str] | None = None) -> Config:
    """The project's own Config, read from its alembic.ini, with these `-x` arguments. Holds no URL and no secret."""
    toml = settings.root / "pyproject.toml"
    config = Config(
        str(settings.ini),
        toml_file=str(toml) if toml.is_file() else None,
        cmd_opts=argparse.Namespace(x=[f"{key}={value}" for key, value in (x or {}).items()], quiet=True),
        stdout=sys.stderr,
    )
    # Alembic puts it there as it is, and a folder's name may hold a `%`: Jenkins has `feature%2Fx`
    config.file_config.set("DEFAULT", "here", str(settings.root).replace("%", "%%"))
    _anchor_paths(config, settings.root)
    return config


@cache
def has_our_environment(settings: Settings) -> bool:
    """Whether nobody's env.py but ours is run, which may do more than run revisions."""
    return alembic_config(settings).get_alembic_option("script_location") == "ehg_migrate:environment"


def _anchor_paths(config: Config, root: Path) -> None:
    """Lists of paths, however the ini separates them, made absolute: `.` is the project, wherever we stand."""
    lists = {
        "prepend_sys_path": config.get_prepend_sys_paths_list(),
        "version_locations": config.get_version_locations_list(),
    }
    config.set_main_option("path_separator", "newline")
    for name, paths in lists.items():
        if paths:
            # `package:folder` is Alembic's way to name something in a package
            absolute = [p if ":" in p else str(root / p) for p in paths]
            config.set_main_option(name, "\n".join(absolute).replace("%", "%%"))


def script_directory(config: Config, locations: tuple[Path, ...]) -> ScriptDirectory:
    """Alembic's ScriptDirectory over exactly these folders, whatever the ini lists."""
    config.set_main_option("version_locations", "\n".join(str(p).replace("%", "%%") for p in locations))
    before = list(sys.path)
    script = ScriptDirectory.from_config(config)
    # from_config prepends `prepend_sys_path` at every call; once is enough
    sys.path[:] = list(dict.fromkeys(sys.path)) if sys.path != before else before
    return script


def load_scripts(script: ScriptDirectory, files: Iterable[Path]) -> dict[str, Script]:
    """These files by their revisions, loaded in this order; the directory loads itself when somebody asks it."""
    loaded = (Script._from_path(script, file) for file in files)
    return {s.revision: s for s in loaded if s is not None}


def is_as_planned(file: Path, checksum: str) -> bool:
    """Whether a file is still the one that a plan was made from."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == checksum
    except OSError:
        return False


def load_module(path: Path, settings: Settings) -> ModuleType:
    """The module of one revision file. Runs its top level, with `alembic.context` in place; raises what that raises."""
    # what a revision prints while it loads must not end up in our data on stdout
    with PROCESS, contextlib.redirect_stdout(sys.stderr), _alembic_context(settings, path.parent):
        return load_python_file(os.fspath(path.parent), path.name)


def _alembic_context(settings: Settings, folder: Path) -> AbstractContextManager[object]:
    """`alembic.context` for what is loaded within; that of a command of Alembic's, where env.py is run by one."""
    if hasattr(context, "config"):  # a second one would, at its end, take the command's away
        return contextlib.nullcontext()
    config = alembic_config(settings)
    return EnvironmentContext(config, script_directory(config, (folder,)))


def line_of(error: BaseException, versions: Path) -> str:
    """The line of a revision file that an error came from, as `versions/shared/a.py:12`; nothing if from none."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(versions):
            place = f"{path.relative_to(versions.parent).as_posix()}:{frame.lineno}"
    return place


def raised_by(error: BaseException, root: Path) -> str:
    """The line of a file of the project that raised an error, or is no Python; nothing where none of its did."""
    if isinstance(error, SyntaxError):
        last = error.filename, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        last = (frames[-1].filename, frames[-1].lineno) if frames else (None, None)
    path = Path(last[0] or "")
    installed = "site-packages" in path.parts or path.is_relative_to(_PACKAGE)
    return f"{path.relative_to(root).as_posix()}:{last[1]}" if path.is_relative_to(root) and not installed else ""


_PACKAGE = Path(__file__).parents[1]  # it may lie in a project
