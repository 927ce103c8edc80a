"""A connection ended from outside: the one thing that frees whoever waits on it for an answer that does not come."""

from __future__ import annotations

import os
import socket


def shut(descriptor: int) -> None:
    """Ends the connection behind a descriptor that stays its owner's to close. Raises OSError where it has ended."""
    with socket.socket(fileno=os.dup(descriptor)) as handle:
        handle.shutdown(socket.SHUT_RDWR)
