"""How constraints, indexes and statistics are made, dropped and altered. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ehg_migrate.schema.corrections.words import (
    Between,
    Ways,
    comment_text,
    differs,
    last,
    option_changes,
    options,
    part,
    place,
    rest,
    run,
)
from ehg_migrate.schema.facts import Fact

_NOT_VALID = " NOT VALID"
_DEFERRABLE = re.compile(r" DEFERRABLE( INITIALLY DEFERRED)?$")


def create_constraint(fact: Fact, _: Between) -> Ways:
    """Not one that a parent brings; of a partition it is a fact only where something of it is the partition's own."""
    if fact.definition.get("inherited only"):
        return _own(replace(fact, definition={}), fact)
    name, table = place(fact.identity)
    return run(f"ALTER TABLE {table} ADD CONSTRAINT {name} {_with_options(fact)}")


def _with_options(fact: Fact) -> str:
    """The definition of a key with the options of its index, which that of a partitioned table takes only so."""
    definition = str(fact.definition["definition"])
    given = options(part(fact, "index options"))
    if not given or fact.definition["type"] == "exclusion":  # of the latter they stand before its WHERE
        return definition
    found = _DEFERRABLE.search(definition)
    return f"{_DEFERRABLE.sub('', definition)} WITH ({given}){found[0] if found else ''}"


def drop_constraint(fact: Fact, between: Between) -> Ways:
    """Not of a table that goes."""
    name, table = place(fact.identity)
    if not _stays(table, between):
        return ()
    if fact.definition.get("inherited only"):
        return _own(fact, replace(fact, definition={}))
    return run(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def alter_constraint(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Made anew where nothing gentler leads there."""
    if differs(before, after, "definition", "validated", "deferrable", "inherited only"):
        yield _redefined(before, after)
    elif differs(before, after, "not enforced on"):
        yield _enforced(before, after)
    yield from _of_its_index(before, after)


def _own(before: Fact, after: Fact) -> Ways:
    """What a partition has of its own, in one way: on one side there is no more of the constraint. A check is one."""
    if "check" in (before.definition.get("type"), after.definition.get("type")):
        return ()
    ways = [_switched(before, "ENABLE"), _switched(after, "DISABLE"), *_of_its_index(before, after)]
    if differs(before, after, "comment"):
        name, table = place(after.identity)
        comment = comment_text(after.definition.get("comment"))
        ways.append(run(f"COMMENT ON CONSTRAINT {name} ON {table} IS {comment}"))
    statements = tuple(s for found in ways if found for s in found[0])
    return (statements,) if statements else ()


def _of_its_index(before: Fact, after: Fact) -> Iterator[Ways]:
    name, table = place(after.identity)
    index = f"{rest(table)}.{name}"
    for change in option_changes(part(before, "index options"), part(after, "index options")):
        yield run(f"ALTER INDEX {index} {change}")
    if differs(before, after, "index tablespace"):
        yield run(f"ALTER INDEX {index} SET TABLESPACE {after.definition.get('index tablespace') or 'pg_default'}")
    if differs(before, after, "index valid") and "index valid" not in after.definition:
        yield run(f"REINDEX INDEX {index}")
    if differs(before, after, "clustered"):
        yield run(_cluster(after, table, name))


def _enforced(before: Fact, after: Fact) -> Ways:
    """Made anew, all of it is enforced; what shall not be is switched off in the next round."""
    if set(_unchecked(before)) <= set(_unchecked(after)):
        return _switched(after, "DISABLE")
    return _switched(before, "ENABLE") if after.definition.get("inherited only") else _anew(after)


def _switched(fact: Fact, how: str) -> Ways:
    tables = _unchecked(fact)
    return run(*(f"ALTER TABLE {t} {how} TRIGGER ALL" for t in tables)) if tables else ()


def _unchecked(fact: Fact) -> list[str]:
    """The tables on whose side a constraint is switched off."""
    return list(fact.definition.get("not enforced on") or ())


def _redefined(before: Fact, after: Fact) -> Ways:
    name, table = place(after.identity)
    one, other = str(before.definition["definition"]), str(after.definition["definition"])
    if one == other + _NOT_VALID:
        return run(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
    if after.definition["type"] == "foreign key" and _DEFERRABLE.sub("", one) == _DEFERRABLE.sub("", other):
        found = _DEFERRABLE.search(other)
        return run(f"ALTER TABLE {table} ALTER CONSTRAINT {name}{found[0] if found else ' NOT DEFERRABLE'}")
    return _anew(after)


def _anew(fact: Fact) -> Ways:
    name, table = place(fact.identity)
    return run(
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {_with_options(fact)}",
    )


def _cluster(after: Fact, table: str, index: str) -> str:
    wanted = after.definition.get("clustered")
    return f"ALTER TABLE {table} {f'CLUSTER ON {index}' if wanted else 'SET WITHOUT CLUSTER'}"


_TABLE = re.compile(r' ON (?:ONLY )?((?:"(?:[^"]|"")*"|[^\s".]+)\.(?:"(?:[^"]|"")*"|[^\s".]+)) USING ')


def table_of(index: Fact) -> str:
    """The relation on which an index stands."""
    found = _TABLE.search(index.definition["definition"])
    assert found is not None, index.definition
    return found[1]


def create_index(fact: Fact, _: Between) -> Ways:
    """That of a partition is attached afterwards, or has come with the partitioned table's."""
    return run(fact.definition["definition"])


def drop_index(fact: Fact, between: Between) -> Ways:
    """Not of a table that goes."""
    return run(f"DROP INDEX {fact.identity}") if _stays(table_of(fact), between) else ()


def alter_index(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Made anew where its definition is another; REINDEX makes an invalid one valid."""
    name, d = after.identity, after.definition
    if differs(before, after, "definition"):
        yield run(f"DROP INDEX {name}", d["definition"])
        return
    if differs(before, after, "valid") and "valid" not in d:
        yield run(f"REINDEX INDEX {name}")
    if differs(before, after, "attached to"):
        yield run(f"ALTER INDEX {d['attached to']} ATTACH PARTITION {name}") if "attached to" in d else ()
    if differs(before, after, "clustered"):
        yield run(_cluster(after, table_of(after), last(name)))
    if differs(before, after, "tablespace"):
        yield run(f"ALTER INDEX {name} SET TABLESPACE {d.get('tablespace') or 'pg_default'}")
    yield from _index_statistics(before, after)


def _index_statistics(before: Fact, after: Fact) -> Iterator[Ways]:
    """Of expressions, which only their numbers name."""
    one, other = part(before, "statistics"), part(after, "statistics")
    for number in sorted({*one, *other}):
        if one.get(number) != other.get(number):
            value = other.get(number, -1)
            yield run(f"ALTER INDEX {after.identity} ALTER COLUMN {number} SET STATISTICS {value}")


def create_statistics(fact: Fact, _: Between) -> Ways:
    """As it says of itself."""
    return run(fact.definition["definition"])


def drop_statistics(fact: Fact, _: Between) -> Ways:
    """What ANALYZE kept goes along."""
    return run(f"DROP STATISTICS {fact.identity}")


def alter_statistics(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Made anew for other columns or kinds."""
    if differs(before, after, "definition"):
        yield run(f"DROP STATISTICS {after.identity}", after.definition["definition"])
    elif differs(before, after, "target"):
        yield run(f"ALTER STATISTICS {after.identity} SET STATISTICS {after.definition.get('target', -1)}")


def _stays(relation: str, between: Between) -> bool:
    kinds = ("table", "foreign table", "materialized view")
    return any(between.wanted(kind, relation) for kind in kinds)
