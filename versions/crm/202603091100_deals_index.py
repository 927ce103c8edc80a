"""Index the deals of a company by stage

Revision ID: 3f9452e5bcab
Revises: 6a0976cdc05b
Create Date: 2026-03-09 11:00:00

CONCURRENTLY, outside a transaction and safe to run again: the DROP removes what a failed attempt left INVALID.
"""

from alembic import op

revision = "3f9452e5bcab"
down_revision = "6a0976cdc05b"
branch_labels = None
depends_on = None

INDEX = "crm_deals_company_id_stage_idx"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "crm_deals", postgresql_concurrently=True, if_exists=True)
        op.create_index(INDEX, "crm_deals", ["company_id", "stage"], postgresql_concurrently=True, if_not_exists=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "crm_deals", postgresql_concurrently=True, if_exists=True)
