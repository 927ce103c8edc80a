"""What to do about a revision that fails on a scratch server for a reason that no target has."""

from __future__ import annotations

from collections.abc import Mapping

from ehg_migrate.database.telling import NO_EXTENSION, NO_LOCKS, NO_MEMBER, NO_WEBHOOKS, OTHER_ROLE, STORED
from ehg_migrate.errors import Problem
from ehg_migrate.schema.scratch_url import VARIABLE

SCRATCH_ROLE = "the role in `EHG_SCRATCH_URL` must be able to create databases and roles, and to do what `prelude` does"
PRELUDE = "let a SQL file make what revisions rely on: `prelude = FILE` in alembic.ini"
_SERVER = (
    f"name a server that has it in `{VARIABLE}`, such as a container of Supabase's PostgreSQL; the embedded one has "
    "`vector`, what every Supabase project is given, and no other"
)
_LOCKS = (
    "the step locks more objects in one transaction than the scratch server has room for: split the revision, or name "
    f"a server with a higher `max_locks_per_transaction` in `{VARIABLE}`"
)
_LEFT = "an earlier revision makes it, too, or the downgrade of this one leaves it there: correct that"
_HINTS: Mapping[str | None, str] = {
    "58P01": _SERVER,  # the library of an extension
    "42704": PRELUDE,  # a role or a type that no revision makes
    "42P01": PRELUDE,  # a table
    "42883": PRELUDE,  # a function
    "3F000": PRELUDE,  # a schema
    "42501": "the role of this scratch database is no superuser; where the target's is one, look at this step yourself",
    "2BP01": "let the revision take away first what depends on it",
    **dict.fromkeys(("42P06", "42P07", "42701", "42710", "42723"), _LEFT),  # nobody makes anything here by hand
}
EMPTY = "where it reads data that an empty database lacks, let it find none and go on"
NEWER = f"where the target's PostgreSQL is newer and knows this, name a server of its version in `{VARIABLE}`"
OF_VERSIONS = ("42601", "22023")  # a syntax, or a value of an option, that this server does not know
_BROUGHT_ALREADY = "a target has it before its revisions, or an earlier one makes it: `CREATE EXTENSION IF NOT EXISTS`"
_OF_A_ROLE = {
    "42710": "a role belongs to the whole server: make it only where it is missing",
    "2BP01": "a role belongs to the whole server, where other databases, such as kept scratch ones, may need it: drop "
    "it only where nothing depends on it, or leave it there",
}


def hint_on_scratch(problem: Problem, otherwise: str) -> str:
    """What to do about a failure that has its reason in the scratch server or in the revisions before, by SQLSTATE."""
    of_role = _OF_A_ROLE.get(problem.sqlstate or "") if 'role "' in problem.message else None
    if problem.sqlstate == "42710" and 'extension "' in problem.message:
        return _BROUGHT_ALREADY
    if problem.hint == NO_EXTENSION:
        return _SERVER
    if problem.hint == NO_LOCKS:
        return _LOCKS
    if problem.hint in (OTHER_ROLE, NO_MEMBER, NO_WEBHOOKS, STORED):  # the step's own doing, on any server
        return problem.hint
    return of_role or _HINTS.get(problem.sqlstate, otherwise)
