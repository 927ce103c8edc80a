"""The history as Alembic's revision files."""

from __future__ import annotations

from textwrap import indent

from benchmarks.history import Revision


def revision_file(revision: Revision, parent: str | None, needs: str | None = None, parameter: str = "") -> str:
    """One file; `needs` is what it depends on in another branch, `parameter` what its upgrade() is given."""
    return f'''"""{revision.id}"""

import sqlalchemy as sa
from alembic import op

revision = {revision.id!r}
down_revision = {parent!r}
branch_labels = None
depends_on = {needs!r}


def upgrade({parameter}):
{indent(revision.code, "    ")}


def downgrade({parameter}):
    raise NotImplementedError
'''
