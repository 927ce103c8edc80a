"""Who uses a server now, counted by the kernel: locks on two files, which end with their process however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.local.place import Place

_ENDING = 15.0  # seconds; what is left of a killed server ends as soon as it notices
_POLL = 0.05


class Use:
    """This process's part in a server's life.

    Every user holds a shared lock on `users.lock`; who can have it exclusively is alone. Joining, leaving, starting and
    stopping happen one after the other, under `turn.lock`. A server's own processes hold `server.lock`.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._held: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until nobody else joins, leaves, starts or stops the server, and keeps others from it."""
        descriptor = self._open_current("turn.lock")
        try:
            yield
        finally:
            os.close(descriptor)

    def join(self) -> None:
        """From now on the server has a user; to be called in a turn, may be called again."""
        if self._held is None:
            self._held = self._open("users.lock")
            fcntl.flock(self._held, fcntl.LOCK_SH)  # never waits: it is held exclusively only within a turn

    @property
    def joined(self) -> bool:
        """Whether we use it."""
        return self._held is not None

    def leave(self) -> None:
        """Takes `join` back."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def alone(self) -> bool:
        """Whether nobody uses the server, we included; only true for as long as the turn lasts."""
        descriptor = self._open("users.lock")
        try:
            return _locked(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def without_server(self) -> Iterator[int]:
        """A lock that nobody has while a process of any server of this place lives; who starts one hands it on.

        That nobody answers does not tell: in a container, or by another name of the folder, the socket is another, and
        the process's number and shared memory are not seen. Raises LocalServerError where there is one, and it stays.
        """
        descriptor = self._open("server.lock")
        try:
            deadline = time.monotonic() + _ENDING
            while not _locked(descriptor):
                if time.monotonic() > deadline:
                    raise LocalServerError(self._elsewhere())
                time.sleep(_POLL)  # the lock is the condition; `flock` itself would wait without a deadline
            yield descriptor
        finally:
            os.close(descriptor)

    def _elsewhere(self) -> Problem:
        return Problem(
            "local_elsewhere",
            f"a server is at work in `{self._place.root}` that cannot be reached from here: it was started in a "
            "container, or when the project's folder had another name",
            "stop it where it was started (`ehg-migrate local stop`), or end its process: the number is in the first "
            f"line of `{self._place.data}/postmaster.pid`",
        )

    def _open_current(self, name: str) -> int:
        """A locked file that still has its name: `wipe` removes the files, maybe while we waited for one of them."""
        while True:
            descriptor = self._open(name)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(descriptor, self._place.root / name):
                return descriptor
            os.close(descriptor)

    def _open(self, name: str) -> int:
        path = self._place.root / name
        while True:
            self._place.make()
            try:
                # NOFOLLOW: as root we open a file in another user's folder
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                self._place.account.own(path)
            except FileNotFoundError:
                continue  # wiped since it was made
            except OSError as e:
                raise LocalServerError(
                    Problem(
                        "local_folder",
                        f"`{path}` cannot be opened: {e.strerror}",
                        "the embedded PostgreSQL belongs to whoever started it first; run the command as that user",
                    )
                ) from e
            return descriptor


def _locked(descriptor: int) -> bool:
    """Whether the file is now exclusively ours."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
