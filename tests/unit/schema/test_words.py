"""Statements: constants that hold what somebody else has written end where they should, and the order is one."""

from __future__ import annotations

import tracemalloc

import pytest

from ehg_migrate.schema import dump
from ehg_migrate.schema.corrections.common import grant_changes
from ehg_migrate.schema.corrections.searching import _OPTION
from ehg_migrate.schema.corrections.words import dollars, place
from ehg_migrate.schema.scope import Scope


@pytest.mark.parametrize(
    "text", ["", "a", "$body$", "ends in $body", "$body$ and $body0", "$body\n$body", "$body$body"]
)
def test_a_constant_ends_at_its_end(text: str) -> None:
    """What PostgreSQL takes for the end is the first tag that is the one of the beginning."""
    written = dollars(text)
    tag = written[: written.index("$", 1) + 1]
    assert written.split(tag, 1)[1].index(tag) == len(text)


def test_a_long_constant_takes_no_more_memory_than_it_must() -> None:
    """Tags are thought of one by one: for a body of 1 MB they took 78, and a second and a half."""
    tracemalloc.start()
    try:
        dollars("x" * 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_the_order_of_statements() -> None:
    """It is the same in each process, so that what was written is not written anew with every look."""
    all_of_them = ["DELETE", "INSERT", "MAINTAIN", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"]
    revoked = [words.split()[1].removesuffix("{}") for words in grant_changes(", ".join(all_of_them), "")]
    assert revoked == all_of_them


@pytest.mark.parametrize("quotes", [3, 61, 100_001])
def test_no_row_of_quotes_takes_long(quotes: int) -> None:
    """Whoever names things may choose it; what does not end is stopped by the time limit of the tests."""
    row = '"' * quotes
    assert place('"a "" on b" on public."c on d"') == ('"a "" on b"', 'public."c on d"')
    with pytest.raises(AssertionError):
        place(f"{row}x")
    assert _OPTION.findall(f"a = 'x', \"b\" = E'\\\\', {'n' * quotes}, c = {row}") == ["a", '"b"']


@pytest.mark.parametrize(
    ("text", "obeyed"),
    [
        ("CHECK (a ~ '^\\d');\n", False),
        ("DEFAULT E'\\\\''';\n", False),
        ("AS $a$\n\\! id $b$ ' $a$;\n", False),
        ('TABLE "a\\b";\n', False),
        ("-- it's a\\b\n", False),
        ("SELECT 1\n\\! id\n", True),
        ("SELECT '''', a$b$c, \\! id\n", True),
        ("-- it's\n\\! id '\n", True),
    ],
)
def test_nothing_that_psql_would_obey_is_in_a_dump(text: str, obeyed: bool) -> None:
    """A server may answer pg_dump what it likes; without its random key nothing else keeps psql from the shell."""
    if obeyed:
        with pytest.raises(ValueError, match="psql"):
            dump._stable(text, Scope(), "key")
    else:
        assert dump._stable(text, Scope(), "key") == text
