"""Invoices have a due date

Revision ID: de311f57a795
Revises: 7490d51f1688
Create Date: 2026-03-16 13:00:00

Invoices that exist were due after thirty days. One transaction adds, fills and closes the column: the table is locked
for all of it, which these few rows allow.
"""

import sqlalchemy as sa
from alembic import op

revision = "de311f57a795"
down_revision = "7490d51f1688"
branch_labels = None
depends_on = None

INVOICES = sa.table("billing_invoices", sa.column("issued_at"), sa.column("due_on"))


def upgrade() -> None:
    op.add_column("billing_invoices", sa.Column("due_on", sa.Date))
    op.get_bind().execute(INVOICES.update().values(due_on=sa.text("(issued_at AT TIME ZONE 'UTC')::date + 30")))
    op.alter_column("billing_invoices", "due_on", nullable=False)


def downgrade() -> None:
    op.drop_column("billing_invoices", "due_on")
