"""LEO handoffs between agents

Revision ID: d3fb902a9a59
Revises: d506805aa22c
Create Date: 2026-02-16 10:00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "d3fb902a9a59"
down_revision = "d506805aa22c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leo_handoffs",
        sa.Column("id", UUID, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("sd_id", sa.String(50), nullable=False),
        sa.Column("protocol_id", sa.String(50), nullable=False),
        sa.Column("from_agent", sa.String(10), nullable=False),
        sa.Column("to_agent", sa.String(10), nullable=False),
        sa.Column("status", sa.String(20), server_default="pending", nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("deliverables", JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="leo_handoffs_pkey"),
        sa.ForeignKeyConstraint(
            ["sd_id"], ["strategic_directives_v2.id"], name="leo_handoffs_sd_id_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["protocol_id"], ["leo_protocols.id"], name="leo_handoffs_protocol_id_fkey"),
        sa.ForeignKeyConstraint(["from_agent"], ["leo_agents.code"], name="leo_handoffs_from_agent_fkey"),
        sa.ForeignKeyConstraint(["to_agent"], ["leo_agents.code"], name="leo_handoffs_to_agent_fkey"),
        sa.CheckConstraint("from_agent <> to_agent", name="leo_handoffs_agents_check"),
        sa.CheckConstraint(
            "status::text = ANY (ARRAY['pending', 'accepted', 'rejected'])", name="leo_handoffs_status_check"
        ),
        sa.CheckConstraint("(status::text = 'pending') = (decided_at IS NULL)", name="leo_handoffs_decided_at_check"),
        sa.CheckConstraint("jsonb_typeof(deliverables) = 'array'", name="leo_handoffs_deliverables_check"),
    )
    op.execute("ALTER TABLE leo_handoffs ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY leo_handoffs_read ON leo_handoffs FOR SELECT USING (true)")
    op.execute("""
        SELECT ehg_grant_table('leo_handoffs', '{
            "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE"}')
    """)


def downgrade() -> None:
    op.drop_table("leo_handoffs")
