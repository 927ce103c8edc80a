"""Performance indexes of the LEO and UI validation tables

Revision ID: a83ec930a5dd
Revises: c16ffaa4d748
Create Date: 2026-03-09 10:00:00

Made CONCURRENTLY, outside a transaction, so the whole revision is safe to run again. An attempt that failed leaves an
INVALID index of the same name, which IF NOT EXISTS alone would take for the real one: hence each DROP.
"""

from alembic import op

revision = "a83ec930a5dd"
down_revision = "c16ffaa4d748"
branch_labels = None
depends_on = None

# name, table, columns, further options
INDEXES = (
    ("strategic_directives_v2_status_rank_idx", "strategic_directives_v2", ["status", "sequence_rank"], {}),
    ("sd_backlog_map_priority_idx", "sd_backlog_map", ["priority"], {}),
    (
        "sd_backlog_map_extras_idx",
        "sd_backlog_map",
        ["extras"],
        {"postgresql_using": "gin", "postgresql_ops": {"extras": "jsonb_path_ops"}},
    ),
    ("leo_handoffs_sd_id_status_idx", "leo_handoffs", ["sd_id", "status"], {}),
    ("ui_validation_runs_sd_id_started_at_idx", "ui_validation_runs", ["sd_id", "started_at"], {}),
    ("ui_validation_checkpoints_rule_code_idx", "ui_validation_checkpoints", ["rule_code"], {}),
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, table, columns, options in INDEXES:
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
            op.create_index(name, table, columns, postgresql_concurrently=True, if_not_exists=True, **options)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name, table, _, _ in reversed(INDEXES):
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
