"""What stands in the way of a change: what depends on an object, asked of the server, as steps that take it away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.schema.corrections import Between, Step, dropping
from ehg_migrate.schema.corrections.words import last, place, rest, run
from ehg_migrate.schema.facts import Catalog, Fact

Known = Mapping[tuple[str, str], Fact]
_QUERY = resources.files(__package__).joinpath("dependants.sql").read_text(encoding="utf-8")
_RELATION = "SELECT 'pg_class'::regclass::oid, {name}::regclass::oid, 0, 0"
_TYPE = "SELECT 'pg_type'::regclass::oid, {name}::regtype::oid, 0, 0"
_ROUTINE = "SELECT 'pg_proc'::regclass::oid, {name}::regprocedure::oid, 0, 0"
_ADDRESSES = {
    **dict.fromkeys(("table", "foreign table", "view", "materialized view", "sequence", "index"), _RELATION),
    **dict.fromkeys(("enum", "composite type", "domain", "range", "shell type", "base type"), _TYPE),
    **dict.fromkeys(("function", "procedure", "aggregate"), _ROUTINE),
    "collation": "SELECT 'pg_collation'::regclass::oid, {name}::regcollation::oid, 0, 0",
    "text search dictionary": "SELECT 'pg_ts_dict'::regclass::oid, {name}::regdictionary::oid, 0, 0",
    "text search configuration": "SELECT 'pg_ts_config'::regclass::oid, {name}::regconfig::oid, 0, 0",
    "column": "SELECT 'pg_class'::regclass::oid, attrelid, attnum::int, 0 FROM pg_attribute"
    " WHERE attrelid = {relation}::regclass AND quote_ident(attname) = {name}",
    "constraint": "SELECT 'pg_constraint'::regclass::oid, oid, 0, 0 FROM pg_constraint"
    " WHERE conrelid = {relation}::regclass AND quote_ident(conname) = {name}",
}
_KINDS = {
    "table constraint": "constraint",
    "statistics object": "statistics",
}
"""What `pg_identify_object` calls otherwise than a fact."""
_KEPT = ("schema", "table", "column", "foreign table", "sequence", "enum", "composite type", "domain", "range")
"""What is never taken away for the sake of something else: it holds values, or its columns do."""


def as_the_server_names(catalog: Catalog, named: Callable[[str], str]) -> Known:
    """The facts by kind and by what the server calls them: to be made once for a catalogue, which may be large.

    `named` gives what a fact calls an object the name that the server knows: a schema's own may not count.
    """
    return {(f.kind, _plain(named(f.identity))): f for f in catalog.facts}


def dependants(
    connection: psycopg.Connection[Any], kind: str, name: str, between: Between, known: Known
) -> Iterator[Step]:
    """Steps that take away all that depends on an object and can be made anew, the farthest first.

    Its name and those of `known`, the facts that `between` begins with, are the server's.
    """
    address = _ADDRESSES.get(kind)
    if address is None:
        return
    for type_, other in connection.execute(_query(address, kind, name)).fetchall():
        step = _step(str(type_), str(other), known, between)
        if step:
            yield step


def _query(address: str, kind: str, identity: str) -> sql.Composed:
    relation, name = "", identity
    if kind == "column":
        relation, name = rest(identity), last(identity)
    elif kind == "constraint":
        name, relation = place(identity)
    root = sql.SQL(address).format(name=sql.Literal(name), relation=sql.Literal(relation))
    return sql.SQL(_QUERY).format(address=root)


def _step(type_: str, name: str, known: Known, between: Between) -> Step | None:
    if type_ == "default value":
        fact = known.get(("column", _plain(name.removeprefix("for "))))
        column = fact.identity if fact else name.removeprefix("for ")
        return Step("column", column, run(f"ALTER TABLE {rest(column)} ALTER COLUMN {last(column)} DROP DEFAULT"))
    if type_ == "rule" and name.startswith('"_RETURN" on '):
        view = _plain(name.removeprefix('"_RETURN" on '))
        fact = known.get(("view", view)) or known.get(("materialized view", view))
    else:
        fact = known.get((_KINDS.get(type_, type_), _plain(name))) if type_ not in _KEPT else None
    if fact and fact.definition.get("type") == "foreign key" and not fact.definition.get("inherited only"):
        constraint, table = place(fact.identity)  # also of a table that goes: two may refer to each other
        return Step(fact.kind, fact.identity, run(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"))
    return dropping(fact, between) if fact else None


def _plain(name: str) -> str:
    """Without what facts and `pg_identify_object` write in two ways."""
    found = re.fullmatch(r"(.+) in publication (.+)", name)
    text = f"{found[2]}: {found[1]}" if found else name
    text = re.sub(r"^\((.+) AS (.+)\)$", r"\1 as \2", text).replace(" USING ", " using ")
    return text.replace(", ", ",").replace(" (", "(")
