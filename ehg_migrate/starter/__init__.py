"""The files that `init` lays out: a project that works as it is."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import resources
from pathlib import Path

from ehg_migrate.errors import Problem, UsageError, quoted
from ehg_migrate.files import is_there
from ehg_migrate.settings import check_folder

# template in this package -> file of the project
_FILES = {
    "targets.yaml.tmpl": "targets/targets.yaml",
    "first_revision.py.tmpl": "versions/shared/0001_notes.py",
    "gitignore.tmpl": ".gitignore",
}


def lay_out(folder: Path) -> list[Path]:
    """Writes the files; the paths, in order. Raises UsageError, before anything is written, if one exists already.

    Also where there is a targets/ or versions/ of something else: its files would become part of the project. Raises
    ConfigurationError for a folder that can hold no project.
    """
    check_folder(folder.absolute())
    texts = {"alembic.ini": _read("ehg_migrate.environment", "alembic.ini.tmpl")}
    texts |= {path: _read("ehg_migrate.starter", template) for template, path in _FILES.items()}
    tops = dict.fromkeys(folder / Path(path).parts[0] for path in texts)
    if taken := _taken(tops):
        names = quoted(map(str, taken))
        raise UsageError(Problem("exists", f"there is already {names}", "choose an empty folder"))
    written: list[Path] = []
    try:
        for path, text in texts.items():
            written.append(folder / path)
            _write(written[-1], text)
    except OSError as e:
        _take_back(folder, written)
        file = e.filename or written[-1]  # a full disk is told without the file
        problem = Problem("unwritable", f"`{file}` cannot be written: {e.strerror}", "choose another folder")
        raise UsageError(problem) from e
    return written


def _taken(paths: Iterable[Path]) -> list[Path]:
    try:
        return [path for path in paths if path.is_symlink() or is_there(path)]
    except OSError as e:
        problem = Problem("unwritable", f"`{e.filename}` cannot be written: {e.strerror}", "choose another folder")
        raise UsageError(problem) from e


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _take_back(folder: Path, written: list[Path]) -> None:
    """What was written of it, so that the same can be said once more; nothing of it was there before."""
    for file in written:
        with suppress(OSError):
            file.unlink(missing_ok=True)  # the last may be missing, and its folder be there
            for parent in file.relative_to(folder).parents[:-1]:
                (folder / parent).rmdir()


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
