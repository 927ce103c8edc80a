"""Audit log, written by triggers only

Revision ID: 8516041840d3
Revises: a392a9119210
Create Date: 2026-01-19 09:00:00

`record_audit()` runs as its owner, so that nobody needs INSERT on the log, and nobody has it. `current_user_id()` reads
the user from the claims that PostgREST sets, so policies need no `auth` schema and work on any PostgreSQL.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "8516041840d3"
down_revision = "a392a9119210"
branch_labels = None
depends_on = None

CURRENT_USER_ID = """
CREATE FUNCTION current_user_id() RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$
"""

# `role` is what PostgREST has SET ROLE to; `session_user` would always be `authenticator` there, and `current_user`
# is the owner of this function.
RECORD_AUDIT = """
CREATE FUNCTION record_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO public.audit_log (table_name, action, actor, user_id, old_row, new_row)
    VALUES (
        TG_TABLE_NAME,
        TG_OP,
        coalesce(nullif(current_setting('role', true), 'none'), session_user),
        public.current_user_id(),
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
    );
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("user_id", UUID),
        sa.Column("old_row", JSONB),
        sa.Column("new_row", JSONB),
        sa.PrimaryKeyConstraint("id", name="audit_log_pkey"),
        sa.CheckConstraint("action IN ('INSERT', 'UPDATE', 'DELETE')", name="audit_log_action_check"),
    )
    op.execute("ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY audit_log_read ON audit_log FOR SELECT USING (true)")
    op.execute("""SELECT ehg_grant_table('audit_log', '{"service_role": "SELECT"}')""")

    op.execute(CURRENT_USER_ID)
    op.execute("SELECT ehg_grant_function('current_user_id()', '{anon,authenticated,service_role}')")
    op.execute(RECORD_AUDIT)
    op.execute("SELECT ehg_grant_function('record_audit()', '{}')")
    op.execute(
        "CREATE TRIGGER feature_flags_audit AFTER INSERT OR UPDATE OR DELETE ON feature_flags "
        "FOR EACH ROW EXECUTE FUNCTION record_audit()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER feature_flags_audit ON feature_flags")
    op.execute("DROP FUNCTION record_audit()")
    op.execute("DROP FUNCTION current_user_id()")
    op.drop_table("audit_log")
