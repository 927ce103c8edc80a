"""`Fact` and `Catalog`: what one schema is, as values without OIDs, order or session. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

NOTES = frozenset({"column order"})
"""Kinds of facts that are worth a word and make no difference: they are not in the fingerprint."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One object: what it is, its name as SQL writes it, and all of its clauses that are not PostgreSQL's defaults."""

    kind: str  # `table`, `column`, `policy`, ...: docs/schema.md lists them
    identity: str  # quoted and qualified, unique within its kind: `public.orders.total`, `owner_reads on public.orders`
    definition: Mapping[str, Any] = field(hash=False)  # plain JSON values without floats, clause -> value

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"

    def line(self) -> bytes:
        """The canonical form that the fingerprint is made of; the server makes the same, see `catalog.sql`."""
        return f"{self.kind}\n{self.identity}\n{_text(self.definition)}".encode()


@dataclass(frozen=True)
class Catalog:
    """All facts of one schema, by kind and identity, and the version of the server that told them."""

    facts: tuple[Fact, ...]
    server_version: str = ""  # `15.20`; not in the fingerprint

    @classmethod
    def of(cls, facts: Iterable[Fact], server_version: str = "") -> Catalog:
        """The catalogue of these facts, in whatever order they come."""
        return cls(tuple(sorted(facts, key=lambda f: (f.kind, f.identity))), server_version)

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits: equal exactly where `differences` finds none."""
        lines = (f.line() for f in self.facts if f.kind not in NOTES)
        return hashlib.sha256(b"".join(sorted(hashlib.sha256(line).digest() for line in lines))).hexdigest()

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Fact]:
        """(kind, identity) -> fact."""
        return {(f.kind, f.identity): f for f in self.facts}


def _text(value: Any) -> str:
    """A JSON value as PostgreSQL writes a `jsonb`: keys by their length, then by their bytes."""
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda k: (len(k.encode()), k.encode()))
        return "{" + ", ".join(f"{_text(k)}: {_text(value[k])}" for k in keys) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_text, value)) + "]"
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False)  # `dumps` makes one each time, which takes longer than a short text
