"""What a step did that somebody should look at, told by the facts before and after it and by its trace: pure.

They know what no reading of SQL can: what a DO block did, what default privileges gave to whom.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ehg_migrate.database.trace import NOTHING, Trace
from ehg_migrate.model import SUPABASE_SCHEMAS
from ehg_migrate.revisions.rules import RULES
from ehg_migrate.schema.corrections.words import last, place, rest
from ehg_migrate.schema.facts import Catalog, Fact

_EVERYBODY = frozenset({"anon", "authenticated", "PUBLIC"})
"""Roles that anyone on the internet can have: PostgREST serves schema `public` to them."""

_STRANGERS = frozenset({"anon", "PUBLIC"})
"""Those that nobody has to log in for."""

_USED = (
    "view", "materialized view", "foreign table", "function", "procedure", "aggregate", "sequence",
    "enum", "domain", "range", "composite type",
)  # fmt: skip
"""Kinds, beside tables and columns, that running code may name."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a step did. `lint_ignore = effect:RULE` settles a rule."""

    rule: str  # by its name after `effect:`
    identity: str  # the object
    message: str
    hint: str
    tables: tuple[str, ...] = ()  # those whose size on a target decides how much it weighs; all of them, if several
    line: int = 0  # of the revision's file; 0 where it is not known


def effect(rule: str, identity: str, tables: tuple[str, ...] = (), line: int = 0) -> Effect:
    """With the words of the rule's row in the table."""
    return Effect(rule, identity, RULES[rule].message, RULES[rule].hint, tables, line)


def effects(
    before: Catalog, after: Catalog, ignore: Collection[str] = (), trace: Trace = NOTHING, *, platform: bool = False
) -> tuple[Effect, ...]:  # fmt: skip
    """What the way from `before` to `after` did, rule by rule. `platform`: on a target that Supabase keeps."""
    former = {(c.kind, c.name): (c.kind, c.former) for c in trace.changes if c.how == "renamed"}
    found = [*_renamed(trace), *_gone(before, after, trace, frozenset(former.values()))]
    found += [*_attributes(before, trace), *_labels(before, after, former), *_deleted_along(before, trace)]
    found += _detached(before, after, former)
    now, then = _with_columns(after), _with_columns(before)
    for fact in after.facts:
        name = (fact.kind, fact.identity)
        old = before.by_name.get(former.get(name, name))
        one, other = now[name], then.get(former.get(name, name))
        if one == other and fact == old:
            continue
        # what was so before is not this step's doing
        found += [
            effect(r, str(fact)) for r, judge in FACT_RULES.items() if judge(one) and not (other and judge(other))
        ]
        found += [effect("granted", str(fact))] if _granted_more(fact, old) else []
    found += _unindexed(before, after, trace)
    found += _of_the_platform(trace) if platform else ()
    return tuple(e for e in found if e.rule not in ignore)


def _with_columns(catalog: Catalog) -> dict[tuple[str, str], Fact]:
    """All facts; a table is granted to whom any of its columns is."""
    found = dict(catalog.by_name)
    for column in catalog.facts:
        table = found.get(("table", rest(column.identity))) if column.kind == "column" else None
        if table and (granted := column.definition.get("grants")):
            grants = {**granted, **(table.definition.get("grants") or {})}
            found["table", table.identity] = replace(table, definition={**table.definition, "grants": grants})
    return found


def _renamed(trace: Trace) -> Iterator[Effect]:
    for c in trace.changes:
        if c.how == "renamed" and c.kind in (*_USED, "table", "column"):
            yield effect("renamed", f"{c.kind} {c.former}")


def _dropped(before: Catalog, trace: Trace) -> frozenset[tuple[str, str]]:
    """Tables and columns that were dropped, whatever bears their names afterwards: that one holds nothing."""
    lost = {(c.kind, c.name) for c in trace.changes if c.how == "gone" and c.kind in ("table", "column")}
    return frozenset(lost & before.by_name.keys())


def _gone(before: Catalog, after: Catalog, trace: Trace, renamed: Collection[tuple[str, str]]) -> Iterator[Effect]:
    """Tables and columns that are gone, but for columns of tables that are; and what else code may have named."""
    dropped = _dropped(before, trace)
    gone = {f for f in before.by_name if f not in after.by_name} | dropped
    for kind, identity in sorted({*gone.difference(renamed), *dropped}):
        table = identity if kind == "table" else rest(identity)
        whole = ("table", table) in (dropped if (kind, identity) in dropped else gone)
        if kind == "table" or (kind == "column" and not whole and _is_table(before, table)):
            yield effect("lost_data", f"{kind} {identity}", (table,))
        elif kind in _USED and not _goes_along(before.by_name[kind, identity], gone):
            yield effect("dropped", f"{kind} {identity}")


def _goes_along(fact: Fact, gone: Collection[tuple[str, str]]) -> bool:
    """Whether it is a sequence whose column is gone, too."""
    owned = str(fact.definition.get("owned by", "")).removeprefix("identity of ")
    return bool(owned) and not {("column", owned), ("table", rest(owned))}.isdisjoint(gone)


def _attributes(before: Catalog, trace: Trace) -> Iterator[Effect]:
    """Values below columns of tables: those of an attribute that their type has lost."""
    for c in trace.changes:
        of, name = rest(c.name), last(c.name)
        if (c.how, c.kind) == ("gone", "column") and ("composite type", of) in before.by_name:
            for column in _columns_with(before, {of}):
                yield effect("lost_data", f"column {column.identity}, {name} in it", (rest(column.identity),))


def _columns_with(catalog: Catalog, types: set[str]) -> Iterator[Fact]:
    """Columns of tables that hold values of one of these types, in arrays, domains and other composite types, too."""
    inside = set(types)
    for fact in catalog.facts:
        d = fact.definition
        held = [d.get("base"), *(a["type"] for a in d.get("attributes") or ())] if fact.kind in _MADE_OF_OTHERS else []
        inside |= {fact.identity} if types & {_element(of) for of in held if of} else set()
    if inside != types:
        yield from _columns_with(catalog, inside)
        return
    for fact in catalog.facts:
        if fact.kind == "column" and _element(fact.definition.get("type", "")) in types:
            yield from [fact] if _is_table(catalog, rest(fact.identity)) else []


_MADE_OF_OTHERS = ("composite type", "domain")


def _element(type_: str) -> str:
    return type_.removesuffix("[]")


def _labels(before: Catalog, after: Catalog, former: Mapping[tuple[str, str], tuple[str, str]]) -> Iterator[Effect]:
    """Labels of enums that are there no more, by whatever name the type goes."""
    for fact in after.facts:
        old = before.by_name.get(former.get((fact.kind, fact.identity), (fact.kind, fact.identity)))
        if fact.kind == "enum" and old:
            one, other = old.definition.get("labels") or (), fact.definition.get("labels") or ()
            rule = "renamed" if len(one) == len(other) else "dropped"
            yield from (effect(rule, f"enum {old.identity}, label {label}") for label in one if label not in other)


def _detached(before: Catalog, after: Catalog, former: Mapping[tuple[str, str], tuple[str, str]]) -> Iterator[Effect]:
    """Partitions, and tables that inherit, which are still there and no longer in what they were a part of."""
    for fact in after.facts:
        name = (fact.kind, fact.identity)
        old = before.by_name.get(former.get(name, name))
        if old and (parents := _parents(old)):
            now = {former.get(("table", p), ("table", p))[1] for p in _parents(fact)}
            for parent in parents:
                if parent not in now:
                    yield effect("detached", f"{old}, of {parent}", (old.identity,))


def _parents(fact: Fact) -> list[str]:
    d = fact.definition
    return [d["partition of"]] if "partition of" in d else list(d.get("inherits") or ())


# read from its beginning, quotes and all: a column may be called `REFERENCES a(`, again and again
_CASCADES = re.compile(
    r'FOREIGN KEY \((?:"(?:[^"]|"")*+"|[^")])*+\) REFERENCES ((?:"(?:[^"]|"")*+"|[^"(])++)\('
    r'(?:"(?:[^"]|"")*+"|[^")])*+\)[^"]* ON DELETE CASCADE'
)


def _deleted_along(before: Catalog, trace: Trace) -> Iterator[Effect]:
    """Tables whose rows go with those that they refer to: here no table has rows, so no key is seen at work."""
    deleted = {t.table: s.line for s in trace.sent if "DELETE" in s.tags for t in s.touched if t.written}
    keys = [(place(f.identity)[1], found[1]) for f in before.facts if (found := _cascade(f))]
    reached = dict(deleted)
    while new := {of: reached[to] for of, to in keys if to in reached and of not in reached}:
        reached |= new
    yield from (effect("delete", f"table {t}", (t,), line) for t, line in reached.items() if t not in deleted)


def _cascade(fact: Fact) -> re.Match[str] | None:
    """The table whose rows take those of a foreign key's along, as the first group."""
    return _CASCADES.match(fact.definition["definition"]) if fact.definition.get("type") == "foreign key" else None


def _is_table(catalog: Catalog, name: str) -> bool:
    return ("table", name) in catalog.by_name


def _unindexed(before: Catalog, after: Catalog, trace: Trace) -> Iterator[Effect]:
    for identity in trace.without_index:
        name = ("constraint", identity)
        if name in after.by_name and name not in before.by_name:
            yield effect("fk_without_index", f"constraint {identity}")


def _of_the_platform(trace: Trace) -> Iterator[Effect]:
    for c in trace.changes:
        if c.schema in SUPABASE_SCHEMAS:
            yield effect("platform", f"{c.kind} {c.name}")


def _granted_more(fact: Fact, old: Fact | None) -> bool:
    """Whether strangers can do more with what was there before, or with a schema; a new table has its own rule."""
    if old is None and fact.kind != "schema":
        return False
    now, then = (f.definition.get("grants") or {} if f else {} for f in (fact, old))
    return any(_privileges(now.get(who)) - _privileges(then.get(who)) for who in _STRANGERS)


def _privileges(text: str | None) -> frozenset[str]:
    return frozenset((text or "").split(", ")) - {""}


def _open_table(fact: Fact) -> bool:
    return _served(fact, "table") and not fact.definition.get("row security") and _granted(fact.definition)


def _open_view(fact: Fact) -> bool:
    open_ = _served(fact, "materialized view") or (_served(fact, "view") and _asks_as_owner(fact))
    return open_ and _granted(fact.definition)


def _asks_as_owner(view: Fact) -> bool:
    options = view.definition.get("options") or {}  # of other kinds of objects they may be a text
    return str(options.get("security_invoker", "off")).lower() not in ("on", "true", "1", "yes")


def _open_policy(fact: Fact) -> bool:
    d = fact.definition
    writes = _permits_all(fact) and d.get("command") != "SELECT"
    return writes and bool(_EVERYBODY & set(d.get("roles") or ()))


def _open_reading(fact: Fact) -> bool:
    d = fact.definition
    return _permits_all(fact) and d.get("command") == "SELECT" and bool(_STRANGERS & set(d.get("roles") or ()))


def _permits_all(fact: Fact) -> bool:
    d = fact.definition
    every = "true" in (d.get("using"), d.get("with check"))
    return fact.kind == "policy" and every and d.get("permissive") is not False


def _definer(fact: Fact) -> bool:
    path = "search_path" in (fact.definition.get("settings") or {})
    return fact.kind in ("function", "procedure") and bool(fact.definition.get("security definer")) and not path


def _invalid(fact: Fact) -> bool:
    return fact.kind == "index" and fact.definition.get("valid") is False


def _unvalidated(fact: Fact) -> bool:
    """Not one that is never enforced, which PostgreSQL 18 has and cannot validate."""
    never = str(fact.definition.get("definition", "")).endswith("NOT ENFORCED")
    return fact.kind == "constraint" and fact.definition.get("validated") is False and not never


def _trigger_off(fact: Fact) -> bool:
    d = fact.definition
    if fact.kind == "constraint":
        return bool(d.get("not enforced on"))
    return fact.kind in ("trigger", "event trigger") and d.get("enabled") == "disabled"


def _served(fact: Fact, kind: str) -> bool:
    return fact.kind == kind and fact.identity.startswith("public.")


def _granted(definition: Mapping[str, Any]) -> bool:
    return bool(_EVERYBODY & set(definition.get("grants") or ()))


FACT_RULES: Mapping[str, Callable[[Fact], bool]] = {
    "open_table": _open_table,
    "open_view": _open_view,
    "open_policy": _open_policy,
    "open_reading": _open_reading,
    "definer_search_path": _definer,
    "invalid_index": _invalid,
    "not_validated": _unvalidated,
    "trigger_off": _trigger_off,
}
"""Rules that look at one fact: whether it is what they are about."""
