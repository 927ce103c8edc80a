"""EHG's own schema, as the files of versions/ make it with stock Alembic: exact both ways, closed, and strict."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from psycopg import errors

from tests.support.postgres import Cluster

VERSIONS = Path(__file__).resolve().parents[2] / "versions"
BRANCHES = {
    "ehg_engineer": ("ehg_engineer", "shared"),
    "app_1": ("app_1", "crm", "shared"),
    "app_2": ("app_2", "shared"),
}
SHAPES = (SUPABASE, PLAIN) = ("supabase", "plain")
"""As `postgres`, who is no superuser, in a project's database; and as a superuser in an empty one."""
ROLES, PGAUDIT = "bb4c4622a2e0", "da3035c313ca"
AUDIT_INDEX, NAMESPACES, ROLLOUT, GRADUAL = "ffa9476a82bc", "26410fcdadfb", "153ba815b7ac", "362eea470ccf"

ACL = """(SELECT string_agg(format('%s=%s', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END,
    privilege_type), ' ' ORDER BY grantee, privilege_type) FROM aclexplode(coalesce({}, acldefault({}, {}))))"""

RELATION_KIND = """CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END"""

# Everything that the revisions can make, in the order of the columns as they stand.
CATALOGUE = f"""
WITH public_classes AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace)
SELECT relkind::text, relname::text, concat_ws(' | ', relrowsecurity, relforcerowsecurity, reloptions::text,
    pg_get_userbyid(relowner), obj_description(oid, 'pg_class'),
    {ACL.format("relacl", RELATION_KIND, "relowner")},
    CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) WHEN 'i' THEN pg_get_indexdef(oid) END,
    (SELECT indisvalid FROM pg_index WHERE indexrelid = public_classes.oid)) FROM public_classes
UNION ALL
SELECT 'column', format('%s.%s', relname,
        row_number() OVER (PARTITION BY attrelid ORDER BY attnum)), concat_ws(' | ', attname,
        format_type(atttypid, atttypmod), attnotnull, attidentity, pg_get_expr(adbin, adrelid))
    FROM pg_attribute JOIN public_classes AS c ON c.oid = attrelid AND relkind IN ('r', 'v')
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', format('%s.%s', relname, conname), concat_ws(' | ', pg_get_constraintdef(k.oid), convalidated)
    FROM pg_constraint AS k JOIN public_classes AS c ON c.oid = conrelid
UNION ALL
SELECT 'trigger', format('%s.%s', relname, tgname), concat_ws(' | ', pg_get_triggerdef(t.oid), tgenabled)
    FROM pg_trigger AS t JOIN public_classes AS c ON c.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT 'policy', format('%s.%s', tablename, policyname), p::text FROM pg_policies AS p
UNION ALL
SELECT 'function', p.oid::regprocedure::text,
    concat_ws(' | ', pg_get_functiondef(p.oid), {ACL.format("proacl", "'f'", "proowner")})
    FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'enum', enumtypid::regtype::text, string_agg(enumlabel, ' ' ORDER BY enumsortorder)
    FROM pg_enum GROUP BY enumtypid
UNION ALL
SELECT 'extension', extname::text, extversion FROM pg_extension
UNION ALL
SELECT 'setting', setrole::regrole::text, setconfig::text FROM pg_db_role_setting AS s
    JOIN pg_database AS d ON d.oid = setdatabase WHERE datname = current_database()
UNION ALL
SELECT 'schema', nspname::text, {ACL.format("nspacl", "'n'", "nspowner")} FROM pg_namespace WHERE nspname = 'public'
UNION ALL
SELECT 'database', '', {ACL.format("datacl", "'d'", "datdba")} FROM pg_database WHERE datname = current_database()
ORDER BY 1, 2
"""

_numbers = itertools.count()


class Database:
    """One database of one target, walked revision by revision with stock Alembic."""

    def __init__(self, pg: Cluster, target: str, shape: str) -> None:
        self.pg, self.name = pg, f"ehg_schema_{target}_{next(_numbers)}"
        if shape == SUPABASE:
            address = pg.create_database(self.name)
        else:
            pg.create_plain_database(self.name)
            address = pg.superuser_address(self.name)
        url = sa.URL.create("postgresql+psycopg", address.user, pg.password, address.host, address.port, address.dbname)
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        with self.engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema("ehg_migrate"))
        config = Config()
        config.set_main_option("script_location", str(VERSIONS))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", "\n".join(str(VERSIONS / b) for b in BRANCHES[target]))
        self.script = ScriptDirectory.from_config(config)
        revisions = self.script.iterate_revisions("heads", "base", implicit_base=True)
        self.order = [r.revision for r in revisions][::-1]

    def up(self, *revisions: str) -> None:
        """Apply exactly these."""
        self._run(MigrationStep.upgrade_from_script, revisions)

    def down(self, *revisions: str) -> None:
        """Take back exactly these."""
        self._run(MigrationStep.downgrade_from_script, revisions)

    def up_to(self, revision: str) -> None:
        """Apply, in order, everything before `revision`, and `revision`."""
        self.up(*self.order[: self.order.index(revision) + 1])

    def _run(self, make, revisions) -> None:
        scripts = [self.script.get_revision(r) for r in revisions]
        opts = {
            "fn": lambda heads, context: [make(self.script.revision_map, s) for s in scripts],
            "script": self.script,
            "transaction_per_migration": True,
            "version_table_schema": "ehg_migrate",
        }
        with self.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=opts)
            with context.begin_transaction(), Operations.context(context):
                context.run_migrations()

    def catalogue(self) -> list[tuple]:
        """What is in it now, as a superuser sees it: everything but the rows."""
        return self.all(CATALOGUE)

    def connect(self) -> psycopg.Connection:
        """A superuser's connection; the caller closes it."""
        return self.pg.admin(self.name)

    def all(self, statement: str) -> list[tuple]:
        """The rows of `statement`, committed."""
        with self.connect() as connection:
            return connection.execute(statement).fetchall()

    def do(self, statement: str) -> None:
        """Run `statement` as superuser and commit it."""
        with self.connect() as connection:
            connection.execute(statement)


@pytest.fixture
def make(pg: Cluster) -> Iterator[Callable[..., Database]]:
    """Makes databases that are gone after the test."""
    made: list[Database] = []

    def make(target: str, shape: str = SUPABASE) -> Database:
        made.append(Database(pg, target, shape))
        return made[-1]

    yield make
    pg.drop_databases(database.name for database in made)


@pytest.fixture(scope="module")
def fleet(pg: Cluster) -> Iterator[dict[str, Database]]:
    """Every target at its heads, in databases with the open default privileges of Supabase."""
    made = {target: Database(pg, target, SUPABASE) for target in BRANCHES}
    for database in made.values():
        database.up(*database.order)
    yield made
    pg.drop_databases(database.name for database in made.values())


@pytest.fixture
def engineer(fleet) -> Iterator[psycopg.Connection]:
    """The database of `ehg_engineer` with one directive and one backlog item; what a test does is rolled back."""
    with fleet["ehg_engineer"].connect() as connection:
        connection.autocommit = False
        connection.execute("INSERT INTO strategic_directives_v2 (id, title) VALUES ('SD-1', 'First')")
        connection.execute(
            "INSERT INTO sd_backlog_map (sd_id, backlog_id, backlog_title, priority, extras) VALUES"
            """ ('SD-1', 'B-1', 'Item', 'High', '{"estimated_hours": 3.5, "rationale": "why"}')"""
        )
        yield connection
        connection.rollback()


# ------------------------------------------------------------------------------------------------------ both ways


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", BRANCHES)
def test_each_downgrade_restores_exactly_what_was_before(make, target, shape):
    """Up, down and up again meets the same two catalogues for each revision, and so does the whole way back."""
    database = make(target, shape)
    history = [database.catalogue()]
    for revision in database.order:
        database.up(revision)
        after = database.catalogue()
        database.down(revision)
        assert database.catalogue() == history[-1], revision
        database.up(revision)
        assert database.catalogue() == after, revision
        assert after != history[-1] or revision == PGAUDIT, f"{revision} changes nothing"
        history.append(after)
    for revision in reversed(database.order):
        assert database.catalogue() == history.pop(), f"before taking back {revision}"
        database.down(revision)
    assert database.catalogue() == history.pop()
    assert database.all("SELECT * FROM ehg_migrate.alembic_version") == []


def test_targets_have_shared_and_their_own_and_nothing_else(fleet):
    """No table of another branch is in a target's database."""
    shared = {"app_metadata", "audit_log", "feature_flags"}
    prefixes = {
        "ehg_engineer": ("strategic_directives", "sd_", "leo_", "ui_validation_"),
        "app_1": ("crm_", "sales_"),
        "app_2": ("billing_",),
    }
    for target, database in fleet.items():
        rows = database.all("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                            "AND relkind IN ('r', 'v')")  # fmt: skip
        names = {name for (name,) in rows}
        assert shared < names
        assert {n for n in names - shared if not n.startswith(prefixes[target])} == set()
        assert {p for p in prefixes[target] if not any(n.startswith(p) for n in names)} == set()


@pytest.mark.parametrize("target", BRANCHES)
def test_revisions_run_again_after_an_index_was_left_invalid(make, target):
    """A CONCURRENTLY that failed half way leaves an INVALID index; the next attempt makes it whole."""
    database = make(target)
    for revision in database.order:
        before = set(database.all(INDEXES))
        database.up(revision)
        if "CONCURRENTLY" not in (database.script.get_revision(revision).module.__doc__ or ""):
            continue
        made = {name for (name,) in set(database.all(INDEXES)) - before}
        assert made
        whole = database.catalogue()
        database.do("DELETE FROM ehg_migrate.alembic_version")  # as if the step had not been recorded
        database.do(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ({_regclasses(made)})")
        parents = sorted(set(database.script.get_revision(revision)._all_down_revisions))
        for parent in parents:
            database.do(f"INSERT INTO ehg_migrate.alembic_version VALUES ('{parent}')")
        database.up(revision)
        assert database.catalogue() == whole


INDEXES = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace"


def _regclasses(names: set[str]) -> str:
    return ", ".join(f"'{n}'::regclass" for n in names)


# ----------------------------------------------------------------------------------------------------------- data


def test_flags_that_were_on_reach_everybody_and_keep_their_time(make):
    """The data migration fills the percentage and pretends no edit: neither `updated_at` nor the audit log moves."""
    database = make("app_2")
    database.up_to(GRADUAL)
    database.do("INSERT INTO feature_flags (flag, state) VALUES ('old', 'on'), ('new', 'off')")
    before = database.all("SELECT flag, updated_at FROM feature_flags ORDER BY flag")
    database.up(ROLLOUT)
    assert database.all("SELECT flag, rollout_percent FROM feature_flags ORDER BY flag") == [("new", 0), ("old", 100)]
    assert database.all("SELECT flag, updated_at FROM feature_flags ORDER BY flag") == before
    assert database.all("SELECT count(*) FROM audit_log") == [(2,)]


def test_an_enum_value_is_taken_back_with_the_rows_that_use_it(make):
    """Flags that are gradual are off after the downgrade, and the audit log still says what they were."""
    database = make("app_2")
    database.up_to(GRADUAL)
    database.do("INSERT INTO feature_flags (flag, state) VALUES ('slow', 'gradual'), ('fast', 'on')")
    database.down(GRADUAL)
    assert database.all("SELECT flag, state::text FROM feature_flags ORDER BY flag") == [
        ("fast", "on"),
        ("slow", "off"),
    ]
    logged = "SELECT old_row ->> 'state', new_row ->> 'state' FROM audit_log WHERE action = 'UPDATE'"
    assert database.all(logged) == [("gradual", "off")]


def test_metadata_keys_survive_the_way_there_and_back(make):
    """Keys become namespace and name and the same keys again, with their values and times."""
    database = make("app_2")
    database.up_to(AUDIT_INDEX)
    database.do(
        """INSERT INTO app_metadata (key, value) VALUES ('ui.theme.dark', 'true'), ('ui', '1'), ('a.1', '{}')"""
    )
    before = database.all("SELECT * FROM app_metadata ORDER BY key")
    database.up(NAMESPACES)
    keys = database.all("SELECT namespace, name FROM app_metadata ORDER BY 1, 2")
    assert keys == [("", "ui"), ("a", "1"), ("ui", "theme.dark")]
    database.down(NAMESPACES)
    assert database.all("SELECT * FROM app_metadata ORDER BY key") == before


# ------------------------------------------------------------------------------------------------ the backlog view

WRITES = [
    "INSERT INTO strategic_directives_backlog (sd_id, backlog_id) VALUES ('SD-1', 'B-2')",
    "UPDATE strategic_directives_backlog SET sd_title = 'x' WHERE sd_id = 'SD-1'",
    "DELETE FROM strategic_directives_backlog WHERE sd_id = 'SD-1'",
    "UPDATE strategic_directives_backlog SET backlog_title = 'x' WHERE sd_id = 'no such directive'",
    "DELETE FROM strategic_directives_backlog WHERE sd_id = 'no such directive'",
]


@pytest.mark.parametrize("role", ["NONE", "service_role"])
@pytest.mark.parametrize("statement", WRITES)
def test_the_backlog_view_refuses_writes_and_names_both_tables(engineer, statement, role):
    """Whether or not a row matches, the error says where to write instead."""
    engineer.execute(f"SET LOCAL ROLE {role}")
    with pytest.raises(errors.WrongObjectType) as caught:
        engineer.execute(statement)
    message, hint = caught.value.diag.message_primary, caught.value.diag.message_hint
    verb = {"INSERT": "insert into", "UPDATE": "update", "DELETE": "delete from"}[statement.split()[0]]
    assert message == (
        f'cannot {verb} view "strategic_directives_backlog": '
        'write to table "strategic_directives_v2" or "sd_backlog_map" instead'
    )
    assert "strategic_directives_v2" in hint
    assert "sd_backlog_map" in hint


def test_the_backlog_view_joins_both_tables(engineer):
    """One row for each backlog item, the extras taken apart."""
    rows = engineer.execute(
        "SELECT sd_id, sd_title, sd_status, backlog_id, backlog_priority, rationale, estimated_hours::float, kpis"
        " FROM strategic_directives_backlog"
    ).fetchall()
    assert rows == [("SD-1", "First", "draft", "B-1", "High", "why", 3.5, None)]


def test_the_backlog_view_has_the_rights_of_its_reader(engineer):
    """From PostgreSQL 15 on the policies of both tables hold for whoever reads; 14 has no such view, so no reader."""
    invoker = engineer.execute(
        "SELECT 'security_invoker=true' = ANY (reloptions) FROM pg_class WHERE relname = 'strategic_directives_backlog'"
    ).fetchone()
    readable = engineer.execute(
        "SELECT has_table_privilege('authenticated', 'strategic_directives_backlog', 'SELECT')"
    ).fetchone()
    assert (invoker, readable) == (
        ((True,), (True,)) if engineer.info.server_version >= 150000 else ((None,), (False,))
    )


# ----------------------------------------------------------------------------------------------------------- checks

DIRECTIVE = "INSERT INTO strategic_directives_v2 (id, title, {}) VALUES ('SD-2', 't', {})"
ITEM = "INSERT INTO sd_backlog_map (sd_id, backlog_id, backlog_title, {}) VALUES ('SD-1', 'B-2', 't', {})"
REFUSED = [
    (DIRECTIVE.format("status", "'archived'"), "strategic_directives_v2_status_check"),
    (DIRECTIVE.format("status", "'Draft'"), "strategic_directives_v2_status_check"),
    (DIRECTIVE.format("priority", "-1"), "strategic_directives_v2_priority_check"),
    (DIRECTIVE.format("priority", "101"), "strategic_directives_v2_priority_check"),
    (DIRECTIVE.format("h_count", "-1"), "strategic_directives_v2_counts_check"),
    (ITEM.format("priority", "'high'"), "sd_backlog_map_priority_check"),
    (ITEM.format("priority", "'Urgent'"), "sd_backlog_map_priority_check"),
    (ITEM.format("extras", "'[]'"), "sd_backlog_map_extras_check"),
    (ITEM.format("extras", "'null'"), "sd_backlog_map_extras_check"),
    (ITEM.format("extras", """'{"estimated_hours": "3"}'"""), "sd_backlog_map_estimated_hours_check"),
]
ACCEPTED = [
    *(DIRECTIVE.format("status", f"'{s}'") for s in ("draft", "active", "completed")),
    *(DIRECTIVE.format("priority", p) for p in ("0", "100")),
    *(ITEM.format("priority", f"'{p}'") for p in ("High", "Medium", "Low")),
    *(ITEM.format("extras", f"'{e}'") for e in ("{}", '{"estimated_hours": null}', '{"estimated_hours": 0.5}')),
]


@pytest.mark.parametrize(("statement", "constraint"), REFUSED)
def test_checks_refuse(engineer, statement, constraint):
    """The constraint that is meant refuses the row."""
    with pytest.raises(errors.CheckViolation) as caught:
        engineer.execute(statement)
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize("statement", ACCEPTED)
def test_checks_accept(engineer, statement):
    """Every value that the words allow can be written."""
    assert engineer.execute(statement).rowcount == 1


def test_a_backlog_item_needs_its_directive(engineer):
    """The reference holds."""
    with pytest.raises(errors.ForeignKeyViolation):
        engineer.execute("INSERT INTO sd_backlog_map (sd_id, backlog_id, backlog_title) VALUES ('SD-9', 'B', 't')")


# ----------------------------------------------------------------------------------------------------------- access

READ = "SELECT"
WRITE = "DELETE INSERT SELECT UPDATE"
SHARED_GRANTS = {("app_metadata", "authenticated"): READ, ("feature_flags", "anon"): READ,
                 ("feature_flags", "authenticated"): READ}  # fmt: skip
API_GRANTS = {
    "ehg_engineer": {
        **SHARED_GRANTS,
        **{
            (table, "authenticated"): READ
            for table in (
                "strategic_directives_v2",
                "sd_backlog_map",
                "strategic_directives_backlog",
                "leo_protocols",
                "leo_agents",
                "leo_protocol_phases",
                "leo_handoffs",
                "ui_validation_rules",
                "ui_validation_runs",
                "ui_validation_checkpoints",
            )
        },
    },
    "app_1": {
        **SHARED_GRANTS,
        **{(t, "authenticated"): READ for t in ("sales_territories", "sales_territory_companies")},
        **{(t, "authenticated"): WRITE for t in ("crm_companies", "crm_contacts", "crm_deals", "sales_visits")},
    },
    "app_2": {
        **SHARED_GRANTS,
        ("billing_plans", "anon"): READ,
        **{(t, "authenticated"): READ for t in ("billing_plans", "billing_subscriptions", "billing_invoices")},
    },
}


# pgAudit, where the server has it, brings two of its own.
OUR_FUNCTIONS = """pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"""


@pytest.mark.parametrize("target", BRANCHES)
def test_row_level_security_is_on_for_every_table(fleet, target):
    """There is no table in `public` without it."""
    rows = fleet[target].all(
        "SELECT relname, relrowsecurity FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = 'public'::regnamespace"
    )
    assert len(rows) >= 6
    assert [name for name, secured in rows if not secured] == []


@pytest.mark.parametrize("target", BRANCHES)
def test_api_roles_get_exactly_what_the_files_grant(fleet, target):
    """Tables, views and sequences: nothing is left of the open default privileges, and nothing goes to PUBLIC."""
    rows = fleet[target].all(
        "SELECT relname, coalesce(r.rolname, 'PUBLIC'), string_agg(privilege_type, ' ' ORDER BY privilege_type)"
        " FROM pg_class AS c CROSS JOIN LATERAL aclexplode(relacl) LEFT JOIN pg_roles AS r ON r.oid = grantee"
        " WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner"
        " AND rolname IS DISTINCT FROM 'service_role' GROUP BY 1, 2"
    )
    expected = dict(API_GRANTS[target])
    ((version,),) = fleet[target].all("SELECT current_setting('server_version_num')::integer")
    if version < 150000:
        expected.pop(("strategic_directives_backlog", "authenticated"), None)
    assert {(relation, role): granted for relation, role, granted in rows} == expected


@pytest.mark.parametrize("target", BRANCHES)
def test_api_roles_may_call_one_function_only(fleet, target):
    """Helpers and trigger functions are not offered by PostgREST; `current_user_id()` is, for the policies."""
    rows = fleet[target].all(
        "SELECT DISTINCT proname"
        " FROM pg_proc, (VALUES ('anon'), ('authenticated'), ('service_role'), ('public')) AS v(r)"
        f" WHERE {OUR_FUNCTIONS} AND has_function_privilege(r, pg_proc.oid, 'EXECUTE')"
    )
    assert rows == [("current_user_id",)]


@pytest.mark.parametrize("target", BRANCHES)
def test_functions_pin_their_search_path(fleet, target):
    """No function of ours can be led to somebody else's objects."""
    rows = fleet[target].all(f"SELECT proname, proconfig FROM pg_proc WHERE {OUR_FUNCTIONS}")
    assert rows
    assert [name for name, config in rows if config != ['search_path=""']] == []


def test_users_reach_their_own_rows_only(fleet):
    """Through the API a user sees, writes and keeps only what is theirs."""
    ann, bob = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
    with fleet["app_1"].connect() as connection:
        connection.autocommit = False
        connection.execute("SET LOCAL ROLE authenticated")
        _be(connection, ann)
        connection.execute("INSERT INTO crm_companies (name) VALUES ('Acme')")
        _be(connection, bob)
        assert connection.execute("SELECT count(*) FROM crm_companies").fetchone() == (0,)
        assert connection.execute("DELETE FROM crm_companies").rowcount == 0
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            connection.execute(f"INSERT INTO crm_companies (name, owner_id) VALUES ('x', '{ann}')")
        connection.rollback()


def _be(connection: psycopg.Connection, user: str) -> None:
    connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [f'{{"sub": "{user}"}}'])


def test_who_changed_a_directive_is_in_the_audit_log(engineer):
    """The log names the API role and the user, and the API role cannot write to it."""
    user = "00000000-0000-4000-8000-00000000000c"
    _be(engineer, user)
    engineer.execute("SET LOCAL ROLE service_role")
    engineer.execute("UPDATE strategic_directives_v2 SET status = 'active' WHERE id = 'SD-1'")
    logged = engineer.execute(
        "SELECT actor, user_id::text, old_row ->> 'status', new_row ->> 'status' FROM audit_log"
        " WHERE table_name = 'strategic_directives_v2' AND action = 'UPDATE'"
    ).fetchall()
    assert logged == [("service_role", user, "draft", "active")]
    with pytest.raises(errors.InsufficientPrivilege):
        engineer.execute("DELETE FROM audit_log")


# ------------------------------------------------------------------------------------------------- cluster-wide parts

MIGRATOR_ROLES = """SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles
    WHERE rolname IN ('ehg_engineer_role', 'ehg_engineer_migrator') ORDER BY 1"""
# Databases, beside this one, that still need one of the roles.
NEEDED_ELSEWHERE = """SELECT DISTINCT CASE classid WHEN 'pg_database'::regclass THEN objid ELSE dbid END
    FROM pg_shdepend WHERE refobjid IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'ehg\\_engineer\\_%')
    EXCEPT SELECT oid FROM pg_database WHERE datname = current_database()"""


@pytest.mark.parametrize("shape", SHAPES)
def test_roles_outlive_one_database_and_go_with_the_last(make, shape):
    """Two databases of one cluster share the roles; a downgrade drops them only when no other database needs them."""
    first, second = make("ehg_engineer", shape), make("ehg_engineer", shape)
    for database in (first, second):
        database.up_to(ROLES)
    made = [("ehg_engineer_migrator", True, False, False, False), ("ehg_engineer_role", False, False, False, False)]
    assert first.all(MIGRATOR_ROLES) == made
    assert first.all("SELECT pg_has_role('ehg_engineer_migrator', 'ehg_engineer_role', 'USAGE')") == [(True,)]
    assert first.all("SELECT has_schema_privilege('ehg_engineer_migrator', 'public', 'CREATE')") == [(True,)]
    assert first.all("SELECT passwd IS NULL FROM pg_shadow WHERE usename = 'ehg_engineer_migrator'") == [(True,)]

    first.down(ROLES)
    assert second.all(MIGRATOR_ROLES) == made
    granted = "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = current_database() AND grantee = "
    assert first.all(granted + "'ehg_engineer_role'::regrole") == [(0,)]
    assert second.all(granted + "'ehg_engineer_role'::regrole") == [(1,)]

    others = second.all(NEEDED_ELSEWHERE)
    second.down(ROLES)
    assert second.all(MIGRATOR_ROLES) == (made if others else [])


def test_pgaudit_is_switched_on_or_said_why_not(fleet):
    """What was done is kept with the reason, and agrees with what the database has."""
    database = fleet["ehg_engineer"]
    ((note,),) = database.all("SELECT value FROM app_metadata WHERE namespace = 'ehg_engineer' AND name = 'pgaudit'")
    ((installed,),) = database.all("SELECT count(*) FROM pg_extension WHERE extname = 'pgaudit'")
    assert note["created"] == (installed == 1)
    assert (note["reason"] is None) == note["created"]
