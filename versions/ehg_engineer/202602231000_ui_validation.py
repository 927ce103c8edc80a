"""UI validation: rules, runs, checkpoints

Revision ID: c16ffaa4d748
Revises: d3fb902a9a59
Create Date: 2026-02-23 10:00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "c16ffaa4d748"
down_revision = "d3fb902a9a59"
branch_labels = None
depends_on = None

TABLES = ("ui_validation_rules", "ui_validation_runs", "ui_validation_checkpoints")


def upgrade() -> None:
    op.create_table(
        "ui_validation_rules",
        sa.Column("code", sa.String(100), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("selector", sa.Text),
        sa.Column("severity", sa.String(20), server_default="major", nullable=False),
        sa.Column("enabled", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("code", name="ui_validation_rules_pkey"),
        sa.CheckConstraint(
            "severity::text = ANY (ARRAY['critical', 'major', 'minor'])",
            name="ui_validation_rules_severity_check",
        ),
    )
    op.create_table(
        "ui_validation_runs",
        sa.Column("id", UUID, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("sd_id", sa.String(50), nullable=False),
        sa.Column("git_commit", sa.String(40), nullable=False),
        sa.Column("status", sa.String(20), server_default="running", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="ui_validation_runs_pkey"),
        sa.ForeignKeyConstraint(
            ["sd_id"],
            ["strategic_directives_v2.id"],
            name="ui_validation_runs_sd_id_fkey",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("git_commit ~ '^[0-9a-f]{7,40}$'", name="ui_validation_runs_git_commit_check"),
        sa.CheckConstraint(
            "status::text = ANY (ARRAY['running', 'passed', 'failed'])",
            name="ui_validation_runs_status_check",
        ),
        sa.CheckConstraint(
            "(status::text = 'running') = (finished_at IS NULL)", name="ui_validation_runs_finished_at_check"
        ),
    )
    op.create_table(
        "ui_validation_checkpoints",
        sa.Column("run_id", UUID, nullable=False),
        sa.Column("rule_code", sa.String(100), nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("message", sa.Text, server_default="", nullable=False),
        sa.Column("screenshot_path", sa.Text),
        sa.Column("metrics", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rule_code", name="ui_validation_checkpoints_pkey"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["ui_validation_runs.id"],
            name="ui_validation_checkpoints_run_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["rule_code"], ["ui_validation_rules.code"], name="ui_validation_checkpoints_rule_code_fkey"
        ),
        sa.CheckConstraint("jsonb_typeof(metrics) = 'object'", name="ui_validation_checkpoints_metrics_check"),
    )
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY {table}_read ON {table} FOR SELECT USING (true)")
        op.execute(f"""
            SELECT ehg_grant_table('{table}', '{{
                "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}}')
        """)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
