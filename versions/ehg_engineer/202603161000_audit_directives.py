"""Changes of directives and their backlog go to the audit log

Revision ID: 0a60a2444a7c
Revises: a83ec930a5dd
Create Date: 2026-03-16 10:00:00
"""

from alembic import op

revision = "0a60a2444a7c"
down_revision = "a83ec930a5dd"
branch_labels = None
depends_on = None

TABLES = ("strategic_directives_v2", "sd_backlog_map")


def upgrade() -> None:
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_audit AFTER INSERT OR UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION record_audit()"
        )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TRIGGER {table}_audit ON {table}")
