"""Plain revisions, done and failing in every way, to be run in several ways with the same outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.project import revision

BASE = "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE held (id int)"


@dataclass(frozen=True)
class Case:
    """A plain revision after one that has made two tables, and what is to come of it both times."""

    code: str
    problem: str = ""  # its code; empty where the step is done
    line: int = 0  # of the revision, where it is known
    before: str = ""  # done to the database after the first revision, by the role that migrates
    entry: tuple[tuple[str, Any], ...] = ()  # further fields of the target


_NO_UPDATE = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing BEFORE UPDATE ON ehg_migrate.alembic_version FOR EACH ROW EXECUTE FUNCTION nothing()
"""
_NO_ENTRY = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing BEFORE INSERT ON ehg_migrate.migration_journal FOR EACH ROW
    WHEN (new.event = 'done') EXECUTE FUNCTION nothing()
"""
_DEFERRED = """
CREATE TABLE child (id int REFERENCES kept DEFERRABLE INITIALLY DEFERRED);
"""

_ENCODES = """
CREATE FUNCTION encodes() RETURNS int LANGUAGE plpgsql AS $$
BEGIN PERFORM set_config('client_encoding', 'LATIN1', false); RETURN 1; END $$
"""

CASES = {
    "ordinary": Case(
        """
        op.create_table("town", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, index=True))
        op.add_column("town", sa.Column("kept", sa.Integer, sa.ForeignKey("kept.id")))
        op.alter_column("town", "name", nullable=False, server_default="?")
        op.create_check_constraint("short", "town", "length(name) < 100")
        op.execute("COMMENT ON TABLE town IS '100% of them'")
        op.rename_table("held", "free")
        """
    ),
    "rows": Case(
        """
        op.create_table("town", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
        op.execute("INSERT INTO town VALUES (1, '100% of it; all') RETURNING id")
        op.execute("INSERT INTO town VALUES (2, 'a\\\\b')")
        op.execute("INSERT INTO kept SELECT id FROM town")
        op.create_foreign_key(None, "held", "kept", ["id"], ["id"])
        op.execute("INSERT INTO held SELECT max(id) FROM kept")
        """
    ),
    "rows_that_are_taken": Case(
        """
        op.create_table("town", sa.Column("id", sa.Integer, primary_key=True))
        op.execute(sa.Insert(sa.Table("town", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))))
        op.create_foreign_key(None, "held", "town", ["id"], ["id"])
        op.execute("INSERT INTO held VALUES (1)")
        """
    ),
    "no_parameter": Case(
        """
        op.create_table("town", sa.Column("id", sa.Integer, primary_key=True))
        op.execute("INSERT INTO town VALUES ($1)")
        """,
        "statement_failed",
        line=14,
    ),
    "another_encoding": Case(
        """
        op.execute("INSERT INTO kept VALUES (encodes())")
        op.create_table("café", sa.Column("id", sa.Integer, primary_key=True))
        """,
        before=_ENCODES,
    ),
    "answers_in_between": Case(
        """
        op.create_table("person", sa.Column("mood", sa.Enum("sad", "glad", name="mood")))
        op.execute("INSERT INTO person VALUES ('glad'); INSERT INTO person VALUES ('sad')")
        op.create_index("person_mood", "person", ["mood"])
        op.execute("SELECT set_config('search_path', 'nowhere', true)")
        op.execute("CREATE VIEW public.moods AS SELECT mood FROM public.person")
        op.execute("UPDATE public.person SET mood = 'glad'")
        """
    ),
    "several_in_one": Case(
        """
        op.execute("CREATE TABLE a (id int); CREATE TABLE b (id int)")
        op.execute("CREATE TABLE c (id int) ; ")
        op.execute("ALTER TABLE a ADD COLUMN t text DEFAULT 'x;y'")
        """,
    ),
    "dollars_in_names": Case(
        """
        op.execute("CREATE TABLE a$x$ (id int); CREATE TABLE b$x$ (id int)")
        """,
    ),
    "notices": Case(
        """
        op.execute("DROP TABLE IF EXISTS nowhere")
        op.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
        """
    ),
    "fails_in_the_middle": Case(
        """
        op.create_table("a", sa.Column("id", sa.Integer))
        op.execute("CREATE TABLE kept (id int)")
        op.create_table("b", sa.Column("id", sa.Integer))
        """,
        "exists_already",
        line=14,
    ),
    "fails_at_once": Case(
        """
        op.execute("CREATE TABEL a (id int)")
        op.drop_table("held")
        """,
        "statement_failed",
        line=13,
    ),
    "fails_at_the_end": Case(
        """
        op.drop_table("held")
        op.alter_column(
            "kept",
            "nothing",
            nullable=False,
        )
        """,
        "statement_failed",
        line=14,
    ),
    "fails_before_an_answer": Case(
        """
        op.drop_column("kept", "nothing")
        op.execute("INSERT INTO nowhere VALUES (1)")
        """,
        "statement_failed",
        line=13,
    ),
    "fails_after_an_answer": Case(
        """
        op.drop_table("held")
        op.execute("INSERT INTO kept VALUES (1)")
        op.execute("INSERT INTO kept VALUES (1)")
        """,
        "statement_failed",
        line=15,
    ),
    "python_after_sql": Case(
        """
        op.drop_table("nowhere")
        op.create_table("a", sa.Column("b"))
        """,
        "statement_failed",
        line=13,
    ),
    "python": Case(
        """
        op.drop_table("held")
        op.create_table("a", sa.Column("b"))
        """,
        "revision_raised",
        line=14,
    ),
    "no_transaction": Case(
        """
        op.drop_table("held")
        op.create_index("k", "kept", ["id"], postgresql_concurrently=True)
        """,
        "needs_autocommit",
        line=14,
    ),
    "at_the_commit": Case(
        """
        op.drop_table("held")
        op.execute("INSERT INTO child VALUES (1)")
        op.execute("COMMENT ON TABLE kept IS ''")
        """,
        "statement_failed",
        before=_DEFERRED,
    ),
    "a_limit_for_each": Case(
        """
        op.execute("CREATE TABLE a AS SELECT pg_sleep(0.6)::text")
        op.execute("CREATE TABLE b AS SELECT pg_sleep(0.6)::text")
        op.execute("CREATE TABLE c AS SELECT pg_sleep(0.6)::text")
        """,
        entry=(("statement_timeout", "1s"),),
    ),
    "a_limit_passed": Case(
        """
        op.drop_table("held")
        op.execute("CREATE TABLE a AS SELECT pg_sleep(5)::text")
        op.execute("CREATE TABLE b AS SELECT 1")
        """,
        "statement_timeout",
        line=14,
        entry=(("statement_timeout", "300ms"),),
    ),
    "rows_not_as_assumed": Case('op.drop_table("held")', "revision_raised", before=_NO_UPDATE),
    "rows_out_of_reach": Case(
        """
        op.drop_table("held")
        op.drop_table("alembic_version", schema="ehg_migrate")
        """,
        "statement_failed",
    ),
    "journal_swallowed": Case(
        """
        op.drop_table("held")
        """,
        "journal_swallowed",
        before=_NO_ENTRY,
    ),
    "journal_out_of_reach": Case(
        """
        op.drop_table("held")
        op.execute("DROP TABLE ehg_migrate.migration_journal CASCADE")
        """,
        "statement_failed",
    ),
}


def text_of(case: Case, *, plain: bool) -> str:
    """The revision of a case, plain or the same code in a function that is not known to be."""
    code = "\n".join(line.removeprefix("        ") for line in case.code.strip("\n").splitlines()).strip()
    text = revision("s2", "s1", up_code=code).replace("import op\n", "import op\nimport sqlalchemy as sa\n")
    # a parameter makes it a function that is not plain, and moves no line
    return text if plain else text.replace("def upgrade():", "def upgrade(*nothing):")
