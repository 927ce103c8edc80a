"""From facts to statements: for each kind of object how one is made, dropped and altered, in an order worth trying.

Nothing here knows whether a statement does what it shall: `schema/proof.py` runs it and reads the catalogue again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ehg_migrate.schema.corrections import (
    columns,
    constraints,
    guards,
    operators,
    routines,
    searching,
    sequences,
    tables,
    types,
    views,
    whole,
)
from ehg_migrate.schema.corrections.common import common_changes
from ehg_migrate.schema.corrections.words import Between, Statement, Step, Way, Ways
from ehg_migrate.schema.facts import NOTES, Fact

__all__ = ["Between", "Statement", "Step", "Way", "Ways", "dropping", "steps"]


def _nothing(before: Fact, after: Fact, between: Between) -> Iterable[Ways]:
    """Of this kind nothing is altered but what all kinds have alike."""
    return ()


@dataclass(frozen=True, slots=True)
class Rules:
    """How objects of one kind are made, dropped and altered. No ways: it comes or goes with something else."""

    create: Callable[[Fact, Between], Ways]
    drop: Callable[[Fact, Between], Ways]
    alter: Callable[[Fact, Fact, Between], Iterable[Ways]] = _nothing


_TABLE = Rules(tables.create_table, tables.drop_table, tables.alter_table)
_ROUTINE = Rules(routines.create_routine, routines.drop_routine, routines.alter_routine)
_MEMBER = Rules(whole.create_publication_member, whole.drop_publication_member, whole.alter_publication_member)

RULES = {
    "schema": Rules(sequences.create_schema, sequences.drop_schema),
    "extension": Rules(whole.create_extension, whole.drop_extension, whole.alter_extension),
    "default privileges": Rules(lambda fact, between: (), lambda fact, between: ()),
    "foreign data wrapper": Rules(whole.create_wrapper, whole.drop_server, whole.alter_server),
    "server": Rules(whole.create_server, whole.drop_server, whole.alter_server),
    "user mapping": Rules(whole.create_user_mapping, whole.drop_user_mapping),
    "collation": Rules(types.create_collation, types.drop_collation, types.alter_collation),
    "shell type": Rules(types.create_type, types.drop_type),
    "enum": Rules(types.create_type, types.drop_type, types.alter_enum),
    "composite type": Rules(types.create_type, types.drop_type, types.alter_composite),
    "domain": Rules(types.create_type, types.drop_type, types.alter_domain),
    "range": Rules(types.create_type, types.drop_type, types.alter_range),
    "sequence": Rules(sequences.create_sequence, sequences.drop_sequence, sequences.alter_sequence),
    "table": _TABLE,
    "foreign table": _TABLE,
    "column": Rules(columns.create_column, columns.drop_column, columns.alter_column),
    "procedure": _ROUTINE,
    "function": _ROUTINE,
    "aggregate": _ROUTINE,
    "operator": Rules(operators.create_operator, operators.drop_object, operators.alter_operator),
    "operator family": Rules(operators.create_operator_family, operators.drop_object),
    "operator class": Rules(operators.create_operator_class, operators.drop_object, operators.alter_operator_class),
    "cast": Rules(operators.create_cast, operators.drop_object, operators.alter_cast),
    "text search dictionary": Rules(searching.create_dictionary, operators.drop_object, searching.alter_dictionary),
    "text search configuration": Rules(
        searching.create_configuration, operators.drop_object, searching.alter_configuration
    ),
    "index": Rules(constraints.create_index, constraints.drop_index, constraints.alter_index),
    "constraint": Rules(constraints.create_constraint, constraints.drop_constraint, constraints.alter_constraint),
    "statistics": Rules(constraints.create_statistics, constraints.drop_statistics, constraints.alter_statistics),
    "view": Rules(views.create_view, views.drop_view, views.alter_view),
    "materialized view": Rules(
        views.create_materialized_view, views.drop_materialized_view, views.alter_materialized_view
    ),
    "rule": Rules(guards.create_rule, guards.drop_rule, guards.alter_rule),
    "trigger": Rules(guards.create_trigger, guards.drop_trigger, guards.alter_trigger),
    "policy": Rules(guards.create_policy, guards.drop_policy, guards.alter_policy),
    "event trigger": Rules(guards.create_event_trigger, guards.drop_event_trigger, guards.alter_event_trigger),
    "publication": Rules(whole.create_publication, whole.drop_publication, whole.alter_publication),
    "publication table": _MEMBER,
    "publication schema": _MEMBER,
}
"""By kind, in the order in which objects are made; they are dropped in the opposite order."""

_RANK = {kind: i for i, kind in enumerate(RULES)}


def steps(between: Between) -> list[Step]:
    """Steps towards the goal, in the order in which most can be run: what goes, the last made first, then the rest.

    A kind without rules has no step, and stays among what differs.
    """
    names = [n for n in {*between.current.by_name, *between.goal.by_name} if n[0] in RULES and n[0] not in NOTES]
    at = _positions(between)
    ordered = sorted(names, key=lambda n: (_RANK[n[0]], at.get(n, ("", 0)), n[1]))
    gone = [s for n in reversed(ordered) if n not in between.goal.by_name for s in _steps(n, between)]
    return gone + [s for n in ordered if n in between.goal.by_name for s in _steps(n, between)]


def _positions(between: Between) -> dict[tuple[str, str], tuple[str, int]]:
    """Of each column its table and number: columns that are added stand in the order of the goal then."""
    tables = [f for f in between.goal.facts if f.kind == "column order"]
    return {
        ("column", f"{t.identity}.{name}"): (t.identity, i)
        for t in tables
        for i, name in enumerate(t.definition["columns"])
    }


def dropping(fact: Fact, between: Between) -> Step:
    """The step that takes away one object, in the way of others; the next round makes it again."""
    return Step(fact.kind, fact.identity, RULES[fact.kind].drop(fact, between))


def _steps(name: tuple[str, str], between: Between) -> Iterator[Step]:
    before, after = between.present(*name), between.wanted(*name)
    if before != after:
        yield from (Step(*name, ways) for ways in _ways(name[0], before, after, between) if ways)


def _ways(kind: str, before: Fact | None, after: Fact | None, between: Between) -> Iterator[Ways]:
    if kind == "default privileges":
        yield from whole.default_privileges(before, after, between)
    elif after is None:
        assert before is not None
        yield RULES[kind].drop(before, between)
    elif before is None:
        yield RULES[kind].create(after, between)
    else:
        yield from RULES[kind].alter(before, after, between)
        yield from common_changes(before, after)
