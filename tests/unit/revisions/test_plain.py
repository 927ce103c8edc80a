"""Which functions of revisions are plain lists of operations."""

from __future__ import annotations

import ast
import warnings
from textwrap import dedent, indent

import pytest

from ehg_migrate.revisions.plain import is_plain, is_silent

PLAIN = {
    "nothing": "pass",
    "words": '"""Makes a table."""\nop.create_table("a", sa.Column("id", sa.Integer(), primary_key=True))',
    "values": 'op.execute("CREATE TABLE " + NAME)\nop.drop_index(op.f("ix"), table_name=NAME)',
    "nested": 'op.create_table("a", sa.Column("at", sa.DateTime, server_default=sa.func.now()), comment=f"of {NAME}")',
    "dialect": 'op.add_column("a", sa.Column("x", postgresql.JSONB(astext_type=sa.Text()), nullable=True))',
    "text": 'op.execute(sa.text("COMMENT ON TABLE a IS NULL"))',
    "a word": "op.execute(sqltext=NAME)",
    "a text of many lines": f"op.execute({' + '.join(['NAME'] * 2000)})",
    "module": 'op.add_column("a", sqlalchemy.Column("b", sqlalchemy.types.Integer))',
}
NOT_PLAIN = {
    "a condition": 'if NAME:\n    op.execute("DROP TABLE a")',
    "a loop": 'for n in ("a", "b"):\n    op.drop_table(n)',
    "a block": 'with op.batch_alter_table("a") as batch:\n    batch.drop_column("b")',
    "an error caught": "try:\n    op.drop_table('a')\nexcept Exception:\n    pass",
    "a result kept": 'made = op.create_table("a")',
    "a connection": 'op.get_bind().execute(sa.text("SELECT 1"))',
    "an argument that asks": "op.execute(sa.text(op.get_bind().dialect.name))",
    "an operation as a value": 'op.execute(op.create_table("a"))',
    "an inspector": 'op.drop_table(sa.inspect("x"))',
    "an engine": 'op.execute(sa.create_engine("x").connect())',
    "another operation": "op.run_async(NAME)",
    "a function of its own": "helper()",
    "a builtin": 'op.execute(open("x").read())',
    "a comprehension": 'op.create_table("a", [n for n in "b"])',
    "several targets": "op.execute(*NAME)",
    "a name bound later": "op.execute(LATER)",
    "an assertion": "assert NAME",
    "an option of the connection": 'op.execute(NAME, execution_options={"schema_translate_map": {None: "b"}})',
    "options unseen": "op.execute(NAME, **NAME)",
    "a value of a call": "op.execute(sa.text(NAME).bindparams())",
    "a call in how a value is written": 'op.execute(f"{NAME:{input()}}")',
}
MODULES = {
    "another op": "from helpers import op",
    "op bound again": 'from alembic import op\nop = "x"',
    "op imported again": "from alembic import op\nfrom typing import Any as op",
    "op made again": "from alembic import op\ndef op(): pass",
    "a call": "import sqlalchemy\nfrom alembic import op\nsqlalchemy.event.listen(1, 2, 3)",
    "a call in a value": 'from alembic import op\nX = print("x")',
    "a call in an annotation": 'from alembic import op\nX: print("x") = 1',
    "a call in a default": 'from alembic import op\ndef helper(a=print("x")): pass',
    "a decorator": "from alembic import op\n@print\ndef helper(): pass",
    "a condition": "from alembic import op\nif True:\n    X = 1",
    "an import of one's own": "from alembic import op\nimport models",
    "a relative import": "from alembic import op\nfrom . import sqlalchemy",
    "a relative import of a known name": "from alembic import op\nfrom .sqlalchemy import text",
    "everything": "from alembic import op\nfrom sqlalchemy import *",
    "a class": "from alembic import op\nclass X: pass",
}
HEAD = """
from typing import Sequence, Union

import sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "a"
down_revision: Union[str, None] = None
depends_on: Union[str, Sequence[str], None] = ("x", "y")
NAME = "a" + "b"
"""


def _module(body: str, head: str = HEAD) -> bytes:
    return f'"""A revision."""\n{dedent(head)}\ndef upgrade() -> None:\n{indent(body, "    ")}\n'.encode()


@pytest.mark.parametrize("name", PLAIN)
def test_plain(name: str) -> None:
    """Operations of Alembic's on values that are written down, or made by SQLAlchemy from such values."""
    assert is_plain(_module(PLAIN[name]), "upgrade")


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_not_plain(name: str) -> None:
    """Whatever could ask the server, or notice when it answers, or is not known."""
    assert not is_plain(_module(NOT_PLAIN[name]), "upgrade")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_does_something(name: str) -> None:
    """The function is plain, but the module around it may change what its words mean."""
    body = 'op.drop_table("a")'
    assert is_plain(_module(body, "from alembic import op"), "upgrade")
    assert not is_plain(_module(body, MODULES[name]), "upgrade")
    assert not is_silent(ast.parse(_module(body, MODULES[name])))


def test_a_silent_module() -> None:
    """Its functions may do what they like: they do not run when it is loaded."""
    assert is_silent(ast.parse(_module("open('x').read()")))


def test_what_is_no_function_of_the_file() -> None:
    """One that is missing, has parameters, is made otherwise, or stands in a file that is no Python."""
    assert not is_plain(_module("pass"), "downgrade")
    assert not is_plain(_module("pass").replace(b"upgrade()", b"upgrade(*rest)"), "upgrade")
    assert not is_plain(b"upgrade = lambda: None", "upgrade")
    assert not is_plain(b"def upgrade(:", "upgrade")
    assert not is_plain(b"\0", "upgrade")


def test_an_invalid_escape_is_not_our_business() -> None:
    """Python warns of it when the file is run; that is to be seen once, and with the file's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_plain(_module(r"op.execute('\d')", "from alembic import op"), "upgrade")
