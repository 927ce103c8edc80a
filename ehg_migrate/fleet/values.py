"""What a single value of a target file may be: names, hosts, durations, TLS modes. Pure; raises `Refused`."""

from __future__ import annotations

import ipaddress
import math
import re
from contextlib import suppress
from datetime import date, datetime

from ehg_migrate.errors import quoted
from ehg_migrate.fleet.problems import Refused, describe, kind
from ehg_migrate.model import META_SCHEMA, PLATFORMS, SHARED, is_ip, is_socket

NAME_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,62}"
DURATION_PATTERN = r"[0-9]+(?:\.[0-9]+)? ?(?:ms|s|min|h|d)"
RESERVED = (SHARED, "all", "base", "head", "heads")
SSLMODES = ("disable", "require", "verify-ca", "verify-full")

_NAME = re.compile(NAME_PATTERN)
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>ms|s|min|h|d)")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")
_REF = re.compile(r"[a-z0-9]{15,30}")
# PostgreSQL keeps its timeouts in a signed 32-bit number of milliseconds.
_LONGEST_SECONDS = 2_147_483.0
_SHORTEST_SECONDS = 0.001
_LONGEST_IDENTIFIER = 63  # NAMEDATALEN - 1


def name(value: object) -> str:
    """A target's, group's, tag's or environment's name: it becomes a path and an application name."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise Refused(
        "bad_name",
        f"expected a name, found {describe(value)}",
        "up to 63 letters, digits, `_`, `-` and single dots, a letter or digit first; a number or `yes` in quotes",
    )


def target_name(value: object) -> str:
    """A name that is none of the words which the commands and Alembic use for themselves."""
    text = name(value)
    if text.lower() in RESERVED:
        raise Refused(
            "reserved_name",
            f"`{text}` cannot be a target's name: the word has a meaning of its own",
            f"rename the target; reserved are {quoted(RESERVED)}",
        )
    return text


def host(value: object) -> str:
    """A host name, an IP address, or the absolute folder of a Unix socket; names come back in lower case."""
    if isinstance(value, str):
        if is_socket(value) and "," not in value:  # libpq would take what stands behind it for another host
            return value.rstrip("/") or "/"
        if _HOST.fullmatch(value.rstrip(".")):
            return value.rstrip(".").lower()
        if is_ip(value):
            return str(ipaddress.ip_address(value))  # one address has many spellings
    # a piece of a URL, perhaps with its password
    found = "a text with `@` in it; it is not shown" if isinstance(value, str) and "@" in value else describe(value)
    raise Refused(
        "bad_host",
        f"expected one host name or address, found {found}",
        "write the host alone, without scheme, port or user",
    )


def is_this_machine(address: str) -> bool:
    """Whether it is a usual name of the loopback; behind others of its addresses tunnels may end."""
    return address in ("localhost", "127.0.0.1", "::1") or address.endswith(".localhost")


def project_ref(value: object) -> str:
    """A Supabase project's reference."""
    if isinstance(value, str) and _REF.fullmatch(value):
        return value
    raise Refused(
        "bad_project_ref",
        f"expected a project reference of 20 lower-case letters, found {describe(value)}",
        "copy it from the dashboard: Project Settings, General, Project ID; digits alone need quotes",
    )


def is_ref(text: str) -> bool:
    """Whether it could be a Supabase project's reference."""
    return _REF.fullmatch(text) is not None


def refuse_variable(text: str) -> None:
    """Refuses what other tools would put a value in for: here it would be the name itself, and fail at night."""
    if "${" in text or "{{" in text:
        raise Refused(
            "variable",
            "`${...}` and `{{...}}` are not replaced in target files",
            "write the value itself, or let what makes the file put it in",
        )


def word(value: object) -> str:
    """A user, database or revision: some text without spaces and commas at its ends or line breaks in it."""
    if isinstance(value, str):
        refuse_variable(value)
    if isinstance(value, str) and value and value == value.strip() and value.isprintable():
        return value
    raise Refused(
        "bad_text",
        f"expected a text, found {describe(value)}",
        "write it on one line without spaces around it; a number or `yes` needs quotes",
    )


def day(value: object) -> str:
    """A date, as YYYY-MM-DD."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and _DAY.fullmatch(value):
        with suppress(ValueError):
            return date.fromisoformat(value).isoformat()
    raise Refused("bad_date", f"expected a date, found {describe(value)}", "write it as 2027-01-15")


def identifier(value: object) -> str:
    """The name of a table or schema, as PostgreSQL keeps it."""
    text = word(value)
    if len(text.encode()) > _LONGEST_IDENTIFIER or "%" in text:  # psycopg takes `%` for a placeholder
        raise Refused(
            "bad_identifier",
            f"expected a name of at most {_LONGEST_IDENTIFIER} bytes without `%`, found {describe(value)}",
            "PostgreSQL would cut a longer one; rename it",
        )
    return text


def schema(value: object) -> str:
    """The name of a schema that can be a user's own, as PostgreSQL keeps it."""
    text = identifier(value)
    if text.startswith(("pg_", META_SCHEMA)) or text == "information_schema":
        raise Refused(
            "reserved_schema",
            f"`{text}` is no schema of a project's own: PostgreSQL or this tool keeps its own things there",
            f"name another; reserved are `pg_*`, `information_schema` and `{META_SCHEMA}*`",
        )
    return text


def url_text(value: object) -> str:
    """A URL, not yet parsed; never shown, as it may hold a password."""
    if isinstance(value, str) and value:
        return value
    raise Refused(
        "bad_url", f"expected a URL, found {kind(value)}", "write `postgresql://user@host:port/database`, no password"
    )


def duration(value: object) -> float:
    """Seconds from a number of seconds, or a text like `500ms`, `5s`, `15min`, `2h`; 0 means no limit."""
    seconds = _seconds(value)
    if seconds and not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise Refused(
            "bad_duration",
            f"expected a time from 1ms to 24d, or 0 for no limit, found {describe(value)}",
            "PostgreSQL would take less than a millisecond for 0, which is no limit, and cannot hold more than 24 days",
        )
    return seconds


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Refused(
            "bad_duration",
            f"expected a time, found {describe(value)}",
            "write a number of seconds, or a number with `ms`, `s`, `min`, `h` or `d`: `500ms`, `5s`, `15min`",
        )
    return float(match["number"]) * _SECONDS[match["unit"]]


def platform(value: object) -> str:
    """One of PLATFORMS."""
    if value not in PLATFORMS:
        raise Refused(
            "platform", f"expected `supabase` or `none`, found {describe(value)}", "leave it out, or write one"
        )
    return str(value)


def sslmode(value: object) -> str:
    """One of libpq's modes that do what they say."""
    if value in SSLMODES:
        return str(value)
    if value in ("allow", "prefer"):
        raise Refused(
            "sslmode",
            f"`sslmode: {value}` is refused: a login that fails is silently tried again without TLS, "
            "and each wrong password counts twice",
            "use `verify-full`, or `disable` for a server on this machine",
        )
    raise Refused(
        "sslmode",
        f"expected one of {quoted(SSLMODES)}, found {describe(value)}",
        "use `verify-full` unless you know better",
    )


def x_name(value: object) -> str:
    """The name of an argument that revisions get."""
    text = word(value)
    if "=" in text:
        hint = f"as `alembic -x {text}=VALUE` it would be another one: what stands before the first `=`"
        raise Refused("bad_x", f"expected a name without `=`, found {describe(value)}", hint)
    return text


def scalar_text(value: object) -> str:
    """A scalar as the text that Alembic's `-x` would have given: `true` and `false` as YAML writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float, date)):
        return str(value)
    raise Refused(
        "bad_value",
        f"expected a single value, found {describe(value)}",
        "`x` gives texts to revisions, as `alembic -x key=value` does; put one text, number or true/false here",
    )


OWNED_OPTIONS = {
    "connection": "the worker opens it, locks it and proves that it is in session mode",
    "url": "the address stands in the entry itself",
    "dialect_name": "every target is PostgreSQL",
    "transaction_per_migration": "each step has its own transaction, with its journal row in it",
    "fn": "the plan says which steps run",
    "on_version_apply": "the journal is written there",
    "as_sql": "`ehg-migrate plan --sql` makes the script",
    "script": "it is made from `versions/`",
    "starting_rev": "the target's own version rows say where it stands",
    "output_buffer": "the output of a step is captured for its result",
}


def alembic_option(key: str) -> str:
    """An option of `context.configure` that the project may set."""
    if key in OWNED_OPTIONS:
        raise Refused(
            "owned_option",
            f"`{key}` belongs to the tool: {OWNED_OPTIONS[key]}",
            "remove it; other options of `context.configure` may stand here",
        )
    return key
