"""Deals and their stages

Revision ID: 6a0976cdc05b
Revises: c7544cb04edf
Create Date: 2026-02-09 11:00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "6a0976cdc05b"
down_revision = "c7544cb04edf"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crm_deals",
        sa.Column("id", UUID, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("owner_id", UUID, server_default=sa.text("current_user_id()"), nullable=False),
        sa.Column("company_id", UUID, nullable=False),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("stage", sa.String(20), server_default="open", nullable=False),
        sa.Column("amount", sa.Numeric(14, 2)),
        sa.Column("currency", sa.CHAR(3), server_default="USD", nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="crm_deals_pkey"),
        sa.ForeignKeyConstraint(
            ["company_id"], ["crm_companies.id"], name="crm_deals_company_id_fkey", ondelete="CASCADE"
        ),
        sa.CheckConstraint("stage::text = ANY (ARRAY['open', 'offered', 'won', 'lost'])", name="crm_deals_stage_check"),
        sa.CheckConstraint(
            "(stage::text = ANY (ARRAY['won', 'lost'])) = (closed_at IS NOT NULL)",
            name="crm_deals_closed_at_check",
        ),
        sa.CheckConstraint("amount >= 0", name="crm_deals_amount_check"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="crm_deals_currency_check"),
    )
    op.execute(
        "CREATE TRIGGER crm_deals_set_updated_at BEFORE UPDATE ON crm_deals "
        "FOR EACH ROW EXECUTE FUNCTION set_updated_at()"
    )
    op.execute(
        "CREATE TRIGGER crm_deals_audit AFTER INSERT OR UPDATE OR DELETE ON crm_deals "
        "FOR EACH ROW EXECUTE FUNCTION record_audit()"
    )
    op.execute("ALTER TABLE crm_deals ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY crm_deals_own ON crm_deals USING (owner_id = (SELECT current_user_id())) "
        "WITH CHECK (owner_id = (SELECT current_user_id()))"
    )
    op.execute("""
        SELECT ehg_grant_table('crm_deals', '{
            "authenticated": "SELECT, INSERT, UPDATE, DELETE",
            "service_role": "SELECT, INSERT, UPDATE, DELETE"}')
    """)


def downgrade() -> None:
    op.drop_table("crm_deals")
