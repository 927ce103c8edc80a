"""ehg_migrate: one Alembic environment over a fleet of PostgreSQL databases."""
