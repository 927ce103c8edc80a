"""The open pipeline of each territory

Revision ID: fca8e82e43b6
Revises: cc9149880c4f
Create Date: 2026-03-02 12:00:00

Reads the deals that the group branch has made by then, hence the dependency. Only the service role may read it: a sum
over everybody's deals is not for one user, and on PostgreSQL 14 a view would show it past the policies.
"""

from alembic import op

revision = "fca8e82e43b6"
down_revision = "cc9149880c4f"
branch_labels = None
depends_on = "6a0976cdc05b"

# On PostgreSQL 15 and newer the reader's own rights hold; 14 does not know the option.
SECURITY_INVOKER = """
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        ALTER VIEW sales_pipeline SET (security_invoker = true);
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute("""
        CREATE VIEW sales_pipeline AS
        SELECT
            place.territory_code,
            deal.currency,
            count(*) AS open_deals,
            coalesce(sum(deal.amount), 0) AS open_amount
        FROM sales_territory_companies AS place
        JOIN crm_deals AS deal ON deal.company_id = place.company_id
        WHERE deal.closed_at IS NULL
        GROUP BY place.territory_code, deal.currency
    """)
    op.execute(SECURITY_INVOKER)
    op.execute("""SELECT ehg_grant_table('sales_pipeline', '{"service_role": "SELECT"}')""")


def downgrade() -> None:
    op.execute("DROP VIEW sales_pipeline")
