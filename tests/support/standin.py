"""`StandIn`: a stand-in for Supabase's shared pooler. It proves nothing about Supabase or Supavisor themselves.

It was written from what Supavisor's source and documentation say (2026), to have what no installable pooler has: one
host that routes `<role>.<ref>` to each project's own server, a session and a transaction port, start-up options that
are dropped, and Supavisor's error texts. PostgreSQL behind it is real and checks the passwords itself.

Known differences: a session's backend is closed with its client, not cleaned by DISCARD ALL and used again; the breaker
is per tenant, not per tenant and address; there is no allow list, heartbeat or check-out timeout; requests to cancel
are obeyed on the session port only; backends of the transaction port are made of the clients' own logins, and are not
made anew when all are lost; `reference=` and SNI do not name a tenant.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from functools import partial
from types import TracebackType
from typing import Any, Self

from ehg_migrate.model import Address
from tests.support.loop import GONE, LoopThread
from tests.support.postgres import Cluster
from tests.support.protocol import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    SSL_REQUEST,
    StartPacket,
    fatal,
    message,
    read_message,
    read_start,
    sqlstate,
    start_up,
)
from tests.support.server import certificates
from tests.support.standin_pool import Link, Pool
from tests.support.standin_tenants import Refused, Settings, Tenant, Tenants
from tests.support.standin_texts import refusal

_ASKS_FOR_PASSWORD = (3, 5, 10, 11)  # codes of Authentication messages that the client answers
_WRONG_PASSWORD = ("28P01", "28000")

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class StandIn:
    """Listens on two free ports of the loopback from the start until `stop()`; see the module for what it is not.

    `attempts[ref]` counts start-ups that named a tenant, `most[ref]` its session clients at the same time; `set()`
    changes `Settings`, `reset()` undoes that and forgets counts and failures.
    """

    host = "localhost"

    def __init__(self, **settings: Any) -> None:
        self.ca_file = certificates().ca_file
        self._tls = certificates().server_context()
        self._tenants = Tenants(Settings(**settings))
        self._pools: dict[tuple[str, str, str], Pool] = {}
        self._keys: dict[bytes, Tenant] = {}
        self._loop = LoopThread("pooler-stand-in")
        self.session_port = self._loop.listen(partial(self._serve, True))
        self.transaction_port = self._loop.listen(partial(self._serve, False))

    def add_tenant(self, ref: str, cluster: Cluster, database: str | None = None) -> None:
        """From now on users `<role>.<ref>` reach `cluster`: the database they name, or always the given one."""
        self._tenants.by_ref[ref] = Tenant(ref, cluster, database)

    def address(
        self, ref: str, dbname: str = "postgres", *, role: str = "postgres", transaction: bool = False
    ) -> Address:
        """Where a tenant's database is, through it, with TLS and the certificate checked."""
        port = self.transaction_port if transaction else self.session_port
        return Address(self.host, port, f"{role}.{ref}", dbname, "verify-full", str(self.ca_file))

    @property
    def attempts(self) -> Counter[str]:
        """Start-ups by ref, those that were refused included, and unknown refs."""
        return self._tenants.attempts

    @property
    def most(self) -> Counter[str]:
        """By ref: the most clients that had a session at the same time."""
        return self._tenants.most

    def sessions(self, ref: str) -> int:
        """A tenant's clients on the session port now."""
        return self._tenants.by_ref[ref].sessions

    def set(self, **changes: Any) -> None:
        """Changes `Settings` until `reset()`."""
        for name, value in changes.items():
            if not hasattr(self._tenants.settings, name):
                raise AttributeError(name)
            setattr(self._tenants.settings, name, value)

    def reset(self) -> None:
        """Settings, counts, breakers and transaction pools as at the start; clients and tenants stay."""
        self._tenants.reset()
        self._loop.call(self._close_pools())

    def stop(self) -> None:
        """Closes it and all its connections; may be called twice."""
        self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def _close_pools(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    # --- one connection

    async def _serve(self, session: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet, tls = await self._first(reader, writer)
        if packet.code == CANCEL_REQUEST:
            await self._cancel(packet)
            return
        try:
            role, tenant = await self._tenants.admit(packet.parameters.get("user", ""), session=session, tls=tls)
        except Refused as e:
            await _say(writer, fatal(str(e)))
            return
        try:
            await self._serve_tenant(session, packet.parameters, role, tenant, (reader, writer))
        finally:
            tenant.sessions -= session

    async def _first(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[StartPacket, bool]:
        """The client's start-up or cancel packet, and whether it came over TLS."""
        tls = False
        while (packet := await read_start(reader)).code in (SSL_REQUEST, GSS_REQUEST):
            if packet.code == GSS_REQUEST:
                await _say(writer, b"N")
                continue
            await _say(writer, b"S")
            try:
                await writer.start_tls(self._tls)
            except OSError as e:  # the client does not like our certificate: ssl.SSLError is an OSError
                raise ConnectionAbortedError(str(e)) from e
            tls = True
        return packet, tls

    async def _serve_tenant(
        self, session: bool, parameters: dict[str, str], role: str, tenant: Tenant, client: Stream
    ) -> None:
        database = tenant.database or parameters.get("database", role)
        name = parameters.get("application_name", "")
        try:
            server = await asyncio.open_connection(tenant.cluster.host, tenant.cluster.port)
        except OSError as e:
            await _say(client[1], fatal(self._text("EUPSTREAM", reason=e.strerror), "08006"))
            return
        kept = False
        try:
            # all other parameters are dropped, `options` among them
            application = f"Supavisor - {name}" if session else "Supavisor"
            await _say(server[1], start_up({"user": role, "database": database, "application_name": application}))
            key = await self._log_in(client, server, tenant)
            if key is not None and session:
                await self._relay(client, server, key, tenant)
            elif key is not None:
                kept = True
                await self._multiplex(client, server, (tenant.ref, role, database))
        finally:
            if not kept:
                server[1].close()

    async def _log_in(self, client: Stream, server: Stream, tenant: Tenant) -> bytes | None:
        """Carries the login between the two, byte for byte; the key for cancelling, or None if it failed."""
        key = b""
        while True:
            kind, body = await read_message(server[0])
            if kind == b"E":
                if sqlstate(body) in _WRONG_PASSWORD:
                    self._tenants.failed(tenant)
                    await asyncio.sleep(self._tenants.settings.delay)
                await _say(client[1], message(kind, body))
                return None
            await _say(client[1], message(kind, body))
            if kind == b"R" and struct.unpack("!I", body[:4])[0] in _ASKS_FOR_PASSWORD:
                await _say(server[1], message(*await read_message(client[0])))
            if kind == b"K":
                key = body
            if kind == b"Z":
                return key

    # --- session mode

    async def _relay(self, client: Stream, server: Stream, key: bytes, tenant: Tenant) -> None:
        self._keys[key] = tenant
        ways = [asyncio.ensure_future(_pump(client[0], server[1])), asyncio.ensure_future(_pump(server[0], client[1]))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._keys[key]
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _cancel(self, packet: StartPacket) -> None:
        tenant = self._keys.get(packet.body)
        if tenant is not None:
            _, writer = await asyncio.open_connection(tenant.cluster.host, tenant.cluster.port)
            await _say(writer, packet.raw)
            writer.close()

    # --- transaction mode

    async def _multiplex(self, client: Stream, server: Stream, pool_key: tuple[str, str, str]) -> None:
        pool = self._pools.setdefault(pool_key, Pool(self._tenants.settings.transaction_pool_size))
        pool.offer(*server)
        link = Link(client[1])
        try:
            while (received := await read_message(client[0]))[0] != b"X":
                backend = link.backend or await pool.borrow(link)
                if backend is None:
                    await _say(client[1], fatal(self._text("EDBHANDLEREXITED")))
                    return
                await backend.send(*received)
        finally:
            pool.leave(link)

    def _text(self, code: str, **values: object) -> str:
        return refusal(code, self._tenants.settings.texts, **values)


async def _say(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one to the other, until either leaves."""
    try:
        while data := await reader.read(1 << 16):
            await _say(writer, data)
    except GONE:
        return
