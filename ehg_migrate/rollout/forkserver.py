"""The server that workers are forked from: started deaf to Ctrl-C, without secrets and without the main script."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.util import Finalize

from ehg_migrate.redaction import redact
from ehg_migrate.rollout.outputs import output_folder
from ehg_migrate.turns import PROCESS

_SAFE = "PYTHONSAFEPATH"


def context() -> ForkServerContext:
    """Makes processes that have imported everything already."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["ehg_migrate.rollout.preload"])
    return made


def start_server() -> None:
    """The first time, or again where it was killed.

    Ctrl-C in a terminal reaches the fork server too and would end it while it still imports: it is born deaf to it.
    What tracks resources comes first, since starting that lets the signal through again.
    """
    with without_main(), _variables():
        resource_tracker.ensure_running()
        _give_folder()
        former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
            _end_with_us()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)


def start_early() -> None:
    """The same before there is work for sure; where it fails, it is tried again, and told, when there is."""
    context()
    with suppress(OSError, EOFError):
        start_server()


@cache
def _end_with_us() -> None:
    """It ends by itself, but not while it imports: who reads what a stopped command says by a pipe waited for that."""
    Finalize(None, _kill, exitpriority=1)


def _kill() -> None:
    if server := forkserver._forkserver._forkserver_pid:  # type: ignore[attr-defined]
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)


def _give_folder() -> None:
    """For the server's socket, in the place of one of multiprocessing's own, which nobody removes after a kill."""
    config: dict[str, object] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is None:
        stack = ExitStack()
        config["tempdir"] = str(stack.enter_context(output_folder()))
        Finalize(None, stack.close, exitpriority=0)  # not in a process that this one has forked


@contextmanager
def _variables() -> Iterator[None]:
    """What the server begins with: no secrets, and no modules of the present folder in the place of Python's own.

    The system shows the variables that a process was started with as long as it lives, and those of all its forks.
    Workers get the secrets with their jobs, through the pipe. And it is started with `python -c`, which looks in the
    present folder first: for a `queue.py` of the project, or what somebody has put into /tmp. Workers look where we do.
    """
    with PROCESS:
        hidden = {name: value for name, value in os.environ.items() if name == _SAFE or redact(value) != value}
        for name in hidden:
            del os.environ[name]
        os.environ[_SAFE] = "1"
        try:
            yield
        finally:
            del os.environ[_SAFE]
            os.environ.update(hidden)


@contextmanager
def without_main() -> Iterator[None]:
    """A started process imports the parent's main script again, which is slow, and wrong where that has no guard."""
    with PROCESS:
        main_module = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main_module
