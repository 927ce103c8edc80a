"""An asyncio loop in a thread of its own, for the servers that tests write in Python."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tests.support.programs import LOOPBACK

T = TypeVar("T")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GONE = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)
"""What a stream raises when its other end has left."""


class LoopThread:
    """Runs coroutines for callers of other threads; `stop()` cancels whatever still runs and ends the thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result, waited for from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def listen(self, handler: Handler, port: int = 0) -> int:
        """Serves TCP on the loopback; returns the port. The handler's connection is closed when it returns."""

        async def serve() -> int:
            server = await asyncio.start_server(lambda r, w: self._handle(handler, r, w), LOOPBACK, port)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return self.call(serve())

    def stop(self) -> None:
        """Closes listeners and connections; may be called twice."""
        if not self._thread.is_alive():
            return
        self.call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _handle(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(_served(handler, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shut(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _served(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await handler(reader, writer)
    except GONE:
        return  # a client that hangs up is the ordinary end of a connection
    finally:
        writer.close()
