"""Alembic's own environment: the env.py that stock commands and our workers share, and how our plans run through it."""
