"""Differences as lines: the clause that differs is seen, however long it is."""

from __future__ import annotations

from typing import Any

import pytest

from ehg_migrate.errors import Problem
from ehg_migrate.report.differences import clusters_lines, comparison_lines, difference_lines
from ehg_migrate.schema.clusters import Cluster
from ehg_migrate.schema.comparing import Comparison, Grouping, Unread
from ehg_migrate.schema.difference import Change, Clause, Difference


def changed(left: Any, right: Any) -> Difference:
    """One clause of one object."""
    return Difference("view", "app.v", Change.CHANGED, (Clause("query", left, right),))


@pytest.mark.parametrize(
    ("left", "right", "lines"),
    [
        ("a", "b", ["query: a -> b"]),
        (None, True, ["query: - -> true"]),
        (["a", "b"], ["b", "a"], ['query: ["a", "b"] -> ["b", "a"]']),
        ("x" * 500 + "a" + "y" * 500, "x" * 500 + "b" + "y" * 500,
         [f"query: ...{'x' * 20}a{'y' * 139}... -> ...{'x' * 20}b{'y' * 139}..."]),
        ("one\ntwo\n", "one\ntwo\r\n", ["query:", "   one", "  -two", "  +two\\r"]),
        ("one\ntwo\nthree", "one\n2\nthree", ["query:", "   one", "  -two", "  +2", "   three"]),
        ("\n".join("abcdefghijklmno"), "\n".join("aBcdefghijklmNo"),
         ["query:", "   a", "  -b", "  +B", "   c", "   d", "  ...", "   l", "   m", "  -n", "  +N", "   o"]),
        ("a\n" + "x" * 999, "b\n" + "x" * 999, ["query:", "  -a", "  +b", f"   {'x' * 159}..."]),
    ],
)  # fmt: skip
def test_a_clause(left: Any, right: Any, lines: list[str]) -> None:
    """On one line, cut to where it differs; texts of several lines as a diff without its headers."""
    head, *rest = difference_lines([changed(left, right)], "")
    assert head == "changed  view app.v"
    assert [line.removeprefix(" " * 9) for line in rest] == lines


def test_a_whole_object_is_one_line() -> None:
    """Its clauses are in the JSON."""
    clause = Clause("type", "text", None)
    gone = Difference("column", "t.a", Change.MISSING, (clause,))
    assert list(difference_lines([gone])) == ["  missing  column t.a"]


def test_many_objects_are_counted() -> None:
    """Forty are shown of one target."""
    many = [Difference("table", f"t{i}", Change.EXTRA, ()) for i in range(43)]
    lines = list(difference_lines(many, ""))
    assert (len(lines), lines[-1]) == (41, "and 3 more; `--json` has all")


def test_a_comparison_ends_with_its_sum() -> None:
    """And says where the servers are of different versions, and which columns stand in another order."""
    note = Difference("column order", "app.t", Change.CHANGED, (Clause("columns", ["a", "b"], ["b", "a"]),))
    found = Comparison("a", "b", (changed("x", "y"),), (note,), "15.18", "18.4")
    assert list(comparison_lines(found))[-3:] == [
        "note: the columns of app.t stand in another order",
        "",
        "from `a` to `b`: 1 difference, 1 changed (PostgreSQL 15.18 and 18.4)",
    ]
    assert list(comparison_lines(Comparison("a", "b", (), (), "18.4", "18.4"))) == ["no difference between `a` and `b`"]


def test_clusters_name_the_outliers() -> None:
    """Each group with its targets; who could not be read, and why."""
    groups = (Cluster("f" * 64, ("a", "b")), Cluster("e" * 64, ("c",), (changed("x", "y"),)))
    lines = list(clusters_lines(Grouping(groups, (Unread("d", Problem("x", "it broke")),))))
    assert lines == [
        f"{'f' * 12}  2 targets: a, b",
        "",
        f"{'e' * 12}  1 target: c",
        "  from the first: 1 difference, 1 changed",
        "    changed  view app.v",
        "             query: x -> y",
        "",
        "d: it broke",
        "",
        "2 different schemas on 3 targets, outliers: c, 1 target not read",
    ]
