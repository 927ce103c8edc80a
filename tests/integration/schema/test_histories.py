"""What ends where it began makes no difference: histories of statements, dump and restore, other readers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import psycopg
import pytest

from ehg_migrate.database.sockets import shut
from ehg_migrate.schema.catalog import message, read_catalog, read_fingerprint, read_token
from ehg_migrate.schema.difference import Clause, differences, notes
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.proof import correct
from ehg_migrate.schema.scope import Scope
from tests.integration.schema.mutations import base, written_for
from tests.support.bare import BareServer, majors
from tests.support.programs import wait_until

OWNERS = Scope(owners=True)
_PARTS = re.split(r"^-- name: (.+)\n", Path(__file__).with_name("histories.sql").read_text(), flags=re.MULTILINE)
VIEWS = Path(__file__).with_name("views.sql").read_text()
LISTS = Path(__file__).with_name("lists.sql").read_text()
NESTED = Path(__file__).with_name("nested.sql").read_text()
CONSTANTS = Path(__file__).with_name("constants.sql").read_text()
_numbers = itertools.count(1)
HISTORIES = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))


def read(server: BareServer, database: str, scope: Scope = OWNERS) -> Catalog:
    """The catalogue of a database, by a session of its own; its fingerprint is the server's."""
    with server.connect(database) as connection:
        catalog = read_catalog(connection, scope)
        assert catalog.fingerprint == read_fingerprint(connection, scope)
        return catalog


@pytest.fixture(scope="session")
def original(bare: BareServer) -> Catalog:
    """What `base` was before any history."""
    return read(bare, "base")


@pytest.fixture
def copy(bare: BareServer) -> str:
    """A database like `base`, for this test alone."""
    return bare.create(f"copy_{next(_numbers)}", template="base")


@pytest.mark.parametrize("what", HISTORIES)
def test_a_history_that_ends_where_it_began_makes_no_difference(
    bare: BareServer, original: Catalog, copy: str, what: str
) -> None:
    """Every fact and the fingerprint are the same after it."""
    statements = written_for(HISTORIES[what], bare.major).replace("{database}", copy)
    with bare.connect(copy) as connection:
        for statement in _statements(statements):
            connection.execute(statement.encode())
    after = read(bare, copy)
    assert differences(original, after) == ()
    assert original.fingerprint == after.fingerprint


def test_the_access_method_by_which_a_database_makes_its_tables(bare: BareServer, copy: str) -> None:
    """It is no fact, whatever its name and the session's own; that of a table which has another one is."""
    with bare.connect(copy) as connection:
        connection.execute("CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler")
        connection.execute(f"ALTER DATABASE {copy} SET default_table_access_method = another".encode())
        before = read_token(connection)
    with bare.connect(copy) as connection:
        assert read_token(connection) != before, "tables from before are of another method than that now"
        connection.execute("CREATE TABLE by_itself (id int); CREATE TABLE asked_for (id int) USING heap")
        fingerprint = read_fingerprint(connection, Scope())
        connection.execute("SET default_table_access_method = heap")
        assert read_fingerprint(connection, Scope()) == fingerprint
        found = read_catalog(connection, Scope()).by_name
    assert "access method" not in found["table", "public.by_itself"].definition
    assert found["table", "public.asked_for"].definition["access method"] == "heap"


def test_the_tablespace_by_which_a_database_makes_its_tables(bare: BareServer, copy: str) -> None:
    """It is no fact either, of tables, indexes, keys and what partitions have of them; another one is."""
    with bare.connect(copy) as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        for name in ("usual", "asked"):
            connection.execute(f"CREATE TABLESPACE {name} LOCATION ''".encode())
        made = """
            CREATE TABLE {0}.orders (id int PRIMARY KEY, day date);
            CREATE INDEX ON {0}.orders (day);
            CREATE TABLE {0}.parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
            CREATE TABLE {0}.parts_1 PARTITION OF {0}.parts FOR VALUES FROM (1) TO (2);
            CREATE MATERIALIZED VIEW {0}.seen AS SELECT 1 AS one"""
        connection.execute(f"CREATE SCHEMA one; CREATE SCHEMA two; {made.format('one')}".encode())
        connection.execute(f"ALTER DATABASE {copy} SET default_tablespace = usual".encode())
        before = read_token(connection)
    with bare.connect(copy) as connection:
        assert read_token(connection) != before, "tables from before are in another one than that now"
        connection.execute(made.format("two").encode())
        one, two = (read_catalog(connection, Scope(only=(name,), alias=True)) for name in ("one", "two"))
        assert differences(one, two) == ()
        connection.execute("SET default_tablespace = asked")
        assert read_fingerprint(connection, Scope(only=("two",), alias=True)) == two.fingerprint
        connection.execute("CREATE TABLE two.asked_for (id int PRIMARY KEY)")
        found = read_catalog(connection, Scope()).by_name
        connection.execute("DROP SCHEMA one, two CASCADE")
    assert found["table", "two.asked_for"].definition["tablespace"] == "asked"
    assert found["constraint", "asked_for_pkey on two.asked_for"].definition["index tablespace"] == "asked"


def test_who_grants_what_one_may_grant_anyway_makes_no_difference(bare: BareServer, copy: str) -> None:
    """A privilege that two have given, one with the right to give it on and one without, is held with that right."""
    with bare.connect(copy) as connection:
        connection.execute("GRANT USAGE ON SCHEMA app TO service_role")
        connection.execute("GRANT SELECT ON app.animals TO other_owner, service_role WITH GRANT OPTION")
        before = read_catalog(connection, OWNERS)
        connection.execute("SET ROLE service_role")
        connection.execute("GRANT SELECT ON app.animals TO other_owner")
        connection.execute("RESET ROLE")
        assert differences(before, read_catalog(connection, OWNERS)) == ()
        connection.execute("REVOKE GRANT OPTION FOR SELECT ON app.animals FROM other_owner")
        (found,) = differences(before, read_catalog(connection, OWNERS))
    assert found.clauses == (Clause("grants.other_owner", "SELECT WITH GRANT OPTION", "SELECT"),)


def test_columns_in_another_order_are_a_note(bare: BareServer, copy: str) -> None:
    """They are no difference, and are not kept quiet; a column that one side lacks is no reordering."""
    with bare.connect(copy) as connection:
        connection.execute(HISTORIES["columns in another order"].encode())
        connection.execute("ALTER TABLE app.animals DROP COLUMN name; ALTER TABLE app.animals ADD COLUMN extra text")
    found = notes(read(bare, "base"), read(bare, copy))
    assert [(n.kind, n.identity, n.clauses[0].left, n.clauses[0].right) for n in found] == [
        ("column order", "app.cats", ["id", "name"], ["name", "id"])
    ]


def test_a_dump_that_was_restored_is_the_same(bare: BareServer) -> None:
    """It makes all in another order, and writes lists, what is nested and constants without a name in other ways."""
    bare.create("source", template="base")
    with bare.connect("source") as connection:
        for text in (LISTS, NESTED, CONSTANTS):
            connection.execute(text.encode())
    before = read(bare, "source")
    after = read(bare, bare.copy_by_dump("source", "restored"))
    assert differences(before, after) == ()
    assert read(bare, bare.copy_by_dump("restored", "twice")).fingerprint == before.fingerprint


def test_a_list_of_other_constants_is_a_difference(bare: BareServer, copy: str) -> None:
    """What makes the two spellings of a list one does not make two lists one."""
    other = bare.create(f"{copy}_other", template="base")
    with bare.connect(copy) as one, bare.connect(other) as two:
        one.execute(LISTS.encode())
        two.execute(LISTS.replace("'b''s'", "'b''t'").replace("VALUE IN ('a', 'b')", "VALUE IN ('a', 'z')").encode())
    assert [(d.kind, d.identity) for d in differences(read(bare, copy), read(bare, other))] == [
        ("constraint", "one on app.lists"),
        ("domain", "app.choice"),
    ]


NOT_THE_SAME = {
    "a BETWEEN 1 AND 2 AND b > 0": ("a BETWEEN 1 AND 2 OR b > 0", "constraint between_first on app.nested"),
    "'it''s)) AND ('": ("'it''s) AND ('", "constraint with_parentheses on app.nested"),
    "<> '((a) AND (b)) AND '": ("<> '(a) AND (b) AND '", "constraint with_parentheses on app.nested"),
    "(a BETWEEN 1 AND 2 OR b BETWEEN (1 + abs((2))) AND 3 AND e < 'z')": (
        "((a BETWEEN 1 AND 2 OR b BETWEEN (1 + abs((2))) AND 3) AND e < 'z')",
        "constraint kept on app.nested",
    ),
    "VALUE BETWEEN 1 AND 5 AND VALUE <> 3": ("VALUE BETWEEN 1 AND 5 OR VALUE <> 3", "domain app.small"),
}
"""Of `nested.sql`: other meanings, and what differs then."""


def test_what_is_nested_in_another_way_and_means_something_else_is_a_difference(bare: BareServer, copy: str) -> None:
    """Parentheses that no reading of the text would leave out, other operators, and constants stay what they are."""
    with bare.connect(copy) as connection:
        for written, (other, differs) in NOT_THE_SAME.items():
            found = []
            for text in (NESTED, NESTED.replace(written, other)):
                with connection.transaction(force_rollback=True):
                    connection.execute(text.encode())
                    found.append(read_catalog(connection, OWNERS))
            assert [f"{d.kind} {d.identity}" for d in differences(*found)] == [differs], written


OTHER_CONSTANTS = {
    "(SELECT NULL FROM": ("(SELECT 'x' FROM", "policy known on app.constants"),
    "SELECT 'x'; END": ("SELECT 'x' AS texts; END", "function app.constant()"),
    "2 AS int4 FROM": ("-2 AS int4s FROM", "view app.constant"),
}
"""Of `constants.sql`: others, or under another name, and what differs then."""


def test_another_constant_or_another_name_of_one_is_a_difference(bare: BareServer, copy: str) -> None:
    """Only the name that a constant has by itself is not told; a view whose columns are called so is made as it was."""
    with bare.connect(copy) as connection:
        connection.execute(CONSTANTS.encode())
        goal = read_catalog(connection, OWNERS)
        connection.execute("DROP VIEW app.named")
        assert correct(connection, goal, OWNERS, keep=True).proven
        assert connection.execute("SELECT text, texts, int4, int4s, numeric FROM app.named").fetchall() != []
    for written, (other, differs) in OTHER_CONSTANTS.items():
        another = bare.create(f"{copy}_{differs.partition(' ')[0]}", template="base")
        with bare.connect(another) as connection:
            connection.execute(CONSTANTS.replace(written, other).encode())
            found = differences(goal, read_catalog(connection, OWNERS))
        assert [f"{d.kind} {d.identity}" for d in found] == [differs], written


def test_who_reads_and_how_makes_no_difference(bare: BareServer, copy: str) -> None:
    """A role without any privilege reads what the superuser reads, in a transaction of its own settings too."""
    with bare.connect(copy) as connection:
        connection.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    expected = read(bare, copy)
    with bare.connect(copy, user="stranger", options="-c timezone=Asia/Tokyo -c search_path=app") as connection:
        assert differences(expected, read_catalog(connection, OWNERS)) == ()
        assert read_fingerprint(connection, OWNERS) == expected.fingerprint
        connection.autocommit = False
        assert differences(expected, read_catalog(connection, OWNERS)) == ()
        assert connection.execute("SHOW search_path").fetchone() == ("app",), "the settings of the transaction stay"


def test_a_reading_leaves_nothing_behind(bare: BareServer, copy: str) -> None:
    """Neither settings nor an open transaction; inside a transaction its uncommitted work is read and kept."""
    with bare.connect(copy) as connection:
        read_catalog(connection, OWNERS)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        settings = "SELECT current_setting('search_path'), current_setting('lock_timeout'), current_setting('jit')"
        before = connection.execute(settings).fetchone()
        with connection.transaction():
            connection.execute("CREATE TABLE app.mine ()")
            assert ("table", "app.mine") in read_catalog(connection, OWNERS).by_name
            assert connection.execute(settings).fetchone() == before
        assert ("table", "app.mine") in read_catalog(connection, OWNERS).by_name


def test_a_reading_that_was_given_up_ends_on_the_server(bare: BareServer, copy: str) -> None:
    """Whoever has no more time for it closes the connection: the server would work on for nobody."""
    waiting = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    with bare.connect(copy) as altering, bare.connect(copy) as watching, bare.connect(copy) as reading:
        pid = reading.info.backend_pid
        text = message(("facts",), reading, OWNERS).as_string(reading)
        text = text.replace("lock_timeout = '5s'", "lock_timeout = 0")
        with altering.transaction():
            altering.execute("ALTER TABLE app.orders ADD COLUMN blocked integer")
            reading.pgconn.send_query(text.encode())
            wait_until(lambda: watching.execute(waiting, (pid,)).fetchone() is not None, "the reading waits", 60)
            shut(reading.pgconn.socket)
            reading.close()
            gone = "SELECT FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: watching.execute(gone, (pid,)).fetchone() is None, "its end on the server", 60)


def test_a_reading_has_the_time_that_its_target_gives(bare: BareServer, copy: str) -> None:
    """As long as `answer_timeout` says, whatever the role says; it had two minutes, and no setting gave it more."""
    with bare.connect(copy) as reading:
        reading.execute("SET statement_timeout = '1min'")
        for longest, expected in ((300, "5min"), (0, "0")):
            text = message(("token",), reading, OWNERS, longest).as_string(reading)
            cursor = reading.execute(f"{text.removesuffix('COMMIT')}SHOW statement_timeout; COMMIT".encode())
            answers = [cursor.fetchall() for _ in iter(cursor.nextset, None) if cursor.description]
            assert answers[-1] == [(expected,)]
        with pytest.raises(psycopg.errors.QueryCanceled):
            reading.execute(message(("facts",), reading, OWNERS, 0.001))


def test_a_reading_that_fails_leaves_the_connection_usable(bare: BareServer, copy: str) -> None:
    """Deparsing a view waits for whoever alters its table, five seconds at most; then the caller has its error."""
    with bare.connect(copy) as altering, bare.connect(copy) as reading:
        with altering.transaction():
            altering.execute("ALTER TABLE app.orders ADD COLUMN blocked integer")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                read_catalog(reading, OWNERS)
        assert ("column", "app.orders.blocked") in read_catalog(reading, OWNERS).by_name


def test_the_same_statements_make_the_same_fingerprint_on_every_major_version() -> None:
    """15, 16 and 18 at least; docs/schema.md names what cannot be the same, and 14 cannot make all of it."""
    seen: dict[str, list[int]] = {}
    for major, programs in majors().items():
        if major < 15:
            continue
        with BareServer(programs) as server:
            server.create("base")
            with server.connect("base") as connection:
                connection.execute(f"{base(major)}{VIEWS}{LISTS}".encode())
                seen.setdefault(read_fingerprint(connection, OWNERS), []).append(major)
    assert len(majors()) > 1
    assert len(seen) == 1, seen


ON_ALL_VERSIONS = """
    CREATE TABLE app.parted (id bigint GENERATED ALWAYS AS IDENTITY, day date) PARTITION BY RANGE (day);
    CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE UNLOGGED TABLE app.passing (id bigint GENERATED ALWAYS AS IDENTITY, number serial)
"""


def test_what_a_version_does_by_itself_makes_no_difference() -> None:
    """A partition's column is an identity since 17, sequences of an unlogged table are unlogged since 15."""
    seen: dict[str, list[int]] = {}
    for major, programs in majors().items():
        with BareServer(programs) as server:
            server.create("small")
            with server.connect("small") as connection:
                connection.execute(f"CREATE SCHEMA app; {ON_ALL_VERSIONS}".encode())
                goal = read_catalog(connection, Scope(only=("app",)))
                seen.setdefault(goal.fingerprint, []).append(major)
                connection.execute("DROP TABLE app.parted, app.passing")
                assert correct(connection, goal, Scope(only=("app",))).proven, major
    assert len(seen) == 1, seen


def test_no_secret_reaches_a_fact(bare: BareServer) -> None:
    """Options of servers, wrappers and user mappings are never shown, nor a hash of a password."""
    text = repr(read(bare, "base"))
    assert "hunter2" not in text
    assert "archive.example.org" not in text
    assert "(not read)" in text


def test_identities_are_unique_within_their_kind(bare: BareServer) -> None:
    """Else one of two facts would be lost in a comparison."""
    catalog = read(bare, "base")
    assert len(catalog.by_name) == len(catalog.facts)


def test_supabase_triggers_and_policies_on_watched_ground(bare: BareServer, copy: str) -> None:
    """Users' policies and triggers on the platform's tables are facts where watched; the platform's own are not."""
    with bare.connect(copy) as connection:
        connection.execute(HISTORIES["what a platform keeps"].encode())
        connection.execute("CREATE TRIGGER ours AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION app.log_row()")
        connection.execute("CREATE POLICY ours ON storage.objects USING (true)")
        connection.execute("ALTER PUBLICATION supabase_realtime ADD TABLE app.cats")
    without = differences(read(bare, "base"), read(bare, copy))
    assert [str(d) for d in without] == ["extra publication table supabase_realtime: app.cats"]
    watching = Scope(owners=True, watched=("auth.users", "storage.objects"))
    watched = differences(read(bare, "base", watching), read(bare, copy, watching))
    assert [str(d) for d in watched] == [
        "extra policy ours on storage.objects",
        "extra publication table supabase_realtime: app.cats",
        "extra trigger ours on auth.users",
    ]


def test_a_partition_that_was_detached_in_vain_is_a_fact(bare: BareServer, copy: str) -> None:
    """Its rows have left the partitioned table; what it keeps of it may be all that it had of its own."""
    with bare.connect(copy) as connection, bare.connect(copy) as elsewhere:
        connection.execute(
            "ALTER TABLE app.log_2025 ADD CHECK (day IS NOT NULL AND day >= '2025-01-01' AND day < '2026-01-01')"
        )
        before = read_catalog(connection, OWNERS)
        with elsewhere.transaction():
            elsewhere.execute("SELECT FROM app.log")
            connection.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                connection.execute("ALTER TABLE app.log DETACH PARTITION app.log_2025 CONCURRENTLY")
        (found,) = differences(before, read_catalog(connection, OWNERS))
        connection.execute("ALTER TABLE app.log DETACH PARTITION app.log_2025 FINALIZE")
    assert (str(found), found.clauses) == (
        "changed table app.log_2025",
        (Clause("detach pending", None, True),),
    )


def test_an_index_that_was_built_in_vain_is_a_fact(bare: BareServer, copy: str) -> None:
    """pg_dump and the version table say nothing of it."""
    with bare.connect(copy) as connection:
        connection.execute("INSERT INTO app.animals VALUES (1, 'a'), (1, 'b')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY animals_id ON app.animals (id)")
    (found,) = differences(read(bare, "base"), read(bare, copy))
    assert (found.kind, found.identity, found.change) == ("index", "app.animals_id", "extra")
    assert ("valid", None, False) in [(c.name, c.left, c.right) for c in found.clauses]


def _statements(text: str) -> list[str]:
    """One at a time, since some may stand in no transaction; a body in dollars ends no statement."""
    parts = re.split(r";\s*\n(?=[A-Z]|\Z)", text)
    return [part for part in parts if part.strip()]
