"""A `url` of a target file, read without ever showing it: what does not belong in it may be a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from ehg_migrate.errors import quoted
from ehg_migrate.fleet import values
from ehg_migrate.fleet.endpoint import ADDRESS_FIELDS, Endpoint, direct_ref, is_pooler, refuse_transaction_port
from ehg_migrate.fleet.merge import Settings
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.model import is_socket

OPTIONS = ("sslmode", "sslrootcert", "passfile", "connect_timeout", "host")
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_EXAMPLE = "write `postgresql://user@host:port/database`"
_URL = re.compile(
    r"(?P<scheme>[^:/?#]*)://(?:(?P<userinfo>[^/?#]*)@)?(?P<place>[^/?#@]*)(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)
_PLACE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_OPTION_NAME = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True)
class Url:
    """The parts of a URL; an empty text or None for what it leaves out."""

    user: str
    host: str
    port: int
    database: str
    options: dict[str, str] = field(default_factory=dict)


def url_endpoint(settings: Settings) -> Endpoint | None:
    """The endpoint of an entry with `url`; None if a mistake, now reported, leaves it unknown."""
    for name in ("host", "port", "database", "user"):
        if settings.gives(name):
            settings.refuse(name, "url_and_field", f"`{name}` stands beside `url`", "put it into the URL")
    try:
        url = parse_url(settings.values.url or "")
    except Refused as refused:
        settings.report.refuse(refused, settings.where("url"))
        return None
    user = url.user or settings.values.user or ""
    gaps = list(_missing(url, user))
    for gap in gaps:
        settings.report.refuse(gap, settings.where("url"))
    refuse_transaction_port(settings, "url", url.host, url.port)
    ref = direct_ref(url.host) or ""
    if is_pooler(url.host):
        ref = _pooler_ref(settings, user)
    if gaps or settings.broken & ADDRESS_FIELDS:
        return None
    supabase = is_pooler(url.host) or direct_ref(url.host) is not None
    return Endpoint(url.host, url.port, user, url.database, supabase, ref, url.options)


def parse_url(text: str) -> Url:
    """The parts of a URL. Raises Refused, whose texts hold no part of the URL but the names of its options."""
    values.refuse_variable(text)
    match = _URL.fullmatch(text)
    if match is None or any(c.isspace() for c in text):
        raise Refused("bad_url", "this is not a URL of a database; it is not shown", _EXAMPLE)
    if match["scheme"].lower() not in _SCHEMES:
        raise Refused("bad_url", f"the URL's scheme is none of {quoted(_SCHEMES)}", _EXAMPLE)
    userinfo, rest = match["userinfo"] or "", (match["path"] or "") + (match["query"] or "")
    if ":" in userinfo or "@" in userinfo or "@" in rest:
        raise Refused(
            "password_in_url",
            "the URL holds a password, or what may be a part of one; it is not shown",
            "take it out and write `password: env:NAME`; if the file was committed, change the password now",
        )
    if "/" in (match["path"] or ""):
        raise Refused("bad_url", "the URL's database cannot be read; it is not shown", _EXAMPLE)
    options = _options(match["query"] or "")
    host, port = _place(match["place"], options)
    return Url(_decoded(userinfo), host, port, _decoded(match["path"] or ""), options)


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise Refused(
            "bad_url", "what stands behind `?` is not `option=value`", f"allowed are {quoted(OPTIONS)}"
        ) from None
    names = [name for name, _ in pairs]
    unknown = sorted({n if _OPTION_NAME.fullmatch(n) else "?" for n in names if n not in OPTIONS})
    if unknown:
        raise Refused(
            "url_option",
            f"the URL has options that it may not have: {quoted(unknown, 8)}",
            f"allowed are {quoted(OPTIONS)}; timeouts are fields of the entry, and a password is `password: env:NAME`",
        )
    if len(set(names)) != len(names) or not all(value for _, value in pairs):
        raise Refused("url_option", "an option of the URL is empty or stands twice", "give each a value, once")
    return dict(pairs)


def _place(text: str, options: dict[str, str]) -> tuple[str, int]:
    match = _PLACE.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 5432) < 65536:
        raise Refused("bad_url", "the URL's host or port cannot be read; they are not shown", _EXAMPLE)
    port = int(match["port"] or 5432)
    socket = options.pop("host", "")
    if socket and (not is_socket(socket) or match["host"] or match["v6"]):
        raise Refused(
            "bad_url",
            "the option `host` is for the folder of a Unix socket, beside no other host",
            "write `postgresql://user@/database?host=/folder`",
        )
    host = socket or match["v6"] or _decoded(match["host"])
    if not host:
        return "", port
    try:
        return values.host(host), port
    except Refused:
        raise Refused("bad_url", "the URL's host is not one host name or address; it is not shown", _EXAMPLE) from None


def _decoded(text: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        plain = "\0"
    if not plain.isprintable():
        raise Refused("bad_url", "the URL's user or database cannot be read; they are not shown", _EXAMPLE)
    return plain


def _missing(url: Url, user: str) -> Iterator[Refused]:
    if not url.host:
        hint = f"{_EXAMPLE}, or `?host=/folder` for a Unix socket"
        yield Refused("url_without_host", "the URL names no host", hint)
    if not url.database:
        yield Refused("url_without_database", "the URL names no database", _EXAMPLE)
    if not user:
        yield Refused("url_without_user", "the URL names no user", _EXAMPLE)


def _pooler_ref(settings: Settings, user: str) -> str:
    """The project that the pooler will route to, from the user's suffix."""
    _, dot, suffix = user.rpartition(".")
    if dot and values.is_ref(suffix):
        return suffix
    if user:
        settings.refuse(
            "url",
            "user_without_ref",
            "on Supabase's pooler the user must end in the project's reference, by which the pooler finds the database",
            "write `postgres.<project_ref>` as the user, or use `project_ref` and `host` instead of `url`",
        )
    return ""
