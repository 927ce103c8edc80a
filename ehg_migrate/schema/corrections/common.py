"""What objects of all kinds have alike: a comment, an owner, grants. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ehg_migrate.schema.corrections.words import (
    OWNER,
    Ways,
    comment_text,
    differs,
    last,
    listed,
    part,
    place,
    rest,
    role,
    run,
)
from ehg_migrate.schema.facts import Fact

SELF = "$self"
"""What a grant calls the owner who gave up a privilege."""

_TYPES = ("enum", "composite type", "range", "shell type", "base type")
_GRANTED = {
    "view": "TABLE",
    "materialized view": "TABLE",
    "foreign table": "TABLE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
    "domain": "TYPE",
    "server": "FOREIGN SERVER",
}
_ON_RELATION = ("constraint", "trigger", "policy", "rule")
_USING = ("operator class", "operator family")


def called(kind: str, identity: str) -> str:
    """An object as COMMENT, ALTER and DROP name it: `TABLE public.orders`, `POLICY owner_reads ON public.orders`."""
    if kind in _ON_RELATION:
        name, relation = place(identity)
        return f"{kind.upper()} {name} ON {relation}"
    if kind in _TYPES:
        return f"TYPE {identity}"
    if kind in _USING:
        name, _, method = identity.rpartition(" using ")
        return f"{kind.upper()} {name} USING {method}"
    if kind == "aggregate":
        return f"AGGREGATE {re.sub(r'[(][)]$', '(*)', identity)}"
    if kind == "cast":
        source, _, target = identity.rpartition(" as ")
        return f"CAST ({source} AS {target})"
    return f"{kind.upper()} {identity}"


def common_changes(before: Fact, after: Fact) -> Iterator[Ways]:
    """Statements for comment, owner and grants, each on its own."""
    name = called(after.kind, after.identity)
    if differs(before, after, "owner") and after.definition.get("owner"):
        yield run(f"ALTER {name} OWNER TO {role(after.definition['owner'])}")
    if differs(before, after, "comment"):
        yield run(f"COMMENT ON {name} IS {comment_text(after.definition.get('comment'))}")
    if after.kind != "default privileges":
        yield from _grants(before, after)


def _grants(before: Fact, after: Fact) -> Iterator[Ways]:
    one, other = part(before, "grants"), part(after, "grants")
    for grantee in sorted({*one, *other} - {SELF}):
        for change in grant_changes(one.get(grantee), other.get(grantee)):
            yield run(change.format(_granted(after), role(grantee)))
    given_up, left = _given_up(one), _given_up(other)
    owner = role(after.definition.get("owner") or OWNER)
    if left - given_up:
        yield run(f"REVOKE {_on(after, sorted(left - given_up))} FROM {owner}")
    if given_up - left:
        yield run(f"GRANT {_on(after, sorted(given_up - left))} TO {owner}")


def grant_changes(before: str | None, after: str | None) -> Iterator[str]:
    """Statements between two lists of privileges, with `{}` for the object and for the role."""
    one, other = privileges(before), privileges(after)
    for privilege, grantable in other.items():
        if one.get(privilege) is True and not grantable:
            yield f"REVOKE GRANT OPTION FOR {privilege}{{}} FROM {{}}"
        elif one.get(privilege) is not grantable:
            yield f"GRANT {privilege}{{}} TO {{}}{' WITH GRANT OPTION' if grantable else ''}"
    for privilege in [p for p in one if p not in other]:
        yield f"REVOKE {privilege}{{}} FROM {{}}"


def privileges(text: str | None) -> dict[str, bool]:
    """Privilege -> whether it may be granted on, of `INSERT, SELECT WITH GRANT OPTION`."""
    words = text.split(", ") if text else []
    return {w.removesuffix(" WITH GRANT OPTION"): w.endswith(" WITH GRANT OPTION") for w in words}


def _given_up(grants: dict[str, Any]) -> set[str]:
    text = grants.get(SELF)
    return set(text.removeprefix("without ").split(", ")) if text else set()


def _granted(fact: Fact) -> str:
    if fact.kind == "column":
        return f" ({last(fact.identity)}) ON TABLE {rest(fact.identity)}"
    return f" ON {_GRANTED.get(fact.kind, called(fact.kind, '').strip())} {fact.identity}"


def _on(fact: Fact, names: list[str]) -> str:
    """Privileges and the object, for the owner's own."""
    return f"{listed(names)}{_granted(fact)}"
