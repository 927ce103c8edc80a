"""How dictionaries and configurations of text search are made, dropped and altered. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehg_migrate.schema.corrections.words import Between, Ways, differs, listed, part, run
from ehg_migrate.schema.facts import Fact


def create_dictionary(fact: Fact, _: Between) -> Ways:
    """From its template."""
    d = fact.definition
    given = [f"TEMPLATE = {d['template']}", *([d["options"]] if d.get("options") else [])]
    return run(f"CREATE TEXT SEARCH DICTIONARY {fact.identity} ({listed(given)})")


def alter_dictionary(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """An option is set, or goes where it is named alone; made anew where the template is another."""
    drop = f"DROP TEXT SEARCH DICTIONARY {after.identity}"
    anew = ((*run(drop)[0], *create_dictionary(after, between)[0]),)
    if differs(before, after, "template"):
        yield anew
    elif differs(before, after, "options"):
        one, other = (f.definition.get("options") or "" for f in (before, after))
        gone = dict.fromkeys(n for n in _OPTION.findall(one) if n not in _OPTION.findall(other))
        changed = listed([*gone, *([other] if other else [])])
        yield (*run(f"ALTER TEXT SEARCH DICTIONARY {after.identity} ({changed})"), *anew)


_OPTION = re.compile(r"""(?<![^\s,])("(?:[^"]|"")*+"|[^\s,"'=]++) = E?'(?:[^'\\]|''|\\.)*'""", re.DOTALL)


def create_configuration(fact: Fact, _: Between) -> Ways:
    """With its mappings."""
    alter = f"ALTER TEXT SEARCH CONFIGURATION {fact.identity}"
    mappings = [f"{alter} ADD MAPPING FOR {t} WITH {listed(d)}" for t, d in part(fact, "mappings").items()]
    create = f"CREATE TEXT SEARCH CONFIGURATION {fact.identity} (PARSER = {fact.definition['parser']})"
    return run(create, *mappings)


def alter_configuration(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Mapping by mapping; another parser makes another configuration."""
    if differs(before, after, "parser"):
        drop = f"DROP TEXT SEARCH CONFIGURATION {after.identity}"
        yield ((*run(drop)[0], *create_configuration(after, between)[0]),)
        return
    one, other = part(before, "mappings"), part(after, "mappings")
    alter = f"ALTER TEXT SEARCH CONFIGURATION {after.identity}"
    for token in sorted({*one, *other}):
        if one.get(token) == other.get(token):
            continue
        if token in other:
            yield run(f"{alter} {'ALTER' if token in one else 'ADD'} MAPPING FOR {token} WITH {listed(other[token])}")
        else:
            yield run(f"{alter} DROP MAPPING FOR {token}")
