"""Strategic directives

Revision ID: 3a8462e7856b
Revises:
Create Date: 2026-01-26 10:00:00

`h_count`, `m_count` and `l_count` are the numbers of High, Medium and Low backlog items. The check on `status` is
written with an array: PostgreSQL prints `IN (...)` on varchar one way as written and another after a restore, which
drift checks would take for a change.
"""

import sqlalchemy as sa
from alembic import op

revision = "3a8462e7856b"
down_revision = None
branch_labels = ("ehg_engineer",)
depends_on = "8516041840d3"


def upgrade() -> None:
    op.create_table(
        "strategic_directives_v2",
        sa.Column("id", sa.String(50), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("status", sa.String(50), server_default="draft", nullable=False),
        sa.Column("priority", sa.Integer, server_default=sa.text("50"), nullable=False),
        sa.Column("h_count", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("m_count", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("l_count", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("sequence_rank", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="strategic_directives_v2_pkey"),
        sa.CheckConstraint(
            "status::text = ANY (ARRAY['draft', 'active', 'completed'])",
            name="strategic_directives_v2_status_check",
        ),
        sa.CheckConstraint("priority >= 0 AND priority <= 100", name="strategic_directives_v2_priority_check"),
        sa.CheckConstraint(
            "h_count >= 0 AND m_count >= 0 AND l_count >= 0", name="strategic_directives_v2_counts_check"
        ),
    )
    op.execute("ALTER TABLE strategic_directives_v2 ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY strategic_directives_v2_read ON strategic_directives_v2 FOR SELECT USING (true)")
    op.execute("""
        SELECT ehg_grant_table('strategic_directives_v2', '{
            "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}')
    """)


def downgrade() -> None:
    op.drop_table("strategic_directives_v2")
