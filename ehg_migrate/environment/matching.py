"""What Alembic's autogenerate would write for a database that should be what its models say."""

from __future__ import annotations

import psycopg
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext

from ehg_migrate.environment import hosting
from ehg_migrate.environment.models import Models, comparison
from ehg_migrate.model import Target


def unmatched(driver: psycopg.Connection, target: Target, models: Models) -> str | None:
    """The operations that would make the database match the models of the target's branches; None where it does.

    Reads only. What is compared is what `alembic check` compares, by the target's own Alembic options; what an
    env.py of the project's own gives to `run` is not known here.
    """
    compared = comparison(target, models, target.branches)
    with hosting.sqlalchemy_over(driver, target) as connection:
        options = {**hosting.options(target), **compared.options()}
        context = MigrationContext.configure(connection, opts=options)
        script = produce_migrations(context, options["target_metadata"])
        upgrade = script.upgrade_ops
        assert isinstance(upgrade, UpgradeOps)
        return None if upgrade.is_empty() else render_python_code(upgrade, migration_context=context)
