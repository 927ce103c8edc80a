"""Transaction mode of the stand-in: few backends, given to a client for one transaction at a time."""

from __future__ import annotations

import asyncio
from collections import deque

from tests.support.loop import GONE
from tests.support.protocol import message, read_message

_ASKS_FOR_READY = (b"Q", b"S", b"F")  # each is answered by one ReadyForQuery


class Link:
    """A client, and the backend that it has for the transaction it is in."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.backend: Backend | None = None
        self.served = asyncio.Event()  # it got a backend, or there are none left


class Backend:
    """A server connection that outlives clients. What it says while no client has it is lost, as with real poolers."""

    def __init__(self, pool: Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.link: Link | None = None
        self.writer = writer
        self._pool = pool
        self._reader = reader
        self._unanswered = 0
        self._listener = asyncio.ensure_future(self._listen())

    async def send(self, kind: bytes, body: bytes) -> None:
        """A client's message."""
        self._unanswered += kind in _ASKS_FOR_READY
        self.writer.write(message(kind, body))
        await self.writer.drain()

    def close(self) -> None:
        """Ends it; PostgreSQL rolls back what it was in."""
        self._listener.cancel()
        self.writer.close()

    async def _listen(self) -> None:
        try:
            while True:
                kind, body = await read_message(self._reader)
                if self.link is not None:
                    self.link.writer.write(message(kind, body))
                if kind == b"Z":
                    self._unanswered -= 1
                    if body == b"I" and self._unanswered <= 0:
                        self._unanswered = 0
                        self._pool.release(self)
        except GONE:
            self._pool.lost(self)


class Pool:
    """The backends of one tenant, role and database. The one used last is given out first, as Supavisor does.

    They are made of the clients' own logins, up to `size`, since the stand-in keeps no password to log in with.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._idle: list[Backend] = []
        self._all: set[Backend] = set()
        self._waiting: deque[Link] = deque()

    def offer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection that just logged in: kept if there is room, else closed."""
        if len(self._all) >= self._size:
            writer.close()
            return
        backend = Backend(self, reader, writer)
        self._all.add(backend)
        self.release(backend)

    async def borrow(self, link: Link) -> Backend | None:
        """A backend for this client's next transaction, waited for; None if the pool has lost all of them."""
        if self._idle:
            _join(self._idle.pop(), link)
        elif self._all:
            link.served.clear()
            self._waiting.append(link)
            await link.served.wait()
        return link.backend

    def release(self, backend: Backend) -> None:
        """Its transaction is over: the next client has it, with all the session state that is left in it."""
        if backend.link is not None:
            backend.link.backend = None
            backend.link = None
        if self._waiting:
            _join(backend, self._waiting.popleft())
        else:
            self._idle.append(backend)

    def leave(self, link: Link) -> None:
        """The client has gone; a backend that it was using is closed, as its transaction has no owner."""
        if link in self._waiting:
            self._waiting.remove(link)
        if link.backend is not None:
            backend, link.backend = link.backend, None
            self._forget(backend)
            backend.close()

    def lost(self, backend: Backend) -> None:
        """The server closed it: so is its client, if it has one."""
        if backend.link is not None:
            backend.link.backend = None
            backend.link.writer.close()
        self._forget(backend)
        backend.writer.close()

    def close(self) -> None:
        """Closes all backends."""
        for backend in list(self._all):
            self._forget(backend)
            backend.close()

    def _forget(self, backend: Backend) -> None:
        self._all.discard(backend)
        if backend in self._idle:
            self._idle.remove(backend)
        if not self._all:
            while self._waiting:
                self._waiting.popleft().served.set()


def _join(backend: Backend, link: Link) -> None:
    backend.link, link.backend = link, backend
    link.served.set()
