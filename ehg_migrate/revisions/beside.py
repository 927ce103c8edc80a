"""The project's own files that a revision takes in beside its own: modules that it imports, files that it names.

Read from the syntax tree and never run: a file whose name is computed is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ehg_migrate.model import Step
from ehg_migrate.revisions.graph import Revision
from ehg_migrate.revisions.plain import operands, parsed
from ehg_migrate.settings import Settings

_LONGEST = 200  # characters of a text that may be a path


class Contents:
    """What steps run, as it was when it was first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._by_name: dict[str, list[Path]] | None = None
        self._known: dict[str, str] = {}

    def of(self, revision: Revision, step: Step) -> str:
        """The checksum of the revision's file, or one of that and of all that it takes in, if it may take in others."""
        if step.direction.function in revision.plain:
            return step.checksum
        if revision.path not in self._known:
            if self._by_name is None:
                self._by_name = _by_name(self._settings.versions)
            files = files_beside(self._settings, (revision.path,), self._by_name)
            self._known[revision.path] = " ".join(f"{name} {checksum}" for name, checksum in files.items())
        taken_in = self._known[revision.path]
        return f"{step.checksum} {taken_in}" if taken_in else step.checksum


def files_beside(
    settings: Settings, revisions: Iterable[str], by_name: dict[str, list[Path]] | None = None
) -> dict[str, str]:
    """Path -> sha256 of what these files take in, and what that takes in in turn; paths are relative to the project."""
    root, own = settings.root, {settings.root / r for r in revisions}
    by_name = _by_name(settings.versions) if by_name is None else by_name
    seen, waiting = set(own), sorted(own)
    while waiting:
        file = waiting.pop()
        new = {f for f in _taken_in(settings, file, by_name) if f not in seen and _is_ours(root, f)}
        seen |= new
        waiting += new
    checksums = {f.relative_to(root).as_posix(): _checksum(f) for f in sorted(seen - own)}
    return {name: checksum for name, checksum in checksums.items() if checksum is not None}


def _by_name(versions: Path) -> dict[str, list[Path]]:
    """What lies below versions/ and is no module, since `HERE / "sql" / name` names only a part of its path."""
    found: dict[str, list[Path]] = {}
    for folder, _, names in os.walk(versions):
        for name in names:
            if not name.endswith((".py", ".pyc")):
                found.setdefault(name, []).append(Path(folder, name))
    return found


def _is_ours(root: Path, file: Path) -> bool:
    """Whether it is a file of the project; `.env` and the like are none of a revision's."""
    return file.is_file() and file.is_relative_to(root) and not any(p[0] == "." for p in file.relative_to(root).parts)


def _checksum(file: Path) -> str | None:
    """None if it cannot be read: then the revision cannot read it either."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _taken_in(settings: Settings, file: Path, by_name: dict[str, list[Path]]) -> Iterator[Path]:
    if file.suffix != ".py":
        return
    try:
        tree = parsed(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):  # then it cannot be run either
        return
    folders = [p for p in file.parents if p.is_relative_to(settings.root)]
    found = [*folders, *settings.module_folders]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _modules(found, alias.name)
            case ast.ImportFrom(module=module, names=names, level=level):
                at = folders[level - 1 : level] if level else found
                for alias in names:
                    yield from _modules(at, f"{module}.{alias.name}" if module else alias.name)
            case ast.BinOp(op=ast.Div()) | ast.Call():
                yield from _named(folders, "/".join(_texts(node)), by_name)
            case ast.Constant(value=str(text)):
                yield from _named(folders, text, by_name)


def _modules(folders: Iterable[Path], dotted: str) -> Iterator[Path]:
    """The files of a module and of its packages, wherever it may be found; the last part may be a name in one."""
    for folder in folders:
        at = str(folder)
        for part in dotted.split("."):
            yield from _there(f"{at}/{part}.py")
            at = f"{at}/{part}"
            yield from _there(f"{at}/__init__.py")


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts of a path that is put together, in order."""
    for part in node.args if isinstance(node, ast.Call) else operands(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        elif isinstance(part, ast.BinOp):
            yield from _texts(part)


def _named(folders: Iterable[Path], text: str, by_name: dict[str, list[Path]]) -> Iterator[Path]:
    if 0 < len(text) <= _LONGEST and text.isprintable():
        for folder in folders:
            yield from _there(os.path.normpath(os.path.join(folder, text)))  # noqa: PTH118 - see `_there`
        yield from by_name.get(text.rpartition("/")[2], ())


def _there(path: str) -> Iterator[Path]:
    """The file, if it is one; most texts name none, and a Path of each would take longer than the rest of it."""
    if os.path.isfile(path):  # noqa: PTH113
        yield Path(path)
