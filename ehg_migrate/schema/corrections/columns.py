"""How columns are added, dropped and altered. Pure."""

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
    part,
    rest,
    run,
)
from ehg_migrate.schema.facts import Fact


def column_text(fact: Fact, *, whole: bool) -> str:
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
    if d.get("not null") in (True, _NO_INHERIT):
        words.append("NOT NULL" if d["not null"] is True else "NOT NULL NO INHERIT")
    return " ".join(words)


def _generated(fact: Fact) -> str:
    expression, _, kind = fact.definition["generated"].rpartition(" ")
    return f"{expression}) {kind}"


def create_column(fact: Fact, between: Between) -> Ways:
    """Not the columns of what has yet to be made, of views, or of parents: they come with those."""
    if not (table := _table_of(fact, between)) or fact.definition.get("inherited only"):
        return ()
    return run(f"ALTER {table.kind.upper()} {table.identity} ADD COLUMN {column_text(fact, whole=True)}")


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
    if between.wanted("materialized view", table):
        yield from _storage(before, after, f"ALTER MATERIALIZED VIEW {table} ALTER COLUMN {name}")
        return
    if between.wanted("view", table):
        if differs(before, after, "default"):
            yield run(f"ALTER VIEW {table} ALTER COLUMN {name} {_default(after)}")
        return
    alter = f"ALTER TABLE {table} ALTER COLUMN {name}"
    if differs(before, after, "type", "collation"):
        yield _type(before, after, alter)
    if differs(before, after, "generated"):
        yield _regenerated(before, after, alter)
    if differs(before, after, "identity"):
        # the sequence goes along, and with it the number where it stands
        yield run(f"{alter} {_identity(before, after)}", destructive="identity" not in after.definition)
    if differs(before, after, "default"):
        yield run(f"{alter} {_default(after)}")
    if differs(before, after, "not null"):
        yield _not_null(before, after, alter)
    yield from _storage(before, after, alter)


def _default(after: Fact) -> str:
    default = after.definition.get("default")
    return f"SET DEFAULT {default}" if default is not None else "DROP DEFAULT"


_NO_INHERIT = "no inherit"
_KINDS_OF_NOT_NULL = {"not validated": "NOT VALID", _NO_INHERIT: "NO INHERIT"}


def _not_null(before: Fact, after: Fact, alter: str) -> Ways:
    """One of another kind comes in the place of that which was there: a weaker one is not added to a stronger."""
    one, other = before.definition.get("not null"), after.definition.get("not null")
    kind = _KINDS_OF_NOT_NULL.get(str(other))
    if kind is None and one != _NO_INHERIT:
        return run(f"{alter} {'SET' if other else 'DROP'} NOT NULL")
    gone = [f"{alter} DROP NOT NULL"] if one else []
    added = f"ALTER TABLE {rest(after.identity)} ADD NOT NULL {last(after.identity)}"
    return run(*gone, *([f"{added} {kind}" if kind else added] if other else []))


def _identity(before: Fact, after: Fact) -> str:
    kind = after.definition.get("identity")
    if kind is None:
        return "DROP IDENTITY"
    generated = f"GENERATED {kind.upper()}"
    return f"SET {generated}" if "identity" in before.definition else f"ADD {generated} AS IDENTITY"


def _regenerated(before: Fact, after: Fact, alter: str) -> Ways:
    table, name = rest(after.identity), last(after.identity)
    anew = run(
        f"ALTER TABLE {table} DROP COLUMN {name}",
        f"ALTER TABLE {table} ADD COLUMN {column_text(after, whole=True)}",
        destructive=True,
    )
    if "generated" not in after.definition:
        # the first is refused of a virtual column, which has no values
        return (*run(f"{alter} DROP EXPRESSION"), *anew)
    expression, _, kind = _generated(after).rpartition(" ")
    if not before.definition.get("generated", kind).endswith(kind):
        return anew
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
