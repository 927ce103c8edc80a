"""pgAudit, where the server has it

Revision ID: da3035c313ca
Revises: bb4c4622a2e0
Create Date: 2026-03-30 10:00:00

The extension needs its library in `shared_preload_libraries`, which Supabase has and a plain server mostly has not. An
ordinary role may not read that setting, but everyone sees the parameters that a loaded library defines. What was done,
or why not, is kept in `app_metadata` (`ehg_engineer`, `pgaudit`), so the downgrade undoes exactly that.
"""

from alembic import op

revision = "da3035c313ca"
down_revision = "bb4c4622a2e0"
branch_labels = None
depends_on = "26410fcdadfb"

# Logged are DDL and changes of roles, by the two roles that make them here: the one that runs this, and the migrator.
SWITCH_ON = """
DO $$
DECLARE
    created boolean := false;
    reason text;
    configured text[] := '{}';
    migrating_role text;
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pgaudit') THEN
        reason := 'it was there before';
    ELSIF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgaudit') THEN
        reason := 'this server does not offer the extension';
    ELSIF NOT EXISTS (SELECT FROM pg_settings WHERE name = 'pgaudit.log') THEN
        reason := 'its library is not in shared_preload_libraries';
    ELSE
        BEGIN
            IF to_regnamespace('extensions') IS NULL THEN
                CREATE EXTENSION pgaudit;
            ELSE
                CREATE EXTENSION pgaudit SCHEMA extensions;
            END IF;
            created := true;
        EXCEPTION WHEN insufficient_privilege OR object_not_in_prerequisite_state THEN
            GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
        END;
    END IF;

    IF created THEN
        BEGIN
            FOR migrating_role IN
                SELECT rolname FROM pg_roles
                WHERE rolname IN (current_user, 'ehg_engineer_migrator')
                  AND NOT EXISTS (
                    SELECT FROM pg_db_role_setting
                    WHERE setrole = pg_roles.oid
                      AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                      AND array_to_string(setconfig, ',') LIKE '%pgaudit.log=%'
                  )
                ORDER BY rolname
            LOOP
                EXECUTE format('ALTER ROLE %I IN DATABASE %I SET pgaudit.log = %L',
                    migrating_role, current_database(), 'ddl, role');
                configured := configured || migrating_role;
            END LOOP;
        EXCEPTION WHEN insufficient_privilege THEN
            configured := '{}';
            RAISE NOTICE 'pgAudit is there and logs nothing yet: "%" may not set pgaudit.log; an administrator can: '
                'ALTER ROLE ... IN DATABASE ... SET pgaudit.log = ''ddl, role''', current_user;
        END;
    ELSE
        RAISE NOTICE 'pgAudit is not switched on by this revision: %', reason;
    END IF;

    INSERT INTO app_metadata (namespace, name, value)
    VALUES ('ehg_engineer', 'pgaudit',
        jsonb_build_object('created', created, 'reason', reason, 'roles', to_jsonb(configured)));
END $$
"""

SWITCH_OFF = """
DO $$
DECLARE
    done jsonb;
    migrating_role text;
BEGIN
    DELETE FROM app_metadata WHERE namespace = 'ehg_engineer' AND name = 'pgaudit' RETURNING value INTO done;
    FOR migrating_role IN
        SELECT rolname FROM pg_roles WHERE done -> 'roles' ? rolname
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET pgaudit.log', migrating_role, current_database());
    END LOOP;
    IF (done ->> 'created')::boolean THEN
        DROP EXTENSION IF EXISTS pgaudit;
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute(SWITCH_ON)


def downgrade() -> None:
    op.execute(SWITCH_OFF)
