"""In which file of a snapshot's folder an object stands: names of the database become names of files. Pure."""

from __future__ import annotations

import hashlib
import re

from ehg_migrate.schema.scope import ALIAS

_NAME = r'(?:"(?:[^"]|"")*"|\$?[a-z0-9_]+)'
_QUALIFIED = re.compile(rf"(?P<schema>{_NAME})\.(?P<name>{_NAME}|[^\s]+)")
_ON_RELATION = re.compile(rf"{_NAME} on (?P<relation>{_NAME}\.{_NAME})", re.DOTALL)
_OF_RELATION = re.compile(rf"(?P<relation>{_NAME}\.{_NAME})\.{_NAME}", re.DOTALL)
_PLAIN = re.compile(rf"(?P<name>{_NAME})(?P<rest>: .*)?", re.DOTALL)
_MAPPING = re.compile(rf"{_NAME} on (?P<name>{_NAME})", re.DOTALL)

RELATIONS = frozenset({"table", "view", "materialized view", "foreign table"})
_PARTS = frozenset({"column", "constraint", "trigger", "policy", "rule"})
_WHOLE = {"publication table": "publication", "publication schema": "publication", "user mapping": "server"}
_WITHOUT_NAME = frozenset({"cast", "default privileges"})  # a sentence says which one it is

_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_LONGEST = 200  # bytes of 255, so that an ending fits behind


def relation_of(kind: str, identity: str) -> str | None:
    """The table or view that a column, constraint, trigger, policy or rule belongs to; None for other kinds."""
    if kind not in _PARTS:
        return None
    found = (_OF_RELATION if kind == "column" else _ON_RELATION).fullmatch(identity)
    return found["relation"] if found else None


def place_of(kind: str, identity: str) -> str:
    """`schemas/public/table/notes`; `database/...` for what stands in no schema. No two objects share a place but
    functions of one name, and what is told together: a publication and its tables, a server and its user mappings.
    """
    if kind == "schema":
        return f"schemas/{_folder(identity)}/schema"
    whole = _WHOLE.get(kind, kind)
    qualified = None if whole in ("publication", "server") or kind in _WITHOUT_NAME else _QUALIFIED.match(identity)
    if qualified:
        name = qualified["name"] if kind == "operator" else _first_name(qualified["name"])
        return f"schemas/{_folder(qualified['schema'])}/{_word(whole)}/{file_name(name)}"
    named = None if kind in _WITHOUT_NAME else (_MAPPING if kind == "user mapping" else _PLAIN).fullmatch(identity)
    return f"database/{_word(whole)}/{file_name(_unquoted(named['name']) if named else identity)}"


def file_name(text: str) -> str:
    """The text as a name of a file on any file system: other characters than a-z, 0-9, `_` and `-` as `%2e`.

    Capitals too, because `Notes` and `notes` are one file on some systems. A long one ends in a piece of its hash.
    """
    name = "".join(chr(byte) if byte in _SAFE else f"%{byte:02x}" for byte in text.encode())
    if len(name) <= _LONGEST:
        return name or "%"
    return f"{name[: _LONGEST - 17]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _folder(schema: str) -> str:
    return "schema" if schema == ALIAS else file_name(_unquoted(schema))


def _first_name(text: str) -> str:
    """The name at the beginning, without the arguments of a function."""
    found = re.match(_NAME, text, re.DOTALL)
    return _unquoted(found[0]) if found else text


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _word(kind: str) -> str:
    return kind.replace(" ", "_")
