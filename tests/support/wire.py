"""`CountingProxy`: a TCP proxy that counts what a client sends to PostgreSQL and how often it waits for an answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.loop import GONE, LoopThread
from tests.support.programs import LOOPBACK
from tests.support.protocol import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    SSL_REQUEST,
    StartPacket,
    message,
    read_message,
    read_start,
)

_ASIDE = b"pg_blocking_pids"
"""Who blocks a step: asked beside one that takes more than a second, so how often that is depends on the machine."""

_END = b""
"""Stands in the queue for a client that has left."""


@dataclass
class Chain:
    """How many waits of a client came one after the other, on whatever connections: those at the same time are one."""

    length: int = 0


@dataclass
class Traffic:
    """What one connection's client sent. Messages are counted by PostgreSQL's own type letters: Q, P, B, E, S, p, X.

    Of a question that is asked aside only the text is kept.
    """

    chain: Chain
    before: int = 0  # how long the chain was when the client came
    parameters: dict[str, str] = field(default_factory=dict)  # of its start-up: database, application_name, ...
    start_ups: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    statements: list[str] = field(default_factory=list)
    round_trips: int = 0
    waiting: bool = False
    place: int = 0  # in the chain
    hasty: int = 0  # messages that were sent behind the end of a query, before its answer

    _aside: bool = False  # from its Parse to its Sync
    _ended: bool = False  # the last message was one that the server answers with ReadyForQuery

    def asks(self) -> None:
        """The client sent something, knowing all answers of all connections that came before."""
        self.waiting = True
        self.place = self.chain.length + 1

    def sent(self, kind: bytes, body: bytes) -> None:
        """The client sent a typed message."""
        self._aside = self._aside or (kind == b"P" and _ASIDE in body)
        if not self._aside:
            self._counted(kind)
        self._aside = self._aside and kind != b"S"
        if kind == b"Q":
            self.statements.append(body.rstrip(b"\0").decode(errors="replace"))
        if kind == b"P":
            self.statements.append(body.split(b"\0")[1].decode(errors="replace"))

    def _counted(self, kind: bytes) -> None:
        self.messages[kind.decode()] += 1
        if kind not in (b"X", b"H"):  # a goodbye and a Flush begin nothing
            self.hasty += self.waiting and self._ended
            self._ended = kind in (b"Q", b"S")
        self.asks()

    def answered(self) -> None:
        """The server sent something; the first of an answer ends a wait, and so makes a round trip."""
        if self.waiting:
            self.round_trips += 1
            self.chain.length = max(self.chain.length, self.place)
        self.waiting = False


class CountingProxy:
    """Listens on the loopback before a server without TLS (requests for it are refused with `N`, and counted as waits).

    `delay` seconds are added on the client's way to the server, so to each round trip; it can be set at any time.
    So can `upstream`, for connections that come after.
    A round trip is: the client sent something, and the server answered. A client's goodbye is none.
    """

    def __init__(self, host: str, port: int, *, delay: float = 0.0) -> None:
        self.delay = delay
        self.traffic: list[Traffic] = []
        self._chain = Chain()
        self.upstream = (host, port)
        self._loop = LoopThread("counting-proxy")
        self.host = LOOPBACK
        self.port = self._loop.listen(self._serve)

    @property
    def connections(self) -> int:
        """Start-up packets; requests to cancel are none."""
        return sum(t.start_ups for t in self.traffic)

    @property
    def queries(self) -> int:
        """Statements that were asked to run, in the simple protocol and in the extended one."""
        return sum(t.messages["Q"] + t.messages["E"] for t in self.traffic)

    @property
    def round_trips(self) -> int:
        """How often clients waited for an answer, all connections together."""
        return sum(t.round_trips for t in self.traffic)

    @property
    def waits(self) -> int:
        """The same, where waits of several connections at the same time are one. Wants a delay to be exact."""
        return self._chain.length

    @property
    def hasty(self) -> int:
        """Messages that were sent behind the end of a query, before its answer. Wants a delay to be exact."""
        return sum(t.hasty for t in self.traffic)

    @property
    def messages(self) -> int:
        """What clients sent, start-ups and goodbyes too."""
        return sum(t.start_ups + sum(t.messages.values()) for t in self.traffic)

    @property
    def statements(self) -> list[str]:
        """The text of every simple query and Parse, connection by connection."""
        return [s for t in self.traffic for s in t.statements]

    def reset(self) -> None:
        """Forgets what was counted; connections that are open count no more."""
        self.traffic = []
        self._chain = Chain()

    def stop(self) -> None:
        """Closes it and all its connections; may be called twice."""
        self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        traffic = Traffic(self._chain, self._chain.length)
        self.traffic.append(traffic)
        packet = await self._first(reader, writer, traffic)
        server_reader, server_writer = await asyncio.open_connection(*self.upstream)
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        if packet.code != CANCEL_REQUEST:
            traffic.parameters = packet.parameters
            traffic.asks()
        traffic.start_ups += packet.code != CANCEL_REQUEST
        self._send(queue, packet.raw)
        listening = asyncio.ensure_future(self._listen_to_client(reader, traffic, queue))
        ends = [
            asyncio.ensure_future(_deliver(queue, server_writer)),
            asyncio.ensure_future(_listen_to_server(server_reader, writer, traffic)),
        ]
        try:
            # over when the server has left, or when all that a leaving client had sent is delivered
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, *ends):
                task.cancel()
            await asyncio.gather(listening, *ends, return_exceptions=True)
            server_writer.close()

    async def _first(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic) -> StartPacket:
        while (packet := await read_start(reader)).code in (SSL_REQUEST, GSS_REQUEST):
            await asyncio.sleep(self.delay)
            writer.write(b"N")
            traffic.round_trips += 1
        return packet

    def _send(self, queue: asyncio.Queue[tuple[float, bytes]], data: bytes) -> None:
        queue.put_nowait((asyncio.get_running_loop().time() + self.delay, data))

    async def _listen_to_client(
        self, reader: asyncio.StreamReader, traffic: Traffic, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        try:
            while True:
                kind, body = await read_message(reader)
                traffic.sent(kind, body)
                self._send(queue, message(kind, body))
        except GONE:
            self._send(queue, _END)


async def _deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    """In order, each when it is due: messages that were sent together are delayed together, as on a long line."""
    loop = asyncio.get_running_loop()
    while True:
        due, data = await queue.get()
        await asyncio.sleep(max(0.0, due - loop.time()))
        if data == _END:
            return
        writer.write(data)
        await writer.drain()


async def _listen_to_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
    try:
        while data := await reader.read(1 << 16):
            traffic.answered()
            writer.write(data)
            await writer.drain()
    except GONE:
        return  # the server closed in its own way; the connection ends as well
