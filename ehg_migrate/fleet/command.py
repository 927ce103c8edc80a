"""Running the command of a `cmd:` reference: no shell, no stdin, a time limit, a bounded output that is never shown."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ehg_migrate.fleet.problems import Refused

TIME_LIMIT = 30.0
LARGEST = 64 * 1024


def output_of(argv: Sequence[str], folder: Path, limit: float = TIME_LIMIT) -> str:
    """What the program prints, run in `folder`. Raises Refused, which names the program and its exit code only."""
    program = argv[0]
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # so that what it has started ends with it; no session: it may know our terminal
        )
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else "an argument cannot be one"
        raise Refused(
            "secret_command",
            f"the command `{program}` cannot be run: {reason}",
            "install it, or correct its name; a relative path starts at the project's folder",
        ) from None
    assert process.stdout is not None
    with process.stdout:
        try:
            data = _read(process, program, time.monotonic() + limit, limit)
        except BaseException:  # also when interrupted: a child that waits for something must not stay
            _kill(process)
            raise
    return _text(data, process.returncode, program)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The program and what it has started; it stays where it has become another user, as sudo does."""
    with contextlib.suppress(ProcessLookupError):  # all have ended
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except PermissionError:
            return
    process.wait()


def _read(process: subprocess.Popen[bytes], program: str, end: float, limit: float) -> bytes:
    """All that it prints until it is done."""
    late = Refused(
        "secret_command",
        f"the command `{program}` did not end within {limit:g} s",
        "run it yourself: it may wait for a login, which it cannot ask for here",
    )
    assert process.stdout is not None
    data = bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0.0, end - time.monotonic())):
                raise late
            part = os.read(process.stdout.fileno(), LARGEST)
            if not part:
                break
            data += part
            if len(data) > LARGEST:
                raise Refused(
                    "secret_command",
                    f"the command `{program}` printed more than 64 KiB",
                    "let it print the password alone",
                )
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise late from None
    return bytes(data)


def _text(data: bytes, code: int, program: str) -> str:
    hint = f"run `{program}` yourself to see why; its output is not shown here, as it may hold the password"
    if code:
        ended = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise Refused("secret_command", f"the command `{program}` {ended}", hint)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused("secret_command", f"the command `{program}` did not print UTF-8", hint) from None
    if not text.strip():
        raise Refused("secret_command", f"the command `{program}` printed nothing (exit code 0)", hint)
    return text
