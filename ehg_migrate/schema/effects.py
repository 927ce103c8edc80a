"""What a step did to a schema that somebody should look at, told by the facts before and after it: pure.

The facts know what no reading of SQL can: what a DO block did, what default privileges gave to whom.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ehg_migrate.schema.facts import Catalog, Fact

_EVERYBODY = frozenset({"anon", "authenticated", "PUBLIC"})
"""Roles that anyone on the internet can have: PostgREST serves schema `public` to them."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a step did. `lint_ignore = effect:RULE` settles a rule."""

    rule: str
    identity: str  # the object
    message: str
    hint: str


def effects(before: Catalog, after: Catalog, ignore: Collection[str] = ()) -> tuple[Effect, ...]:
    """What the way from `before` to `after` did, rule by rule."""
    found = [*_lost(before, after)]
    for fact in after.facts:
        former = before.by_name.get((fact.kind, fact.identity))
        for rule, judge in _RULES.items():
            # what was so before is not this step's doing
            if judge(fact) and not (former and judge(former)):
                found.append(Effect(rule, str(fact), *_WORDS[rule]))
    return tuple(e for e in found if e.rule not in ignore)


def _lost(before: Catalog, after: Catalog) -> Iterator[Effect]:
    """Tables and columns that are gone, but for columns of tables that are."""
    gone = {f for f in before.by_name if f not in after.by_name}
    for kind, identity in sorted(gone):
        if kind == "table" or (kind == "column" and ("table", identity.rpartition(".")[0]) not in gone):
            yield Effect("lost_data", f"{kind} {identity}", *_WORDS["lost_data"])


def _open_table(fact: Fact) -> bool:
    return _served(fact, "table") and not fact.definition.get("row security") and _granted(fact.definition)


def _open_view(fact: Fact) -> bool:
    options = fact.definition.get("options") or {}
    asks_as_owner = str(options.get("security_invoker", "off")).lower() not in ("on", "true", "1", "yes")
    return _served(fact, "view") and asks_as_owner and _granted(fact.definition)


def _open_policy(fact: Fact) -> bool:
    d = fact.definition
    writes = fact.kind == "policy" and d.get("command") != "SELECT" and d.get("permissive") is not False
    return writes and "true" in (d.get("using"), d.get("with check")) and bool(_EVERYBODY & set(d.get("roles") or ()))


def _definer(fact: Fact) -> bool:
    path = "search_path" in (fact.definition.get("settings") or {})
    return fact.kind in ("function", "procedure") and bool(fact.definition.get("security definer")) and not path


def _invalid(fact: Fact) -> bool:
    return fact.kind == "index" and fact.definition.get("valid") is False


def _unvalidated(fact: Fact) -> bool:
    return fact.kind == "constraint" and fact.definition.get("validated") is False


def _served(fact: Fact, kind: str) -> bool:
    return fact.kind == kind and fact.identity.startswith("public.")


def _granted(definition: Mapping[str, Any]) -> bool:
    return bool(_EVERYBODY & set(definition.get("grants") or ()))


_RULES: Mapping[str, Callable[[Fact], bool]] = {
    "open_table": _open_table,
    "open_view": _open_view,
    "open_policy": _open_policy,
    "definer_search_path": _definer,
    "invalid_index": _invalid,
    "not_validated": _unvalidated,
}
RULES = frozenset({*_RULES, "lost_data"})
"""Every rule."""

_WORDS = {
    "open_table": (
        "anyone whom PostgREST serves can reach this table, and no row-level security holds them back",
        "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, or REVOKE ALL FROM anon, authenticated",
    ),
    "open_view": (
        "this view asks as its owner, so the row-level security of its tables does not hold for whoever reads it",
        "CREATE VIEW ... WITH (security_invoker = on), or revoke it from anon and authenticated",
    ),
    "open_policy": (
        "this policy lets everybody write every row",
        "say whose rows they are, as `auth.uid() = owner`, or name the role that may",
    ),
    "definer_search_path": (
        "this function runs as its owner, and who calls it chooses which tables and functions its names mean",
        "SET search_path = '' and qualify every name in it",
    ),
    "invalid_index": ("this index is not valid: nothing uses it and every write pays for it", "drop it, build it anew"),
    "not_validated": ("rows from before this constraint are not checked", "VALIDATE CONSTRAINT in a later revision"),
    "lost_data": (
        "its data is gone, and a downgrade brings back the shape only",
        "is it copied, or not needed by anyone?",
    ),
}
