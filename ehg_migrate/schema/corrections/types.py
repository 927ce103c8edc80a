"""How types and collations are made, dropped and altered. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ehg_migrate.schema.corrections.words import (
    Between,
    Statement,
    Ways,
    comment_text,
    differs,
    last,
    listed,
    literal,
    part,
    rest,
    routine_name,
    run,
)
from ehg_migrate.schema.facts import Fact


def create_type(fact: Fact, _: Between) -> Ways:
    """Base types are made of functions in C, and are left to their authors."""
    make = _MAKERS.get(fact.kind)
    return run(make(fact)) if make else ()


def drop_type(fact: Fact, _: Between) -> Ways:
    """Nothing may be of it any more."""
    kind = "DOMAIN" if fact.kind == "domain" else "TYPE"
    return run(f"DROP {kind} {fact.identity}", destructive=True)


def _enum(fact: Fact) -> str:
    return f"CREATE TYPE {fact.identity} AS ENUM ({listed(map(literal, fact.definition['labels'] or ()))})"


def _composite(fact: Fact) -> str:
    attributes = listed(_attribute(a) for a in fact.definition.get("attributes") or ())
    return f"CREATE TYPE {fact.identity} AS ({attributes})"


def _attribute(attribute: dict[str, str]) -> str:
    collation = f" COLLATE {attribute['collation']}" if "collation" in attribute else ""
    return f"{attribute['name']} {attribute['type']}{collation}"


def _domain(fact: Fact) -> str:
    d = fact.definition
    words = [f"CREATE DOMAIN {fact.identity} AS {d['base']}"]
    words += [f"COLLATE {d['collation']}"] if "collation" in d else []
    words += [f"DEFAULT {d['default']}"] if "default" in d else []
    words += ["NOT NULL"] if d.get("not null") else []
    # one that is not validated can only be added afterwards
    given = {name: text for name, text in part(fact, "constraints").items() if not text.endswith(" NOT VALID")}
    words += [f"CONSTRAINT {name} {text}" for name, text in given.items()]
    return " ".join(words)


def _range(fact: Fact) -> str:
    d = part(fact, "range")
    words = [f"SUBTYPE = {d['subtype']}", f"SUBTYPE_OPCLASS = {d['operator class']}"]
    words += [f"COLLATION = {d['collation']}"] if "collation" in d else []
    words += [f"CANONICAL = {routine_name(d['canonical'])}"] if "canonical" in d else []
    words += [f"SUBTYPE_DIFF = {routine_name(d['difference'])}"] if "difference" in d else []
    words += [f"MULTIRANGE_TYPE_NAME = {d['multirange']}"] if "multirange" in d else []
    return f"CREATE TYPE {fact.identity} AS RANGE ({listed(words)})"


def _shell(fact: Fact) -> str:
    return f"CREATE TYPE {fact.identity}"


_MAKERS = {"enum": _enum, "composite type": _composite, "domain": _domain, "range": _range, "shell type": _shell}


def alter_enum(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Labels are added or one is renamed in its place; for anything else the type is made anew below its columns."""
    one, other = list(before.definition["labels"] or ()), list(after.definition["labels"] or ())
    if one == other:
        return
    gentle = _renamed(after, one, other) or _added(after, one, other)
    yield (*gentle, *_remade(after, between))


def _renamed(after: Fact, one: list[str], other: list[str]) -> Ways:
    changed = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
    if len(one) != len(other) or len(changed) != 1 or changed[0][1] in one:
        return ()
    old, new = changed[0]
    return run(f"ALTER TYPE {after.identity} RENAME VALUE {literal(old)} TO {literal(new)}")


def _added(after: Fact, one: list[str], other: list[str]) -> Ways:
    if [label for label in other if label in one] != one:
        return ()
    there, texts = set(one), []
    for i, label in enumerate(other):
        if label not in there:
            before = next((later for later in other[i + 1 :] if later in there), None)
            where = f" BEFORE {literal(before)}" if before else ""
            texts.append(f"ALTER TYPE {after.identity} ADD VALUE {literal(label)}{where}")
            there.add(label)
    return run(*texts)


def _remade(after: Fact, between: Between) -> Ways:
    """Its columns are text meanwhile. A value that has no label any more stops it, and so does what else is of it."""
    columns = list(_columns_of(after.identity, between))
    aside = [s for c, kind in columns for s in _retyped(c, kind.replace(after.identity, "text", 1))]
    back = [_retyped(c, kind)[-1] for c, kind in columns]
    texts = [*aside, f"DROP TYPE {after.identity}", _enum(after), *back]
    return (tuple(Statement(text, destructive=True) for text in texts),)


def _columns_of(name: str, between: Between) -> Iterator[tuple[Fact, str]]:
    for fact in between.current.facts:
        kind = fact.definition.get("type") if fact.kind == "column" else None
        if kind in (name, f"{name}[]") and between.present("table", rest(fact.identity)):
            yield fact, kind


def _retyped(column: Fact, kind: str) -> list[str]:
    alter = f"ALTER TABLE {rest(column.identity)} ALTER COLUMN {last(column.identity)}"
    default = [f"{alter} DROP DEFAULT"] if "default" in column.definition else []
    return [*default, f"{alter} TYPE {kind} USING {last(column.identity)}::{kind}"]


def alter_composite(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Attributes one by one; tables of the type follow."""
    one = {a["name"]: a for a in before.definition.get("attributes") or ()}
    other = {a["name"]: a for a in after.definition.get("attributes") or ()}
    alter = f"ALTER TYPE {after.identity}"
    for name in [n for n in one if n not in other]:
        yield run(f"{alter} DROP ATTRIBUTE {name} CASCADE", destructive=True)
    for name, attribute in other.items():
        former = one.get(name)
        if former is None:
            yield run(f"{alter} ADD ATTRIBUTE {_attribute(attribute)} CASCADE")
        elif _attribute(former) != _attribute(attribute):
            text = _attribute(attribute).replace(name, f"{name} TYPE", 1)
            yield run(f"{alter} ALTER ATTRIBUTE {text} CASCADE", destructive=True)
        if (former or {}).get("comment") != attribute.get("comment"):
            yield run(f"COMMENT ON COLUMN {after.identity}.{name} IS {comment_text(attribute.get('comment'))}")


def alter_domain(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Clause by clause; another base makes another domain, which is made anew where nothing is of it."""
    d = after.definition
    if differs(before, after, "base", "collation"):
        yield replaced(after, between)
        return
    alter = f"ALTER DOMAIN {after.identity}"
    if differs(before, after, "default"):
        yield run(f"{alter} SET DEFAULT {d['default']}" if "default" in d else f"{alter} DROP DEFAULT")
    if differs(before, after, "not null"):
        yield run(f"{alter} {'SET' if d.get('not null') else 'DROP'} NOT NULL")
    one, other = part(before, "constraints"), part(after, "constraints")
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            gone = [f"{alter} DROP CONSTRAINT {name}"] if name in one else []
            made = [f"{alter} ADD CONSTRAINT {name} {other[name]}"] if name in other else []
            yield run(*gone, *made)
    said, wanted = part(before, "constraint comments"), part(after, "constraint comments")
    for name in sorted({*said, *wanted}):
        if said.get(name) != wanted.get(name) and name in other:
            yield run(f"COMMENT ON CONSTRAINT {name} ON DOMAIN {after.identity} IS {comment_text(wanted.get(name))}")


def alter_range(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Made anew."""
    if differs(before, after, "range"):
        yield replaced(after, between)


def replaced(after: Fact, between: Between) -> Ways:
    """Dropped and made."""
    return ((*drop_type(after, between)[0], *create_type(after, between)[0]),)


def create_collation(fact: Fact, _: Between) -> Ways:
    """Of libc by two locales where they differ."""
    return run(_collation(fact))


def _collation(fact: Fact) -> str:
    d = fact.definition
    words = [f"PROVIDER = {d['provider']}"]
    collate, slash, ctype = str(d["locale"]).partition(" / ")
    words += [f"LC_COLLATE = {literal(collate)}", f"LC_CTYPE = {literal(ctype)}"] if slash else []
    words += [] if slash else [f"LOCALE = {literal(collate)}"]
    words += [f"RULES = {literal(d['rules'])}"] if "rules" in d else []
    words += ["DETERMINISTIC = false"] if d.get("deterministic") is False else []
    return f"CREATE COLLATION {fact.identity} ({listed(words)})"


def drop_collation(fact: Fact, _: Between) -> Ways:
    """Nothing may be sorted by it any more."""
    return run(f"DROP COLLATION {fact.identity}")


def alter_collation(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Made anew; its columns are sorted by the default meanwhile, and their indexes are built twice."""
    if not differs(before, after, "provider", "locale", "rules", "deterministic"):
        return
    columns = [
        f for f in between.current.facts if f.kind == "column" and f.definition.get("collation") == after.identity
    ]
    tables = [c for c in columns if between.present("table", rest(c.identity))]
    aside = [f'{_sorted(c)} COLLATE pg_catalog."default"' for c in tables]
    back = [f"{_sorted(c)} COLLATE {after.identity}" for c in tables]
    yield run(*aside, f"DROP COLLATION {after.identity}", _collation(after), *back)


def _sorted(column: Fact) -> str:
    table, name = rest(column.identity), last(column.identity)
    return f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {column.definition['type']}"
