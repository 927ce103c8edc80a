"""`FaultProxy`: a TCP proxy before PostgreSQL that breaks connections at a chosen message, and keeps a log of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
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
    sqlstate,
)

_ENDS_QUERY = (b"Q", b"S")  # a simple query, or the Sync after an extended one: now the server answers

_BEAT, _STANDSTILL = 0.2, 1.0  # seconds


class Act(StrEnum):
    """What a rule does to the connection that brought the message."""

    CUT = "cut"  # both sides at once, with a reset; the message is lost
    CUT_CLIENT = "cut_client"  # a reset for the client; the server sees nothing until the release
    CUT_SERVER = "cut_server"  # a reset for the server; the client sees nothing, and the message is lost
    STALL = "stall"  # nothing is forwarded any more; when one side leaves, the other is told
    FREEZE = "freeze"  # nothing is forwarded or told; the release delivers what was held back, late
    CUT_IN_FLIGHT = "cut_in_flight"  # the server gets the message, the client a reset before any answer
    LOSE_ANSWER = "lose_answer"  # the server gets it and answers; then a reset in place of the answer
    CALL = "call"  # something else is done while the message waits, then it goes on
    CALL_IN_FLIGHT = "call_in_flight"  # something else is done when the server has just got the message


class Door(StrEnum):
    """What new connections meet after a rule was applied, until the release."""

    OPEN = "open"
    RESET = "reset"
    SILENT = "silent"


@dataclass
class Link:
    """One connection of a client."""

    number: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    client_port: int
    database: str
    application: str
    pid: int = 0  # of the backend, as the server told it
    mute: bool = False  # what the client says does not reach the server
    late: bool = False  # but is kept for the release
    held: list[bytes] = field(default_factory=list)
    deaf: bool = False  # what the server says goes nowhere
    hidden: bool = False  # the end of one side is kept from the other
    cut_when_sent: bool = False
    cut_when_answered: bool = False
    call_when_sent: Callable[[Link], None] | None = None


@dataclass
class Rule:
    """When and what: before the `nth` message that fits, `act`.

    A message fits if it comes from a client of `database` (any, if empty) whose name matches `application` and if its
    SQL matches the regular expression `match` (any message, if empty). It is counted over all connections, or for each
    connection alone.
    """

    act: Act
    nth: int = 1
    match: str = ""
    database: str = ""
    application: str = ""
    per_connection: bool = False
    call: Callable[[Link], None] | None = None
    door: Door = Door.OPEN
    times: int = 1  # with `per_connection`: on how many connections
    applied: int = 0
    seen: dict[int, int] = field(default_factory=dict)

    def due(self, link: Link, text: str) -> bool:
        """Whether this message is the one; counts it if it fits."""
        if self.applied >= self.times or (self.database and link.database != self.database):
            return False
        if not re.search(self.application, link.application):
            return False
        if self.match and not re.search(self.match, text):
            return False
        key = link.number if self.per_connection else 0
        self.seen[key] = self.seen.get(key, 0) + 1
        if self.seen[key] != self.nth:
            return False
        self.applied += 1
        return True


class FaultProxy:
    """Listens on the loopback before a server without TLS. Without rules, delay and rate it is transparent.

    `delay` are seconds added to each round trip, `rate` bytes a second in each direction (0 for no limit).
    `errors` counts what the server answered, by SQLSTATE; `on_error` hears of each.
    """

    def __init__(self, host: str, port: int) -> None:
        self.upstream = (host, port)
        self.rules: list[Rule] = []
        self.log: list[str] = []
        self.delay = 0.0
        self.rate = 0
        self.door = Door.OPEN
        self.on_error: Callable[[str], None] | None = None
        self.links: list[Link] = []
        self.came: list[tuple[float, str, str]] = []  # when, to which database, as whom
        self._count = 0
        self._calls: set[asyncio.Future[None]] = set()
        self._released = asyncio.Event()
        self._loop = LoopThread("fault-proxy")
        self.host = LOOPBACK
        self.port = self._loop.listen(self._serve)
        self._loop.call(self._begin_to_beat())

    def entered(self, database: str, application: str, since: float) -> float | None:
        """When a client whose name matches first came to a database; None if none has since."""
        return min(
            (at for at, d, a in self.came if at >= since and d == database and re.search(application, a)), default=None
        )

    def reset(self) -> None:
        """As new: no rules, no delay, every connection of before ended, an empty log."""
        self.rules, self.delay, self.rate, self.on_error = [], 0.0, 0, None
        self._loop.call(self._release(deliver=False))
        self.log, self.came = [], []

    def release(self, *, deliver: bool = True) -> None:
        """Ends every standstill: what was held back is delivered, or lost; half-open sides end; the door is open."""
        self._loop.call(self._release(deliver=deliver))

    def rest(self) -> None:
        """Returns when nothing is at work any more that a rule has called: a run may end before its fault does."""
        self._loop.call(self._rest())

    def stop(self) -> None:
        """Closes it and all its connections; may be called twice."""
        self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # --- one connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.door is not Door.OPEN:
            await self._turn_away(writer)
            return
        packet = await self._first(reader, writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            _reset(writer)
            return
        if packet.code == CANCEL_REQUEST:
            server_writer.write(packet.raw)
            server_writer.close()
            return
        link = self._link(packet, writer, server_writer)
        tasks = [
            asyncio.ensure_future(self._from_client(reader, link)),
            asyncio.ensure_future(self._from_server(server_reader, link)),
        ]
        self._say(link, f"connects to {link.database} as {link.application}")
        try:
            if await self._may_pass(link, b"", packet.raw, "startup"):
                server_writer.write(packet.raw)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            server_writer.close()
            self.links.remove(link)
            self._say(link, "ends")

    async def _begin_to_beat(self) -> None:
        self._beating = asyncio.ensure_future(self._beat())

    async def _beat(self) -> None:
        """Notes when it could do nothing itself: what was slow then was not the server."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_BEAT)  # the time itself is what is looked at
            stood = time.monotonic() - before - _BEAT
            if stood > _STANDSTILL:
                self.log.append(f"{clock_now()} the proxy itself stood still for {stood:.1f} s")

    async def _turn_away(self, writer: asyncio.StreamWriter) -> None:
        released = self._released
        self.log.append(f"{clock_now()} a new connection meets a door that is {self.door}")
        if self.door is Door.SILENT:
            await released.wait()
        _reset(writer)

    async def _first(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> StartPacket:
        while (packet := await read_start(reader)).code in (SSL_REQUEST, GSS_REQUEST):
            writer.write(b"N")
        return packet

    def _link(self, packet: StartPacket, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> Link:
        words = packet.parameters
        self._count += 1
        port = client.get_extra_info("peername")[1]
        name, application = words.get("database", ""), words.get("application_name", "")
        link = Link(self._count, client, server, port, name, application)
        self.links.append(link)
        self.came.append((time.time(), name, application))
        return link

    async def _from_client(self, reader: asyncio.StreamReader, link: Link) -> None:
        try:
            while True:
                kind, body = await read_message(reader)
                data = message(kind, body)
                if link.mute:
                    link.held += [data] if link.late else []
                elif await self._may_pass(link, kind, data, _text(kind, body)):
                    await self._forward(link, kind, data)
        except GONE:
            self._say(link, "the client is gone")
            if link.hidden:  # nobody tells the server
                await self._released.wait()

    async def _forward(self, link: Link, kind: bytes, data: bytes) -> None:
        await self._slow(len(data), self.delay if kind in _ENDS_QUERY else 0.0)
        link.server.write(data)
        await link.server.drain()
        if link.cut_when_sent and kind in _ENDS_QUERY:
            _reset(link.client)
            link.server.close()
        if link.call_when_sent and kind in _ENDS_QUERY:
            call, link.call_when_sent = link.call_when_sent, None
            await self._called(call, link)

    async def _from_server(self, reader: asyncio.StreamReader, link: Link) -> None:
        try:
            while True:
                kind, body = await read_message(reader)
                self._note(link, kind, body)
                if link.cut_when_answered and kind == b"Z":
                    self._say(link, "its answer is lost")
                    _reset(link.client)
                    return
                if link.deaf or link.cut_when_answered:
                    continue
                await self._slow(len(body), 0.0)
                link.client.write(message(kind, body))
                await link.client.drain()
        except GONE:
            self._say(link, "the server is gone")
            if link.hidden:  # nobody tells the client
                await self._released.wait()

    async def _slow(self, size: int, delay: float) -> None:
        wait = delay + (size / self.rate if self.rate else 0.0)
        if wait:
            await asyncio.sleep(wait)

    def _note(self, link: Link, kind: bytes, body: bytes) -> None:
        if kind == b"K":
            link.pid = struct.unpack("!I", body[:4])[0]
        if kind == b"E":
            state = sqlstate(body)
            self._say(link, f"answer: error {state}")
            if self.on_error:
                self.on_error(state)

    # --- faults

    async def _may_pass(self, link: Link, kind: bytes, data: bytes, text: str) -> bool:
        """Applies the rule whose moment this is. Whether the message goes on to the server now."""
        if kind != b"S" and kind not in (b"B", b"D", b"E", b"C", b"H"):
            self._say(link, f"{kind.decode()} {text}")
        rule = next((r for r in self.rules if r.due(link, text)), None)
        if rule is None:
            return True
        self._say(link, f"fault: {rule.act}")
        if rule.door is not Door.OPEN:
            self.door = rule.door
            self._released.clear()
        return await self._apply(rule, link, data)

    async def _apply(self, rule: Rule, link: Link, data: bytes) -> bool:
        match rule.act:
            case Act.CALL:
                assert rule.call is not None
                await self._called(rule.call, link)
            case Act.CALL_IN_FLIGHT:
                link.call_when_sent = rule.call
            case Act.CUT_IN_FLIGHT:
                link.cut_when_sent = True
            case Act.LOSE_ANSWER:
                link.cut_when_answered = True
            case Act.CUT:
                link.mute = True
            case Act.CUT_CLIENT | Act.CUT_SERVER | Act.FREEZE | Act.STALL:
                self._released.clear()
                link.mute = link.deaf = True
                link.hidden = rule.act is not Act.STALL
                link.late = rule.act is Act.FREEZE
                link.held += [data] if link.late else []
        if rule.act in (Act.CUT, Act.CUT_CLIENT):
            _reset(link.client)
        if rule.act in (Act.CUT, Act.CUT_SERVER):
            _reset(link.server)
        return rule.act in (Act.CALL, Act.CALL_IN_FLIGHT, Act.CUT_IN_FLIGHT, Act.LOSE_ANSWER)

    async def _called(self, call: Callable[[Link], None], link: Link) -> None:
        calling = asyncio.get_running_loop().run_in_executor(None, call, link)
        self._calls.add(calling)
        calling.add_done_callback(self._calls.discard)
        await asyncio.shield(calling)  # a client that leaves does not end it
        self._say(link, "fault: is done")

    async def _rest(self) -> None:
        if self._calls:
            await asyncio.wait(self._calls)

    async def _release(self, *, deliver: bool) -> None:
        self.door = Door.OPEN
        for link in list(self.links):
            if deliver and link.held and not link.server.is_closing():
                self._say(link, f"{len(link.held)} messages are delivered late")
                link.server.write(b"".join(link.held))
            if link.deaf or not deliver:
                link.server.close()  # after what was written
                _reset(link.client)
        self._released.set()
        while not deliver and self.links:
            await asyncio.sleep(0.005)

    def _say(self, link: Link, what: str) -> None:
        self.log.append(f"{clock_now()} {link.number}: {' '.join(what.split())[:160]}")


def clock_now() -> str:
    """As the logs of servers have it, in UTC."""
    return datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]


def _text(kind: bytes, body: bytes) -> str:
    """The SQL of a message that has some."""
    if kind == b"Q":
        return body.rstrip(b"\0").decode(errors="replace")
    return body.split(b"\0")[1].decode(errors="replace") if kind == b"P" else ""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes with RST instead of FIN, as a firewall or a dead machine does."""
    handle = writer.get_extra_info("socket")
    if handle is not None:
        with contextlib.suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
