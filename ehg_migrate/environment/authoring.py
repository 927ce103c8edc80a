"""New revision files, written by Alembic's own `revision` command into the folder of their branch."""

from __future__ import annotations

import argparse
import contextlib
import errno
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import Script
from alembic.util import CommandError

from ehg_migrate.environment.invocation import LOCAL_ADDRESS
from ehg_migrate.errors import (
    ConfigurationError,
    EhgMigrateError,
    Problem,
    RevisionsError,
    UsageError,
    described,
    quoted,
)
from ehg_migrate.model import Address
from ehg_migrate.revisions.history import History, branch_folders
from ehg_migrate.revisions.loading import alembic_config, line_of, raised_by
from ehg_migrate.settings import Settings
from ehg_migrate.turns import PROCESS

_HOOKS = "alembic.script.write_hooks"
_WRITER = "alembic.util.pyfiles"
_TEMPLATE = "script.py.mako"
_NAMING = "_rev_path"  # the function of Alembic's that makes the name of a file
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def new_revision(
    settings: Settings,
    history: History,
    branch: str,
    message: str,
    depends_on: Sequence[str],
    autogenerate: str | None,
    local: Address | None = None,
) -> Path:
    """The file that was written. `depends_on` are ids; `autogenerate` names a target. Raises UsageError.

    `local` is where the database of that target is on the embedded server, if that one is meant.
    """
    if not _NAME.fullmatch(branch) or ".." in branch:
        raise UsageError(Problem("bad_branch", f"`{branch}` cannot be a branch", "use letters, digits, `_`, `-`, `.`"))
    message = _one_line(message)
    heads = _heads(history, branch)
    if len(heads) > 1:
        listed = quoted(heads)
        hint = f"merge them with `alembic merge -m WHY {shlex.join(heads)}` first"
        raise UsageError(Problem("second_head", f"branch `{branch}` has {len(heads)} heads: {listed}", hint))
    with _folder(settings.versions / branch) as folder:
        script = _revision(settings, folder, branch, message, heads, depends_on, autogenerate, local)
    if not isinstance(script, Script):
        raise UsageError(Problem("no_difference", "there is no difference to write down", "nothing was written"))
    return Path(script.path)


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """Makes the folder of a branch where it is missing; one in which nothing was written goes again."""
    made = not folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _unwritable(e) from e
    try:
        yield folder
    finally:
        if made:
            with contextlib.suppress(OSError):  # there is something in it
                folder.rmdir()


def _revision(
    settings: Settings, folder: Path, branch: str, message: str, heads: Sequence[str], depends_on: Sequence[str],
    autogenerate: str | None, local: Address | None,
) -> object:  # fmt: skip
    """Has Alembic write it; a Script, unless there was nothing to write."""
    head = heads[0] if heads else "base"
    config = _config(settings, folder)
    if autogenerate:
        config.cmd_opts = argparse.Namespace(
            x=[f"target={autogenerate}"],
            cmd=(command.revision, [], {}),
            head=head,
            version_path=None,
            autogenerate=True,  # what a `process_revision_directives` of the project's own may ask
            quiet=True,
        )
        config.attributes[LOCAL_ADDRESS] = local
    try:
        with PROCESS, warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore", UserWarning)  # equal ids in branches that exclude one another are linted
            return command.revision(
                config,
                message,
                autogenerate=bool(autogenerate),
                head=head,
                version_path=str(folder),
                branch_label=None if heads else branch,
                depends_on=list(depends_on) or None,  # type: ignore[arg-type]  # Alembic takes a list, as it documents
            )
    except CommandError as e:
        if isinstance(e.__cause__, EhgMigrateError):  # ours, told for `alembic` in one line
            raise e.__cause__ from None
        raise UsageError(_told(e)) from e
    except (Exception, SystemExit) as e:  # Alembic runs the top level of every revision file
        known = _known(e, settings)
        if known is None:
            raise
        raise known from e


def _config(settings: Settings, folder: Path) -> Config:
    """The project's own, by which Alembic writes into this folder and knows the revisions of all."""
    config = alembic_config(settings)
    locations = [folder, *(f for f in branch_folders(settings.versions) if f != folder)]
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(f).replace("%", "%%") for f in locations))
    return config


def _told(error: CommandError) -> Problem:
    from ehg_migrate.environment.stock import FailedOn  # only env.py needs all of it

    if isinstance(error, FailedOn) and error.problem.hint:
        said = f"{error.target}: {error.problem.message}"
        return Problem("revision", said, error.problem.hint, error.problem.where, error.problem.sqlstate)
    return Problem("revision", str(error), "see `ehg-migrate revision --help`")


def _known(error: BaseException, settings: Settings) -> EhgMigrateError | None:
    """What is the project's own fault, said so; None for what is not."""
    if place := line_of(error, settings.versions):
        hint = "correct the file: Alembic loads every revision before it writes a new one"
        return RevisionsError(Problem("revision_raised", described(error), hint, place))
    if problem := _in_settings(error):
        return problem
    if isinstance(error, FileNotFoundError) and Path(str(error.filename)).name == _TEMPLATE:
        hint = "put one beside env.py, such as `alembic init` writes"
        return ConfigurationError(Problem("no_template", f"there is no `{error.filename}`", hint))
    if (place := raised_by(error, settings.root)) or isinstance(error, SystemExit):
        hint = "correct it: env.py, and what it imports, are run for the target of --autogenerate"
        return ConfigurationError(Problem("environment", described(error), hint, place))
    if isinstance(error, OSError):
        if piece := _piece(error):
            piece.unlink(missing_ok=True)  # else no command could read versions/ any more
            error.filename = str(piece)
        if str(error.filename).startswith(str(settings.versions)):  # models of the project may do anything
            return _unwritable(error)
    return None


def _in_settings(error: BaseException) -> EhgMigrateError | None:
    """Where Alembic came to nothing with what alembic.ini says of new files."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if any(frame.f_globals.get("__name__") == _HOOKS for frame in frames):
        message = f"the new file is in `versions/`, and a hook could not be run on it: {described(error)}"
        return UsageError(
            Problem("hook", message, "correct the hook, or take it out", "alembic.ini: [post_write_hooks]")
        )
    if any(frame.f_code.co_name == _NAMING for frame in frames):
        hint = "it takes rev, slug, epoch, year, month, day, hour, minute and second, as in `%%(rev)s_%%(slug)s`"
        message = f"`file_template` cannot be filled in: {described(error)}"
        return ConfigurationError(Problem("file_template", message, hint, "alembic.ini: [alembic] file_template"))
    return None


def _piece(error: OSError) -> Path | None:
    """The new file, where its writing was begun and has failed, as on a full disk: such an error names no file."""
    if error.filename is not None:
        return None
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((Path(f.f_locals["dest"]) for f in frames if f.f_globals.get("__name__") == _WRITER), None)


def _unwritable(error: OSError) -> UsageError:
    message = f"`{error.filename}` cannot be written: {error.strerror}"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "free some space" if full else "let this user write there, and look for a file in the way"
    return UsageError(Problem("unwritable", message, hint))


def _one_line(message: str) -> str:
    """It becomes the first line of a docstring, and the name of a file."""
    line = " ".join(message.split())
    if not line or not line.isprintable() or '"""' in line or "\\" in line or line.endswith('"'):
        hint = "write a few words in one line, without a backslash and without quotes at the end"
        raise UsageError(Problem("bad_message", "the message cannot stand in a docstring", hint))
    return line


def branch_heads(history: History) -> Mapping[str, tuple[str, ...]]:
    """The present heads of every branch that has revisions."""
    return {b: _heads(history, b) for b, revisions in history.branches.items() if revisions}


def _heads(history: History, branch: str) -> tuple[str, ...]:
    """The revisions of a branch that nothing in it continues."""
    revisions = history.branches.get(branch, ())
    continued = {p for r in revisions for p in r.parents}
    return tuple(r.id for r in revisions if r.id not in continued)
