"""Rows that nobody can have written as revisions are not carried on, whatever database says that it holds them."""

from __future__ import annotations

import pytest

from ehg_migrate.database.probe import _believable
from ehg_migrate.errors import TargetError
from ehg_migrate.model import Address, Target

ONE = Target("one", Address("localhost", 5432, "me", "one", "disable"), ("shared",))


def test_rows_are_in_order() -> None:
    """Whatever order the database has."""
    assert _believable(["b", "a", "é", "B"], ONE) == ("B", "a", "b", "é")


@pytest.mark.parametrize("rows", [["a"] * 10_000, ["a" * 1000]])
def test_the_most_that_is_believed(rows: list[str]) -> None:
    """No history is as large."""
    assert _believable(rows, ONE) == tuple(rows)


@pytest.mark.parametrize("rows", [["a"] * 10_001, ["a", "b" * 1001]])
def test_more_is_not_believed(rows: list[str]) -> None:
    """It is no record of revisions, and would be shown everywhere."""
    with pytest.raises(TargetError) as raised:
        _believable(rows, ONE)
    assert raised.value.problem.code == "strange_answer"
    assert len(raised.value.problem.message) < 200
