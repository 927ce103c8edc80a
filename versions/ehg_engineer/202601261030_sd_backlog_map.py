"""The backlog of each strategic directive

Revision ID: 933e30090c87
Revises: 3a8462e7856b
Create Date: 2026-01-26 10:30:00

`extras` holds acceptance_criteria, kpis, dependencies, rationale and estimated_hours. The last is kept a number, so
that whoever reads it as one never fails on somebody else's row.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "933e30090c87"
down_revision = "3a8462e7856b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sd_backlog_map",
        sa.Column("sd_id", sa.String(50), nullable=False),
        sa.Column("backlog_id", sa.String(100), nullable=False),
        sa.Column("backlog_title", sa.String(500), nullable=False),
        sa.Column("priority", sa.String(20), server_default="Medium", nullable=False),
        sa.Column("extras", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.PrimaryKeyConstraint("sd_id", "backlog_id", name="sd_backlog_map_pkey"),
        sa.ForeignKeyConstraint(
            ["sd_id"], ["strategic_directives_v2.id"], name="sd_backlog_map_sd_id_fkey", ondelete="CASCADE"
        ),
        sa.CheckConstraint(
            "priority::text = ANY (ARRAY['High', 'Medium', 'Low'])", name="sd_backlog_map_priority_check"
        ),
        sa.CheckConstraint("jsonb_typeof(extras) = 'object'", name="sd_backlog_map_extras_check"),
        sa.CheckConstraint(
            "coalesce(jsonb_typeof(extras -> 'estimated_hours'), 'null') = ANY (ARRAY['number', 'null'])",
            name="sd_backlog_map_estimated_hours_check",
        ),
    )
    op.execute("ALTER TABLE sd_backlog_map ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY sd_backlog_map_read ON sd_backlog_map FOR SELECT USING (true)")
    op.execute("""
        SELECT ehg_grant_table('sd_backlog_map', '{
            "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}')
    """)


def downgrade() -> None:
    op.drop_table("sd_backlog_map")
