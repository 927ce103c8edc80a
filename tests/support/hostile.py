"""`HostileServer`: says it is PostgreSQL, and then says whatever hurts: for what a server may do to its clients."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Self

from tests.support.loop import LoopThread
from tests.support.programs import LOOPBACK
from tests.support.protocol import GSS_REQUEST, SSL_REQUEST, StartPacket, message, read_message, read_start

NASTY = "\x1b[2J\x1b]52;c;aGk=\x07\x1b]0;t\x07\r\nerror: all is well\u202e\u2028\x9b31m\x00</failure>]]>&\x08|`<b>"
"""Clears a screen, fills a clipboard, sets a title, breaks lines, turns the direction, ends XML, speaks for us."""

CLEAN = NASTY.replace("\x00", "")
"""What of it goes into a text of PostgreSQL's protocol, where NUL is the end."""

_TEXT, _TEXTS, _BOOL = 25, 1009, 16

Answer = Callable[[str], AsyncIterator[bytes]]
"""What is sent for a statement."""


class HostileServer:
    """Listens on the loopback until `stop()`. What it says before a session stands, and to each statement, is given.

    `login` comes instead of the usual beginning of a session if it is given; `answer` gets a statement.
    `heard` holds the types of all messages that clients sent.
    """

    host = LOOPBACK

    def __init__(
        self, answer: Answer, *, login: bytes | None = None, version: str = "17.0", silent: bool = False
    ) -> None:
        self.heard: list[bytes] = []
        self._answer, self._silent = answer, silent
        self._login = login if login is not None else session(version)
        self._loop = LoopThread("hostile")
        self.port = self._loop.listen(self._serve)

    def stop(self) -> None:
        """Closes it and all its connections."""
        self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await _first(reader, writer) is None:
            return
        if self._silent:
            await reader.read()
            return
        await _send(writer, self._login)
        statement = ""
        while True:
            kind, body = await read_message(reader)
            self.heard.append(kind)
            if kind == b"X":
                return
            if kind in (b"P", b"Q"):
                statement = body.rstrip(b"\0").decode(errors="replace") if kind == b"Q" else _parsed(body)
            if kind == b"Q":
                await self._say(writer, statement)
            if kind == b"S":
                await self._say(writer, statement)

    async def _say(self, writer: asyncio.StreamWriter, statement: str) -> None:
        async for part in self._answer(statement):
            await _send(writer, part)


async def _first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> StartPacket | None:
    """The start-up packet; TLS is not had here."""
    while (packet := await read_start(reader)).code in (SSL_REQUEST, GSS_REQUEST):
        await _send(writer, b"N")
    return packet


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _parsed(body: bytes) -> str:
    return body.split(b"\0")[1].decode(errors="replace")


# --- what can be said


def session(version: str = "17.0") -> bytes:
    """The beginning of a session without a password."""
    parameters = {"server_version": version, "client_encoding": "UTF8", "standard_conforming_strings": "on"}
    said = [message(b"R", struct.pack("!I", 0))]
    said += [message(b"S", k.encode() + b"\0" + v.encode() + b"\0") for k, v in parameters.items()]
    return b"".join([*said, message(b"K", struct.pack("!II", 4711, 1)), READY])


READY = message(b"Z", b"I")


def asks_password(kind: int) -> bytes:
    """AuthenticationCleartextPassword is 3, MD5Password 5."""
    return message(b"R", struct.pack("!I", kind) + (b"salt" if kind == 5 else b""))


def error(text: str | bytes, sqlstate: str = "XX000", severity: str = "ERROR") -> bytes:
    """An ErrorResponse; the text may be no UTF-8."""
    return message(b"E", _fields(text, sqlstate, severity))


def notice(text: str) -> bytes:
    """A NoticeResponse."""
    return message(b"N", _fields(text, "00000", "NOTICE"))


def _fields(text: str | bytes, sqlstate: str, severity: str) -> bytes:
    raw = text if isinstance(text, bytes) else text.replace("\0", "").encode()
    fields = (b"S" + severity.encode(), b"V" + severity.encode(), b"C" + sqlstate.encode(), b"M" + raw)
    return b"".join(field + b"\0" for field in fields) + b"\0"


def rows(
    columns: Iterable[tuple[str, int]], values: Iterable[Iterable[bytes | None]], *, binary: bool = False
) -> bytes:
    """A result, whole: columns are names and type OIDs; as text, or as it says `binary`."""
    return b"".join([beginning(columns, binary=binary), *map(row, values), message(b"C", b"SELECT 1\0"), READY])


def beginning(columns: Iterable[tuple[str, int]], *, binary: bool = False) -> bytes:
    """The same before its first row."""
    named = [name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, binary) for name, oid in columns]
    described = message(b"T", struct.pack("!h", len(named)) + b"".join(named))
    return message(b"1", b"") + message(b"2", b"") + described


def row(values: Iterable[bytes | None]) -> bytes:
    """One DataRow."""
    cells = [struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values]
    return message(b"D", struct.pack("!h", len(cells)) + b"".join(cells))


PROBED = (
    ("heads", _TEXTS),
    ("checksums", _TEXT),
    ("unfinished", _TEXTS),
    ("others", _BOOL),
    ("written_as", _TEXT),
    ("server_version", _TEXT),
    ("read_only", _TEXT),
)


def probed(head: str, version: str = "17.0", unfinished: str = "") -> bytes:
    """The answer to the question what a target holds."""
    return rows(PROBED, [[_array(head), None, _array(unfinished), b"f", None, version.encode(), b"off"]])


def _array(text: str) -> bytes:
    quoted = text.replace("\0", "").replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"{quoted}"}}'.encode() if text else b"{}"


def holding(said: bytes) -> Answer:
    """The answer to what a target holds; nothing else of ours is there."""

    async def answer(statement: str) -> AsyncIterator[bytes]:
        yield said if "AS heads" in statement else error("there is no such table", "42P01") + READY

    return answer


def always(said: bytes) -> Answer:
    """The same to every statement."""

    async def answer(statement: str) -> AsyncIterator[bytes]:
        yield said

    return answer


def endlessly(first: bytes, part: bytes) -> Answer:
    """Something, and then one thing for ever, in a stream that does not keep the whole machine busy."""

    async def answer(statement: str) -> AsyncIterator[bytes]:
        yield first
        while True:
            yield part
            await asyncio.sleep(0.005)  # the pace of the stream, no condition that is waited for

    return answer
