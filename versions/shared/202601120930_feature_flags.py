"""Feature flags

Revision ID: a392a9119210
Revises: 3fbb9d04f959
Create Date: 2026-01-12 09:30:00

The policy names no role: on a plain PostgreSQL the API roles do not exist. Who may read is decided by the grants.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ENUM

revision = "a392a9119210"
down_revision = "3fbb9d04f959"
branch_labels = None
depends_on = None

STATE = ENUM("off", "on", name="feature_flag_state", create_type=False)


def upgrade() -> None:
    op.execute("CREATE TYPE feature_flag_state AS ENUM ('off', 'on')")
    op.create_table(
        "feature_flags",
        sa.Column("flag", sa.String(100), nullable=False),
        sa.Column("state", STATE, server_default="off", nullable=False),
        sa.Column("description", sa.Text, server_default="", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("flag", name="feature_flags_pkey"),
        sa.CheckConstraint("flag ~ '^[a-z][a-z0-9_]*$'", name="feature_flags_flag_check"),
    )
    op.execute(
        "CREATE TRIGGER feature_flags_set_updated_at BEFORE UPDATE ON feature_flags "
        "FOR EACH ROW EXECUTE FUNCTION set_updated_at()"
    )
    op.execute("ALTER TABLE feature_flags ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY feature_flags_read ON feature_flags FOR SELECT USING (true)")
    op.execute("""
        SELECT ehg_grant_table('feature_flags', '{
            "anon": "SELECT", "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}')
    """)


def downgrade() -> None:
    op.drop_table("feature_flags")
    op.execute("DROP TYPE feature_flag_state")
