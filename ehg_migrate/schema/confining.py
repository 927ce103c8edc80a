"""Roles of the embedded server that own one scratch database each, for what stands in a target.

Functions, defaults and materialized views of a target are its customer's programs. A superuser that makes such a view
runs them, and one `COPY ... TO PROGRAM` of theirs is a shell on this machine, as its user. So they are made by a role
that has logged in as such and is no superuser any more: a SET ROLE can be taken back by a function.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

import psycopg
from psycopg import sql

_LONGEST = "2min"  # of a statement, which has no rows to work on
_MOST_SPILLED = "1GB"
_NAME = re.compile(r'[a-z_][a-z0-9_$]*|"(?P<quoted>(?:[^"]|"")+)"')
_INERT = """
    SELECT FROM pg_roles r WHERE r.rolname = %s AND NOT (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR
           r.rolcreatedb OR r.rolreplication) AND NOT starts_with(r.rolname, 'pg_')
       AND NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)"""
"""A role by which nothing is gained, but that one may say what is its own."""


def make_role(admin: psycopg.Connection, role: str) -> None:
    """A superuser for now; that nothing of another database can be reached by it comes with `confine`."""
    name = sql.Identifier(role)
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(name))
    admin.execute(sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(name, _LONGEST))
    admin.execute(sql.SQL("ALTER ROLE {} SET temp_file_limit = {}").format(name, _MOST_SPILLED))


def confine(admin: psycopg.Connection, role: str, others: Iterable[str]) -> None:
    """Takes the superuser away, sessions included. `others` are roles that a catalogue names, quoted as there."""
    for name in filter(None, map(unquoted, others)):
        if admin.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
            with suppress(psycopg.errors.ReservedName, psycopg.errors.DuplicateObject):  # another command was faster
                admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        if admin.execute(_INERT, (name,)).fetchone() is not None:
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(name), sql.Identifier(role)))
    admin.execute(sql.SQL("ALTER ROLE {} NOSUPERUSER").format(sql.Identifier(role)))


def unquoted(text: str) -> str:
    """The name that stands so in a catalogue; none where no server of PostgreSQL writes one so."""
    found = _NAME.fullmatch(text)
    if not found:
        return ""
    return found["quoted"].replace('""', '"') if found["quoted"] else text


def drop_role(admin: psycopg.Connection, role: str) -> None:
    """Drops it, where nothing is its own any more."""
    with suppress(psycopg.errors.DependentObjectsStillExist, psycopg.errors.UndefinedObject):
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
