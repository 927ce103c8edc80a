"""How tables, foreign tables and their columns are made, dropped and altered. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehg_migrate.schema.corrections.words import (
    Between,
    Ways,
    differs,
    last,
    listed,
    option_changes,
    options,
    part,
    rest,
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
        columns = ",\n    ".join(_column(c, whole=False) for c in _columns(fact, between))
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


def _column(fact: Fact, *, whole: bool) -> str:
    """The column as CREATE TABLE or ADD COLUMN says it; `whole` with its default and identity's sequence."""
    d = fact.definition
    words = [last(fact.identity), d["type"]]
    if "collation" in d:
        words.append(f"COLLATE {d['collation']}")
    if "generated" in d:
        words.append(f"GENERATED ALWAYS AS ({_generated(fact)}")
    if "identity" in d:
        words.append(f"GENERATED {d['identity'].upper()} AS IDENTITY")
    if whole and "default" in d:
        words.append(f"DEFAULT {d['default']}")
    if d.get("not null") is True:
        words.append("NOT NULL")
    return " ".join(words)


def _generated(fact: Fact) -> str:
    expression, _, kind = fact.definition["generated"].rpartition(" ")
    return f"{expression}) {kind}"


def create_column(fact: Fact, between: Between) -> Ways:
    """Not the columns of what has yet to be made, of views, or of parents: they come with those."""
    if not (table := _table_of(fact, between)) or fact.definition.get("inherited only"):
        return ()
    return run(f"ALTER {table.kind.upper()} {table.identity} ADD COLUMN {_column(fact, whole=True)}")


def drop_column(fact: Fact, between: Between) -> Ways:
    """With its values."""
    if not (table := _table_of(fact, between)) or fact.definition.get("inherited only"):
        return ()
    alter = f"ALTER {table.kind.upper()} {table.identity}"
    return run(f"{alter} DROP COLUMN {last(fact.identity)}", destructive=True)


def _table_of(column: Fact, between: Between) -> Fact | None:
    """The table that is there and stays."""
    name = rest(column.identity)
    kinds = [kind for kind in ("table", "foreign table") if between.wanted(kind, name)]
    return between.present(kinds[0], name) if kinds else None


def alter_column(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Every clause on its own; an expression that generates a column is changed by making the column anew."""
    table, name = rest(after.identity), last(after.identity)
    if any(between.wanted(kind, table) for kind in ("view", "materialized view")):
        if differs(before, after, "default"):
            yield run(f"ALTER VIEW {table} ALTER COLUMN {name} {_default(after)}")
        return
    alter = f"ALTER TABLE {table} ALTER COLUMN {name}"
    if differs(before, after, "type", "collation"):
        yield _type(before, after, alter)
    if differs(before, after, "generated"):
        yield _regenerated(after, alter)
    if differs(before, after, "identity"):
        yield run(f"{alter} {_identity(before, after)}")
    if differs(before, after, "default"):
        yield run(f"{alter} {_default(after)}")
    if differs(before, after, "not null"):
        yield _not_null(after, alter)
    yield from _storage(before, after, alter)


def _default(after: Fact) -> str:
    default = after.definition.get("default")
    return f"SET DEFAULT {default}" if default is not None else "DROP DEFAULT"


def _not_null(after: Fact, alter: str) -> Ways:
    wanted = after.definition.get("not null")
    if wanted == "not validated":
        return run(f"ALTER TABLE {rest(after.identity)} ADD NOT NULL {last(after.identity)} NOT VALID")
    return run(f"{alter} {'SET' if wanted else 'DROP'} NOT NULL")


def _identity(before: Fact, after: Fact) -> str:
    kind = after.definition.get("identity")
    if kind is None:
        return "DROP IDENTITY"
    generated = f"GENERATED {kind.upper()}"
    return f"SET {generated}" if "identity" in before.definition else f"ADD {generated} AS IDENTITY"


def _regenerated(after: Fact, alter: str) -> Ways:
    if "generated" not in after.definition:
        return run(f"{alter} DROP EXPRESSION")
    table, name = rest(after.identity), last(after.identity)
    anew = run(
        f"ALTER TABLE {table} DROP COLUMN {name}",
        f"ALTER TABLE {table} ADD COLUMN {_column(after, whole=True)}",
        destructive=True,
    )
    expression = _generated(after).rpartition(" ")[0]
    return (*run(f"{alter} SET EXPRESSION AS ({expression}"), *anew)  # the first since PostgreSQL 17


def _type(before: Fact, after: Fact, alter: str) -> Ways:
    """A default that cannot be cast goes, and comes back with the clauses that are left."""
    d = after.definition
    collation = f" COLLATE {d['collation']}" if "collation" in d else ""
    change = f"{alter} TYPE {d['type']}{collation}"
    lossy = not widens(before.definition["type"], d["type"])
    using = f"{change} USING {last(after.identity)}::{d['type']}"
    return (
        *run(change, destructive=lossy),
        *run(using, destructive=lossy),
        *run(f"{alter} DROP DEFAULT", using, destructive=lossy),
    )


_LENGTH = re.compile(r"(character varying|numeric|timestamp|time|bit varying)(?:\((\d+)(?:,(\d+))?\))?(.*)")
_UNLIMITED = ("character varying", "text")


def widens(before: str, after: str) -> bool:
    """Whether a change of type keeps every value and rewrites nothing."""
    if before == after:
        return True
    one, other = _LENGTH.fullmatch(before), _LENGTH.fullmatch(after)
    if one and after in _UNLIMITED and one[1] == "character varying":
        return True
    if before == "text" and after == "character varying":
        return True
    if not (one and other) or (one[1], one[4]) != (other[1], other[4]):
        return False
    return other[2] is None or (one[2] is not None and int(one[2]) <= int(other[2]) and one[3] == other[3])


def _storage(before: Fact, after: Fact, alter: str) -> Iterator[Ways]:
    d = after.definition
    if differs(before, after, "storage"):
        wanted = [d["storage"].upper()] if "storage" in d else ["DEFAULT", *_usual_storage(d["type"])]
        yield tuple(way for word in wanted for way in run(f"{alter} SET STORAGE {word}"))
    if differs(before, after, "compression"):
        yield run(f"{alter} SET COMPRESSION {d.get('compression') or 'default'}")
    if differs(before, after, "statistics"):
        yield run(f"{alter} SET STATISTICS {d.get('statistics', -1)}")
    for change in option_changes(part(before, "options"), part(after, "options")):
        yield run(f"{alter} {change}")
    gone = part(before, "server options").keys() - part(after, "server options").keys()
    if gone:
        table, name = rest(after.identity), last(after.identity)
        dropped = listed(f"DROP {o}" for o in sorted(gone))
        yield run(f"ALTER FOREIGN TABLE {table} ALTER COLUMN {name} OPTIONS ({dropped})")


def _usual_storage(of: str) -> tuple[str, ...]:
    """What DEFAULT means before PostgreSQL 16; of the types of fixed length every other word is refused."""
    return ("MAIN",) if of.startswith(("numeric", "inet", "cidr")) else ("EXTENDED", "PLAIN")


def create_sequence(fact: Fact, _: Between) -> Ways:
    """Not that of an identity column, which comes with the column."""
    if _of_identity(fact):
        return ()
    unlogged = "UNLOGGED " if "persistence" in fact.definition else ""
    return run(f"CREATE {unlogged}SEQUENCE {fact.identity} {_numbers(fact)}")


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


