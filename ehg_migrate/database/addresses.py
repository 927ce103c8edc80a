"""The addresses behind a target's host, so that each can be tried by our rules and not by the driver's."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

import psycopg

from ehg_migrate.model import Address

Part = dict[str, str]
"""What is added to connection parameters: one `hostaddr`, or nothing where the host needs no resolving."""


def addresses(address: Address) -> tuple[Part, ...]:
    """In the resolver's order. Raises psycopg.OperationalError, as the driver does, where the name has none."""
    if not _is_name(address.host):
        return ({},)
    try:
        return _parts(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    except OSError as e:
        raise _unresolved(address, e) from e


async def addresses_async(address: Address) -> tuple[Part, ...]:
    """The same, without stopping others meanwhile."""
    if not _is_name(address.host):
        return ({},)
    try:
        loop = asyncio.get_running_loop()
        return _parts(await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    except OSError as e:
        raise _unresolved(address, e) from e


def _is_name(host: str) -> bool:
    if host.startswith("/"):  # the folder of a Unix socket
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _parts(found: Iterable[tuple[object, object, object, object, tuple[object, ...]]]) -> tuple[Part, ...]:
    return tuple({"hostaddr": host} for host in dict.fromkeys(str(entry[4][0]) for entry in found))


def _unresolved(address: Address, error: OSError) -> psycopg.OperationalError:
    return psycopg.OperationalError(f"failed to resolve host '{address.host}': {error.strerror or error}")
