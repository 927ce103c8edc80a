"""What revisions and models import, imported beforehand, in a process of which other workers are then forked.

Each worker is then what it would be had it imported the same itself. Where that is not known to be so, nothing is
imported beforehand: each worker does it for itself.
"""

from __future__ import annotations

import ast
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import context, op

from ehg_migrate.environment.hosting import scripts
from ehg_migrate.model import Target
from ehg_migrate.revisions.loading import has_our_environment
from ehg_migrate.revisions.plain import imports_first
from ehg_migrate.settings import Settings

_path: list[str] = []  # `sys.path` after all imports; what starts a process sets it back


def bring(settings: Settings, target: Target, files: Sequence[str], longest: float) -> str:
    """Imports what these files of revisions import, and the project's models. Says why that cannot be built on, or "".

    Such a process serves no other purpose then. The target stands for all: only its folders are asked for. An import
    that takes longer than so many seconds ends the process: who waits for it may have gone.
    """
    if not has_our_environment(settings):  # another may do anything before revisions are loaded
        return "the project has an env.py of its own"
    before = _held()
    try:
        with _ended_after(longest), _nowhere_to_write() as written, _nobody_asked_alembic() as asked:
            scripts(settings, target)  # makes what is imported known
            _import(settings, files)
    except (Exception, SystemExit) as e:  # noqa: BLE001 - each worker says it of its own target
        return f"{type(e).__name__} in an import"
    _path[:] = sys.path
    if asked or written:
        return "an import asks Alembic for something, or prints"
    # a thread is not in a fork, and two forks would speak over one connection at the same time
    return "" if _held() == before and _alone() else "an import leaves a thread, a process or something open"


def resume() -> None:
    """In a process that was forked of such a one: what its start has set back is again as the imports have left it."""
    sys.path[:] = _path


def _import(settings: Settings, files: Sequence[str]) -> None:
    for _, place in settings.metadata:
        importlib.import_module(place.partition(":")[0])
    for file in files:
        imports, all_of_it = imports_first((settings.root / file).read_bytes())
        for node in imports:
            exec(compile(ast.Module([node], []), file, "exec"), {"__name__": __name__})  # noqa: S102 - its own lines
        if not all_of_it:  # what it does then may be meant for the imports of the next one
            return


def _held() -> tuple[set[Path], Path]:
    """What this process has open, by its numbers, and where it stands."""
    return set(Path("/proc/self/fd").iterdir()), Path.cwd()


def _alone() -> bool:
    if len([*Path("/proc/self/task").iterdir()]) > 1:
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Without a thread, which would be among those that are looked for afterwards."""
    former = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGALRM) == signal.SIG_DFL:  # no import has taken it
            signal.signal(signal.SIGALRM, former)


@contextmanager
def _nowhere_to_write() -> Iterator[list[int]]:
    """Standard output and error go to a file; the list tells how much that is, if anything."""
    written: list[int] = []
    with tempfile.TemporaryFile() as file:
        former = os.dup(1), os.dup(2)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield written
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            if size := os.fstat(file.fileno()).st_size:
                written.append(size)
            for descriptor, number in zip(former, (1, 2), strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


@contextmanager
def _nobody_asked_alembic() -> Iterator[list[str]]:
    """In a worker it would be told of its target; the list has the names of what was asked for."""
    asked: list[str] = []

    class Absent:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            raise NameError(name)

    def absent(name: str) -> Any:
        if not name.startswith("__"):  # Python itself asks for such
            asked.append(name)
        raise AttributeError(name)

    modules = [vars(m) for m in (context, op)]
    for names in modules:
        names.update(_proxy=Absent(), __getattr__=absent)
    try:
        yield asked
    finally:
        for names in modules:
            names["_proxy"] = None
            del names["__getattr__"]
