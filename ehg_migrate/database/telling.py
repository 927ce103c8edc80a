"""Errors whose words tell more than their SQLSTATE: what they come from, and what to do then."""

from __future__ import annotations

import re
from typing import NamedTuple

from ehg_migrate.database.faults import THERE

NOT_AS_MADE = (
    "are the tables of this tool, in schema `ehg_migrate`, as it made them? Put back there what was changed, as "
    "another target has it"
)


class Case(NamedTuple):
    """Words in an error that tell more of it than its SQLSTATE does."""

    words: re.Pattern[str]
    hint: str
    state: str | None = ""  # the SQLSTATE; none for what the driver says, any where it is empty
    code: str = ""  # where it is another


NAMES_OURS = re.compile(r'"(?:[^"]*\.)?migration_(?:journal|lease)(?:_\w+)?"')
"""The names that `layout.sql` gives to what is ours."""
OTHER_ROLE = (
    "does the revision `SET ROLE` and keep it? `op.execute('RESET ROLE')` at its end gives it back: that role is to "
    "have nothing there. Else `ehg-migrate doctor -t TARGET` says what the role of this target lacks"
)
NOT_SUPABASE = (
    "it is Supabase's own: another server has it only where somebody has made it. With `--local` it is there where the "
    "entry of the target has a `project_ref`, or says `platform: supabase`, in databases made since: "
    "`ehg-migrate local wipe` makes them anew. `ehg-migrate rehearse --all-branches` tries the revisions with stand-ins"
)
NO_PATH = (
    "the `search_path` of this role or database leads to no schema that is there: ALTER ROLE, or ALTER DATABASE, ... "
    "SET search_path, or RESET it; or make that schema. Where the revision has set it, correct the revision"
)
NO_WEBHOOKS = (
    "a Supabase project has it once somebody has switched Database Webhooks on in its dashboard, below Integrations: "
    "each project for itself"
)
NO_EXTENSION = (
    "the server of this target does not have it: have it installed there, run again; else correct the revision. That "
    "of `--local` has `vector`, and what each Supabase project is given in databases that it has made for one "
    "(`ehg-migrate local wipe` makes them anew); revisions with others are tried by `ehg-migrate rehearse "
    "--all-branches`, where `EHG_SCRATCH_URL` names a server that has them"
)
NO_LOCKS = (
    "the step locks more objects in one transaction than the server has room for: split the revision, or raise "
    "`max_locks_per_transaction` there"
)
NOT_OWNED = (
    "only its owner may: let that one say ALTER ... OWNER TO, or GRANT its role to that of this target; then run "
    "again. What is Supabase's own (`auth.users`, `storage.objects`, ...) bears policies and triggers and no other "
    "change: take that out of the revision"
)
STORED = (
    "leave the bucket there in `downgrade()`, or say `SET LOCAL storage.allow_delete_query = 'true'` before it: the "
    "files of rows that are deleted so stay in the storage, and nobody finds them any more"
)
NO_MEMBER = (
    "`GRANT` that role `TO CURRENT_USER` first: since PostgreSQL 16 whoever makes a role may grant it, and is not in it"
)
OF_DRIVER = (
    "does the revision give a value here? It goes to the server beside the statement, with a type of its own, and not "
    "inside it as psycopg2 sends it: `ehg-migrate docs moving#another-driver` says how it gets the type of its place. "
    "Else correct the revision"
)
CASES = (
    # Alembic makes an enum that several revisions name once in a run, and again in the next one
    Case(
        re.compile(r'^type "'),
        "if an earlier revision makes it, say so where it is named again: `postgresql.ENUM(..., create_type=False)`; "
        f"else it was {THERE}",
        "42710",
    ),
    # what SQLAlchemy and the driver say of a text before they send it, and where it says how such a text is sent
    Case(
        re.compile(r"^(?:A value is required for bind parameter|.*placeholder)", re.IGNORECASE),
        "where that is no parameter, write `\\:` in place of `:` in `op.execute`, and `%%` in place of `%` for the "
        "driver; `ehg-migrate docs moving#files-of-sql` runs whole files as they are",
        None,
    ),
    # what the same revision may have done for years with psycopg2
    Case(re.compile(r"^could not determine data type of parameter"), OF_DRIVER, "42P18"),
    Case(re.compile(r" is of type .+ but expression is of type character varying"), OF_DRIVER, "42804"),
    Case(re.compile(r"^operator does not exist: .*character varying"), OF_DRIVER, "42883"),
    Case(re.compile(r'^syntax error at or near "\$\d'), OF_DRIVER, "42601"),
    # nobody but the target's own role has anything in our schema, nor is to have
    Case(
        re.compile(r"^permission denied for (?:schema|table|sequence) (?:ehg_migrate|migration_|alembic_version)"),
        OTHER_ROLE,
        "42501",
    ),
    Case(re.compile(r"^permission denied to set role"), NO_MEMBER, "42501"),
    Case(re.compile(r"^must be owner of "), NOT_OWNED, "42501"),
    Case(
        re.compile(r'^schema "(?:auth|storage|realtime|vault|graphql|graphql_public)" does not exist'),
        NOT_SUPABASE,
        "3F000",
    ),
    Case(re.compile(r"^no schema has been selected to create in"), NO_PATH, "3F000"),
    Case(re.compile(r'^schema "supabase_functions" does not exist'), NO_WEBHOOKS, "3F000"),
    # that of a project, and that of our stand-in for one
    Case(re.compile(r"^Direct deletion from storage tables|are deleted by the Storage API"), STORED, "42501"),
    # PostgreSQL 15 and later, and 14
    Case(
        re.compile(r'^(?:extension ".*" is not available|could not open extension control file)'),
        NO_EXTENSION,
    ),
    Case(
        re.compile(r"row-level security policy"),
        "row-level security is forced on this role: let the table's owner say ALTER TABLE ... NO FORCE ROW LEVEL "
        "SECURITY, or write a policy; or use a role with BYPASSRLS. An event trigger may do so to each new table",
        "42501",
    ),
    Case(
        re.compile(r"out of shared memory"),
        NO_LOCKS,
        "53200",
    ),
    Case(re.compile(r"user request"), "somebody cancelled the statement", "57014", "cancelled"),
    Case(
        re.compile(r"before any query"),
        "write `SET TRANSACTION ...` out in the revision's own file, as the first statement of its function",
        "25001",
        "statement_failed",
    ),
)
