"""What is in a target and who is at work there: version table, other tools' histories, the lock, transactions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import psycopg

from ehg_migrate.database.damage import lost_rows
from ehg_migrate.database.doctor.examination import Examination
from ehg_migrate.database.doctor.findings import Level, Verdict, combined, error, good, span, warning
from ehg_migrate.database.faults import NOTHING_OF_OURS
from ehg_migrate.database.probe import hidden
from ehg_migrate.database.records import another
from ehg_migrate.database.session import lock_key
from ehg_migrate.database.statements import version_name
from ehg_migrate.errors import quoted
from ehg_migrate.model import VERSION_TABLE
from ehg_migrate.redaction import one_line

_ROUND_TRIPS = 5
_MOST_TRANSACTIONS = 5

# Names in lower case: of tables in `public` (or where the role's tables land), and of tables in a schema of their own.
_TOOLS = {
    "__diesel_schema_migrations": "Diesel",
    "__efmigrationshistory": "Entity Framework",
    "_prisma_migrations": "Prisma",
    "_sqlx_migrations": "sqlx",
    "atlas_schema_revisions": "Atlas",
    "databasechangelog": "Liquibase",
    "django_migrations": "Django",
    "doctrine_migration_versions": "Doctrine",
    "flyway_schema_history": "Flyway",
    "goose_db_version": "goose",
    "knex_migrations": "Knex",
    "pgmigrations": "node-pg-migrate",
    "refinery_schema_history": "Refinery",
    "schema_migrations": "Rails, Ecto, dbmate or golang-migrate",
    "sequelizemeta": "Sequelize",
}
_PLACES = {
    "atlas_schema_revisions.atlas_schema_revisions": "Atlas",
    "drizzle.__drizzle_migrations": "Drizzle",
    "sqitch.changes": "Sqitch",
}
_SUPABASE = "supabase_migrations.schema_migrations"
_TWO_OWNERS = "agree on one: let every change of this schema come through `versions/`, and stop the other tool"


# --- version table


def version_table(exam: Examination) -> Verdict:
    """The heads, whose version table it is, and that nobody of the API can read or write it."""
    try:
        found = exam.row("layout", {"version": version_name(exam.target)})
        return combined([_heads(exam, found), *_old_table(exam, found), *_readers(exam)])
    except psycopg.errors.LockNotAvailable:
        return _locked_away(exam)


def _locked_away(exam: Examination) -> Verdict:
    """Who lets nobody read our tables, as a session that was left open behind a TRUNCATE; by its pid, to be ended."""
    pids = {row["pid"] for row in exam.rows("doctor_lockers", {"version": version_name(exam.target)})}
    found = [row for row in exam.rows("doctor_transactions", {"seconds": 0}) if row["pid"] in pids]
    named = "; ".join(map(_transaction, found[:_MOST_TRANSACTIONS])) or "a session that has just ended, or is hidden"
    ends = "; ".join(f"SELECT pg_terminate_backend({row['pid']})" for row in found if row["pid"])
    hint = f"let it end, or end it in this database: `{ends}`" if ends else "look again, as a superuser"
    return error(f"nobody can read the version table or the journal now, which somebody has locked: {named}", hint)


def _heads(exam: Examination, found: dict[str, Any]) -> Verdict:
    heads = [row["version_num"] for row in exam.rows("version_heads")] if found["version"] else []
    if heads:
        return good(f"heads: {quoted(heads, 5)}")
    asked = {"target": exam.target.name, "limit": 1}  # one entry is enough to know that some are seen
    if found["journal"] and (applied := exam.rows("applied_checksums", asked)):
        problem = lost_rows(sorted(row["revision"] for row in applied))
        return error(problem.message, problem.hint)
    foreign: tuple[str, ...] = ()
    if found["has_foreign"] and not found["version"]:
        foreign = tuple(str(row["version_num"]) for row in exam.rows("foreign_heads"))
    if (guarded := _guard(exam, found, asked, foreign)) and exam.row(guarded)["guarded"]:
        problem = hidden(exam.target, guarded)
        return error(problem.message, problem.hint)
    if found["version"]:
        return good("the version table is empty")
    if there := another(foreign, found["elsewhere"], exam.target):
        return warning(there.message, there.hint)
    return good("no version table yet: nothing is applied")


def _guard(exam: Examination, found: dict[str, Any], asked: dict[str, Any], foreign: tuple[str, ...]) -> str:
    """The question whether rows are hidden where none are seen; empty where some are, or none can be."""
    if found["version"]:
        if not found["journal"]:
            return "guarded_version"
        return "" if exam.rows("journal", asked, binary=True) else "guarded"
    return "guarded_foreign" if found["has_foreign"] and not foreign else ""


def _old_table(exam: Examination, found: dict[str, Any]) -> Iterator[Verdict]:
    ours = (exam.target.version_table_schema, exam.target.version_table)
    place = (exam.target.schema or "public", VERSION_TABLE)
    if found["version"] and found["has_foreign"] and ours != place:
        yield good(f"a `{'.'.join(place)}` is still there, and is not looked at any more")


def _readers(exam: Examination) -> Iterator[Verdict]:
    t = exam.target
    names = {"meta": t.meta_schema, "version_schema": t.version_table_schema, "version_table": t.version_table}
    for row in exam.rows("doctor_readers", names):
        who = "PUBLIC" if row["reader"] == "public" else str(row["reader"])
        yield error(f"`{row['place']}` is open to `{who}`", f"REVOKE ALL ON {row['kind']} {row['place']} FROM {who}")


# --- other tools


def foreign_writers(exam: Examination) -> Verdict:
    """Histories of other migration tools in this database."""
    rows = exam.rows("doctor_histories", {"names": [*_TOOLS], "places": [*_PLACES, _SUPABASE]})
    verdicts = [_writer(exam, str(row["schema"]), str(row["name"])) for row in rows]
    return combined(verdicts) if verdicts else good("no other migration tool has left a history here")


def _writer(exam: Examination, schema: str, name: str) -> Verdict:
    place = f"{schema}.{name}"
    if place == _SUPABASE:
        return _supabase(exam)
    tool = _PLACES.get(place) or _TOOLS.get(name.lower(), "another tool")
    return warning(f"two owners of one schema: `{place}` is the history of {tool}", _TWO_OWNERS)


def _supabase(exam: Examination) -> Verdict:
    try:
        row = exam.row("doctor_supabase_history")
    except psycopg.errors.InsufficientPrivilege:
        return warning(f"two owners of one schema: `{_SUPABASE}` is there, and this role may not read it", _TWO_OWNERS)
    if not row["migrations"]:
        return good(f"`{_SUPABASE}` is there and empty")
    count = "1 migration" if row["migrations"] == 1 else f"{row['migrations']} migrations"
    message = f"`{_SUPABASE}` has {count} of the Supabase CLI, the newest `{row['newest']}`"
    return warning(f"two owners of one schema: {message}", _TWO_OWNERS)


# --- who is at work


def lock(exam: Examination) -> Verdict:
    """Who holds the lock of this target right now."""
    rows = exam.rows("holder", {"key": lock_key(exam.target)}, binary=True)
    if not rows:
        return good("nobody holds the lock")
    hint = f"let it end; `ehg-migrate locks break {exam.target.name}` ends one that is dead or will not end"
    return warning(f"another runner is at work: {_holder(exam, rows[0])}", hint)


def _holder(exam: Examination, held: dict[str, Any]) -> str:
    try:
        leases = exam.rows("lease", {"pid": held["pid"]}, binary=True)
    except (*NOTHING_OF_OURS, psycopg.errors.InsufficientPrivilege):
        leases = []  # the holder is just making the tables, or is another role's
    if leases:
        lease = leases[0]
        return (
            f"run `{lease['run']}` of {lease['actor']} on {lease['host']} (process {lease['pid']}) "
            f"since {lease['taken_at']:%F %T %Z}"
        )
    since = f" since {held['backend_start']:%F %T %Z}" if held["backend_start"] else ""  # hidden from other roles
    return f"backend {held['pid']} `{held['application_name'] or 'without a name'}`{since}"


def long_transactions(exam: Examination) -> Verdict:
    """Transactions whose locks a migration would wait for, and which CONCURRENTLY waits for in any case."""
    old = exam.rows("doctor_transactions", {"seconds": exam.long_transaction})
    hidden = int(exam.row("doctor_hidden_sessions")["sessions"])
    unseen = f" (sessions of other roles that cannot be looked into: {hidden})" if hidden else ""
    if not old:
        return Verdict(
            Level.OK,
            f"no transaction is older than {span(exam.long_transaction)}{unseen}",
            "GRANT pg_read_all_stats to this role shows them" if hidden else "",
        )
    more = f"; and {len(old) - _MOST_TRANSACTIONS} more" if len(old) > _MOST_TRANSACTIONS else ""
    how = ["pg_terminate_backend(pid)"] if any(row["pid"] for row in old) else []
    if any(row["pid"] is None for row in old):
        how.append("COMMIT PREPARED or ROLLBACK PREPARED, as their owner and in this database")
    return warning(
        "; ".join(_transaction(row) for row in old[:_MOST_TRANSACTIONS]) + more + unseen,
        f"let them end, or end them with {', '.join(how)}: a migration would wait for their locks",
    )


def _transaction(row: dict[str, Any]) -> str:
    if row["pid"] is None:
        name, age = one_line(str(row["query"]), 80), span(float(row["age"]))
        return f"prepared transaction {name} of `{row['role']}`: for {age}, without a session"
    return (
        f"pid {row['pid']} of `{row['role']}`: a transaction of {span(float(row['age']))}, {row['state']}: "
        f"{one_line(str(row['query']), 80)}"
    )


# --- latency


def latency(exam: Examination) -> Verdict:
    """One round trip, the median of a few, and what connecting costs in those."""
    trip = statistics.median(_round_trip(exam) for _ in range(_ROUND_TRIPS))
    message = (
        f"one round trip takes {trip * 1000:.2f} ms; connecting took {exam.connect_seconds * 1000:.1f} ms, "
        f"as long as {exam.connect_seconds / trip:.0f} round trips"
    )
    return Verdict(Level.OK, message, seconds=trip)


def _round_trip(exam: Examination) -> float:
    start = time.monotonic()
    exam.connection.execute("SELECT 1")
    return time.monotonic() - start
