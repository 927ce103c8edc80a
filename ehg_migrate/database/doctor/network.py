"""The way to a target's server, before any login: name, TCP, TLS."""

from __future__ import annotations

import errno
import ipaddress
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from ehg_migrate.database.doctor.examination import Examination
from ehg_migrate.database.doctor.findings import Level, Verdict, error, good, warning
from ehg_migrate.database.faults import connect_fault
from ehg_migrate.errors import quoted
from ehg_migrate.fleet.endpoint import direct_ref
from ehg_migrate.model import is_ip

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_POOLER = "use the host of the session pooler, which has IPv4: the project's Connect dialog shows it"
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
_SECRETS = ("password", "passfile")


# --- resolve


def resolve(exam: Examination) -> Verdict:
    """Which addresses the host has, and whether an IPv4 one is among them."""
    host = exam.target.address.host
    if exam.socket_file:
        return _folder(Path(host))
    try:
        found = socket.getaddrinfo(host, exam.target.address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as e:  # UnicodeError: a label that is empty or longer than DNS allows
        reason = getattr(e, "strerror", None) or str(e)
        hint = _POOLER if direct_ref(host) else "correct `host`, or look at the name servers of this machine"
        return error(f"`{host}` does not resolve: {reason}", hint)
    exam.addresses = tuple(dict.fromkeys(str(info[4][0]) for info in found))
    return judge_addresses(host, exam.addresses)


def judge_addresses(host: str, addresses: Sequence[str]) -> Verdict:
    """What a host's addresses mean. Pure."""
    parsed = [ipaddress.ip_address(a.partition("%")[0]) for a in addresses]
    if all(p.version == 6 and not p.is_loopback for p in parsed):
        hint = _POOLER if direct_ref(host) else "give the host an IPv4 address, or run this from a network with IPv6"
        return warning(f"`{host}` has only IPv6 addresses: {quoted(addresses, 5)}", hint)
    return good("an IP address, no name to resolve" if is_ip(host) else f"`{host}` is {quoted(addresses, 5)}")


def _folder(folder: Path) -> Verdict:
    if folder.is_dir():
        return good(f"`{folder}` is a folder of Unix sockets")
    return error(f"there is no folder `{folder}` for a Unix socket", "correct `host`: the folder, without the file")


# --- tcp


def tcp(exam: Examination) -> Verdict:
    """Whether somebody listens, and how long one round trip takes. The first address that answers is kept."""
    a = exam.target.address
    failure: OSError | None = None
    for address in exam.addresses or ("",):
        start = time.monotonic()
        try:
            with _plain(exam, address):
                seconds = time.monotonic() - start
        except OSError as e:
            failure = e
            continue
        exam.address = address
        message = f"{address or exam.socket_file} answers in {seconds * 1000:.2f} ms, about one round trip"
        return Verdict(Level.OK, message, seconds=seconds)
    assert failure is not None, "there is always an address to try"
    return error(_refused(exam.socket_file or f"{a.host}:{a.port}", failure), _no_tcp_hint(exam, failure))


def _plain(exam: Examination, address: str) -> socket.socket:
    """A connected socket without TLS. Raises OSError."""
    if exam.socket_file is None:
        return socket.create_connection((address, exam.target.address.port), timeout=exam.connect_limit)
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(exam.connect_limit)
        connected.connect(exam.socket_file)
    except BaseException:
        connected.close()
        raise
    return connected


def _refused(place: str, failure: OSError) -> str:
    reason = "no answer in time" if isinstance(failure, TimeoutError) else failure.strerror or str(failure)
    return f"`{place}`: {reason.lower()}"


def _no_tcp_hint(exam: Examination, failure: OSError) -> str:
    only_ipv6 = bool(exam.addresses) and all(":" in a for a in exam.addresses)
    if only_ipv6 and (failure.errno in _NO_ROUTE or isinstance(failure, TimeoutError)):
        return f"this network has no way to IPv6: {_POOLER}"
    if failure.errno == errno.ENOENT:
        return "is the server running? Its `unix_socket_directories` and `port` name the socket"
    return connect_fault(failure).problem.hint


# --- tls


def tls(exam: Examination) -> Verdict:
    """Whether the server offers TLS, which version, and whether it proves who it is. Nobody is logged in."""
    if exam.socket_file:
        return good("a Unix socket, which nobody on the network can read")
    mode = _effective_mode(exam)
    version = _offered(exam)
    if mode == "disable":
        return judge_encryption(mode, version, local=exam.local)
    complaint = _complaint(exam)
    if complaint:
        problem = connect_fault(psycopg.OperationalError(complaint)).problem
        return error(problem.message, problem.hint)
    return judge_encryption(mode, version, local=exam.local)


def judge_encryption(mode: str, version: str | None, *, local: bool) -> Verdict:
    """What a connection of this `sslmode` is worth; `version` is None where the server offers no TLS. Pure."""
    if mode == "disable":
        offered = f"the server offers {version}" if version else "the server offers none"
        if local:
            return good(f"no TLS, and none is needed: the connection stays on this machine ({offered})")
        return warning(
            f"no TLS: password and data are readable on the network ({offered})",
            "set `sslmode: verify-full`" if version else "switch TLS on in the server, then set `sslmode: verify-full`",
        )
    if mode == "verify-full":
        return good(f"{version}, certificate and host name verified")
    if mode == "verify-ca":
        return good(f"{version}, certificate verified, host name not")
    if local:
        return good(f"{version}, the server is not authenticated, and the connection stays on this machine")
    return warning(
        f"{version}, but the server is not authenticated: whoever stands between can be it",
        "set `sslmode: verify-full` and `sslrootcert`",
    )


def _effective_mode(exam: Examination) -> str:
    """libpq takes `require` with a root certificate as `verify-ca`."""
    a = exam.target.address
    return "verify-ca" if a.sslmode == "require" and a.sslrootcert else a.sslmode


def _offered(exam: Examination) -> str | None:
    """The TLS version that the server agrees on, None where it refuses. Raises OSError where it does not answer."""
    with _plain(exam, exam.address) as connected:
        connected.sendall(_SSL_REQUEST)
        if connected.recv(1) != b"S":
            return None
        # only a look at the version: who the server is, libpq is asked below, as in every real connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(connected, server_hostname=exam.target.address.host) as secured:
            return secured.version()


def _complaint(exam: Examination) -> str:
    """What libpq has against the server's TLS, empty where it is content; it hangs up before the start-up packet."""
    values = {k: v for k, v in exam.parameters().items() if k not in _SECRETS}
    if values["sslmode"] in ("allow", "prefer"):  # these would go on without TLS
        values["sslmode"] = "require"
    pgconn = pq.PGconn.connect_start(make_conninfo("", **values).encode())
    try:
        return _shake_hands(pgconn, time.monotonic() + exam.connect_limit)
    finally:
        pgconn.finish()


def _shake_hands(pgconn: pq.abc.PGconn, deadline: float) -> str:
    state = pq.PollingStatus.WRITING
    while pgconn.status != pq.ConnStatus.BAD and state != pq.PollingStatus.FAILED:
        if pgconn.ssl_in_use and pgconn.status == pq.ConnStatus.MADE:
            return ""  # the handshake is over, and the next thing would be the start-up packet
        if not _ready(pgconn.socket, state, deadline - time.monotonic()):
            return "the TLS handshake did not end in time: timed out"
        state = pq.PollingStatus(pgconn.connect_poll())
    return pgconn.get_error_message("utf-8")


def _ready(handle: int, state: pq.PollingStatus, seconds: float) -> bool:
    event = selectors.EVENT_WRITE if state == pq.PollingStatus.WRITING else selectors.EVENT_READ
    with selectors.DefaultSelector() as selector:
        selector.register(handle, event)
        return bool(selector.select(max(0.0, seconds)))
