"""A reference to a secret as it stands in a target file, read into a `SecretRef`. Never shows what it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

from ehg_migrate.fleet.problems import Refused, kind
from ehg_migrate.model import SecretRef

REFERENCE_PATTERN = r"(env|file|cmd|keyring):.+"

_FORMS = '`env:NAME`, `file:PATH`, `cmd:["program", "argument"]` or `keyring:SERVICE/USER`'
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_reference(value: object) -> SecretRef:
    """`env:`, `file:`, `keyring:`, `cmd:[...]` as text, or the mapping `{cmd: [...]}`. Raises Refused."""
    if isinstance(value, SecretRef):
        return value
    if isinstance(value, dict):
        return _command_mapping(value)
    if not isinstance(value, str):
        raise _refused("bad_reference", f"expected a reference to a password, found {kind(value)}")
    scheme, colon, rest = value.partition(":")
    if not colon or scheme not in _READERS:
        raise Refused(
            "literal_password",
            "expected a reference to a password, found a text that is none; it is not shown, as it may be one",
            f"keep the password outside the file and write where it is: {_FORMS}; if it was one, change it now",
        )
    return _READERS[scheme](rest)


def _refused(code: str, message: str) -> Refused:
    return Refused(code, message, f"write {_FORMS}")


def _variable(rest: str) -> SecretRef:
    if not _VARIABLE.fullmatch(rest):
        raise _refused("bad_reference", "what stands behind `env:` is not the name of a variable; it is not shown")
    return SecretRef("env", (rest,))


def _file(rest: str) -> SecretRef:
    if not rest.strip() or not rest.isprintable():
        raise _refused("bad_reference", "what stands behind `file:` is not a path")
    return SecretRef("file", (rest,))


def _keyring(rest: str) -> SecretRef:
    service, slash, user = rest.rpartition("/")
    if not (slash and service and user):
        raise _refused("bad_reference", "what stands behind `keyring:` is not `SERVICE/USER`; it is not shown")
    return SecretRef("keyring", (rest,))


def _command_text(rest: str) -> SecretRef:
    try:
        argv = json.loads(rest)
    except ValueError:
        raise _refused(
            "bad_reference",
            'what stands behind `cmd:` is not a JSON list like `["op", "read", "op://vault/item"]`; it is not shown',
        ) from None  # the cause quotes the text
    return _command(argv)


def _command_mapping(value: dict[Any, Any]) -> SecretRef:
    if list(value) != ["cmd"]:
        raise _refused("bad_reference", "expected a mapping with the one key `cmd`, found other keys")
    return _command(value["cmd"])


def _command(argv: object) -> SecretRef:
    if not isinstance(argv, list) or not argv or not all(isinstance(a, str) and "\0" not in a for a in argv):
        raise _refused("bad_reference", "expected `cmd` to be a list of texts, the program first")
    if not argv[0].strip():
        raise _refused("bad_reference", "the program of `cmd` is empty")
    return SecretRef("cmd", tuple(argv))


_READERS = {"env": _variable, "file": _file, "keyring": _keyring, "cmd": _command_text}
