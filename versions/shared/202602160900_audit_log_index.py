"""Index the audit log by table and time

Revision ID: ffa9476a82bc
Revises: 153ba815b7ac
Create Date: 2026-02-16 09:00:00

Made CONCURRENTLY, since the log is written all day: outside a transaction, so it must be safe to run again. An attempt
that failed leaves an INVALID index of this name, which IF NOT EXISTS alone would take for the real one: hence the DROP.
"""

from alembic import op

revision = "ffa9476a82bc"
down_revision = "153ba815b7ac"
branch_labels = None
depends_on = None

INDEX = "audit_log_table_name_recorded_at_idx"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "audit_log", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            INDEX, "audit_log", ["table_name", "recorded_at"], postgresql_concurrently=True, if_not_exists=True
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "audit_log", postgresql_concurrently=True, if_exists=True)
