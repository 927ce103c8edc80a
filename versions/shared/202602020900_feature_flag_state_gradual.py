"""Feature flags can be switched on gradually

Revision ID: 362eea470ccf
Revises: 8516041840d3
Create Date: 2026-02-02 09:00:00

A new enum value cannot be used in the transaction that adds it, so it is committed at once, alone in this revision and
safe to run again. PostgreSQL cannot take a value away: the downgrade makes the type anew, and switches off the flags
that were gradual, which the audit log keeps.
"""

from alembic import op

revision = "362eea470ccf"
down_revision = "8516041840d3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE feature_flag_state ADD VALUE IF NOT EXISTS 'gradual' BEFORE 'on'")


def downgrade() -> None:
    op.execute("UPDATE feature_flags SET state = 'off' WHERE state = 'gradual'")
    op.execute("ALTER TABLE feature_flags ALTER COLUMN state DROP DEFAULT")
    op.execute("ALTER TYPE feature_flag_state RENAME TO feature_flag_state_with_gradual")
    op.execute("CREATE TYPE feature_flag_state AS ENUM ('off', 'on')")
    op.execute(
        "ALTER TABLE feature_flags ALTER COLUMN state TYPE feature_flag_state USING state::text::feature_flag_state"
    )
    op.execute("ALTER TABLE feature_flags ALTER COLUMN state SET DEFAULT 'off'")
    op.execute("DROP TYPE feature_flag_state_with_gradual")
