"""Statements: constants that hold what somebody else has written end where they should, and the order is one."""

from __future__ import annotations

import pytest

from ehg_migrate.schema.corrections.common import grant_changes
from ehg_migrate.schema.corrections.words import dollars


@pytest.mark.parametrize(
    "text", ["", "a", "$body$", "ends in $body", "$body$ and $body0", "$body\n$body", "$body$body"]
)
def test_a_constant_ends_at_its_end(text: str) -> None:
    """What PostgreSQL takes for the end is the first tag that is the one of the beginning."""
    written = dollars(text)
    tag = written[: written.index("$", 1) + 1]
    assert written.split(tag, 1)[1].index(tag) == len(text)


def test_the_order_of_statements() -> None:
    """It is the same in each process, so that what was written is not written anew with every look."""
    all_of_them = ["DELETE", "INSERT", "MAINTAIN", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"]
    revoked = [words.split()[1].removesuffix("{}") for words in grant_changes(", ".join(all_of_them), "")]
    assert revoked == all_of_them
