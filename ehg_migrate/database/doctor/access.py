"""Who we are in the server and what the session keeps: login, session mode, limits, rights."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.database.connections import apply_settings
from ehg_migrate.database.doctor.examination import Examination
from ehg_migrate.database.doctor.findings import Level, Verdict, combined, error, good, span, warning
from ehg_migrate.database.faults import ConnectError
from ehg_migrate.database.proof import prove_session_mode
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import Target
from ehg_migrate.redaction import one_line

_OLDEST, _NEWEST = 14, 18  # majors of PostgreSQL that the tests know


def login(exam: Examination) -> Verdict:
    """One attempt, and one question, since some poolers answer nothing before it."""
    start = time.monotonic()
    exam.open()
    who = exam.row("doctor_identity")
    exam.connect_seconds = time.monotonic() - start
    message = f"logged in to `{who['database']}` as `{who['role']}` in {exam.connect_seconds * 1000:.1f} ms"
    return Verdict(Level.OK, message, seconds=exam.connect_seconds)


def session_mode(exam: Examination) -> Verdict:
    """The proof that a run demands as well, with a second connection."""
    try:
        other = exam.open()
    except psycopg.Error as e:
        problem = ConnectError(e).problem
        return error(f"a run needs two connections, and the second is refused: {problem.message}", problem.hint)
    try:
        prove_session_mode(exam.connection, other)
    except TargetError:
        for connection in exam.connections:
            # a transaction-mode pooler gives the listening backend to somebody else; best effort, the refusal counts
            with contextlib.suppress(psycopg.Error):
                connection.execute("UNLISTEN *")
        raise
    exam.has_sessions = True
    return good("proven: a message reached an idle connection")


def settings(exam: Examination) -> Verdict:
    """Our limits are set, and are still there in the next statement; what the role would have without them."""
    apply_settings(exam.connection, exam.target)
    limits = exam.target.limits
    wanted = {
        "lock_timeout": limits.lock,
        "statement_timeout": limits.statement,
        "idle_in_transaction_session_timeout": limits.idle_in_transaction,
    }
    rows = exam.rows("doctor_settings", {"names": [*wanted]})
    now = {row["name"]: row["setting"] / 1000 for row in rows}
    lost = [name for name, seconds in wanted.items() if now[name] != round(seconds, 3)]
    if lost:
        raise TargetError(
            Problem(
                "settings_lost",
                f"the session did not keep {quoted(lost, 5)}",
                "use the session-mode port of the pooler",
            )
        )
    kept = ", ".join(f"{name} {_limit(seconds)}" for name, seconds in wanted.items())
    own = {row["name"]: row["reset_val"] / 1000 for row in rows}["statement_timeout"]
    return good(f"kept: {kept} (the server's own statement_timeout here: {_limit(own)})")


def _limit(seconds: float) -> str:
    return span(seconds) if seconds else "none"


def server(exam: Examination) -> Verdict:
    """Which PostgreSQL it is."""
    row = exam.row("doctor_server")
    return judge_version(str(row["version"]), int(row["number"]))


def judge_version(version: str, number: int) -> Verdict:
    """Whether this PostgreSQL is one of those we know; `number` is its `server_version_num`. Pure."""
    major = number // 10_000
    if major < _OLDEST:
        return warning(
            f"PostgreSQL {version} is older than {_OLDEST}, the oldest that is supported", "upgrade the server"
        )
    if major > _NEWEST:
        hint = "look for a newer `ehg_migrate`, and rehearse on a copy first"
        return warning(f"PostgreSQL {version} is newer than {_NEWEST}, the newest that is tested", hint)
    return good(f"PostgreSQL {version}")


def writable(exam: Examination) -> Verdict:
    """Whether anything can be written here at all."""
    row = exam.row("doctor_writable")
    if row["standby"]:
        return error("this server is a standby, which nobody can write to", "set `host` to the primary")
    if row["read_only"]:
        return error(
            f"`default_transaction_read_only` is on (set by: {row['source']})",
            "Supabase sets it when the disk is full: free space or enlarge the disk; else ALTER DATABASE, ALTER ROLE "
            "or ALTER SYSTEM ... RESET default_transaction_read_only",
        )
    return good("takes writes")


def privileges(exam: Examination) -> Verdict:
    """Whether the role may make or use our schema and make tables; and whether it may more than it needs."""
    t = exam.target
    names = {"meta": t.meta_schema, "version_schema": t.version_table_schema, "version_table": t.version_table}
    row = exam.row("doctor_privileges", {**names, "own": t.schema})
    return combined([*_own_schema(row, t.meta_schema), *_version_schema(exam, row), *_tables(row, t), *_role(row)])


def _own_schema(row: dict[str, Any], meta: str) -> Iterator[Verdict]:
    create = f"let the owner of the database run: CREATE SCHEMA {meta} AUTHORIZATION {_name(row['role'])}"
    if row["lacking"]:
        owner = "the owner of the table" if row["owns_meta"] else f"`{row['meta_owner'] or 'the owner'}`"
        hint = f"let {owner} grant it to `{row['role']}`, or use the role that migrates"
        yield error(f"the role lacks {quoted(row['lacking'], 10)}", hint)
    if row["meta_owner"] is None:
        if row["makes_schemas"]:
            yield good(f"schema `{meta}` is not there yet and can be made")
        else:
            yield error(f"schema `{meta}` is not there, and role `{row['role']}` may not make it", create)
    elif row["owns_meta"]:
        yield good(f"schema `{meta}` is ours")
    elif row["absent"]:
        message = f"schema `{meta}` belongs to `{row['meta_owner']}` and lacks {quoted(row['absent'], 5)}"
        yield error(message, f"let a superuser run: ALTER SCHEMA {meta} OWNER TO {_name(row['role'])}")
    elif not row["lacking"]:
        yield good(f"schema `{meta}` belongs to `{row['meta_owner']}` and can be used")


def _version_schema(exam: Examination, row: dict[str, Any]) -> Iterator[Verdict]:
    """The version table may be kept in a schema that is not ours."""
    schema = exam.target.version_table_schema
    if schema == exam.target.meta_schema or f"{schema}.{exam.target.version_table}" not in row["absent"]:
        return
    if not row["makes_version"]:
        hint = f"make the schema, and GRANT CREATE ON SCHEMA to `{row['role']}`; or correct `version_table_schema`"
        yield error(f"the version table cannot be made in schema `{schema}`", hint)


def _tables(row: dict[str, Any], target: Target) -> Iterator[Verdict]:
    home, role = row["home"], row["role"]
    if target.schema and row["makes_in_home"] is None:
        yield error(f"schema `{home}` is not there", f"`ehg-migrate schema create {target.name}` makes it")
    elif not row["makes_in_home"]:
        where = f"schema `{home}`, where its tables would land" if home else "any schema of its `search_path`"
        grant = f"GRANT USAGE, CREATE ON SCHEMA {_name(home or 'public')} TO {_name(role)}"
        if not home and row["makes_in_public"]:  # so no privilege is wanting
            where += f", {one_line(str(row['path']))}"
            grant = (
                f"make a schema of it; or ALTER ROLE {_name(role)} RESET search_path, or ALTER DATABASE that has set it"
            )
        yield error(f"role `{role}` may not CREATE in {where}", grant)
    elif home.startswith("pg_temp_"):
        yield error(
            f"what revisions make without a schema is temporary: `pg_temp` comes first in {one_line(str(row['path']))}",
            f"ALTER ROLE {_name(role)} RESET search_path, or ALTER DATABASE that has set it",
        )
    elif home == target.meta_schema:
        yield error(
            f"what revisions make without a schema lands in ours: `{home}` comes first in {one_line(str(row['path']))}",
            f"ALTER ROLE {_name(role)} RESET search_path, or ALTER DATABASE that has set it",
        )
    elif row["makes_in_public"] is False:
        grant = f"GRANT CREATE ON SCHEMA public TO {_name(role)}"
        yield warning(f"role `{role}` may not CREATE in schema `public`", grant)
    else:
        yield good(f"role `{role}` may CREATE in schema `{home}`")


def _name(name: str) -> str:
    """As SQL that an owner or a superuser is to run; whoever writes into the database may choose it."""
    return sql.Identifier(name).as_string(None)


def _role(row: dict[str, Any]) -> Iterator[Verdict]:
    if row["superuser"]:
        hint = "use a role that owns what it migrates and no more"
        yield warning(f"role `{row['role']}` is a superuser, which is more than needed", hint)
        return  # it has everything else as well
    facts = [name for name in ("BYPASSRLS", "CREATEROLE") if row[name.lower()]]
    if facts:
        yield good(f"it has {' and '.join(facts)}")
