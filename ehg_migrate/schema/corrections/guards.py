"""How triggers, policies, rules and event triggers are made, dropped and altered. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ehg_migrate.schema.corrections.words import Between, Ways, differs, listed, literal, place, role, run
from ehg_migrate.schema.facts import Fact


def create_trigger(fact: Fact, _: Between) -> Ways:
    """One that is there but switched otherwise on this partition alone is only switched."""
    return (*run(fact.definition["definition"]), *run(_switched(fact)))


def drop_trigger(fact: Fact, between: Between) -> Ways:
    """One that a partition has from its parent cannot go; then the fact was only how it is switched."""
    name, table = place(fact.identity)
    if not _stays(table, between):
        return ()
    enabled = f"ALTER TABLE {table} ENABLE TRIGGER {name}"
    return (*run(f"DROP TRIGGER {name} ON {table}"), *run(enabled))


def alter_trigger(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Made anew for another definition."""
    name, table = place(after.identity)
    if differs(before, after, "definition"):
        yield run(f"DROP TRIGGER {name} ON {table}", after.definition["definition"])
    elif differs(before, after, "enabled"):
        yield run(_switched(after))


def _switched(fact: Fact) -> str:
    name, table = place(fact.identity)
    return f"ALTER TABLE {table} {_state(fact)} {fact.kind.upper()} {name}"


def _state(fact: Fact) -> str:
    words = {"disabled": "DISABLE", "replica": "ENABLE REPLICA", "always": "ENABLE ALWAYS"}
    return words.get(fact.definition.get("enabled", ""), "ENABLE")


def create_rule(fact: Fact, _: Between) -> Ways:
    """Also in the place of one that is there."""
    return run(_rule(fact))


def drop_rule(fact: Fact, between: Between) -> Ways:
    """Not of a relation that goes."""
    name, relation = place(fact.identity)
    return run(f"DROP RULE {name} ON {relation}") if _stays(relation, between) else ()


def alter_rule(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Replaced for another definition."""
    if differs(before, after, "definition"):
        yield run(_rule(after))
    elif differs(before, after, "enabled"):
        yield run(_switched(after))


def _rule(fact: Fact) -> str:
    return str(fact.definition["definition"]).replace("CREATE RULE", "CREATE OR REPLACE RULE", 1).rstrip(";")


def create_policy(fact: Fact, _: Between) -> Ways:
    """Whole."""
    return run(_policy(fact))


def drop_policy(fact: Fact, between: Between) -> Ways:
    """Not of a table that goes."""
    name, table = place(fact.identity)
    return run(f"DROP POLICY {name} ON {table}") if _stays(table, between) else ()


def alter_policy(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Altered where ALTER POLICY can say it, else made anew."""
    name, table = place(after.identity)
    lost = any(c in before.definition and c not in after.definition for c in ("using", "with check"))
    if lost or differs(before, after, "permissive", "command"):
        yield run(f"DROP POLICY {name} ON {table}", _policy(after))
    elif differs(before, after, "roles", "using", "with check"):
        yield run(f"ALTER POLICY {name} ON {table} {_conditions(after)}")


def _policy(fact: Fact) -> str:
    name, table = place(fact.identity)
    d = fact.definition
    kind = "PERMISSIVE" if d["permissive"] else "RESTRICTIVE"
    return f"CREATE POLICY {name} ON {table} AS {kind} FOR {d['command']} {_conditions(fact)}"


def _conditions(fact: Fact) -> str:
    d = fact.definition
    words = [f"TO {listed(map(role, d['roles']))}"]
    words += [f"USING ({d['using']})"] if "using" in d else []
    words += [f"WITH CHECK ({d['with check']})"] if "with check" in d else []
    return " ".join(words)


def create_event_trigger(fact: Fact, _: Between) -> Ways:
    """Switched as it shall be later."""
    d = fact.definition
    tags = f" WHEN TAG IN ({listed(map(literal, d['tags']))})" if d.get("tags") else ""
    return run(f"CREATE EVENT TRIGGER {fact.identity} ON {d['event']}{tags} EXECUTE FUNCTION {d['function']}()")


def drop_event_trigger(fact: Fact, _: Between) -> Ways:
    """It holds nothing."""
    return run(f"DROP EVENT TRIGGER {fact.identity}")


def alter_event_trigger(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Made anew for another event, tag or function."""
    if differs(before, after, "event", "tags", "function"):
        yield ((*drop_event_trigger(after, between)[0], *create_event_trigger(after, between)[0]),)
    elif differs(before, after, "enabled"):
        yield run(f"ALTER EVENT TRIGGER {after.identity} {_state(after)}")


def _stays(relation: str, between: Between) -> bool:
    """Whether the relation shall be there; one of the platform's is no fact and stays anyway."""
    kinds = ("table", "foreign table", "view", "materialized view")
    goes = any(between.present(kind, relation) for kind in kinds)
    return not goes or any(between.wanted(kind, relation) for kind in kinds)
