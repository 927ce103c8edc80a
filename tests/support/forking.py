"""The other side of a `WarmProgram`: Python that has imported already what the programs import that it forks.

`python forking.py KIND` reads one request a line. Until it knows its kind it has nothing but Python's own modules, so
that a program has imported nothing that one of its kind would not import by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import importlib
import json
import multiprocessing.util
import os
import pkgutil
import resource
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

# --- what each kind has imported


def _ours() -> None:
    """A command imports only what it needs, which here is done once for all of them."""
    import ehg_migrate

    for module in pkgutil.walk_packages(ehg_migrate.__path__, "ehg_migrate."):
        if not module.name.endswith((".env", ".__main__")):  # these two do something
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)


def _stock() -> None:
    """Alembic where there is nothing of ours: what an upgrade imports, by the text of its usual env.py."""
    for name in ("alembic.config", "alembic.command", "alembic.context", "alembic.op", "alembic.runtime.environment",
                 "sqlalchemy.dialects.postgresql.psycopg", "psycopg", "logging.config"):  # fmt: skip
        importlib.import_module(name)


def _dask() -> None:
    """A scheduler or worker, and what targets need there."""
    for name in ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker"):
        importlib.import_module(name)
    _ours()


def _pytest() -> None:
    """pytest and what others made, no plugin and nothing of ours: assertions are rewritten while those are imported."""
    from _pytest.config import default_plugins

    for name in (*(f"_pytest.{plugin}" for plugin in default_plugins), "multiprocessing.forkserver", "asyncio",
                 "psycopg", "yaml", "pydantic", "rich.console"):  # fmt: skip
        importlib.import_module(name)
    _stock()


KINDS: dict[str, Callable[[], None]] = {"ours": _ours, "stock": _stock, "dask": _dask, "pytest": _pytest}


# --- serving


def _serve(kind: str) -> None:
    """Until nobody asks any more and all have ended."""
    sys.path[0] = str(Path.cwd())  # not this folder, whose modules are called as what they are for
    KINDS[kind]()
    gc.collect()
    gc.freeze()  # or each fork's first collection would copy every page
    ending, ended = socket.socketpair()
    for end in (ending, ended):
        end.setblocking(False)
    signal.set_wakeup_fd(ended.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)  # one that does nothing, so that the descriptor is written to
    running: dict[int, Path] = {}
    asking, text = True, b""
    while asking or running:
        ready, _, _ = select.select([*([0] if asking else []), ending], [], [])
        if ending in ready:
            ending.recv(4096)
            _write_down(running)
        if 0 in ready:
            got = os.read(0, 65536)
            asking = bool(got)
            *requests, text = (text + got).split(b"\n")
            for request in map(json.loads, requests):
                running.update([_start(request, (ending, ended))])


def _start(request: dict[str, Any], not_its: Iterable[socket.socket]) -> tuple[int, Path]:
    """The program's number, and the file for what it says."""
    said = Path(request["said"])
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.close(reading)
        os.close(writing)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in not_its:
            end.close()
        _be_the_program(request)
    os.close(writing)
    os.read(reading, 1)  # nothing comes, when it has a group of its own: who is told its number may kill that
    os.close(reading)
    _write(said.with_suffix(".pid"), pid)
    return pid, said


def _write_down(running: dict[int, Path]) -> None:
    """How those ended that have."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _write(running.pop(pid).with_suffix(".code"), os.waitstatus_to_exitcode(status))


def _write(file: Path, number: int) -> None:
    new = file.with_name(f"{file.name}.new")
    with contextlib.suppress(FileNotFoundError):  # its folder has gone with who asked: nobody waits for this one
        new.write_text(str(number))
        new.rename(file)


# --- the program


def _be_the_program(request: dict[str, Any]) -> NoReturn:
    if request["memory"]:
        resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    for descriptor, name in ((0, os.devnull), (1, request["said"]), (2, request["beside"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    faulthandler.enable()  # one that hangs is ended so that it tells where
    # Python's own streams stay, which write there now: a module may have kept one, as Alembic does for what it prints
    multiprocessing.util.spawnv_passfds = _fork_helper  # what starts its helpers
    code = 1
    try:
        code = _as_python(request["python"])
    finally:
        os._exit(code)


def _as_python(arguments: Sequence[str]) -> int:
    """What `python ARGUMENTS` does, to its end: its exit code."""
    code: Any = 0
    try:
        _run(*arguments)
    except SystemExit as e:
        code = e.code
    except BaseException as e:  # noqa: BLE001 - the end of a program, whatever it is
        _tell(e)
        code = -signal.SIGINT if isinstance(e, KeyboardInterrupt) else 1
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return (code or 0) & 0xFF


def _tell(error: BaseException) -> None:
    """Its traceback, from the program's own first line."""
    place = error.__traceback__
    while place and place.tb_frame.f_code.co_filename in (__file__, runpy.run_path.__code__.co_filename):
        place = place.tb_next
    traceback.print_exception(error.with_traceback(place))


def _run(program: str, *arguments: str) -> None:
    """`-m MODULE ...` or a file."""
    if program == "-m":
        sys.argv, sys.path[0] = [*arguments], str(Path.cwd())
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = [program, *arguments], str(Path(program).parent)
        runpy.run_path(program, run_name="__main__")


def _fork_helper(program: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """In place of `python -c TEXT ...`: a fork that runs the text with these descriptors, and has no others."""
    sys.stdout.flush()  # or the fork could say it too
    with warnings.catch_warnings():
        # from Python 3.12 on, of locks that other threads may hold: here those do no more than wait for answers
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    try:
        _be_alone({0, 1, 2, *descriptors})
        text = arguments.index("-c") + 1
        sys.argv = ["-c", *arguments[text + 1 :]]  # from Python 3.14 on it tells its helpers what we were called with
        exec(arguments[text], {})  # noqa: S102 - multiprocessing's own text
    except Exception:  # noqa: BLE001 - a new program would say it, too
        traceback.print_exc()
    finally:
        os._exit(0)


def _be_alone(kept: set[int]) -> None:
    """What a new program would not have: others' descriptors, handlers of signals.

    The descriptors stay taken: an object of the parent's that goes later closes its number, whoever has it then.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in sorted(int(file.name) for file in Path("/dev/fd").iterdir()):
        if number not in {nowhere, *kept}:
            os.dup2(nowhere, number, inheritable=False)
    signal.set_wakeup_fd(-1)
    for wish in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(wish) is not signal.SIG_IGN:
            signal.signal(wish, signal.SIG_DFL)


if __name__ == "__main__":
    _serve(sys.argv[1])
