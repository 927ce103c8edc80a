"""PostgreSQL's wire protocol, as much of it as a proxy needs: start-up packets, typed messages, errors."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102
PROTOCOL_3 = 3 << 16


@dataclass(frozen=True)
class StartPacket:
    """The first packet of a connection, which has no type: a start-up, or a request for TLS or to cancel."""

    code: int
    body: bytes

    @property
    def raw(self) -> bytes:
        """As it was on the wire."""
        return struct.pack("!II", len(self.body) + 8, self.code) + self.body

    @property
    def parameters(self) -> dict[str, str]:
        """A start-up's parameters: user, database, options, ..."""
        words = [word.decode() for word in self.body.rstrip(b"\0").split(b"\0")]
        return dict(zip(words[::2], words[1::2], strict=False))


def start_up(parameters: dict[str, str]) -> bytes:
    """A start-up packet of protocol 3.0."""
    words = [word for pair in parameters.items() for word in pair]
    body = b"".join(word.encode() + b"\0" for word in words) + b"\0"
    return StartPacket(PROTOCOL_3, body).raw


async def read_start(reader: asyncio.StreamReader) -> StartPacket:
    """The next packet without a type."""
    length, code = struct.unpack("!II", await reader.readexactly(8))
    return StartPacket(code, await reader.readexactly(length - 8))


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next message: its type, one byte, and its body."""
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


def message(kind: bytes, body: bytes) -> bytes:
    """A typed message as it goes over the wire."""
    return kind + struct.pack("!I", len(body) + 4) + body


def fatal(text: str, sqlstate: str = "XX000") -> bytes:
    """An ErrorResponse that ends a connection."""
    fields = (b"SFATAL", b"VFATAL", b"C" + sqlstate.encode(), b"M" + text.encode())
    return message(b"E", b"".join(field + b"\0" for field in fields) + b"\0")


def sqlstate(error: bytes) -> str:
    """The SQLSTATE in the body of an ErrorResponse."""
    codes = [field[1:] for field in error.split(b"\0") if field[:1] == b"C"]
    return codes[0].decode() if codes else ""
