"""Options that many commands have, and how a command gets its project."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from ehg_migrate.cli import console
from ehg_migrate.files import is_there
from ehg_migrate.setting_values import MOST_PARALLEL

if TYPE_CHECKING:
    from ehg_migrate.project import Project

F = TypeVar("F", bound=Callable[..., Any])
_WRITTEN = "ehg_migrate.written"  # in a command's context: the files that it will write, and the options that say so
_OURS = (b'<testsuite name="ehg-migrate', b"<title>ehg-migrate", b'"name": "ehg-migrate"')  # JUnit, HTML, SARIF
_ENV_FILE = "ehg_migrate.env_file"  # there, too: the file of `--env-file`
_FORMER = ("--junit", "--html", "--sarif")  # their options
_HEAD = 1000  # bytes, among which one of these stands


def targets(command: F) -> F:
    """`--targets` and `--shard`, given to the command as one `selectors`."""

    @wraps(command)
    def selected(*args: Any, selectors: tuple[str, ...], shard: str | None, **others: Any) -> Any:
        return command(*args, selectors=selectors if shard is None else (*selectors, f"shard:{shard}"), **others)

    for option in (
        click.option("--shard", metavar="I/N", help="Only the Ith of N even parts of the selection, from 1 to N."),
        click.option(
            "--targets",
            "-t",
            "selectors",
            multiple=True,
            metavar="SELECTOR",
            help="Name, glob, `tag:x`, `env:x`, `wave:x`, `!x` to leave out; several with commas or by repeating. "
            "Default: all.",
        ),
    ):
        selected = option(selected)
    return cast("F", selected)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON (`ehg-migrate docs json`) instead of text.")
yes = click.option("--yes", "-y", is_flag=True, help="Do it without asking; needed where there is no terminal.")
parallel = click.option(
    "--parallel",
    "-p",
    type=click.IntRange(1, MOST_PARALLEL),
    help="Targets at a time. Default: `parallel` in alembic.ini, or 8.",
)
waves = click.option(
    "--waves/--no-waves",
    default=True,
    show_default=True,
    help="One wave of targets after the other, where targets/ has any; or at once.",
)


def _known_executor(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """Refuses another one before anything is looked at or asked."""
    if name != "local":
        from ehg_migrate.rollout.executor import check_name

        check_name(name)
    return name


executor = click.option(
    "--executor",
    callback=_known_executor,
    default="local",
    show_default=True,
    help="Where the work is done: `local`, or `dask://HOST:PORT` of a Dask scheduler.",
)


class Place(click.Path):
    """The path of something to write, or of a project: an empty one would be the present folder, `-` a file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuses what nobody means."""
        if value == "":
            self.fail("It is empty; an unset variable may stand behind it.", param, ctx)
        if value == "-":
            self.fail("That would be a file of this name: write `./-`, or /dev/stdout for the output.", param, ctx)
        return super().convert(value, param, ctx)


class Unwritable(click.FileError):
    """A file of the command's own cannot be written, after what stands in it was found out: exit 1."""

    def __init__(self, file: Path, error: OSError) -> None:
        super().__init__(str(file), error.strerror)

    def show(self, file: IO[Any] | None = None) -> None:
        """As every error is told."""
        click.echo(f"error: `{self.ui_filename}` cannot be written: {self.message}", file=file)
        click.echo("  hint: let this user write there, or name another file", file=file)


def in_a_folder(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuses, before anything is done, a report that could not be written after it."""
    if path is None:
        return None
    try:
        is_there(path)  # raises in a closed folder, on every Python
        there = path.parent.is_dir()
    except OSError as e:
        raise click.BadParameter(f"'{path}' cannot be written: {e.strerror}.") from e
    if not there:
        raise click.BadParameter(f"There is no folder '{path.parent}'.")
    other = context.meta.setdefault(_WRITTEN, {}).setdefault(path.resolve(), parameter.opts[0])
    if other != parameter.opts[0] and (path.is_file() or not path.exists()):  # /dev/null takes them all
        raise click.BadParameter(f"'{path}' is the file of `{other}`, too.")
    return path


def in_place_of_former(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """The same, and a report that an earlier command has left there goes at once.

    However this one ends, killed too, a pipeline that publishes the file must not find the one before in it.
    """
    file = in_a_folder(context, parameter, path)
    if file is not None and not context.resilient_parsing:  # a shell that completes a command runs none
        with suppress(OSError):  # whatever it is, it cannot be read or taken away
            _forget(file.resolve())
    return file


def _forget(file: Path) -> None:
    if not file.is_file():
        return
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    if any(mark in head for mark in _OURS):
        file.unlink()


def forget_former(words: Sequence[str]) -> None:
    """The same for a command line that could not be understood, of whose options none was asked."""
    for word, following in zip(words, (*words[1:], ""), strict=True):
        name, given, value = word.partition("=")
        if name in _FORMER:
            with suppress(OSError):
                _forget(Path(value if given else following).resolve())


def report(name: str, text: str) -> Callable[[F], F]:
    """An option that takes a file to be written; `--summary` appends to it."""
    callback = in_a_folder if name == "--summary" else in_place_of_former
    return click.option(name, type=Place(dir_okay=False, path_type=Path), callback=callback, help=text)


html = report("--html", "Write a page for people.")


root = click.option(
    "--project",
    "root",
    default=".",
    envvar="EHG_PROJECT",
    show_envvar=True,
    type=Place(file_okay=False, path_type=Path),
    help="The folder with alembic.ini, targets/ and versions/. Default: this one.",
)


def _read_first(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    """The variables of `--env-file`, before other options look for theirs, `EHG_PROJECT` and `EHG_ROLLOUT`."""
    if file is None or context.resilient_parsing:
        return
    from ehg_migrate.fleet.dotenv import load_env_file

    load_env_file(file)
    context.meta[_ENV_FILE] = file


def project_options(command: F) -> F:
    """`--project` and `--local`, the arguments of `opened`, given to the command as one `where`; and `--env-file`."""
    for option in (
        root,
        click.option("--local", is_flag=True, help="Give every target a database on the embedded PostgreSQL instead."),
        click.option(
            "--env-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=_read_first,
            help="Read KEY=VALUE lines first; what is set in the environment wins.",
        ),
    ):
        command = option(command)
    return command


def refuse_lost(context: click.Context) -> None:
    """Refuses options that stand before a group's command: `locks --local break a` would break the real one's lock."""
    names = [parameter.name for parameter in context.command.params if parameter.name]
    if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names):
        raise click.UsageError(f"Options stand behind `{context.invoked_subcommand}`, not before it.")


def where(how: dict[str, Any]) -> dict[str, Any]:
    """What `opened` takes, out of all that a command was given."""
    if how["local"] and how.get("executor", "local") != "local":
        raise click.UsageError("`--local` has its servers here; leave out `--executor`.")
    return {key: how.pop(key) for key in ("root", "local")}


def remember() -> None:
    """What the present command was given of this; what comes from the environment holds for the next one by itself."""
    context = click.get_current_context()
    console.given.clear()
    for name, option in (("root", "--project"), ("local", "--local"), ("env_file", "--env-file")):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.meta[_ENV_FILE] if name == "env_file" else context.params[name]
            console.given[name] = option if value is True else f"{option} {shlex.quote(str(value))}"


@contextmanager
def opened(root: Path, *, local: bool, quiet: bool = False) -> Iterator[Project]:
    """The project, its warnings shown unless `quiet`. Leaving it stops the embedded server if it was started."""
    from ehg_migrate.database.parameters import forget_environment
    from ehg_migrate.project import Project

    remember()
    forget_environment()
    with Project.load(root, local=local) as project:
        console.warnings(() if quiet else project.findings.warnings)
        gc.freeze()  # see `main`
        gc.enable()
        yield project
