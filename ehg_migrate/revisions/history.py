"""versions/ as it stands on disk: one folder a branch, each file read without running it.

A revision says who it is in four module-level names. They are almost always literals, so they are read from the syntax
tree: no code of the project runs in the parent, and Alembic need not be imported. Only a file that computes one of them
is loaded the way Alembic loads it.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ehg_migrate.errors import Problem, RevisionsError, described
from ehg_migrate.files import is_there
from ehg_migrate.model import SHARED
from ehg_migrate.revisions.graph import Graph, Revision
from ehg_migrate.revisions.kept import Kept, forget_compiled
from ehg_migrate.revisions.plain import is_silent, parsed, plain_functions
from ehg_migrate.settings import Settings

_DEFAULTS = re.compile(rb"\bdefault\s+privileges\b", re.IGNORECASE)
# the same file names that Alembic takes for revisions
_FILE = re.compile(r"(?!\.#|__init__).*\.py$")
_LEGACY_ID = re.compile(r"([a-f0-9]+)\.py$")
_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_NAME_SET = frozenset(_NAMES)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BAD_ID = re.compile(r"[@\-+:]")
_WORDS = ("base", "head", "heads")  # what Alembic reads in the place of an id


@dataclass(frozen=True)
class History:
    """Every revision of every branch, and what is wrong with single files."""

    branches: Mapping[str, tuple[Revision, ...]]  # folder -> its revisions, in file order
    problems: tuple[Problem, ...] = ()
    loose: tuple[str, ...] = ()  # revision files that lie in no branch folder
    # some are new or changed since the last command read these files
    novel: bool = field(default=False, compare=False)
    _built: dict[tuple[str, ...], tuple[Graph, tuple[Problem, ...]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def graph(self, branches: tuple[str, ...]) -> Graph:
        """The graph of a target with these branches (in order of application). Raises RevisionsError."""
        graph, problems = self.build(branches)
        if problems:
            raise RevisionsError(problems)
        return graph

    def build(self, branches: tuple[str, ...]) -> tuple[Graph, tuple[Problem, ...]]:
        """The same, with the problems instead of an exception."""
        if branches not in self._built:
            from ehg_migrate.revisions.building import build  # what is kept is built already

            self._built[branches] = build([r for branch in reversed(branches) for r in self.branches.get(branch, ())])
        return self._built[branches]

    def holders(self, revision: str) -> tuple[str, ...]:
        """The branches that have a revision of this id."""
        return tuple(b for b, revisions in self.branches.items() if any(r.id == revision for r in revisions))


_READERS = tuple(Path(__file__).with_name(name) for name in ("history.py", "plain.py", "allowances.py"))


def read_history(settings: Settings, *, keep: bool = False) -> History:
    """All of versions/. Reads files only; what is wrong with one is in `problems`, never an exception.

    With `keep` only the files are read that have changed since they were read before; see `kept.py`.
    """
    branches: dict[str, tuple[Revision, ...]] = {}
    problems: list[Problem] = []
    try:
        folders, loose = branch_folders(settings.versions), tuple(_loose(settings))
    except OSError as e:
        return History({}, _unreadable("versions", f"the folder cannot be read: {e.strerror}").problems)
    with Kept(settings.kept_revisions, _READERS) if keep else nullcontext() as kept:
        for folder in folders:
            branches[folder.name] = tuple(_read_branch(folder, settings, kept, problems))
    novel = kept is not None and kept.novel
    return History(branches, tuple(problems), loose, novel)


def _read_branch(folder: Path, settings: Settings, kept: Kept | None, problems: list[Problem]) -> Iterator[Revision]:
    """The revisions of one folder, in file order; what is wrong goes to `problems`."""
    try:
        entries = list(_files(folder, settings.recursive))
    except OSError as e:
        problems += _unreadable(f"versions/{folder.name}", f"the folder cannot be read: {e.strerror}").problems
        return
    for entry in entries:
        try:
            yield _known(entry, folder.name, settings, kept)
        except RevisionsError as e:
            problems += e.problems


def _known(entry: os.DirEntry[str], branch: str, settings: Settings, kept: Kept | None) -> Revision:
    """The revision of a file; kept from before, or read."""
    path = Path(entry.path)
    if kept is None:
        return _read(path, branch, settings)[0]
    try:
        stat = entry.stat()
    except OSError:  # it went away since the folder was listed
        return _read(path, branch, settings)[0]
    known = kept.find(entry.path, stat)
    if known is not None:
        return known
    revision, by_itself = _read(path, branch, settings)
    if by_itself:
        kept.keep(entry.path, stat, revision)
    return revision


def branch_folders(versions: Path) -> list[Path]:
    """The folders that are branches: `shared` first, then by name. Raises OSError."""
    if not versions.is_dir():
        return []
    named = (p for p in versions.iterdir() if not p.name.startswith((".", "__")))
    return sorted((p for p in named if is_there(p) and p.is_dir()), key=lambda p: (p.name != SHARED, p.name))


def _loose(settings: Settings) -> Iterator[str]:
    if settings.versions.is_dir():
        for path in sorted(settings.versions.iterdir()):
            if path.is_file() and _FILE.match(path.name):
                yield path.relative_to(settings.root).as_posix()


def _files(folder: Path | str, recursive: bool) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda e: e.name)
    # a link to nothing is a revision that is missing, and no file to be left out in silence, as Alembic does
    yield from (e for e in entries if _FILE.match(e.name) and (e.is_file() or (e.is_symlink() and not e.is_dir())))
    if recursive:
        for e in entries:
            if e.is_dir(follow_symlinks=False) and e.name != "__pycache__":  # nor does Alembic follow links
                yield from _files(e.path, recursive)


def _read(path: Path, branch: str, settings: Settings) -> tuple[Revision, bool]:
    """The revision of a file, and whether that follows from this file alone, not from what it imports."""
    where = path.relative_to(settings.root).as_posix()
    try:
        forget_compiled(path)
        source = path.read_bytes()
        tree = parsed(source)
    except (OSError, SyntaxError, ValueError, RecursionError) as e:
        line = f" (line {e.lineno})" if isinstance(e, SyntaxError) and e.lineno else ""
        reason = e.msg if isinstance(e, SyntaxError) else e
        raise _unreadable(where, f"the revision file cannot be read: {reason}{line}") from e
    names = None if _sets_globals(tree, source) else _literals(tree)
    doc = ast.get_docstring(tree)
    by_itself = names is not None
    if names is None:
        module = _loaded(path, where, settings)
        names = {name: getattr(module, name) for name in _NAMES if hasattr(module, name)}
        doc = module.__doc__
    revision = Revision(
        id=_id(names, path, where),
        parents=_strings(names, "down_revision", where),
        depends_on=_strings(names, "depends_on", where),
        labels=_strings(names, "branch_labels", where),
        branch=branch,
        path=where,
        checksum=hashlib.sha256(source).hexdigest(),
        doc=(doc or "").strip().split("\n")[0],
        has_upgrade=_defines(tree, "upgrade"),
        has_downgrade=_defines(tree, "downgrade"),
        is_silent=is_silent(tree),
        allowed=_allowed(tree, where) if b"lint_allow" in source else (),
        sets_defaults=_DEFAULTS.search(source) is not None,
        plain=plain_functions(tree),
    )
    return revision, by_itself


def _allowed(tree: ast.Module, where: str) -> tuple[tuple[str, str], ...]:
    from ehg_migrate.revisions.allowances import allowances  # few files have any

    return allowances(tree, where)


def _literals(tree: ast.Module) -> dict[str, Any] | None:
    """The four names where all that are assigned are assigned once, at the top, from literals; else None."""
    found: dict[str, Any] = {}
    for node in tree.body:
        target, value = _assignment(node)
        if target in _NAMES and value is not None:
            try:
                found[target] = ast.literal_eval(value)
            except (ValueError, TypeError):  # not a literal; a set of lists
                return None
    # locals of `upgrade()` may be called `revision` without meaning anything
    outside = [n for node in tree.body if not isinstance(node, _SCOPES) for n in ast.walk(node)]
    stores = sum(isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id in _NAMES for n in outside)
    imported = any(isinstance(n, ast.ImportFrom) and _imports(n) for n in outside)
    return None if imported or stores != len(found) else found


def _sets_globals(tree: ast.Module, source: bytes) -> bool:
    """Whether a function of the file may set one of the four names."""
    return b"global" in source and any(
        isinstance(n, ast.Global) and not _NAME_SET.isdisjoint(n.names) for n in ast.walk(tree)
    )


def _assignment(node: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None


def _imports(node: ast.ImportFrom) -> bool:
    return any(alias.name == "*" or (alias.asname or alias.name) in _NAMES for alias in node.names)


def _defines(tree: ast.Module, function: str) -> bool:
    """Whether the module has the name at its top level, by whatever statement; `import *` counts as yes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == function:
            return True
        if isinstance(node, ast.ImportFrom | ast.Import) and any(
            alias.name == "*" or (alias.asname or alias.name) == function for alias in node.names
        ):
            return True
    return False


def _loaded(path: Path, where: str, settings: Settings) -> Any:
    from ehg_migrate.revisions.loading import load_module

    try:
        return load_module(path, settings)
    except (Exception, SystemExit) as e:  # any code may stand in the file, and all of it is the file's fault
        raise _unreadable(where, f"the revision file does not load: {described(e)}") from e


def _id(names: Mapping[str, Any], path: Path, where: str) -> str:
    legacy = _LEGACY_ID.match(path.name)
    value = names.get("revision", legacy[1] if legacy else None)
    if not isinstance(value, str) or not value:
        raise _unreadable(
            where,
            "the file does not say which `revision` it is",
            'give it `revision = "..."`, or move a file that is no revision out of versions/',
        )
    if _BAD_ID.search(value):
        raise _unreadable(where, f"revision id `{value}` holds one of the characters `@ - + :`", "rename the revision")
    if not value.isprintable() or value != value.strip():
        message = f"revision id {value!a} holds what cannot be seen or typed"
        raise _unreadable(where, message, "rename the revision: no control characters, no spaces around it")
    if "'" in value:
        raise _unreadable(
            where, f"revision id `{value}` holds a `'`, which Alembic does not quote", "rename the revision"
        )
    if value in _WORDS:
        raise _unreadable(where, f"`{value}` means something else where a revision is named", "rename the revision")
    return value


def _strings(names: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = names.get(name)
    if name == "down_revision" and name not in names:
        raise _unreadable(where, "the file has no `down_revision`", "write `down_revision = None` in a first revision")
    if value is None or (name == "branch_labels" and value == ""):
        return ()
    items = (value,) if isinstance(value, str) else value
    items = sorted(items, key=str) if isinstance(items, set | frozenset) else items  # a set has another order each time
    listed = tuple(items) if isinstance(items, Iterable) else (items,)
    if not all(isinstance(i, str) and i for i in listed):
        kind = "a label, several labels" if name == "branch_labels" else "an id, several ids"
        raise _unreadable(where, f"`{name}` is {value!r}; expected {kind} or None")
    return tuple(dict.fromkeys(listed))


def _unreadable(where: str, message: str, hint: str = "correct the file") -> RevisionsError:
    return RevisionsError(Problem("revision_file", message, hint, where=where))
