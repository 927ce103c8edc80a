"""Strategic directives and their backlog in one read-only view

Revision ID: b714086317c2
Revises: 933e30090c87
Create Date: 2026-02-02 10:00:00

Writing to it fails and says which tables to write to. That takes two triggers: PostgreSQL wants an INSTEAD OF trigger
to accept the statement at all, and that one fires per row, so the statement trigger speaks up when no row matches.
"""

from alembic import op

revision = "b714086317c2"
down_revision = "933e30090c87"
branch_labels = None
depends_on = None

VIEW = """
CREATE VIEW strategic_directives_backlog AS
SELECT
    sd.id AS sd_id,
    sd.title AS sd_title,
    sd.status AS sd_status,
    sd.priority AS sd_priority,
    sd.sequence_rank,
    sd.h_count,
    sd.m_count,
    sd.l_count,
    item.backlog_id,
    item.backlog_title,
    item.priority AS backlog_priority,
    item.extras -> 'acceptance_criteria' AS acceptance_criteria,
    item.extras -> 'kpis' AS kpis,
    item.extras -> 'dependencies' AS dependencies,
    item.extras ->> 'rationale' AS rationale,
    (item.extras ->> 'estimated_hours')::numeric AS estimated_hours,
    item.extras
FROM strategic_directives_v2 AS sd
JOIN sd_backlog_map AS item ON item.sd_id = sd.id
"""

# With the rights of the reader (PostgreSQL 15 and newer) the policies of both tables hold. On 14 a view always reads as
# its owner, past every policy, so there only the service role, which passes them anyway, may read it.
RIGHTS = """
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        ALTER VIEW strategic_directives_backlog SET (security_invoker = true);
        PERFORM ehg_grant_table('strategic_directives_backlog', '{
            "authenticated": "SELECT", "service_role": "SELECT, INSERT, UPDATE, DELETE"}');
    ELSE
        PERFORM ehg_grant_table('strategic_directives_backlog', '{
            "service_role": "SELECT, INSERT, UPDATE, DELETE"}');
        RAISE NOTICE 'PostgreSQL 14 has no security_invoker views: "strategic_directives_backlog" is not opened to '
            '"authenticated"';
    END IF;
END $$
"""

REFUSE_WRITE = """
CREATE FUNCTION refuse_strategic_directives_backlog_write() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'wrong_object_type',
        MESSAGE = format('cannot %s view "strategic_directives_backlog": write to table "strategic_directives_v2" '
            'or "sd_backlog_map" instead',
            CASE TG_OP WHEN 'INSERT' THEN 'insert into' WHEN 'UPDATE' THEN 'update' ELSE 'delete from' END),
        DETAIL = 'The view joins both tables and is read-only.',
        HINT = 'The directive (title, status, priority, counts, rank) is a row of "strategic_directives_v2"; '
            'a backlog item and its extras are a row of "sd_backlog_map".';
END $$
"""


def upgrade() -> None:
    op.execute(VIEW)
    # INSERT, UPDATE and DELETE are granted so that the service role meets the explanation, not "permission denied".
    op.execute(RIGHTS)
    op.execute(REFUSE_WRITE)
    op.execute("SELECT ehg_grant_function('refuse_strategic_directives_backlog_write()', '{}')")
    op.execute(
        "CREATE TRIGGER refuse_row INSTEAD OF INSERT OR UPDATE OR DELETE ON strategic_directives_backlog "
        "FOR EACH ROW EXECUTE FUNCTION refuse_strategic_directives_backlog_write()"
    )
    op.execute(
        "CREATE TRIGGER refuse_statement BEFORE INSERT OR UPDATE OR DELETE ON strategic_directives_backlog "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_strategic_directives_backlog_write()"
    )


def downgrade() -> None:
    op.execute("DROP VIEW strategic_directives_backlog")
    op.execute("DROP FUNCTION refuse_strategic_directives_backlog_write()")
