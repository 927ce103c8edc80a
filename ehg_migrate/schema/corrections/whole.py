"""How extensions, publications, foreign servers and default privileges are made, dropped and altered. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehg_migrate.schema.corrections.common import SELF, grant_changes
from ehg_migrate.schema.corrections.words import (
    OWNER,
    Between,
    Ways,
    differs,
    listed,
    literal,
    part,
    place,
    role,
    run,
)
from ehg_migrate.schema.facts import Fact


def create_extension(fact: Fact, _: Between) -> Ways:
    """In its schema, which must be there."""
    version = f" VERSION {literal(fact.definition['version'])}" if "version" in fact.definition else ""
    return run(f"CREATE EXTENSION {fact.identity} SCHEMA {fact.definition['schema']}{version}")


def drop_extension(fact: Fact, _: Between) -> Ways:
    """With all that belongs to it."""
    return run(f"DROP EXTENSION {fact.identity}", destructive=True)


def alter_extension(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """As far as the extension has a script for that way."""
    if differs(before, after, "version"):
        yield run(f"ALTER EXTENSION {after.identity} UPDATE TO {literal(after.definition.get('version'))}")
    if differs(before, after, "schema"):
        yield run(f"ALTER EXTENSION {after.identity} SET SCHEMA {after.definition['schema']}")


def create_publication(fact: Fact, _: Between) -> Ways:
    """Its tables are added one by one."""
    return run(_publication(fact))


def _publication(fact: Fact) -> str:
    everything = " FOR ALL TABLES" if fact.definition.get("all tables") else ""
    return f"CREATE PUBLICATION {fact.identity}{everything} WITH ({_publishing(fact)})"


def _publishing(fact: Fact) -> str:
    d = fact.definition
    words = [f"publish = {literal(d['publish'])}", f"publish_via_partition_root = {'via root' in d}"]
    words += [f"publish_generated_columns = {_GENERATED[d['generated columns']]}"] if "generated columns" in d else []
    return listed(words).lower()


_GENERATED = {"s": "stored"}
"""What `pg_publication` writes -> the word for it."""


def drop_publication(fact: Fact, _: Between) -> Ways:
    """Who subscribes to it gets no more."""
    return run(f"DROP PUBLICATION {fact.identity}", destructive=True)


def alter_publication(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Made anew where it publishes all tables and shall not, or the other way."""
    if differs(before, after, "all tables"):
        yield run(f"DROP PUBLICATION {after.identity}", _publication(after), destructive=True)
    elif differs(before, after, "publish", "via root", "generated columns"):
        none = {"generated columns"} & before.definition.keys() - after.definition.keys()
        more = ", publish_generated_columns = none" if none else ""
        yield run(f"ALTER PUBLICATION {after.identity} SET ({_publishing(after)}{more})")


def create_publication_member(fact: Fact, _: Between) -> Ways:
    """A table with its columns and filter, or a schema."""
    return run(_added(fact))


def drop_publication_member(fact: Fact, _: Between) -> Ways:
    """It is not published any more."""
    publication, member = _member(fact)
    return run(f"ALTER PUBLICATION {publication} DROP {_what(fact)} {member}")


def alter_publication_member(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Taken out and put in."""
    if differs(before, after, "columns", "where"):
        publication, member = _member(after)
        yield run(f"ALTER PUBLICATION {publication} DROP {_what(after)} {member}", _added(after))


def _added(fact: Fact) -> str:
    publication, member = _member(fact)
    d = fact.definition
    columns = f" ({listed(d['columns'])})" if d.get("columns") else ""
    where = f" WHERE ({d['where']})" if "where" in d else ""
    return f"ALTER PUBLICATION {publication} ADD {_what(fact)} {member}{columns}{where}"


def _what(fact: Fact) -> str:
    return "TABLE ONLY" if fact.kind == "publication table" else "TABLES IN SCHEMA"


def _member(fact: Fact) -> tuple[str, str]:
    found = re.fullmatch(r'("(?:[^"]|"")*"|[^"]+?): (.+)', fact.identity)
    assert found is not None, fact.identity
    return found[1], found[2]


def create_wrapper(fact: Fact, _: Between) -> Ways:
    """Its options are known by a hash, and are left."""
    words = [
        f"{w.upper()} {fact.definition[w].split('(')[0]}" for w in ("handler", "validator") if w in fact.definition
    ]
    return run(" ".join([f"CREATE FOREIGN DATA WRAPPER {fact.identity}", *words]))


def create_server(fact: Fact, _: Between) -> Ways:
    """Its options are known by a hash, and are left."""
    d = fact.definition
    words = [f"{w.upper()} {literal(d[w])}" for w in ("type", "version") if w in d]
    return run(" ".join([f"CREATE SERVER {fact.identity}", *words, f"FOREIGN DATA WRAPPER {d['wrapper']}"]))


def drop_server(fact: Fact, _: Between) -> Ways:
    """With its options, which nobody here can read."""
    return run(f"DROP {fact.kind.upper()} {fact.identity}", destructive=True)


def alter_server(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """A version is set and an option taken away; a new value of an option is not known."""
    alter = f"ALTER {after.kind.upper()} {after.identity}"
    if differs(before, after, "version"):
        version = after.definition.get("version")
        yield run(f"{alter} VERSION {'NULL' if version is None else literal(version)}")
    gone = part(before, "options").keys() - part(after, "options").keys()
    if gone:
        yield run(f"{alter} OPTIONS ({listed(f'DROP {o}' for o in sorted(gone))})")


def create_user_mapping(fact: Fact, _: Between) -> Ways:
    """Without who logs in and by what password: nobody here knows."""
    return run(f"CREATE {_mapping(fact)}")


def drop_user_mapping(fact: Fact, _: Between) -> Ways:
    """With its password."""
    return run(f"DROP {_mapping(fact)}", destructive=True)


def _mapping(fact: Fact) -> str:
    who, server = place(fact.identity)
    return f"USER MAPPING FOR {role(who)} SERVER {server}"


_DEFAULT = re.compile(r'of ("(?:[^"]|"")*"|[^" ]+)(?: in ("(?:[^"]|"")*"|[^" ]+))? on (.+)')
_BY_ITSELF = {"functions": "EXECUTE", "types": "USAGE"}
"""What PostgreSQL gives to everybody where nothing else was said, for the whole database."""


def default_privileges(before: Fact | None, after: Fact | None, _: Between) -> Iterator[Ways]:
    """Statements between two entries, either of which may not be there."""
    fact = after or before
    assert fact is not None
    found = _DEFAULT.fullmatch(fact.identity)
    assert found is not None, fact.identity
    who, schema, kind = found.groups()
    start = f"ALTER DEFAULT PRIVILEGES FOR ROLE {role(who)}{f' IN SCHEMA {schema}' if schema else ''}"
    usual = {"PUBLIC": _BY_ITSELF[kind]} if not schema and kind in _BY_ITSELF else {}
    one, other = (part(f, "grants") if f else usual for f in (before, after))
    for grantee in sorted({*one, *other} - {SELF}):
        for change in grant_changes(one.get(grantee), other.get(grantee)):
            yield run(f"{start} {change.format(f' ON {kind.upper()}', role(grantee))}")
    yield from _own(one.get(SELF), other.get(SELF), start, kind, who)


def _own(before: str | None, after: str | None, start: str, kind: str, who: str) -> Iterator[Ways]:
    one, other = (text.removeprefix("without ") if text else None for text in (before, after))
    for change in grant_changes(other, one):  # what was given up more is what is granted less
        yield run(f"{start} {change.format(f' ON {kind.upper()}', role(who or OWNER))}")
