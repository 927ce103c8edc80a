"""A connection seen from outside: how much has come on it, and its end, which frees whoever waits for an answer."""

from __future__ import annotations

import os
import socket
import struct

_TCP_INFO = getattr(socket, "TCP_INFO", None)  # Linux has it
_BYTES_RECEIVED = 128  # its place in Linux' `struct tcp_info`, since 4.1


def shut(descriptor: int) -> None:
    """Ends the connection behind a descriptor that stays its owner's to close. Raises OSError where it has ended."""
    with socket.socket(fileno=os.dup(descriptor)) as handle:
        handle.shutdown(socket.SHUT_RDWR)


def received(descriptor: int) -> int:
    """How many bytes have come on the connection behind a descriptor; 0 where the system does not tell."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as handle:
            told = handle.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_RECEIVED + 8) if _TCP_INFO else b""
    except OSError:  # a Unix socket, or it has ended
        return 0
    return int(struct.unpack_from("=Q", told, _BYTES_RECEIVED)[0]) if len(told) >= _BYTES_RECEIVED + 8 else 0
