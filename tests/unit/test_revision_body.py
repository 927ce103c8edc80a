"""SQL in revision files: whatever it holds, PostgreSQL gets the very text."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import psycopg

from ehg_migrate.revisions.body import comments, executed, with_body

EMPTY = (
    '"""m"""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n\n'
    "def upgrade() -> None:\n    pass\n\n\ndef downgrade() -> None:\n    pass\n"
)
TEXTS = (
    "SELECT 1",
    "SELECT ':x', :a:b, 'a :bc: d', ':é'",
    "SELECT a::text, :x::int, '10:30:00', arr[1:n], x := y, a:::b",
    r"SELECT 'a\:b', E'\\:b', '\::y', '\:', 'x\:y:z', '\\:b:c'",
    "SELECT '%s' % 5, '%%', ':x %'",
    "AS $body$\n    it's :here, 100%\n$body$",
    'COMMENT ON TABLE "odd ""Name" IS \'says """ and ends in\\\'',
    'SELECT "a"',
    "SELECT 'tab\there, return\r\nand \u2028 é'",
)


class Op:
    """Stands for Alembic's `op`: keeps what PostgreSQL's driver would be given."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def execute(self, statement: Any) -> None:
        """As `op.execute`: a text is one for `sqlalchemy.text`."""
        element = sa.text(statement) if isinstance(statement, str) else statement
        self.sent.append(str(element.compile(dialect=psycopg.dialect())).replace("%%", "%"))


@pytest.mark.parametrize("text", TEXTS)
def test_a_statement_is_sent_as_it_is(text: str) -> None:
    """Neither parameters, nor backslashes, nor quotes, nor the lines of a function's body are touched."""
    source = with_body(EMPTY, [*comments(["two\nlines"]), *executed([(text, False)])], executed([(text, True)]))
    names: dict[str, Any] = {}
    exec(compile(source.replace("from alembic import op\n", ""), "revision", "exec"), names)  # noqa: S102 - our own text
    for function in ("upgrade", "downgrade"):
        names["op"] = Op()
        names[function]()
        assert names["op"].sent == [text]


def test_what_is_destructive_is_marked() -> None:
    """In the line before."""
    assert executed([("DROP TABLE t", True)]) == ["    # destructive", '    op.execute("DROP TABLE t")']


def test_sqlalchemy_is_imported_only_where_it_is_used() -> None:
    """Else a linter of the user's complains."""
    assert "sqlalchemy" not in with_body(EMPTY, executed([("SELECT 1", False)]), [])
    assert "sqlalchemy" in with_body(EMPTY, executed([("SELECT ':a'", False)]), [])


def test_a_file_that_is_not_empty_is_not_filled() -> None:
    """Nothing of somebody's is written over."""
    with pytest.raises(ValueError, match="`upgrade` of the new revision is not empty"):
        with_body(EMPTY.replace("pass", "op.f()", 1), [], [])
