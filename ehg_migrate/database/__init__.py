"""Everything that speaks to a target itself: connect, prove, lock, probe, journal; psycopg only, no Alembic."""
