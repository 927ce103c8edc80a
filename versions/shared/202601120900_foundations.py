"""Foundations: who may read what, the updated_at trigger, application metadata

Revision ID: 3fbb9d04f959
Revises:
Create Date: 2026-01-12 09:00:00

Two functions give every later revision explicit grants in one line. They exist because the API roles `anon`,
`authenticated` and `service_role` are there on Supabase and not on a plain PostgreSQL, and because what those roles get
by default depends on the age of a Supabase project: so everything is revoked first, then exactly the named is granted.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "3fbb9d04f959"
down_revision = None
branch_labels = ("shared",)
depends_on = None

# Also closes the sequences of identity columns: older Supabase projects open those to the API roles as well.
GRANT_TABLE = """
CREATE FUNCTION ehg_grant_table(relation regclass, grants jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    api_role text;
    owned_sequence regclass;
BEGIN
    EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC', relation);
    FOR api_role IN
        SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', relation, api_role);
        FOR owned_sequence IN
            SELECT objid::regclass FROM pg_depend
            WHERE refobjid = relation AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
              AND objid IN (SELECT oid FROM pg_class WHERE relkind = 'S')
        LOOP
            EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM %I', owned_sequence, api_role);
        END LOOP;
        IF grants ? api_role THEN
            EXECUTE format('GRANT %s ON TABLE %s TO %I', grants ->> api_role, relation, api_role);
        END IF;
    END LOOP;
END $$
"""

GRANT_FUNCTION = """
CREATE FUNCTION ehg_grant_function(routine regprocedure, grantees text[]) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    api_role text;
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    FOR api_role IN
        SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', routine, api_role);
        IF api_role = ANY (grantees) THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', routine, api_role);
        END IF;
    END LOOP;
END $$
"""

SET_UPDATED_AT = """
CREATE FUNCTION set_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.execute(GRANT_TABLE)
    op.execute(GRANT_FUNCTION)
    op.execute(SET_UPDATED_AT)
    # PostgREST offers every function of `public` that its roles may execute: these are nobody's to call.
    op.execute("SELECT ehg_grant_function('ehg_grant_table(regclass, jsonb)', '{}')")
    op.execute("SELECT ehg_grant_function('ehg_grant_function(regprocedure, text[])', '{}')")
    op.execute("SELECT ehg_grant_function('set_updated_at()', '{}')")

    op.create_table(
        "app_metadata",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("value", JSONB, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name="app_metadata_pkey"),
        sa.CheckConstraint(r"key ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'", name="app_metadata_key_check"),
    )
    op.execute("COMMENT ON TABLE app_metadata IS 'facts about this application that every EHG service may read'")
    op.execute(
        "CREATE TRIGGER app_metadata_set_updated_at BEFORE UPDATE ON app_metadata "
        "FOR EACH ROW EXECUTE FUNCTION set_updated_at()"
    )
    op.execute("ALTER TABLE app_metadata ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY app_metadata_read ON app_metadata FOR SELECT USING (true)")
    op.execute("""
        SELECT ehg_grant_table('app_metadata', '{
            "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}')
    """)


def downgrade() -> None:
    op.drop_table("app_metadata")
    op.execute("DROP FUNCTION set_updated_at()")
    op.execute("DROP FUNCTION ehg_grant_function(regprocedure, text[])")
    op.execute("DROP FUNCTION ehg_grant_table(regclass, jsonb)")
