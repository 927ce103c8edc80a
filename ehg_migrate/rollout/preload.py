"""Imported once by the fork server, so that a worker starts in milliseconds. Opens no connection and no thread."""

import gc

import alembic.command
import psycopg
import sqlalchemy.dialects.postgresql.psycopg

import ehg_migrate.environment.hosting
import ehg_migrate.rollout.execution
import ehg_migrate.rollout.worker

__all__ = ["alembic", "ehg_migrate", "psycopg", "sqlalchemy"]

# A worker looks for garbage among its own objects only. Looking at these would also copy their memory.
gc.freeze()
