"""The addresses behind a target's host, so that each can be tried by our rules and not by the driver's."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import Future

import psycopg

from ehg_migrate.model import Address, is_ip, is_socket

Part = dict[str, str]
"""What is added to connection parameters: one `hostaddr`, or nothing where the host needs no resolving."""


def addresses(address: Address) -> tuple[Part, ...]:
    """In the resolver's order. Raises psycopg.OperationalError, as the driver does, where the name has none."""
    if not _is_name(address.host):
        return ({},)
    try:
        return _parts(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as e:  # `a..b` and a label of more than 63 characters cannot be asked for
        raise _unresolved(address, e) from e


async def addresses_async(address: Address) -> tuple[Part, ...]:
    """The same, without stopping others meanwhile; a resolver that hangs holds up nobody who has given up on it."""
    if not _is_name(address.host):
        return ({},)
    resolving: Future[tuple[Part, ...]] = Future()
    # not in the loop's own threads, which are waited for at the end
    threading.Thread(target=_resolve, args=(address, resolving), name="resolver", daemon=True).start()
    return await asyncio.wrap_future(resolving)


def _resolve(address: Address, resolving: Future[tuple[Part, ...]]) -> None:
    if not resolving.set_running_or_notify_cancel():
        return
    try:
        resolving.set_result(addresses(address))
    except Exception as e:  # noqa: BLE001 - raised where the answer is waited for
        resolving.set_exception(e)


def _is_name(host: str) -> bool:
    return not (is_socket(host) or is_ip(host))


def _parts(found: Iterable[tuple[object, object, object, object, tuple[object, ...]]]) -> tuple[Part, ...]:
    return tuple({"hostaddr": host} for host in dict.fromkeys(str(entry[4][0]) for entry in found))


def _unresolved(address: Address, error: OSError | UnicodeError) -> psycopg.OperationalError:
    reason = getattr(error, "strerror", None) or error
    return psycopg.OperationalError(f"failed to resolve host '{address.host}': {reason}")
