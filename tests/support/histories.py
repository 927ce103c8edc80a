"""Histories of Alembic revisions as people have them after some years: shapes of graphs, ways to write, things done."""

from __future__ import annotations

import re
from textwrap import dedent

from tests.support.project import revision
from tests.support.stock import History


def table(id_: str, down: str | tuple[str, ...] | None = None, **more: object) -> str:
    """A revision that makes one table, named after it, and fills it."""
    name = re.sub(r"\W", "_", id_)[:40]
    up = f"CREATE TABLE t_{name} (id int PRIMARY KEY, n int DEFAULT 1); INSERT INTO t_{name} VALUES (1)"
    return revision(id_, down, up=up, down_sql=f"DROP TABLE t_{name}", **more)


def code(id_: str, down: str | None, up: str, undo: str = "pass", head: str = "") -> str:
    """A revision whose functions are Python, under further lines of its module."""
    text = revision(id_, down, up_code=dedent(up), down_code=dedent(undo))
    return text.replace(
        "from alembic import op\n", f"import sqlalchemy as sa\nfrom alembic import context, op\n{dedent(head)}"
    )


# --- shapes of graphs

LINEAR = History(
    "linear",
    {
        "shared/1.py": code(
            "a1",
            None,
            """
            op.create_table("people", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)))
            op.create_index("people_name", "people", ["name"])
            """,
            'op.drop_table("people")',
        ),
        "shared/2.py": code(
            "a2",
            "a1",
            """
            op.add_column("people", sa.Column("born", sa.Date))
            with op.batch_alter_table("people") as batch:
                batch.add_column(sa.Column("town", sa.Text, server_default="100% here"))
                batch.create_unique_constraint("people_unique", ["name", "born"])
            """,
            """
            op.drop_constraint("people_unique", "people")
            op.drop_column("people", "town")
            op.drop_column("people", "born")
            """,
        ),
        "shared/3.py": code(
            "a3",
            "a2",
            'op.alter_column("people", "name", type_=sa.Text, nullable=False)',
            'op.alter_column("people", "name", type_=sa.String(50), nullable=True)',
        ),
    },
)

MERGES = History(
    "merges",
    {
        "shared/core.py": table("core"),
        "shared/l1.py": table("l1", "core"),
        "shared/l2.py": table("l2", "l1"),
        "shared/r1.py": table("r1", "core"),
        "shared/r2.py": table("r2", "core"),
        "shared/m1.py": revision("m1", ("l2", "r1", "r2")),
        "shared/x.py": table("x", "m1"),
        "shared/y.py": table("y", "m1"),
        "shared/m2.py": table("m2", ("x", "y")),
    },
)

SEVERAL_ROOTS = History(
    "several_roots",
    {
        "shared/p1.py": table("p1"),
        "shared/p2.py": table("p2", "p1"),
        "shared/q1.py": table("q1"),
        "shared/z1.py": table("z1"),
        "shared/m.py": table("m", ("p2", "q1")),
    },
)

EXPAND_CONTRACT = History(
    "expand_contract",
    {
        "shared/core.py": revision("core", up="CREATE TABLE u (id int, a text)", down_sql="DROP TABLE u"),
        "shared/e1.py": revision(
            "e1", "core", label="expand", up="ALTER TABLE u ADD b text", down_sql="ALTER TABLE u DROP b"
        ),
        "shared/e2.py": revision("e2", "e1", up="ALTER TABLE u ADD c text", down_sql="ALTER TABLE u DROP c"),
        "shared/c1.py": revision(
            "c1",
            "core",
            label="contract",
            depends=("e1",),
            up="ALTER TABLE u DROP a",
            down_sql="ALTER TABLE u ADD a text",
        ),
        "shared/c2.py": revision(
            "c2",
            "c1",
            depends=("e2",),
            up="ALTER TABLE u RENAME c TO d",
            down_sql="ALTER TABLE u RENAME d TO c",
        ),
    },
)

DEPENDS_ON = History(
    "depends_on",
    {
        "shared/s1.py": table("s1", label="shared"),
        "shared/s2.py": table("s2", "s1"),
        "crm/g1.py": table("g1", label="crm"),
        "crm/g2.py": table("g2", "g1", depends=("s1",)),
        "app/a1.py": table("a1", label="app", depends=("shared",)),  # its FIRST revision
        "app/a2.py": table("a2", "a1", depends=("g2", "s2")),
    },
)

REDUNDANT = History(
    "redundant_parents",
    {
        "shared/s1.py": table("s1", label="shared"),
        "shared/s2.py": table("s2", "s1"),
        "crm/g1.py": table("g1", label="crm"),
        "app/a1.py": table("a1", label="app", depends=("s1", "s2", "g1")),
        "app/a2.py": table("a2", "a1", depends=("s1",)),
    },
    stock_says="KeyError: 's1'",
)

REDUNDANT_APART = History(
    "redundant_parents_apart",
    {
        "shared/s1.py": table("s1", label="shared"),
        "shared/s2.py": table("s2", "s1"),
        "crm/g1.py": table("g1", label="crm", depends=("s2",)),
        "erp/h1.py": table("h1", label="erp"),
        "app/a1.py": table("a1", label="app", depends=("s2", "g1", "h1")),
    },
    stock_says="KeyError: 's2'",
)

WORDS = History(
    "words",
    {
        "shared/first.py": table("create everything"),
        "shared/second.py": table("Übergang_2", "create everything"),
        "shared/third.py": table("v1.2.3", "Übergang_2"),
    },
)

WIDE = "ALTER TABLE alembic_version ALTER version_num TYPE varchar(100)"

LONG_IDS = History(
    "long_ids",
    {
        "shared/1.py": revision("short", up=WIDE),
        "shared/2.py": table("2024_11_05_add_the_table_of_all_customers", "short"),
        "shared/3.py": table(
            "2024_11_06_add_the_table_of_all_their_orders", "2024_11_05_add_the_table_of_all_customers"
        ),
    },
)

TOO_LONG = History(
    "too_long_for_stock",
    {"shared/1.py": table("2024_11_05_add_the_table_of_all_customers")},
    stock_says="StringDataRightTruncation",
)

NESTED = History(
    "nested_folders",
    {
        "shared/2023/01/a.py": table("n1"),
        "shared/2023/02/b.py": table("n2", "n1"),
        "shared/2024/a.py": table("n3", "n2"),
        "shared/c.py": table("n4", "n3"),
        "shared/2024/__init__.py": "",
    },
)

HUNDREDS = History(
    "hundreds",
    {f"shared/r{i:03}.py": table(f"r{i:03}", f"r{i - 1:03}" if i else None) for i in range(300)},
)

COMPUTED = History(
    "computed_ids",
    {
        "shared/0001_start.py": revision("x").replace("revision = 'x'", 'revision = __file__.rsplit("/", 1)[1][:4]'),
        "shared/0002_more.py": table("x1", "y")
        .replace("revision = 'x1'", 'revision = f"{2:04}"', 1)
        .replace("down_revision = 'y'", "down_revision = PARENT", 1)
        .replace("from alembic import op\n", "from alembic import op\nfrom computed_parents import PARENT\n"),
        "shared/0003_loop.py": table("x2", "y")
        .replace("revision = 'x2'", 'for revision in ("0002", "0003"):\n    pass', 1)
        .replace("down_revision = 'y'", 'down_revision: str = "0002"', 1),
        "shared/abc123.py": table("x3", "y")
        .replace("revision = 'x3'\n", "", 1)
        .replace("down_revision = 'y'", 'down_revision = ["0003"]', 1),
    },
    {"computed_parents.py": 'PARENT = "%04d" % 1\n'},
)

CALLABLES = History(
    "callables",
    {
        "shared/1.py": """
import functools

from alembic import op

revision = "c1"
down_revision = None


class Undo:
    def __call__(self):
        op.drop_table("people")


upgrade = functools.partial(op.execute, "CREATE TABLE people (id int)")
downgrade = Undo()
""",
    },
)

# --- what revisions read

IMPORTS = History(
    "imports",
    {
        "shared/1.py": code(
            "i1",
            None,
            "make_people(op)",
            "op.execute('DROP TABLE people')",
            "from history_app.tables import make_people\n",
        ),
        "shared/2.py": code(
            "i2",
            "i1",
            """
            helper.add_text("people", "note")
            op.execute(pathlib.Path(__file__).with_name("seed.sql").read_text())
            """,
            """
            op.execute("DELETE FROM people")
            op.drop_column("people", "note")
            """,
            "import pathlib\nimport history_helper as helper\n",
        ),
    },
    {
        "history_app/__init__.py": "",
        "history_app/tables.py": 'def make_people(op):\n    op.execute("CREATE TABLE people (id int)")\n',
        "history_helper.py": "import sqlalchemy as sa\nfrom alembic import op\n\n\ndef add_text(table, column):\n"
        "    op.add_column(table, sa.Column(column, sa.Text))\n",
        "versions/shared/seed.sql": "INSERT INTO people VALUES (7, 'seven; 100% \u2013 :not a parameter')".replace(
            ":", "\\:"
        ),
    },
)

OPTIONS = History(
    "options",
    {
        "shared/1.py": code(
            "o1",
            None,
            """
            tenant = context.get_x_argument(as_dictionary=True)["tenant"]
            op.execute(f"CREATE TABLE {context.config.get_main_option('table_prefix')}_{tenant} (id int)")
            op.execute(f"CREATE TABLE {context.config.get_section_option('features', 'extra')} (id int)")
            assert op.get_context().config.get_section("features")["extra"] == "flags"
            """,
            """
            op.execute("DROP TABLE flags")
            op.execute(f"DROP TABLE pre_{context.get_x_argument(as_dictionary=True)['tenant']}")
            """,
        ),
        "shared/2.py": code(
            "o2",
            "o1",
            """
            op.execute(f"CREATE TABLE {op.get_context().opts['audience']} (id int)")
            op.execute(f"CREATE TABLE {os.environ['HISTORY_STAGE']} (id int)")
            assert op.get_context().opts["compare_type"] is True
            assert not context.is_offline_mode()
            """,
            "op.execute('DROP TABLE readers, staging')",
            "import os\n",
        ),
        "shared/3.py": code(
            "o3",
            "o2",
            "op.execute(f'CREATE TABLE at_import_{TENANT} (id int)')",
            "op.execute(f'DROP TABLE at_import_{TENANT}')",
            'TENANT = context.get_x_argument(as_dictionary=True).get("tenant")\n',
        ),
    },
    ini="table_prefix = pre\n\n[features]\nextra = flags\n",
    configure={"audience": "readers", "compare_type": True},
    x={"tenant": "acme", "other": "a=b"},
    environment={"HISTORY_STAGE": "staging"},
)

CONVENTION = History(
    "naming_convention",
    {
        "shared/1.py": code(
            "c1",
            None,
            """
            number = sa.Column("n", sa.Integer, index=True)
            op.create_table("town", sa.Column("id", sa.Integer, primary_key=True), number, sa.UniqueConstraint("n"))
            town = sa.Column("town", sa.Integer, sa.ForeignKey("town.id"))
            op.create_table("street", sa.Column("id", sa.Integer), town)
            op.create_check_constraint("small", "town", "n < 10")
            """,
            'op.drop_table("street")\nop.drop_table("town")',
        ),
        "shared/2.py": code(
            "c2",
            "c1",
            'op.create_unique_constraint(None, "street", ["id"])',
            'op.drop_constraint("one_of_street_id", "street")',
        ),
    },
    {
        "history_models.py": "import sqlalchemy as sa\n\nmetadata = sa.MetaData(naming_convention={\n"
        '    "pk": "key_of_%(table_name)s", "uq": "one_of_%(table_name)s_%(column_0_name)s",\n'
        '    "ck": "rule_of_%(table_name)s_%(constraint_name)s", "ix": "by_%(column_0_label)s",\n'
        '    "fk": "from_%(table_name)s_to_%(referred_table_name)s",\n})\n'
    },
    settings={"metadata": "shared=history_models:metadata"},
    metadata="history_models.metadata",
)

REFLECTION = History(
    "reflection",
    {
        "shared/1.py": table("b1"),
        "shared/2.py": code(
            "b2",
            "b1",
            """
            inspector = sa.inspect(op.get_bind())
            assert "t_b1" in inspector.get_table_names()
            assert "t_b1" in inspector.get_table_names(schema="public")
            assert sa.inspect(op.get_bind().engine).has_table("kept")  # through a connection of its own
            if not inspector.has_table("t_b2"):
                old = sa.Table("t_b1", sa.MetaData(), autoload_with=op.get_bind())
                op.create_table("t_b2", *[sa.Column(c.name, c.type) for c in old.columns])
            """,
            'sa.Table("t_b2", sa.MetaData(), autoload_with=op.get_bind()).drop(op.get_bind())',
        ),
    },
    before=("CREATE TABLE kept (id int)",),
)

# --- what revisions do

ORM = History(
    "orm",
    {
        "shared/1.py": code(
            "o1",
            None,
            """
            Base.metadata.create_all(op.get_bind())
            with Session(bind=op.get_bind()) as session:
                session.add_all([Person(id=i, name=f"p{i}") for i in range(5)])
                session.commit()
            """,
            "Base.metadata.drop_all(op.get_bind())",
            """
            from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

            class Base(DeclarativeBase):
                pass

            class Person(Base):
                __tablename__ = "person"
                id = mapped_column(sa.Integer, primary_key=True)
                name = mapped_column(sa.Text)

            """,
        ),
        "shared/2.py": code(
            "o2",
            "o1",
            """
            session = sessionmaker(bind=op.get_bind())()
            people = sa.table("person", sa.column("id"), sa.column("name"))
            for id_, name in session.execute(sa.select(people.c.id, people.c.name).where(people.c.id > 2)):
                with session.begin_nested():
                    session.execute(people.update().where(people.c.id == id_).values(name=name.upper()))
            session.commit()
            op.add_column("person", sa.Column("size", sa.Integer))
            """,
            """
            op.execute("UPDATE person SET name = lower(name)")
            op.drop_column("person", "size")
            """,
            "from sqlalchemy.orm import sessionmaker\n",
        ),
    },
)

DATA = History(
    "data",
    {
        "shared/1.py": code(
            "d1",
            None,
            """
            items = op.create_table("item", sa.Column("id", sa.Integer), sa.Column("extra", postgresql.JSONB),
                                    sa.Column("at", sa.Date))
            day = datetime.date(2024, 1, 31)
            op.bulk_insert(items, [{"id": i, "extra": {"k": [i, None]}, "at": day} for i in (1, 2, 3)])
            """,
            'op.drop_table("item")',
            "import datetime\nfrom sqlalchemy.dialects import postgresql\n",
        ),
        "shared/2.py": code(
            "d2",
            "d1",
            """
            connection = op.get_bind()
            op.add_column("item", sa.Column("first", sa.Text))
            for id_, extra in connection.execute(sa.text("SELECT id, extra FROM item ORDER BY id")).all():
                update = sa.text("UPDATE item SET first = :first WHERE id = :id")
                connection.execute(update, {"first": str(extra["k"]), "id": id_})
            connection.exec_driver_sql("INSERT INTO item (id) VALUES (%s), (%s)", (8, 9))
            with connection.connection.cursor() as cursor:
                cursor.execute("UPDATE item SET first = '100%' WHERE id = 9")
            op.alter_column("item", "id", nullable=False)
            """,
            """
            op.execute("DELETE FROM item WHERE id > 7")
            op.alter_column("item", "id", nullable=True)
            op.drop_column("item", "first")
            """,
        ),
    },
)

SECOND_CONNECTION = History(
    "second_connection",
    {
        "shared/1.py": code(
            "e1",
            None,
            """
            op.execute("CREATE TABLE mine (id int)")
            with op.get_bind().engine.connect() as other:
                assert other.scalar(sa.text("SELECT count(*) FROM kept")) == 0
            with op.get_bind().engine.begin() as other:
                other.execute(sa.text("INSERT INTO kept VALUES (1)"))
            op.execute("INSERT INTO mine VALUES (1)")
            """,
            """
            with op.get_bind().engine.begin() as other:
                other.execute(sa.text("DELETE FROM kept"))
            op.execute("DROP TABLE mine")
            """,
        ),
        "shared/2.py": table("e2", "e1"),
    },
    before=("CREATE TABLE kept (id int)",),
)

CONCURRENTLY = History(
    "concurrently",
    {
        "shared/1.py": table("k1"),
        "shared/2.py": code(
            "k2",
            "k1",
            """
            with op.get_context().autocommit_block():
                op.create_index("k_n", "t_k1", ["n"], postgresql_concurrently=True)
                op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS k_n2 ON t_k1 (n, id)")
            op.execute("COMMENT ON INDEX k_n IS 'made beside'")
            """,
            """
            with op.get_context().autocommit_block():
                op.drop_index("k_n", "t_k1", postgresql_concurrently=True, if_exists=True)
                op.execute("DROP INDEX CONCURRENTLY k_n2")
            """,
        ),
        "shared/3.py": table("k3", "k2"),
    },
)

RAW_COMMIT = History(
    "raw_commit",
    {
        "shared/1.py": table("w1"),
        "shared/2.py": code(
            "w2",
            "w1",
            """
            op.execute("CREATE TABLE w (id int)")
            op.execute("COMMIT")
            op.execute("INSERT INTO w VALUES (1)")
            """,
            'op.execute("DROP TABLE w")\nop.execute("COMMIT")',
        ),
        "shared/3.py": table("w3", "w2"),
    },
)

ENUMS = History(
    "enums",
    {
        "shared/1.py": code(
            "e1",
            None,
            """
            mood = sa.Enum("sad", "glad", name="mood")
            op.create_table("person", sa.Column("id", sa.Integer), sa.Column("mood", mood, server_default="sad"))
            op.execute("INSERT INTO person VALUES (1, 'glad')")
            """,
            'op.drop_table("person")\nop.execute("DROP TYPE mood")',
        ),
        "shared/2.py": code(
            "e2",
            "e1",
            """
            with op.get_context().autocommit_block():
                op.execute("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'so-so' AFTER 'sad'")
            op.execute("UPDATE person SET mood = 'so-so'")
            """,
            """
            op.execute("UPDATE person SET mood = 'glad'")
            op.execute("ALTER TABLE person ALTER mood DROP DEFAULT")
            op.execute("ALTER TYPE mood RENAME TO mood_old")
            op.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
            op.execute("ALTER TABLE person ALTER mood TYPE mood USING mood::text::mood")
            op.execute("ALTER TABLE person ALTER mood SET DEFAULT 'sad'")
            op.execute("DROP TYPE mood_old")
            """,
        ),
        "shared/3.py": code(
            "e3",
            "e2",
            """
            kind = postgresql.ENUM("a", "b", name="kind", create_type=False)
            kind.create(op.get_bind(), checkfirst=True)
            op.add_column("person", sa.Column("kind", kind, nullable=False, server_default="a"))
            """,
            'op.drop_column("person", "kind")\nsa.Enum(name="kind").drop(op.get_bind(), checkfirst=True)',
            "from sqlalchemy.dialects import postgresql\n",
        ),
    },
)

ROLES = History(
    "roles",
    {
        "shared/1.py": table("r1"),
        "shared/2.py": revision(
            "r2",
            "r1",
            up="DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'history_reader') THEN "
            "CREATE ROLE history_reader NOLOGIN; END IF; END $$; GRANT SELECT ON t_r1 TO history_reader; "
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO history_reader",
            down_sql="ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM history_reader; "
            "REVOKE ALL ON t_r1 FROM history_reader",
        ),
        "shared/3.py": table("r3", "r2"),
    },
)

VERSION_TABLE = History(
    "version_table",
    {
        "shared/1.py": table("v1"),
        "shared/2.py": code(
            "v2",
            "v1",
            """
            op.execute("ALTER TABLE alembic_version ALTER COLUMN version_num TYPE varchar(128)")
            op.execute("CREATE TABLE seen AS SELECT version_num::text AS held FROM alembic_version")
            op.execute("ALTER TABLE alembic_version ADD applied_at timestamptz DEFAULT now()")
            """,
            'op.execute("DROP TABLE seen")\nop.drop_column("alembic_version", "applied_at")',
        ),
        "shared/3.py": code(
            "v3",
            "v2",
            """
            held = op.get_bind().scalar(sa.text("SELECT version_num FROM alembic_version"))
            op.execute(f"INSERT INTO seen VALUES ('{held}')")
            assert op.get_context().get_current_revision() == "v2"
            """,
            "op.execute(\"DELETE FROM seen WHERE held = 'v2'\")",
        ),
    },
)

SETTINGS = History(
    "settings",
    {
        "shared/1.py": revision(
            "s1", up="CREATE SCHEMA other; SET search_path TO other, public", down_sql="DROP SCHEMA other"
        ),
        "shared/2.py": table("s2", "s1"),
        "shared/3.py": revision("s3", "s2", up="RESET ALL", down_sql="SET search_path TO other, public"),
        "shared/4.py": table("s4", "s3").replace("DROP TABLE t_s4", "DROP TABLE public.t_s4"),
        "shared/5.py": code(
            "s5",
            "s4",
            """
            op.execute("SET LOCAL statement_timeout = '1min'")
            op.execute("SET lock_timeout = '7s'")
            op.execute("CREATE TABLE local (id int)")
            """,
            'op.execute("DROP TABLE public.local")',
        ),
        "shared/6.py": code(
            "s6",
            "s5",
            """
            with op.get_context().autocommit_block():
                op.execute("DISCARD ALL")
            """,
        ),
        "shared/7.py": table("s7", "s6").replace("DROP TABLE t_s7", "DROP TABLE public.t_s7"),
        "shared/8.py": revision("s8", "s7", up="SET ROLE NONE; SET SESSION AUTHORIZATION DEFAULT; RESET search_path"),
    },
    one_by_one=True,
)

DUMP = """
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET row_security = off;
CREATE TABLE public.dumped (id integer NOT NULL);
COMMENT ON TABLE public.dumped IS 'as pg_dump writes it';
"""

BASELINE = History(
    "pg_dump_baseline",
    {
        "shared/1.py": code("p1", None, f"op.execute({DUMP!r})\n", "op.execute('DROP TABLE public.dumped')"),
        "shared/2.py": revision(
            "p2", "p1", up="CREATE TABLE public.later (id int)", down_sql="DROP TABLE public.later"
        ),
    },
    configure={"version_table_schema": "public"},
)

BASELINE_RESET = History(
    "pg_dump_baseline_reset",
    {
        "shared/1.py": code(
            "p1", None, f"op.execute({DUMP!r})\nop.execute('RESET search_path')", "op.execute('DROP TABLE dumped')"
        ),
        "shared/2.py": table("p2", "p1"),
    },
)

WRITING = History(
    "ways_of_writing",
    {
        "shared/1.py": "\ufeff# -*- coding: utf-8 -*-\n" + table("w1").replace('"""w1"""', '"""Überschrift"""'),
        "shared/2.py": code("w2", "w1", "pass")
        .replace("def upgrade():\n    pass", "upgrade = make_both('w2')[0]")
        .replace("def downgrade():\n    pass", "_, downgrade = make_both('w2')")
        .replace("import context, op\n", "import context, op\nfrom written_apart import make_both\n"),
        "shared/3.py": "from written_apart import *\n\nrevision: str = 'w3'\ndown_revision = ('w2',)\n"
        "branch_labels = ['late']\ndepends_on = {'w1'}\n",
        "shared/__init__.py": "raise RuntimeError('never loaded')\n",
        "shared/.#4.py": "an editor's lock file",
    },
    {
        "versions/shared/notes.txt": "no revision",
        "written_apart.py": dedent(
            """
            from alembic import op

            def make_both(name):
                return (lambda: op.create_table(name)), (lambda: op.drop_table(name))

            def upgrade():
                op.execute("CREATE TABLE apart ()")

            def downgrade():
                op.execute("DROP TABLE apart")
            """
        ),
    },
)

TRANSACTIONS = History(
    "transactions",
    {
        "shared/1.py": code(
            "x1",
            None,
            """
            op.execute("CREATE TEMP TABLE passed_on AS SELECT 7 AS id")
            op.execute("BEGIN; CREATE TABLE one (id int); COMMIT")
            op.execute("CREATE TABLE two (id int)")
            """,
            'op.execute("DROP TABLE one, two")',
        ),
        "shared/2.py": code(
            "x2",
            "x1",
            """
            op.execute("INSERT INTO one SELECT id FROM passed_on")
            try:
                with op.get_bind().begin_nested():
                    op.execute("INSERT INTO nowhere VALUES (1)")
            except sa.exc.ProgrammingError:
                op.execute("INSERT INTO one VALUES (8)")
            op.execute("SAVEPOINT mine; INSERT INTO one VALUES (9); ROLLBACK TO mine")
            """,
            'op.execute("DELETE FROM one")',
        ),
        "shared/3.py": code(
            "x3",
            "x2",
            """
            where = op.get_bind().engine.url
            assert where.database == op.get_bind().scalar(sa.text("SELECT current_database()"))
            assert (where.host, where.username) == ("127.0.0.1", "postgres")
            connection = op.get_bind().connection.driver_connection
            connection.cursor().execute("CREATE TABLE three (id int)")
            connection.commit()
            op.create_index("three_id", "three", ["id"])
            """,
            'op.drop_table("three")',
        ),
    },
)

HISTORIES = (
    LINEAR,
    MERGES,
    SEVERAL_ROOTS,
    EXPAND_CONTRACT,
    DEPENDS_ON,
    REDUNDANT,
    REDUNDANT_APART,
    WORDS,
    LONG_IDS,
    TOO_LONG,
    NESTED,
    HUNDREDS,
    COMPUTED,
    CALLABLES,
    IMPORTS,
    OPTIONS,
    CONVENTION,
    REFLECTION,
    ORM,
    DATA,
    SECOND_CONNECTION,
    CONCURRENTLY,
    RAW_COMMIT,
    ENUMS,
    ROLES,
    VERSION_TABLE,
    SETTINGS,
    BASELINE,
    BASELINE_RESET,
    WRITING,
    TRANSACTIONS,
)
