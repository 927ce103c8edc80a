"""Errors are known by the server's own words, whatever has to be masked in what is shown of them."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from ehg_migrate import redaction
from ehg_migrate.database.faults import Fault, Retry, connect_fault, look_fault, run_fault, sqlstate
from ehg_migrate.schema.scratch_hints import hint_on_scratch

CASES = [
    # words, code, retry
    ('FATAL:  password authentication failed for user "postgres"', "wrong_password", Retry.NEVER),
    ("FATAL:  SASL authentication failed", "wrong_password", Retry.NEVER),
    ("FATAL:  (ENOTFOUND) tenant/user postgres.abc not found", "tenant_not_found", Retry.NEVER),
    ("FATAL:  Tenant or user not found", "tenant_not_found", Retry.NEVER),
    ("FATAL:  (EMAXCONNSESSION) max clients reached in session mode", "too_many_connections", Retry.CONNECT),
    ("FATAL:  MaxClientsInSessionMode: max clients reached", "too_many_connections", Retry.CONNECT),
    ("FATAL:  no more connections allowed (max_client_conn)", "too_many_connections", Retry.CONNECT),
    ("FATAL:  SSL required", "tls_required", Retry.NEVER),
    ("FATAL:  TLS connection required", "tls_required", Retry.NEVER),
    ("FATAL:  client_login_timeout (server down)", "pooler_trouble", Retry.CONNECT),
    ("FATAL:  (ECIRCUITBREAKER) too many authentication failures", "auth_banned", Retry.NEVER),
    (
        'FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", no encryption',
        "tls_required",
        Retry.NEVER,
    ),
    (
        'FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", SSL encryption',
        "address_not_allowed",
        Retry.NEVER,
    ),
    (
        'FATAL:  no pg_hba.conf entry for host "[local]", user "u", database "d", no encryption',
        "address_not_allowed",
        Retry.NEVER,
    ),
    (
        'FATAL:  pg_hba.conf rejects connection for host "[local]", user "u", database "d", no encryption',
        "address_not_allowed",
        Retry.NEVER,
    ),
    ("canceling statement due to statement timeout", "statement_timeout", Retry.NEVER),
    ("connection to server failed: Connection refused", "connection_refused", Retry.CONNECT),
    ("failed to resolve host 'x': Name or service not known", "unresolved_host", Retry.CONNECT),
]


@pytest.mark.parametrize(("words", "code", "retry"), CASES)
def test_the_texts_of_servers_and_poolers_are_known(words: str, code: str, retry: Retry) -> None:
    """Both generations of the pooler's texts, and whether a second attempt is allowed."""
    fault = connect_fault(psycopg.OperationalError(words))
    assert (fault.problem.code, fault.retry) == (code, retry)
    assert fault.problem.hint


def test_a_password_that_is_a_word_of_the_message_does_not_hide_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is masked in what is shown, and a wrong password is still one that is never tried again."""
    monkeypatch.setattr(redaction, "_known", set())
    redaction.register("password")
    fault = connect_fault(psycopg.OperationalError('password authentication failed for user "postgres"'))
    assert (fault.problem.code, fault.retry) == ("wrong_password", Retry.NEVER)
    assert fault.problem.message == '*** authentication failed for user "postgres"'


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('connection to server at "192.0.2.7", port 5432 failed: Network is unreachable', "no way to that address"),
        ('connection to server at "2001:db8::1", port 5432 failed: No route to host', "no way to that address"),
        (
            'connection to server on socket "/run/x/.s.PGSQL.5432" failed: No such file or directory',
            "folder of its socket",
        ),
        ('FATAL:  Peer authentication failed for user "postgres"', "connect to a host with a password"),
        ('FATAL:  role "r" is not permitted to log in', "ALTER ROLE ... LOGIN"),
        ('FATAL:  permission denied for database "d"\nDETAIL:  User does not have CONNECT privilege.', "grant CONNECT"),
        ('FATAL:  database "d" is not currently accepting connections', "ALLOW_CONNECTIONS"),
        ("SSL error: certificate verify failed", "expired"),
        ("PQexec disallowed", "`disable_pqexec = 0`"),
        ("FATAL:  go away\nCONTEXT:  PL/pgSQL function watch() line 1 at RAISE", "event trigger ON login"),
        ("bad packet header: '510000086d524553'", "`max_packet_size`"),
        ('FATAL:  too many connections for database "d"', "ALTER DATABASE ... CONNECTION LIMIT"),
        ('FATAL:  too many connections for role "r"', "ALTER ROLE ... CONNECTION LIMIT"),
        ("FATAL:  sorry, too many clients already", "`max_connections`"),
        ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", "`max_connections`"),
        ("FATAL:  (EMAXCONNSESSION) max clients reached in session mode", "raise the pool size"),
    ],
)
def test_hints_say_what_to_do(words: str, hint: str) -> None:
    """Where the code alone does not."""
    assert hint in connect_fault(psycopg.OperationalError(words)).problem.hint


IN_A_STEP = [
    # SQLSTATE, code, retry
    ("55P03", "lock_timeout", Retry.STEP),
    ("40P01", "deadlock", Retry.STEP),
    ("40001", "serialization", Retry.STEP),
    ("57014", "statement_timeout", Retry.NEVER),
    ("25006", "read_only", Retry.NEVER),
    ("42501", "no_privilege", Retry.NEVER),
    ("26000", "transaction_pooler", Retry.NEVER),
    ("42P05", "transaction_pooler", Retry.NEVER),
    ("53100", "disk_full", Retry.NEVER),
    ("25001", "needs_autocommit", Retry.NEVER),
    ("42P07", "exists_already", Retry.NEVER),
    ("23505", "statement_failed", Retry.NEVER),
    ("42601", "statement_failed", Retry.NEVER),
]


def wrapped(error: psycopg.Error) -> DBAPIError:
    """As SQLAlchemy raises it."""
    return DBAPIError("INSERT", {}, error)


@pytest.mark.parametrize(("state", "code", "retry"), IN_A_STEP)
def test_what_a_statement_fails_with(state: str, code: str, retry: Retry) -> None:
    """Only what is over by itself is tried again; on a lost connection nothing is, whatever it was, before a look."""
    error = psycopg.errors.lookup(state)("words")
    for raised in (error, wrapped(error)):
        fault = run_fault(raised)
        assert (fault.problem.code, fault.problem.sqlstate, fault.retry) == (code, state, retry)
        lost = run_fault(raised, lost=True)
        assert (lost.problem.code, lost.retry) == ("connection_lost", Retry.LOOK)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("0A000", 'extension "vector" is not available'),  # from PostgreSQL 15 on
        ("58P01", 'could not open extension control file "/x/vector.control": No such file or directory'),
    ],
)
def test_an_extension_that_the_server_lacks(state: str, words: str) -> None:
    """It is there on the others, so that the revision may be right."""
    fault = run_fault(wrapped(psycopg.errors.lookup(state)(words)))
    assert fault.problem.code == "statement_failed"
    assert "have it installed there" in fault.problem.hint


@pytest.mark.parametrize(
    ("words", "its_role"),
    [
        ("permission denied for schema ehg_migrate", False),
        ("permission denied for table alembic_version", False),
        ("permission denied for table migration_journal", False),
        ("permission denied for schema auth", True),
        ("must be owner of table alembic_version_of_shop", True),
    ],
)
def test_what_is_ours_is_granted_to_nobody(words: str, its_role: bool) -> None:
    """A step that is refused there has taken another role, and kept it; the first question has not."""
    error = psycopg.errors.lookup("42501")(words)
    assert ("RESET ROLE" in run_fault(wrapped(error)).problem.hint) is not its_role
    assert "RESET ROLE" not in connect_fault(error).problem.hint


@pytest.mark.parametrize(
    ("state", "words", "hint"),
    [
        ("42501", "must be owner of table users", "bears policies and triggers and no other change"),
        ("42501", "Direct deletion from storage tables is not allowed. ", "leave the bucket there in `downgrade()`"),
        ("3F000", 'schema "supabase_functions" does not exist', "Database Webhooks"),
        ("3F000", 'schema "auth" does not exist', "`ehg-migrate local wipe`"),
    ],
)
def test_what_is_supabases_own(state: str, words: str, hint: str) -> None:
    """A project's owner cannot grant it to himself: he is told what may be done there, and what not."""
    assert hint in run_fault(wrapped(psycopg.errors.lookup(state)(words))).problem.hint


@pytest.mark.parametrize(
    ("words", "hint"), [("out of memory", "free memory on the server"), ("out of shared memory", "`max_locks_per_tr")]
)
def test_which_memory_is_full(words: str, hint: str) -> None:
    """Of that for locks a server with gigabytes free may have too little: a step that drops thousands of tables."""
    fault = run_fault(wrapped(psycopg.errors.lookup("53200")(words)))
    assert fault.problem.code == "out_of_memory"
    assert hint in fault.problem.hint


def test_a_look_blames_no_revision() -> None:
    """None was run: a database of SQL_ASCII may have names that are no UTF-8."""
    error = psycopg.errors.lookup("22021")('invalid byte sequence for encoding "UTF8": 0xff')
    assert "revision" in run_fault(error).problem.hint
    assert "SQL_ASCII" in look_fault(error).hint


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.errors.lookup("25P03")("terminating connection"), "idle_in_transaction"),
        (psycopg.OperationalError("idle transaction timeout"), "idle_in_transaction"),
        (psycopg.OperationalError("query timeout"), "statement_timeout"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), "connection_lost"),
    ],
)
def test_why_a_connection_was_lost(error: psycopg.Error, code: str) -> None:
    """By a limit of the server's or of a pooler's, which would end it again; that is known by the code."""
    fault = run_fault(error, lost=True)
    assert (fault.problem.code, fault.retry) == (code, Retry.LOOK)


def test_whose_sqlstate_it_is() -> None:
    """The error's own, else that of what it wraps or came from."""
    error, other = psycopg.errors.lookup("40001")("words"), RuntimeError("cleaning up failed")
    other.__cause__ = error
    assert [sqlstate(e) for e in (error, wrapped(error), other, RuntimeError())] == ["40001", "40001", "40001", None]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.errors.lookup("42501")("permission denied for table alembic_version"), "no_privilege"),
        (psycopg.errors.lookup("26000")("prepared statement does not exist"), "transaction_pooler"),
        (psycopg.errors.lookup("XX000")("a table is broken"), "connect_failed"),
        (psycopg.OperationalError("what nobody knows"), "connect_failed"),
    ],
)
def test_what_the_first_question_fails_with(error: psycopg.Error, code: str) -> None:
    """What is known of statements is known there too; what nobody knows is not tried again: poolers ban for that."""
    fault = connect_fault(error)
    assert (fault.problem.code, fault.retry) == (code, Retry.NEVER)


@pytest.mark.parametrize("translate", [connect_fault, run_fault])
def test_a_secret_in_the_words_of_an_error_is_masked(
    translate: Callable[[BaseException], Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers quote what they were sent; and no server can fill a report, or the time of who reads it."""
    monkeypatch.setattr(redaction, "_known", set())
    redaction.register("battery-staple")
    for words in ('syntax error at or near "battery-staple"', 'permission denied for table "battery-staple"'):
        assert "battery" not in translate(psycopg.OperationalError(words)).problem.message
    assert len(translate(psycopg.OperationalError("x" * 1_000_000)).problem.message) < 20_000


@pytest.mark.parametrize(
    ("error", "code", "hint"),
    [
        (
            psycopg.errors.QueryCanceled("statement timeout"),
            "statement_timeout",
            "raise `answer_timeout` of the entry for a large schema, or what the role",
        ),
        (psycopg.errors.LockNotAvailable("lock timeout"), "lock_timeout", "look again when it is done"),
        (psycopg.errors.DiskFull("no space"), "disk_full", "free space on the server"),
    ],
)
def test_what_a_look_fails_with(error: psycopg.Error, code: str, hint: str) -> None:
    """No limit of steps holds for a look, and no revision is at fault: the hint speaks of neither."""
    problem = look_fault(error)
    assert problem.code == code
    assert hint in problem.hint
    assert not any(words in problem.hint for words in ("for this target", "raise `lock_timeout`", "revision"))


def test_a_role_that_a_step_cannot_take() -> None:
    """What to say before it is told, on a scratch server too: who makes a role is not in it, since PostgreSQL 16."""
    problem = run_fault(psycopg.errors.InsufficientPrivilege('permission denied to set role "reader"')).problem
    assert problem.code == "no_privilege"
    assert problem.hint.startswith("`GRANT` that role `TO CURRENT_USER` first")
    assert hint_on_scratch(problem, "") == problem.hint


def test_a_role_that_a_step_has_kept() -> None:
    """A scratch server says the same of it as a target; of what else its role may not, that it is no superuser."""
    kept = run_fault(psycopg.errors.InsufficientPrivilege("permission denied for schema ehg_migrate")).problem
    assert "`op.execute('RESET ROLE')`" in hint_on_scratch(kept, "")
    other = run_fault(psycopg.errors.InsufficientPrivilege("permission denied for schema other")).problem
    assert "no superuser" in hint_on_scratch(other, "")


def test_a_scratch_server_without_room_for_locks() -> None:
    """Another one is named: the setting of the embedded one is nobody's to raise."""
    problem = run_fault(psycopg.errors.OutOfMemory("out of shared memory")).problem
    assert "raise `max_locks_per_transaction` there" in problem.hint
    hint = hint_on_scratch(problem, problem.hint)
    assert "higher `max_locks_per_transaction` in `EHG_SCRATCH_URL`" in hint
