"""How tables, foreign tables and their columns are made, dropped and altered. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ehg_migrate.schema.corrections.columns import column_text
from ehg_migrate.schema.corrections.words import (
    Between,
    Ways,
    differs,
    last,
    listed,
    option_changes,
    options,
    part,
    run,
)
from ehg_migrate.schema.facts import Fact

_REMADE = ("partition by", "server")


def create_table(fact: Fact, between: Between) -> Ways:
    """With its columns, and without defaults: those come when all that they call is there."""
    d = fact.definition
    if "partition of" in d:
        text = f"CREATE TABLE {fact.identity} PARTITION OF {d['partition of']} {d['partition bound']}"
    elif "of type" in d:
        text = f"CREATE TABLE {fact.identity} OF {d['of type']}"
    else:
        columns = ",\n    ".join(column_text(c, whole=False) for c in _columns(fact, between))
        unlogged = "UNLOGGED " if d.get("persistence") == "unlogged" else ""
        kind = "FOREIGN TABLE" if fact.kind == "foreign table" else f"{unlogged}TABLE"
        text = f"CREATE {kind} {fact.identity} (\n    {columns}\n)" if columns else f"CREATE {kind} {fact.identity} ()"
    return run(text + "".join(_table_clauses(fact)))


def _table_clauses(fact: Fact) -> Iterator[str]:
    d = fact.definition
    if "inherits" in d:
        yield f" INHERITS ({listed(d['inherits'])})"
    if "server" in d:
        yield f" SERVER {d['server']}"
    if "partition by" in d:
        yield f" PARTITION BY {d['partition by']}"
    if "access method" in d:
        yield f" USING {d['access method']}"
    given = [t for t in (options(part(fact, "options")), options(part(fact, "toast options"), "toast.")) if t]
    if given:
        yield f" WITH ({listed(given)})"
    if "tablespace" in d:
        yield f" TABLESPACE {d['tablespace']}"


def _columns(table: Fact, between: Between) -> list[Fact]:
    order = between.wanted("column order", table.identity)
    names = order.definition["columns"] if order else ()
    found = (between.wanted("column", f"{table.identity}.{name}") for name in names)
    return [c for c in found if c and not c.definition.get("inherited only")]


def drop_table(fact: Fact, _: Between) -> Ways:
    """A table takes its rows along; a foreign table only shows those of another."""
    kind = fact.kind.upper()
    return run(f"DROP {kind} {fact.identity}", destructive=fact.kind == "table")


def alter_table(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Every clause on its own. What a table is partitioned by cannot be changed, nor can values be known by a hash."""
    name = after.identity
    alter = f"ALTER {after.kind.upper()} {name}"
    yield from (run(f"{alter} {change}") for change in _properties(before, after))
    yield from _parents(before, after)
    if differs(before, after, *_REMADE):
        return
    gone = part(before, "server options").keys() - part(after, "server options").keys()
    if gone:
        yield run(f"{alter} OPTIONS ({listed(f'DROP {o}' for o in sorted(gone))})")


def _properties(before: Fact, after: Fact) -> Iterator[str]:
    d = after.definition
    if differs(before, after, "persistence"):
        yield f"SET {(d.get('persistence') or 'logged').upper()}"
    if differs(before, after, "access method"):
        yield f"SET ACCESS METHOD {d.get('access method') or 'heap'}"
    if differs(before, after, "tablespace"):
        yield f"SET TABLESPACE {d.get('tablespace') or 'pg_default'}"
    if differs(before, after, "row security"):
        yield f"{'ENABLE' if d.get('row security') else 'DISABLE'} ROW LEVEL SECURITY"
    if differs(before, after, "row security forced"):
        yield f"{'' if d.get('row security forced') else 'NO '}FORCE ROW LEVEL SECURITY"
    if differs(before, after, "replica identity"):
        yield f"REPLICA IDENTITY {_replica_identity(d.get('replica identity'))}"
    yield from option_changes(part(before, "options"), part(after, "options"))
    yield from option_changes(part(before, "toast options"), part(after, "toast options"), "toast.")


def _replica_identity(value: str | None) -> str:
    if value and value.startswith("index "):
        return f"USING INDEX {last(value.removeprefix('index '))}"
    return (value or "default").upper()


def _parents(before: Fact, after: Fact) -> Iterator[Ways]:
    name, one, other = after.identity, before.definition, after.definition
    if differs(before, after, "of type"):
        yield run(f"ALTER TABLE {name} {'OF ' + other['of type'] if 'of type' in other else 'NOT OF'}")
    if differs(before, after, "partition of", "partition bound"):
        off = [f"ALTER TABLE {one['partition of']} DETACH PARTITION {name}"] if "partition of" in one else []
        on = [_attach(after)] if "partition of" in other else []
        yield run(*off, *on)
    parents, wanted = one.get("inherits") or [], other.get("inherits") or []
    yield from (run(f"ALTER TABLE {name} NO INHERIT {p}") for p in parents if p not in wanted)
    yield from (run(f"ALTER TABLE {name} INHERIT {p}") for p in wanted if p not in parents)


def _attach(fact: Fact) -> str:
    d = fact.definition
    return f"ALTER TABLE {d['partition of']} ATTACH PARTITION {fact.identity} {d['partition bound']}"
