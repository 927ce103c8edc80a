"""LEO protocol: versions, agents, phases

Revision ID: d506805aa22c
Revises: b714086317c2
Create Date: 2026-02-09 10:00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "d506805aa22c"
down_revision = "b714086317c2"
branch_labels = None
depends_on = None

TABLES = ("leo_protocols", "leo_agents", "leo_protocol_phases")


def upgrade() -> None:
    op.create_table(
        "leo_protocols",
        sa.Column("id", sa.String(50), nullable=False),
        sa.Column("version", sa.String(20), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("status", sa.String(20), server_default="draft", nullable=False),
        sa.Column("content", sa.Text, server_default="", nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="leo_protocols_pkey"),
        sa.UniqueConstraint("version", name="leo_protocols_version_key"),
        sa.CheckConstraint(
            "status::text = ANY (ARRAY['draft', 'active', 'superseded'])", name="leo_protocols_status_check"
        ),
        sa.CheckConstraint(
            "status::text = 'draft' OR activated_at IS NOT NULL", name="leo_protocols_activated_at_check"
        ),
    )
    # The sessions ask for "the" protocol: there is at most one.
    op.create_index(
        "leo_protocols_one_active_idx",
        "leo_protocols",
        ["status"],
        unique=True,
        postgresql_where=sa.text("status::text = 'active'"),
    )
    agents = op.create_table(
        "leo_agents",
        sa.Column("code", sa.String(10), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("responsibilities", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("code", name="leo_agents_pkey"),
        sa.CheckConstraint("code ~ '^[A-Z]+$'", name="leo_agents_code_check"),
    )
    op.create_table(
        "leo_protocol_phases",
        sa.Column("protocol_id", sa.String(50), nullable=False),
        sa.Column("ordinal", sa.SmallInteger, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("agent_code", sa.String(10), nullable=False),
        sa.Column("weight_percent", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("protocol_id", "ordinal", name="leo_protocol_phases_pkey"),
        sa.ForeignKeyConstraint(
            ["protocol_id"],
            ["leo_protocols.id"],
            name="leo_protocol_phases_protocol_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["agent_code"], ["leo_agents.code"], name="leo_protocol_phases_agent_code_fkey"),
        sa.CheckConstraint("ordinal > 0", name="leo_protocol_phases_ordinal_check"),
        sa.CheckConstraint(
            "weight_percent >= 0 AND weight_percent <= 100", name="leo_protocol_phases_weight_percent_check"
        ),
    )
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY {table}_read ON {table} FOR SELECT USING (true)")
        op.execute(f"""
            SELECT ehg_grant_table('{table}', '{{
                "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}}')
        """)
    op.bulk_insert(
        agents,
        [
            {
                "code": "LEAD",
                "name": "Lead",
                "responsibilities": "strategic direction, priorities, final approval",
            },
            {"code": "PLAN", "name": "Planner", "responsibilities": "technical design, acceptance criteria"},
            {"code": "EXEC", "name": "Executor", "responsibilities": "implementation, tests, evidence"},
        ],
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
