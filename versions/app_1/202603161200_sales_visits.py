"""Visits to customers

Revision ID: deef1b9df7fc
Revises: fca8e82e43b6
Create Date: 2026-03-16 12:00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "deef1b9df7fc"
down_revision = "fca8e82e43b6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sales_visits",
        sa.Column("id", UUID, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("company_id", UUID, nullable=False),
        sa.Column("visitor_id", UUID, server_default=sa.text("current_user_id()"), nullable=False),
        sa.Column("planned_for", sa.Date, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.PrimaryKeyConstraint("id", name="sales_visits_pkey"),
        sa.ForeignKeyConstraint(
            ["company_id"], ["crm_companies.id"], name="sales_visits_company_id_fkey", ondelete="CASCADE"
        ),
        sa.UniqueConstraint(
            "visitor_id", "company_id", "planned_for", name="sales_visits_visitor_id_company_id_planned_for_key"
        ),
    )
    op.create_index("sales_visits_company_id_idx", "sales_visits", ["company_id"])
    op.execute("ALTER TABLE sales_visits ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY sales_visits_own ON sales_visits USING (visitor_id = (SELECT current_user_id())) "
        "WITH CHECK (visitor_id = (SELECT current_user_id()))"
    )
    op.execute("""
        SELECT ehg_grant_table('sales_visits', '{
            "authenticated": "SELECT, INSERT, UPDATE, DELETE",
            "service_role": "SELECT, INSERT, UPDATE, DELETE"}')
    """)


def downgrade() -> None:
    op.drop_table("sales_visits")
