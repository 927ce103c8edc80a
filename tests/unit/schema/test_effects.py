"""Effects: what a step did that somebody should look at, rule by rule, from facts alone."""

from __future__ import annotations

from typing import Any

import pytest

from ehg_migrate.schema.effects import FACT_RULES, _cascade, effects
from ehg_migrate.schema.facts import Catalog, Fact

OPEN = {"grants": {"anon": "SELECT"}}
CASES: tuple[tuple[str, str, str, dict[str, Any], str], ...] = (
    ("granted without row security", "table", "public.t", OPEN, "open_table"),
    ("with row security", "table", "public.t", {**OPEN, "row security": True}, ""),
    ("granted to nobody from outside", "table", "public.t", {"grants": {"service_role": "SELECT"}}, ""),
    ("in a schema that is not served", "table", "inner.t", OPEN, ""),
    ("a view as its owner", "view", "public.v", OPEN, "open_view"),
    ("a view as its reader", "view", "public.v", {**OPEN, "options": {"security_invoker": "true"}}, ""),
    ("rows as its owner saw them", "materialized view", "public.m", OPEN, "open_view"),
    ("everybody writes", "policy", "p on t", {"command": "ALL", "roles": ["PUBLIC"], "using": "true"}, "open_policy"),
    ("everybody reads", "policy", "p on t", {"command": "SELECT", "roles": ["anon"], "using": "true"}, "open_reading"),
    ("all who log in read", "policy", "p", {"command": "SELECT", "roles": ["authenticated"], "using": "true"}, ""),
    ("the service writes", "policy", "p on t", {"command": "ALL", "roles": ["service_role"], "using": "true"}, ""),
    ("as its owner, any path", "function", "public.f()", {"security definer": True}, "definer_search_path"),
    ("a pinned path", "function", "f()", {"security definer": True, "settings": {"search_path": '""'}}, ""),
    ("an index that failed", "index", "public.i", {"valid": False}, "invalid_index"),
    ("a trigger that is off", "trigger", "g on t", {"enabled": "disabled"}, "trigger_off"),
    ("a key that is off", "constraint", "k on t", {"not enforced on": ["t"]}, "trigger_off"),
    ("a constraint for new rows", "constraint", "c on t", {"validated": False}, "not_validated"),
    ("a constraint for no rows", "constraint", "c on t",
     {"definition": "CHECK ((n > 0)) NOT ENFORCED", "validated": False}, ""),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "identity", "definition", "rule"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_a_step_makes(kind: str, identity: str, definition: dict[str, Any], rule: str) -> None:
    """A new object is judged by its facts; one that was so before is not this step's doing."""
    made = Catalog.of([Fact(kind, identity, definition)])
    assert [e.rule for e in effects(Catalog(()), made)] == ([rule] if rule else [])
    assert effects(made, made) == ()
    assert effects(Catalog(()), made, {rule}) == ()


def test_a_table_of_which_a_column_is_granted() -> None:
    """It is as open as one that is granted as a whole."""
    table, column = Fact("table", "public.t", {}), Fact("column", "public.t.c", OPEN)
    made = Catalog.of([table, column])
    assert [(e.rule, e.identity) for e in effects(Catalog(()), made)] == [("open_table", "table public.t")]
    assert effects(made, made) == ()
    assert "open_table" in [e.rule for e in effects(Catalog.of([table]), made)]
    closed = Fact("table", "public.t", {"row security": True})
    assert effects(Catalog(()), Catalog.of([closed, column])) == ()


def test_every_rule_of_facts_has_a_case() -> None:
    """No rule goes untried."""
    assert {c[4] for c in CASES if c[4]} == FACT_RULES.keys()


def test_what_a_step_loses() -> None:
    """A dropped table is said once, without its columns; a dropped column of a table that stays by itself."""
    before = Catalog.of(
        Fact(kind, identity, {}) for kind, identity in
        (("table", "s.a"), ("column", "s.a.x"), ("table", "s.b"), ("column", "s.b.x"), ("column", "s.b.y"))
    )  # fmt: skip
    after = Catalog.of(Fact(kind, identity, {}) for kind, identity in (("table", "s.b"), ("column", "s.b.x")))
    assert [e.identity for e in effects(before, after)] == ["column s.b.y", "table s.a"]


def test_a_column_with_a_dot_in_its_name() -> None:
    """It is lost like any other, and so it is not said twice where its table goes."""
    table, column = Fact("table", 's."t.u"', {}), Fact("column", 's."t.u"."a.b"', {})
    before, after = Catalog.of([table, column]), Catalog.of([table])
    assert [str(e.identity) for e in effects(before, after)] == [str(column)]
    assert [str(e.identity) for e in effects(before, Catalog(()))] == [str(table)]


@pytest.mark.parametrize("kind", ["text search dictionary", "server", "index", "domain", "range"])
def test_options_of_other_objects_than_views(kind: str) -> None:
    """A dictionary's are one text."""
    fact = Fact(kind, "public.words", {"options": "accept = 'false'", "grants": {"anon": "SELECT"}})
    assert effects(Catalog(()), Catalog.of([fact])) == ()


def test_a_sequence_that_goes_with_its_column() -> None:
    """Is not said by itself; one of its own is."""
    before = Catalog.of(
        (Fact("table", "s.t", {}), Fact("sequence", "s.t_id_seq", {"owned by": "s.t.id"}), Fact("sequence", "s.q", {}))
    )
    assert [f"{e.rule} {e.identity}" for e in effects(before, Catalog(()))] == [
        "dropped sequence s.q",
        "lost_data table s.t",
    ]


_ODD = '"' + "REFERENCES a(" * 3000 + '"'


@pytest.mark.parametrize(
    ("definition", "table"),
    [
        ("FOREIGN KEY (a, b) REFERENCES public.x(a, b) ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE", "public.x"),
        ('FOREIGN KEY ("b) ""c") REFERENCES "p.q"."x("(a) MATCH FULL ON DELETE CASCADE NOT VALID', '"p.q"."x("'),
        ("FOREIGN KEY (a) REFERENCES x(a) ON DELETE SET NULL (a)", ""),
        ('FOREIGN KEY (" ON DELETE CASCADE") REFERENCES x(a)', ""),
        ('FOREIGN KEY (a, PERIOD b) REFERENCES x(a, PERIOD " ON DELETE CASCADE")', ""),
        (f"FOREIGN KEY ({_ODD}) REFERENCES x(a) ON DELETE CASCADE", "x"),
        (f"FOREIGN KEY ({_ODD}) REFERENCES x({_ODD})", ""),
    ],
)
def test_whose_rows_take_others_along(definition: str, table: str) -> None:
    """Whatever columns are called, and at once: one that takes long is stopped by the time limit of the tests."""
    found = _cascade(Fact("constraint", "k on t", {"type": "foreign key", "definition": definition}))
    assert (found[1] if found else "") == table
