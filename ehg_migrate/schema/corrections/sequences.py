"""How schemas and sequences are made, dropped and altered. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ehg_migrate.schema.corrections.words import Between, Ways, differs, last, run
from ehg_migrate.schema.facts import Fact


def create_sequence(fact: Fact, between: Between) -> Ways:
    """That of an identity column comes with the column, and keeps its name where the table or column gets another."""
    if _of_identity(fact):
        return _renamed(fact, between)
    plain = f"SEQUENCE {fact.identity} {_numbers(fact)}"
    if "persistence" not in fact.definition:
        return run(f"CREATE {plain}")
    return (*run(f"CREATE UNLOGGED {plain}"), *run(f"CREATE {plain}"))  # the second before PostgreSQL 15


def _renamed(fact: Fact, between: Between) -> Ways:
    owned = fact.definition["owned by"]
    there = [
        f.identity for f in between.current.facts if f.kind == "sequence" and f.definition.get("owned by") == owned
    ]
    return run(*(f"ALTER SEQUENCE {name} RENAME TO {last(fact.identity)}" for name in there)) if there else ()


def drop_sequence(fact: Fact, _: Between) -> Ways:
    """With the number where it stands."""
    return () if _of_identity(fact) else run(f"DROP SEQUENCE {fact.identity}", destructive=True)


def alter_sequence(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """The value where it stands is kept."""
    if differs(before, after, "type", "start", "increment", "minimum", "maximum", "cache", "cycle"):
        yield run(f"ALTER SEQUENCE {after.identity} {_numbers(after)}")
    if differs(before, after, "persistence"):
        yield run(f"ALTER SEQUENCE {after.identity} SET {(after.definition.get('persistence') or 'logged').upper()}")
    if differs(before, after, "owned by") and not (_of_identity(before) or _of_identity(after)):
        yield run(f"ALTER SEQUENCE {after.identity} OWNED BY {after.definition.get('owned by') or 'NONE'}")


def _numbers(fact: Fact) -> str:
    d = fact.definition
    bounds = f"MINVALUE {d['minimum']} MAXVALUE {d['maximum']} START {d['start']}"
    cycle = "CYCLE" if d.get("cycle") else "NO CYCLE"
    return f"AS {d['type']} INCREMENT BY {d['increment']} {bounds} CACHE {d['cache']} {cycle}"


def _of_identity(fact: Fact) -> bool:
    return str(fact.definition.get("owned by", "")).startswith("identity of ")


def create_schema(fact: Fact, _: Between) -> Ways:
    """Empty."""
    return run(f"CREATE SCHEMA {fact.identity}")


def drop_schema(fact: Fact, _: Between) -> Ways:
    """Once it is empty."""
    return run(f"DROP SCHEMA {fact.identity}", destructive=True)
