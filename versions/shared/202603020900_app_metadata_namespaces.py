"""Application metadata gets namespaces

Revision ID: 26410fcdadfb
Revises: ffa9476a82bc
Create Date: 2026-03-02 09:00:00

`ui.theme.dark` becomes namespace `ui`, name `theme.dark`; a key without a dot gets the empty namespace. The check on
keys allowed no leading dot, so the way back is exact. The column is renamed and not made anew: it keeps its place.
"""

import sqlalchemy as sa
from alembic import op

revision = "26410fcdadfb"
down_revision = "ffa9476a82bc"
branch_labels = None
depends_on = None

METADATA = sa.table("app_metadata", sa.column("namespace", sa.Text), sa.column("name", sa.Text))
SPLIT = METADATA.update().where(sa.text("strpos(name, '.') > 0"))
JOIN = METADATA.update().where(sa.text("namespace <> ''"))

# What may be written from now on can always be joined to one key again, and no two rows to the same.
CHECKS = {
    "app_metadata_namespace_check": "namespace ~ '^([a-z][a-z0-9_]*)?$'",
    "app_metadata_name_check": (
        "name ~ CASE WHEN namespace = '' THEN '^[a-z][a-z0-9_]*$' "
        r"ELSE '^[a-z0-9_]+(\.[a-z0-9_]+)*$' END"
    ),
    "app_metadata_length_check": "length(namespace) + length(name) < 200",
}


def upgrade() -> None:
    op.drop_constraint("app_metadata_key_check", "app_metadata", type_="check")
    op.drop_constraint("app_metadata_pkey", "app_metadata", type_="primary")
    op.alter_column("app_metadata", "key", new_column_name="name")
    op.add_column("app_metadata", sa.Column("namespace", sa.String(200), server_default="", nullable=False))
    _move(
        SPLIT.values(
            namespace=sa.text("split_part(name, '.', 1)"),
            name=sa.text("substr(name, strpos(name, '.') + 1)"),
        )
    )
    op.create_primary_key("app_metadata_pkey", "app_metadata", ["namespace", "name"])
    for name, condition in CHECKS.items():
        op.create_check_constraint(name, "app_metadata", condition)


def downgrade() -> None:
    for name in CHECKS:
        op.drop_constraint(name, "app_metadata", type_="check")
    op.drop_constraint("app_metadata_pkey", "app_metadata", type_="primary")
    _move(JOIN.values(name=sa.text("namespace || '.' || name")))
    op.drop_column("app_metadata", "namespace")
    op.alter_column("app_metadata", "name", new_column_name="key")
    op.create_primary_key("app_metadata_pkey", "app_metadata", ["key"])
    op.create_check_constraint("app_metadata_key_check", "app_metadata", r"key ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'")


def _move(statement: sa.Update) -> None:
    """Run a data migration that leaves `updated_at` alone: nobody edited these rows."""
    op.execute("ALTER TABLE app_metadata DISABLE TRIGGER USER")
    op.get_bind().execute(statement)
    op.execute("ALTER TABLE app_metadata ENABLE TRIGGER USER")
