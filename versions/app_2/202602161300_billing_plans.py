"""Billing plans

Revision ID: 0abf47ad3a59
Revises:
Create Date: 2026-02-16 13:00:00

Prices are whole cents: no rounding, ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0abf47ad3a59"
down_revision = None
branch_labels = ("app_2",)
depends_on = "153ba815b7ac"


def upgrade() -> None:
    op.create_table(
        "billing_plans",
        sa.Column("code", sa.String(50), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("price_cents", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.CHAR(3), server_default="USD", nullable=False),
        sa.Column("interval", sa.String(10), server_default="month", nullable=False),
        sa.PrimaryKeyConstraint("code", name="billing_plans_pkey"),
        sa.CheckConstraint("price_cents >= 0", name="billing_plans_price_cents_check"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="billing_plans_currency_check"),
        sa.CheckConstraint(""""interval"::text = ANY (ARRAY['month', 'year'])""", name="billing_plans_interval_check"),
    )
    op.execute("ALTER TABLE billing_plans ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY billing_plans_read ON billing_plans FOR SELECT USING (true)")
    # The price list stands on the public web site.
    op.execute("""
        SELECT ehg_grant_table('billing_plans', '{
            "anon": "SELECT", "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}')
    """)


def downgrade() -> None:
    op.drop_table("billing_plans")
