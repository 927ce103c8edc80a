"""Who uses a server now, counted by the kernel: locks on two files, which end with their process however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.local.place import Place


class Use:
    """This process's part in a server's life.

    Every user holds a shared lock on `users.lock`; who can have it exclusively is alone. Joining, leaving, starting and
    stopping happen one after the other, under `turn.lock`.
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
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

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


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
