"""`Scope`: which part of a database is ours. What a platform or this tool keeps there is left out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ehg_migrate.model import META_SCHEMA, NO_PLATFORM, SUPABASE_SCHEMAS, VERSION_TABLE, Target

OFTEN_OURS = frozenset(SUPABASE_SCHEMAS) - {"extensions", "supabase_migrations"}
"""Those that are the project's own where the migrating role owns them; the other two it owns on Supabase as well."""

SUPABASE_ROLES = (
    "authenticator", "cli_login_postgres", "dashboard_user", "pgbouncer", "pgsodium_keyholder", "pgsodium_keyiduser",
    "pgsodium_keymaker", "pgtle_admin", "supabase_admin", "supabase_auth_admin", "supabase_etl_admin",
    "supabase_functions_admin", "supabase_read_only_user", "supabase_realtime_admin", "supabase_replication_admin",
    "supabase_storage_admin",
)  # fmt: skip
"""Roles of the platform: their default privileges are its own."""

SUPABASE_EXTENSIONS = ("orioledb", "pg_graphql", "pg_stat_statements", "pgsodium", "supabase_vault", "wrappers")
"""Extensions that the platform installs."""

SUPABASE_PUBLICATIONS = ("supabase_realtime", "supabase_realtime_messages_publication")
"""Publications that the platform makes; which of our tables they publish is ours."""

SUPABASE_TABLES = ("auth.users", "storage.buckets", "storage.objects", "realtime.messages")
"""Tables of the platform on which users put policies and triggers: for `Scope.watched`."""


OURS = (META_SCHEMA, f"{META_SCHEMA}_*")
"""Never read, whatever a scope says: as patterns of pg_dump; `catalog.sql` says the same."""

ALIAS = "$schema"
"""How a schema is called whose name does not count."""


MIGRATOR = "$migrator"
"""How the role is called that migrates a database which it does not own."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a database is read. Two catalogues can be held against each other only if they have the same scope.

    By default: every schema but PostgreSQL's, the platform's and this tool's own.
    """

    only: tuple[str, ...] = ()  # these schemas and nothing that belongs to the database as a whole; () for all
    alias: bool = False  # call the one schema in `only` `$schema`, to compare it with another
    without_schemas: tuple[str, ...] = SUPABASE_SCHEMAS
    without_roles: tuple[str, ...] = SUPABASE_ROLES
    without_extensions: tuple[str, ...] = SUPABASE_EXTENSIONS
    without_publications: tuple[str, ...] = SUPABASE_PUBLICATIONS
    without_tables: tuple[str, ...] = (f"public.{VERSION_TABLE}",)  # `schema.table`, unquoted; `$schema.table` by alias
    watched: tuple[str, ...] = ()  # tables of left-out schemas whose policies and triggers are ours: `schema.table`
    owners: bool = False  # whether owners are facts
    migrator: bool = False  # call the role that reads `$migrator`: it is who migrates
    extension_versions: bool = True  # False to hold a target against a server with other versions at hand

    def __post_init__(self) -> None:
        if self.alias and len(self.only) != 1:
            raise ValueError("an alias is for exactly one schema")


def scope_of(target: Target) -> Scope:
    """The scope of a target: all of its database but what is not ours and its version table, wherever that is."""
    version = f"{target.version_table_schema}.{target.version_table}"
    tables = dict.fromkeys((*Scope().without_tables, version))
    scope = Scope(without_tables=tuple(tables))
    return without_platform(scope) if target.platform == NO_PLATFORM else scope


def without_platform(scope: Scope) -> Scope:
    """The same scope where no platform keeps anything: whatever the name, it is the project's own."""
    return replace(scope, without_schemas=(), without_roles=(), without_extensions=(), without_publications=())


def within(schema: str, whole: Scope) -> Scope:
    """What a target is of its database: `whole`, or its one schema."""
    return schema_scope(schema, whole) if schema else whole


def schema_scope(schema: str, base: Scope) -> Scope:
    """The same scope narrowed to one schema, whose name does not count: only the name differs from another schema's."""
    tables = {f"{ALIAS}.{table.rpartition('.')[2]}" for table in base.without_tables}
    return Scope(
        (schema,),
        alias=True,
        without_schemas=(),
        without_tables=tuple(sorted(tables)),
        owners=base.owners,
        migrator=base.migrator,
    )


def with_names(scope: Scope) -> Scope:
    """The same scope with its one schema called by its name: for what is told of a target, or asked of it."""
    if not scope.alias:
        return scope
    tables = (
        f"{scope.only[0]}{t.removeprefix(ALIAS)}" if t.startswith(f"{ALIAS}.") else t for t in scope.without_tables
    )
    return replace(scope, alias=False, without_tables=tuple(tables))
