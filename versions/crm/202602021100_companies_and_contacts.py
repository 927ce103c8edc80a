"""Companies and contacts

Revision ID: c7544cb04edf
Revises:
Create Date: 2026-02-02 11:00:00

A group branch: every managed application that has customers takes it, with `branches: [crm]` in its target entry. Each
row belongs to a user and only that user reaches it through the API; `(SELECT current_user_id())` is worked out once for
a statement and not once for a row.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "c7544cb04edf"
down_revision = None
branch_labels = ("crm",)
depends_on = "8516041840d3"

TABLES = ("crm_companies", "crm_contacts")


def upgrade() -> None:
    op.create_table(
        "crm_companies",
        *_owned_columns(),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("website", sa.Text),
        sa.PrimaryKeyConstraint("id", name="crm_companies_pkey"),
        sa.CheckConstraint("name <> ''", name="crm_companies_name_check"),
    )
    op.create_table(
        "crm_contacts",
        *_owned_columns(),
        sa.Column("company_id", UUID),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("email", sa.String(320)),
        sa.PrimaryKeyConstraint("id", name="crm_contacts_pkey"),
        sa.ForeignKeyConstraint(
            ["company_id"], ["crm_companies.id"], name="crm_contacts_company_id_fkey", ondelete="SET NULL"
        ),
        sa.CheckConstraint("email ~ '^[^@ ]+@[^@ ]+$'", name="crm_contacts_email_check"),
    )
    op.create_index("crm_contacts_company_id_idx", "crm_contacts", ["company_id"])
    for table in TABLES:
        _protect(table)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _owned_columns() -> list[sa.Column]:
    return [
        sa.Column("id", UUID, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("owner_id", UUID, server_default=sa.text("current_user_id()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    ]


def _protect(table: str) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_set_updated_at BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION set_updated_at()"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY {table}_own ON {table} USING (owner_id = (SELECT current_user_id())) "
        "WITH CHECK (owner_id = (SELECT current_user_id()))"
    )
    op.execute(f"""
        SELECT ehg_grant_table('{table}', '{{
            "authenticated": "SELECT, INSERT, UPDATE, DELETE",
            "service_role": "SELECT, INSERT, UPDATE, DELETE"}}')
    """)
