"""Subscriptions and invoices

Revision ID: 7490d51f1688
Revises: 0abf47ad3a59
Create Date: 2026-03-02 13:00:00

Users read what is theirs; only the service role, which talks to the payment provider, writes.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import DATERANGE, UUID

revision = "7490d51f1688"
down_revision = "0abf47ad3a59"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "billing_subscriptions",
        sa.Column("id", UUID, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("plan_code", sa.String(50), nullable=False),
        sa.Column("period", DATERANGE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="billing_subscriptions_pkey"),
        sa.ForeignKeyConstraint(["plan_code"], ["billing_plans.code"], name="billing_subscriptions_plan_code_fkey"),
        sa.CheckConstraint("NOT isempty(period)", name="billing_subscriptions_period_check"),
    )
    op.create_index("billing_subscriptions_user_id_idx", "billing_subscriptions", ["user_id"])
    op.create_table(
        "billing_invoices",
        sa.Column("number", sa.BigInteger, sa.Identity(start=1000), nullable=False),
        sa.Column("subscription_id", UUID, nullable=False),
        sa.Column("amount_cents", sa.BigInteger, nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name="billing_invoices_pkey"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["billing_subscriptions.id"], name="billing_invoices_subscription_id_fkey"
        ),
        sa.CheckConstraint("amount_cents >= 0", name="billing_invoices_amount_cents_check"),
        sa.CheckConstraint("paid_at >= issued_at", name="billing_invoices_paid_at_check"),
    )
    op.create_index("billing_invoices_subscription_id_idx", "billing_invoices", ["subscription_id"])
    op.execute("ALTER TABLE billing_subscriptions ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY billing_subscriptions_own ON billing_subscriptions FOR SELECT "
        "USING (user_id = (SELECT current_user_id()))"
    )
    op.execute("ALTER TABLE billing_invoices ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY billing_invoices_own ON billing_invoices FOR SELECT USING (EXISTS (
            SELECT FROM billing_subscriptions AS subscription
            WHERE subscription.id = billing_invoices.subscription_id
              AND subscription.user_id = (SELECT current_user_id())))
    """)
    for table in ("billing_subscriptions", "billing_invoices"):
        op.execute(f"""
            SELECT ehg_grant_table('{table}', '{{
                "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE"}}')
        """)


def downgrade() -> None:
    op.drop_table("billing_invoices")
    op.drop_table("billing_subscriptions")
