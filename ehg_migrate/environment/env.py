"""The one env.py of every project: stock `alembic` commands and our own workers come through here."""

from ehg_migrate.environment.hosting import run

run()
