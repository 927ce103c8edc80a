"""Sales territories

Revision ID: cc9149880c4f
Revises:
Create Date: 2026-02-16 12:00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "cc9149880c4f"
down_revision = None
branch_labels = ("app_1",)
depends_on = "c7544cb04edf"


def upgrade() -> None:
    op.create_table(
        "sales_territories",
        sa.Column("code", sa.String(20), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("manager_id", UUID),
        sa.PrimaryKeyConstraint("code", name="sales_territories_pkey"),
        sa.CheckConstraint("code ~ '^[A-Z]{2}(-[A-Z0-9]+)*$'", name="sales_territories_code_check"),
    )
    op.create_table(
        "sales_territory_companies",
        sa.Column("company_id", UUID, nullable=False),
        sa.Column("territory_code", sa.String(20), nullable=False),
        sa.PrimaryKeyConstraint("company_id", name="sales_territory_companies_pkey"),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["crm_companies.id"],
            name="sales_territory_companies_company_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["territory_code"],
            ["sales_territories.code"],
            name="sales_territory_companies_territory_code_fkey",
            onupdate="CASCADE",
        ),
    )
    op.create_index("sales_territory_companies_territory_code_idx", "sales_territory_companies", ["territory_code"])
    for table in ("sales_territories", "sales_territory_companies"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY {table}_read ON {table} FOR SELECT USING (true)")
        op.execute(f"""
            SELECT ehg_grant_table('{table}', '{{
                "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}}')
        """)


def downgrade() -> None:
    op.drop_table("sales_territory_companies")
    op.drop_table("sales_territories")
