"""How operators, their classes and families, and casts are made, dropped and altered. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehg_migrate.schema.corrections.common import called
from ehg_migrate.schema.corrections.routines import operator
from ehg_migrate.schema.corrections.words import Between, Ways, differs, listed, routine_name, run
from ehg_migrate.schema.facts import Fact

_ARGUMENTS = re.compile(r"(.+) \((.+), (.+)\)")


def create_operator(fact: Fact, _: Between) -> Ways:
    """Its commutator and negator may have yet to be made."""
    return run(_operator(fact))


def _operator(fact: Fact) -> str:
    d = fact.definition
    found = _ARGUMENTS.fullmatch(fact.identity)
    assert found is not None, fact.identity
    words = [f"FUNCTION = {routine_name(d['function'])}"]
    words += [f"LEFTARG = {found[2]}"] if found[2] != "NONE" else []
    words += [f"RIGHTARG = {found[3]}"]
    words += [f"{w.upper()} = {operator(d[w])}" for w in ("commutator", "negator") if w in d]
    words += [f"{w.upper()} = {routine_name(d[w])}" for w in ("restrict", "join") if w in d]
    words += [w.upper() for w in ("hashes", "merges") if d.get(w)]
    return f"CREATE OPERATOR {found[1]} ({listed(words)})"


def drop_object(fact: Fact, _: Between) -> Ways:
    """By its own name; nothing is lost that the catalogue does not say."""
    return run(f"DROP {called(fact.kind, fact.identity)}")


def alter_operator(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Estimators are set; anything else makes it anew."""
    if differs(before, after, "function", "commutator", "negator", "hashes", "merges"):
        yield _anew(after, _operator(after), between)
    elif differs(before, after, "restrict", "join"):
        d = after.definition
        words = [f"{w.upper()} = {routine_name(d[w]) if w in d else 'NONE'}" for w in ("restrict", "join")]
        yield run(f"ALTER OPERATOR {after.identity} SET ({listed(words)})")


def create_cast(fact: Fact, _: Between) -> Ways:
    """By function, by text, or without any."""
    return run(_cast(fact))


def _cast(fact: Fact) -> str:
    d = fact.definition
    methods = {"inout": "WITH INOUT", "binary": "WITHOUT FUNCTION"}
    method = methods.get(d["method"], f"WITH FUNCTION {d['method']}")
    context = f" AS {d['context'].upper()}" if "context" in d else ""
    return f"CREATE {called('cast', fact.identity)} {method}{context}"


def alter_cast(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Made anew."""
    if differs(before, after, "method", "context"):
        yield _anew(after, _cast(after), between)


def create_operator_class(fact: Fact, between: Between) -> Ways:
    """With those members of its family that are for its type."""
    text = _operator_class(fact, between)
    return run(text) if text else ()


def _operator_class(fact: Fact, between: Between) -> str:
    d = fact.definition
    name, _, method = fact.identity.rpartition(" using ")
    family = between.wanted("operator family", f"{d['family']} using {method}")
    items = list(_members(family, d["type"])) if family else []
    items += [f"STORAGE {d['storage']}"] if "storage" in d else []
    if not items:
        return ""
    default = " DEFAULT" if d.get("default") else ""
    start = f"CREATE OPERATOR CLASS {name}{default} FOR TYPE {d['type']} USING {method} FAMILY {d['family']} AS"
    return f"{start}\n    {listed(items)}"


def _members(family: Fact, of: str) -> Iterator[str]:
    for text in family.definition.get("operators") or ():
        if text.removesuffix(" for ordering").endswith(f"({of},{of})"):
            number, _, signature = text.partition(" ")
            yield f"OPERATOR {number} {signature.replace('(', ' (', 1)}"
    for text in family.definition.get("functions") or ():
        number, _, rest = text.partition(" ")
        if rest.startswith(f"({of}, {of}) "):
            yield f"FUNCTION {number} {rest}"


def alter_operator_class(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Made anew."""
    if differs(before, after, "type", "default", "storage", "family"):
        text = _operator_class(after, between)
        yield _anew(after, text, between) if text else ()


def create_operator_family(fact: Fact, _: Between) -> Ways:
    """Empty; its classes fill it."""
    name, _using, method = fact.identity.rpartition(" using ")
    return run(f"CREATE OPERATOR FAMILY {name} USING {method}")


def _anew(after: Fact, text: str, between: Between) -> Ways:
    return ((*drop_object(after, between)[0], *run(text)[0]),)
