"""A least-privilege role for the migration tool

Revision ID: bb4c4622a2e0
Revises: 0a60a2444a7c
Create Date: 2026-03-23 10:00:00

`ehg_engineer_role` may connect and create in schema `public`, nothing more; `ehg_engineer_migrator` logs in and has it.
No password stands in any file: until an operator sets one, nobody can log in with it. In psql, which hashes it first:

    \\password ehg_engineer_migrator

On the Supabase pooler its user name is `ehg_engineer_migrator.<project ref>`.

Roles belong to the whole cluster, and another database of it may have made them, even at this moment, or may still
need them. So making them is idempotent; what is made here is marked by its comment; and the downgrade takes back what
THIS database granted, then drops both roles or neither, and says so when they stay. A role that is dropped takes its
password with it.
"""

from alembic import op

revision = "bb4c4622a2e0"
down_revision = "0a60a2444a7c"
branch_labels = None
depends_on = None

# GRANT by who may not grant is only a warning in PostgreSQL, hence the proof at the end.
CREATE_ROLES = """
DO $$
DECLARE
    attributes record;
BEGIN
    FOR attributes IN
        SELECT * FROM (VALUES ('ehg_engineer_role', 'NOLOGIN'), ('ehg_engineer_migrator', 'LOGIN')) AS v (name, login)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = attributes.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', attributes.name, attributes.login);
                EXECUTE format('COMMENT ON ROLE %I IS %L',
                    attributes.name, 'made by ehg_engineer revision bb4c4622a2e0');
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                RAISE NOTICE 'role "%" was made by another database of this cluster meanwhile', attributes.name;
            END;
        END IF;
    END LOOP;

    IF NOT EXISTS (
        SELECT FROM pg_auth_members
        WHERE roleid = 'ehg_engineer_role'::regrole AND member = 'ehg_engineer_migrator'::regrole
    ) THEN
        BEGIN
            GRANT ehg_engineer_role TO ehg_engineer_migrator;
        EXCEPTION WHEN unique_violation THEN
            RAISE NOTICE '"ehg_engineer_migrator" was granted "ehg_engineer_role" by another database meanwhile';
        END;
    END IF;

    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ehg_engineer_role', current_database());
    GRANT USAGE, CREATE ON SCHEMA public TO ehg_engineer_role;
    IF NOT has_schema_privilege('ehg_engineer_role', 'public', 'USAGE')
       OR NOT has_schema_privilege('ehg_engineer_role', 'public', 'CREATE')
       OR NOT has_database_privilege('ehg_engineer_role', current_database(), 'CONNECT') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('role "%s" cannot grant CONNECT on this database and CREATE on schema "public"',
                current_user),
            HINT = 'Run this revision as the owner of the database and of the schema.';
    END IF;
END $$
"""

# The inner block is a savepoint: if either role has to stay, both do. Reasons to stay: grants or objects in this or in
# another database; a role that is in use (the session itself runs as it); a role that somebody else made (PostgreSQL 16
# and newer let only its maker drop it).
DROP_ROLES = """
DO $$
DECLARE
    reason text;
BEGIN
    IF to_regrole('ehg_engineer_role') IS NOT NULL THEN  -- a database restored into another cluster came without it
        EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM ehg_engineer_role', current_database());
        REVOKE USAGE, CREATE ON SCHEMA public FROM ehg_engineer_role;
    END IF;

    IF 2 > (SELECT count(*) FROM pg_roles
            WHERE rolname IN ('ehg_engineer_role', 'ehg_engineer_migrator')
              AND shobj_description(oid, 'pg_authid') = 'made by ehg_engineer revision bb4c4622a2e0') THEN
        RAISE NOTICE 'roles "ehg_engineer_role" and "ehg_engineer_migrator" are left alone: '
            'not both are there and made by this revision';
        RETURN;
    END IF;
    BEGIN
        DROP ROLE ehg_engineer_migrator;
        DROP ROLE ehg_engineer_role;
    EXCEPTION WHEN dependent_objects_still_exist OR object_in_use OR insufficient_privilege THEN
        GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
        RAISE NOTICE 'roles "ehg_engineer_role" and "ehg_engineer_migrator" stay: %', reason;
    END;
END $$
"""


def upgrade() -> None:
    op.execute(CREATE_ROLES)


def downgrade() -> None:
    op.execute(DROP_ROLES)
