"""Which texts of SQL end the transaction that they are sent in, and which are one statement."""

from __future__ import annotations

import pytest

from ehg_migrate.database.leaving import Leave, is_one, leaves

COMMITS = ("COMMIT", "commit work", " /* a; b */ End;", "COMMIT AND CHAIN", "PREPARE TRANSACTION 'x'", "-- why\nCOMMIT",
           "COMMIT; BEGIN", "BEGIN; CREATE TABLE a (n int); COMMIT", "SELECT ';'; COMMIT",
           "DROP TABLE a$x$; COMMIT; DROP TABLE b$x$", "DROP TABLE a -- why\r; COMMIT")  # fmt: skip
ROLLS_BACK = ("ROLLBACK", "rollback transaction;", "ABORT", "ROLLBACK AND CHAIN")
BOTH = ("ROLLBACK; BEGIN", "SELECT 1; ABORT", "COMMIT; BEGIN; INSERT INTO a VALUES (1); ROLLBACK")
STAYS = (
    "CREATE TABLE a (n int)",
    "SAVEPOINT a; ROLLBACK TO a",
    "ROLLBACK WORK TO SAVEPOINT a",
    "SELECT 'x; COMMIT', E'it\\'s; COMMIT', 'it''s; COMMIT'",
    'COMMENT ON TABLE "a; COMMIT" IS NULL -- ; COMMIT',
    "DO $$ BEGIN NULL; END; $$",
    "DO $$\nBEGIN\n  NULL;\nEND;\n$$; /* it may\n; COMMIT */ SELECT e'it\\'s; COMMIT'",
    "DO $do$ BEGIN EXECUTE $$ x; COMMIT $$; END; $do$; SELECT 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END; SELECT 2",
    "PREPARE p AS SELECT 1",
    "ALTER TABLE a ADD commit_id int; CREATE TABLE ends (n int)",
)
CASES = [
    *((text, Leave.COMMIT) for text in COMMITS),
    *((text, Leave.ROLLBACK) for text in ROLLS_BACK),
    *((text, Leave.COMMIT | Leave.ROLLBACK) for text in BOTH),
    *((text, Leave(0)) for text in STAYS),
    ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT", Leave.COMMIT),
]


@pytest.mark.parametrize(("text", "how"), CASES)
def test_what_a_text_does_to_its_transaction(text: str, how: Leave) -> None:
    """Words in quotes, comments and bodies of functions do nothing; what follows a ROLLBACK may be kept."""
    assert leaves(text) == how


def test_a_long_text_is_read_quickly() -> None:
    """10 MB of a dump, with every word in its data: in time that grows with its length."""
    assert leaves("INSERT INTO a VALUES ('it''s; COMMIT; END');\n" * 250_000) == Leave(0)


ONE = (
    "CREATE TABLE a (n int)",
    "CREATE TABLE a (n int) ; ",
    "CREATE TABLE a (n int); -- why; and how",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.a = ''b;''; RETURN NEW; END'",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $f$BEGIN RETURN $$;$$; END$f$",
    "COMMENT ON TABLE \"a;b\" IS 'one; two' -- three; four",
    "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1'",
    "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS $→1$ SELECT $1; -- it's $→1$",
)
SEVERAL = (
    "CREATE TABLE a (n int); CREATE TABLE b (n int)",
    "COMMENT ON TABLE a IS 'it''s'; COMMENT ON TABLE b IS 'x'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",  # one, and it is not known
    "COMMENT ON TABLE a IS /* ' /* ; */ ' */ 'x'",
    "CREATE TABLE a$x$ (n int); CREATE TABLE b$x$ (n int)",  # parts of names
    "CREATE TABLE →$x$ (n int); CREATE TABLE b$x$ (n int)",
    "COMMENT ON TABLE a IS $→$it's$→$; COMMENT ON TABLE b IS $→$it's$→$",
    "CREATE TABLE a (n int) -- ends here\r; CREATE TABLE b (n int)",
    "CREATE TABLE a AS SELECT $1",  # one, and what the server says of its parameter depends on how it is sent
    "CREATE TABLE a (n int DEFAULT $1$); DROP TABLE b; --$1$",  # no tag begins with a digit
    r"COMMENT ON TABLE a IS 'x\'; DROP TABLE b; --'",  # a setting says whether the quote ends there
    r"COMMENT ON TABLE a IS 'x\''; DROP TABLE b; --'",
)


@pytest.mark.parametrize(("text", "one"), [*((t, True) for t in ONE), *((t, False) for t in SEVERAL)])
def test_whether_a_text_is_one_statement(text: str, one: bool) -> None:
    """For certain: what is sent as one and is several, the server refuses."""
    assert is_one(text) is one
