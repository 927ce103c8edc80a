"""How functions, procedures and aggregates are made, dropped and replaced. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehg_migrate.schema.corrections.common import called
from ehg_migrate.schema.corrections.words import Between, Ways, differs, dollars, literal, part, routine_name, run
from ehg_migrate.schema.facts import Fact

_STANDARD = re.compile(r"\s*(RETURN\b|BEGIN ATOMIC\b)")
_LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")
"""Settings whose value is kept as a list of quoted names, and must be written as one."""
_EMPTY = re.compile(r'(?<![^ ])""(?![^,])')
"""A name of no letters in such a list (`SET search_path = ''` is kept so), which only a constant can say."""
_ATTACHED = ("owner", "grants", "comment")


def create_routine(fact: Fact, _: Between) -> Ways:
    """Whole; also in the place of one that is there."""
    return run(_routine(fact))


def drop_routine(fact: Fact, _: Between) -> Ways:
    """Functions hold nothing."""
    return run(f"DROP {called(fact.kind, fact.identity)}")


def alter_routine(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Replaced, or made anew where PostgreSQL refuses that: another result, another name of an argument."""
    if differs(before, after, *({*before.definition, *after.definition} - {*_ATTACHED})):
        yield (*run(_routine(after)), *run(f"DROP {called(after.kind, after.identity)}", _routine(after)))


def _routine(fact: Fact) -> str:
    if fact.kind == "aggregate":
        return _aggregate(fact)
    d = fact.definition
    start = f"CREATE OR REPLACE {fact.kind.upper()} {routine_name(fact.identity)}({d['arguments']})"
    returns = f" RETURNS {d['returns']}" if fact.kind == "function" and d.get("returns") else ""
    return "\n".join([start + returns, *_clauses(fact), _body(fact)])


def _clauses(fact: Fact) -> Iterator[str]:
    d = fact.definition
    yield f"    LANGUAGE {d['language']}"
    words = [w.upper() for w in ("window", "strict", "leakproof") if d.get(w)]
    words += [d["volatility"].upper()] if "volatility" in d else []
    words += ["SECURITY DEFINER"] if d.get("security definer") else []
    words += [f"{w.upper()} {d[w].upper()}" for w in ("parallel", "cost", "rows") if w in d]
    words += [f"SUPPORT {routine_name(d['support'])}"] if "support" in d else []
    words += [f"TRANSFORM {', '.join(f'FOR TYPE {t}' for t in d['transforms'])}"] if "transforms" in d else []
    if words:
        yield f"    {' '.join(words)}"
    for name, value in part(fact, "settings").items():
        given = _EMPTY.sub("''", value) if name in _LISTS else literal(value)
        yield f"    SET {name} TO {given}"


def _body(fact: Fact) -> str:
    d = fact.definition
    if d["language"] == "sql" and _STANDARD.match(d["body"]):
        return str(d["body"])
    library = f"{literal(d['library'])}, " if "library" in d else ""
    return f"AS {library}{dollars(d['body'])}"


_FUNCTIONS = {
    "transition": "SFUNC",
    "final": "FINALFUNC",
    "combine": "COMBINEFUNC",
    "serial": "SERIALFUNC",
    "deserial": "DESERIALFUNC",
    "moving transition": "MSFUNC",
    "moving inverse": "MINVFUNC",
    "moving final": "MFINALFUNC",
}
_VALUES = {"state": "STYPE", "state size": "SSPACE", "moving state": "MSTYPE", "moving state size": "MSSPACE"}
_CONSTANTS = {"initial": "INITCOND", "moving initial": "MINITCOND"}
_MODIFIES = {"s": "SHAREABLE", "w": "READ_WRITE"}


def _aggregate(fact: Fact) -> str:
    parts = part(fact, "aggregate")
    words = [f"{word} = {routine_name(parts[name])}" for name, word in _FUNCTIONS.items() if name in parts]
    words += [f"{word} = {parts[name]}" for name, word in _VALUES.items() if name in parts]
    words += [f"{word} = {literal(parts[name])}" for name, word in _CONSTANTS.items() if name in parts]
    for name, word in (("final", "FINALFUNC"), ("moving final", "MFINALFUNC")):
        words += [f"{word}_EXTRA"] if parts.get(f"{name} extra") else []
        words += [f"{word}_MODIFY = {_MODIFIES[parts[f'{name} modifies']]}"] if f"{name} modifies" in parts else []
    words += [f"SORTOP = {operator(parts['sort operator'])}"] if "sort operator" in parts else []
    words += ["HYPOTHETICAL"] if parts.get("kind") == "hypothetical set" else []
    words += [f"PARALLEL = {fact.definition['parallel'].upper()}"] if "parallel" in fact.definition else []
    arguments, listed = fact.definition["arguments"] or "*", ",\n    ".join(words)
    return f"CREATE OR REPLACE AGGREGATE {routine_name(fact.identity)}({arguments}) (\n    {listed}\n)"


def operator(text: str) -> str:
    """`OPERATOR(app.===)` of `app.===(app.address,app.address)`."""
    return f"OPERATOR({text[: text.rindex('(')]})"
