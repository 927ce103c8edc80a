"""The command line: words into calls of `Project`, its answers into text and exit codes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from types import FrameType

_STREAMS = 3  # stdin, stdout, stderr
_OTHERS = 0o077


def main() -> None:
    """The `ehg-migrate` program."""
    _fill_streams()
    _keep_own_rights()
    _hear_signals()
    # What is imported stays: looking through it for garbage, again and again until a project is open and once more at
    # exit, took a fifth of the time of a command that finds nothing to do.
    gc.disable()
    atexit.register(gc.freeze)
    try:
        from ehg_migrate.cli.app import run

        run()
    except KeyboardInterrupt:  # while that was imported, or when the command had ended
        sys.exit(130)


def _fill_streams() -> None:
    """Streams that the program was started without lead nowhere, for it and for all that it starts.

    Else the next thing that is opened gets the number of one: a worker points its streams at a file of its own, and
    cut the pipe to its runner.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor < _STREAMS:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


def _keep_own_rights() -> None:
    """A umask may keep others out, and not us: folders that we could not enter ourselves stayed, `.ehg` for good."""
    os.umask(os.umask(_OTHERS) & _OTHERS)


def _hear_signals() -> None:
    """SIGTERM and a terminal that closes end a command as Ctrl-C does, so that what it has started ends with it.

    Also, the first process of a container does not get a signal that it has said nothing of: told to end while it
    rehearsed, it began its run. A run hears them by itself.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # with `nohup` it is not
            signal.signal(number, _as_ctrl_c)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """For whoever hears Ctrl-C now, such as looks at targets; where a script's `&` has that ignored, this is not."""
    heard = signal.getsignal(signal.SIGINT)
    if not callable(heard):
        raise KeyboardInterrupt
    heard(signal.SIGINT, frame)
