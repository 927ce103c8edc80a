"""Facts and catalogues as values: the canonical text, the fingerprint, what separates two of them."""

from __future__ import annotations

from typing import Any

import pytest

from ehg_migrate.schema.clusters import clusters, grouped
from ehg_migrate.schema.difference import Change, Clause, Difference, differences, notes
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.scope import Scope, schema_scope


def catalog(*facts: tuple[str, str, dict[str, Any]]) -> Catalog:
    """A catalogue of a few facts."""
    return Catalog.of(Fact(*fact) for fact in facts)


NOTES = ("table", "public.notes", {"row security": True, "grants": {"anon": "SELECT"}})
BODY = ("column", "public.notes.body", {"type": "text", "default": "'x'::text"})


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ({}, "{}"),
        ({"bb": 1, "a": True, "c": None}, '{"a": true, "c": null, "bb": 1}'),
        ({"é": 1, "zz": 2, "y": 3}, '{"y": 3, "zz": 2, "é": 1}'),
        ({"a": ["x", {"d": 1, "c": "2"}]}, '{"a": ["x", {"c": "2", "d": 1}]}'),
        ({"a": 'q"\\\n\t\x01\x7fé€'}, '{"a": "q\\"\\\\\\n\\t\\u0001\x7fé€"}'),
    ],
)
def test_the_canonical_text_is_that_of_jsonb(definition: dict[str, Any], text: str) -> None:
    """Keys by their length in bytes, then by their bytes; the integration tests hold it against a server's."""
    assert Fact("k", "i", definition).line().decode() == f"k\ni\n{text}"


def test_a_fingerprint_knows_no_order_and_no_version() -> None:
    """Of facts, of keys and of the server."""
    one = catalog(NOTES, BODY)
    other = Catalog((Fact(*BODY), Fact("table", "public.notes", dict(reversed(NOTES[2].items())))), "15.1")
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 64


def test_a_fingerprint_leaves_notes_out() -> None:
    """Columns in another order are the same schema."""
    order = ("column order", "public.notes", {"columns": ["id", "body"]})
    other = ("column order", "public.notes", {"columns": ["body", "id"]})
    assert catalog(NOTES, order).fingerprint == catalog(NOTES, other).fingerprint == catalog(NOTES).fingerprint
    assert differences(catalog(NOTES, order), catalog(NOTES, other)) == ()
    assert [n.identity for n in notes(catalog(NOTES, order), catalog(NOTES, other))] == ["public.notes"]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([NOTES, BODY], [NOTES, BODY], []),
        ([NOTES], [], [(Change.MISSING, [("grants.anon", "SELECT", None), ("row security", True, None)])]),
        ([], [BODY], [(Change.EXTRA, [("default", None, "'x'::text"), ("type", None, "text")])]),
        (
            [NOTES],
            [("table", "public.notes", {"grants": {"anon": "INSERT", "b": "SELECT"}})],
            [
                (
                    Change.CHANGED,
                    [("grants.anon", "SELECT", "INSERT"), ("grants.b", None, "SELECT"), ("row security", True, None)],
                )
            ],
        ),
        ([("enum", "e", {"labels": ["a", "b"]})], [("enum", "e", {"labels": ["b", "a"]})],
         [(Change.CHANGED, [("labels", ["a", "b"], ["b", "a"])])]),
        ([("schema", "s", {})], [], [(Change.MISSING, [])]),
    ],
)  # fmt: skip
def test_differences(left: list[Any], right: list[Any], expected: list[Any]) -> None:
    """Each object once, with every clause that differs; none exactly where the fingerprints are equal."""
    one, other = catalog(*left), catalog(*right)
    found = differences(one, other)
    assert [(d.change, [(c.name, c.left, c.right) for c in d.clauses]) for d in found] == expected
    assert (found == ()) is (one.fingerprint == other.fingerprint)


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [(["a", "b"], ["b", "a"], True), (["a", "x", "b"], ["a", "b"], False), (["a", "b"], ["a", "x", "b"], False)],
)
def test_a_column_that_one_side_lacks_is_no_reordering(left: list[str], right: list[str], said: bool) -> None:
    """It is a difference already."""
    one, other = (catalog(("column order", "t", {"columns": c})) for c in (left, right))
    assert bool(notes(one, other)) is said


def test_clusters() -> None:
    """The largest group is first and separates from nothing; the others say what they have and lack."""
    same, other = catalog(NOTES, BODY), catalog(NOTES)
    groups = grouped({"c": other.fingerprint, "a": same.fingerprint, "b": same.fingerprint})
    assert groups == {same.fingerprint: ("a", "b"), other.fingerprint: ("c",)}
    first, second = clusters(groups, {same.fingerprint: same, other.fingerprint: other})
    assert (first.targets, first.differences) == (("a", "b"), ())
    lost = (Clause("default", "'x'::text", None), Clause("type", "text", None))
    assert second.targets == ("c",)
    assert second.differences == (Difference("column", "public.notes.body", Change.MISSING, lost),)
    assert clusters({}, {}) == ()


def test_groups_of_equal_size_stand_in_the_order_of_their_targets() -> None:
    """So that the same fleet is always told in the same words."""
    assert list(grouped({"a": "2", "b": "1", "c": "3", "d": "3"})) == ["3", "2", "1"]


def test_two_schemas_have_one_scope_but_for_the_name() -> None:
    """Whatever the scope of their targets leaves out elsewhere."""
    base = Scope(without_tables=("public.alembic_version", "app.versions"))
    assert schema_scope("a", base).without_tables == schema_scope("b", base).without_tables
    assert schema_scope("a", base).only == ("a",)
    with pytest.raises(ValueError, match="exactly one schema"):
        Scope(only=("a", "b"), alias=True)
