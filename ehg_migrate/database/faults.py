"""Errors of the driver, the server and the poolers, translated once: what it was, what to do, and whether to try again.

The texts and the rules come from measurements on PostgreSQL, PgBouncer and the sources of Supavisor. While connecting
psycopg gives no SQLSTATE, so there the text is all there is; poolers changed theirs in 2026, and both forms are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import psycopg

from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.redaction import one_line


class Retry(Enum):
    """When the same thing may be tried again."""

    NEVER = "never"
    CONNECT = "connect"  # nothing was sent yet: with backoff
    STEP = "step"  # the transaction is rolled back and the connection lives: the step again
    LOOK = "look"  # the connection was lost in a step: look at the target before anything else


@dataclass(frozen=True, slots=True)
class Fault:
    """One error, translated."""

    problem: Problem
    retry: Retry


# (pattern, code, hint, retry), in order of reading. The message is the server's own.
_CONNECT: tuple[tuple[str, str, str, Retry], ...] = (
    (
        r"too many authentication failures|circuit breaker open.*auth|ECIRCUITBREAKER\) too many auth",
        "auth_banned",
        "the pooler blocks this address for about two minutes after repeated wrong passwords: correct the secret, "
        "wait, then try once",
        Retry.NEVER,
    ),
    (
        r"ECIRCUITBREAKER|circuit breaker open",
        "pooler_breaker",
        "the pooler rests for about 30 seconds after failures of its own; run again after that",
        Retry.NEVER,
    ),
    (
        r"password authentication failed|SASL authentication failed|wrong password|invalid SCRAM",
        "wrong_password",
        "correct the secret that `password` refers to; one wrong attempt was made and no more will be",
        Retry.NEVER,
    ),
    (
        r"no password supplied|no password was provided",
        "no_password",
        "give the target a `password` reference or a `passfile`",
        Retry.NEVER,
    ),
    (
        r"ENOTFOUND|tenant or user not found",
        "tenant_not_found",
        "copy `host` and `project_ref` from the project's Connect dialog (aws-0 and aws-1 are different poolers), and "
        "look whether the project is paused",
        Retry.NEVER,
    ),
    (
        r"ENOIDENTIFIER|EINVALIDUSERINFO|no tenant identifier",
        "no_tenant",
        "the user must end in `.<project_ref>`; set `project_ref` in the entry",
        Retry.NEVER,
    ),
    (
        r"EMAXCONNSESSION|MaxClientsInSessionMode|EMAXCONN\b|max client connections reached|"
        r"too many connections|remaining connection slots|too many clients",
        "too_many_connections",
        "the session pool is shared with the application; close sessions or raise the pool size",
        Retry.CONNECT,
    ),
    (
        r'pg_hba\.conf.* "\[local\]"',
        "address_not_allowed",
        "give the server's pg_hba.conf a `local` line for this user and database, or connect to a host",
        Retry.NEVER,
    ),
    (
        r"ESSLREQUIRED|SSL connection is required|no encryption",
        "tls_required",
        "set `sslmode: verify-full` in the entry; if that changes nothing, the server's pg_hba.conf has no line for "
        "this address, user and database",
        Retry.NEVER,
    ),
    (
        r"server does not support SSL",
        "tls_unsupported",
        "the server offers no TLS: switch it on there, or set `sslmode: disable` for a server on this machine",
        Retry.NEVER,
    ),
    (
        r"certificate verify failed|does not match host name|root certificate file",
        "tls_untrusted",
        "set `sslrootcert` to the certificate authority of this server, and `host` to the name in its certificate; one "
        "that has expired fails in the same words: `openssl s_client -starttls postgres -connect HOST:PORT` shows it",
        Retry.NEVER,
    ),
    (
        r"EADDRNOTALLOWED|not in tenant allow_list|no pg_hba\.conf entry|pg_hba\.conf rejects",
        "address_not_allowed",
        "allow this machine's address: in the network restrictions of a Supabase project, in a server's pg_hba.conf",
        Retry.NEVER,
    ),
    (r"EBANNED|tenant is banned", "tenant_banned", "ask the platform's support", Retry.NEVER),
    (
        r'database "[^"]*" does not exist|no such database',
        "no_database",
        "create it, or correct `database` in the entry",
        Retry.NEVER,
    ),
    (r'role "[^"]*" does not exist|no such user', "no_role", "create it, or correct `user` in the entry", Retry.NEVER),
    (
        r"is not permitted to log in",
        "connect_failed",
        "let its owner say `ALTER ROLE ... LOGIN`, or correct `user` in the entry",
        Retry.NEVER,
    ),
    (
        r"does not have CONNECT privilege",
        "connect_failed",
        "let the owner of the database grant CONNECT to this role, or correct `user` or `database` in the entry",
        Retry.NEVER,
    ),
    (
        r"is not currently accepting connections",
        "connect_failed",
        "somebody has closed it (`ALTER DATABASE ... ALLOW_CONNECTIONS`): open it, or correct `database` in the entry",
        Retry.NEVER,
    ),
    (
        r"(Peer|Ident) authentication failed",
        "connect_failed",
        "the server wants the system's user of the role's name: run as that one, or connect to a host with a password",
        Retry.NEVER,
    ),
    (
        r"Network is unreachable|No route to host|Cannot assign requested address",
        "connect_failed",
        "this machine has no way to that address: a direct host `db.<ref>.supabase.co` has only an IPv6 address, use "
        "the pooler's; else look at the network and its VPN",
        Retry.NEVER,
    ),
    (
        r'\.s\.PGSQL\.\d+" failed: No such file',
        "connect_failed",
        "is the server running, are the folder of its socket and `port` right?",
        Retry.NEVER,
    ),
    (
        r"failed to resolve host|could not translate host name|Name or service not known|nodename nor servname",
        "unresolved_host",
        "correct `host`; a direct host `db.<ref>.supabase.co` has only an IPv6 address, use the pooler's",
        Retry.CONNECT,
    ),
    (
        r"Connection refused",
        "connection_refused",
        "is the server running, are `host` and `port` right? After wrong passwords a Supabase host bans the address",
        Retry.CONNECT,
    ),
    (
        r"starting up|shutting down|not yet accepting|in recovery mode",
        "starting",
        "wait until the server is up",
        Retry.CONNECT,
    ),
    (
        r"timeout expired|timed out|ConnectionTimeout|query_wait_timeout",
        "connect_timeout",
        "the server or pooler did not answer in time: look at its load, or raise `connect_timeout`",
        Retry.CONNECT,
    ),
    (
        r"ECHECKOUT|ESUBSCRIBERETRIES|EAUTHTIMEOUT|EAUTHQUERY|EPROXY|EPOOLCHECKOUT|EDBHANDLEREXITED|"
        r"authentication query failed|connection to database closed|failed to connect to database|"
        r"login has been failing",
        "pooler_trouble",
        "the pooler cannot reach the database or is being redeployed; run again in a minute",
        Retry.CONNECT,
    ),
    (
        r"closed the connection|connection reset|broken pipe|terminating connection|unexpectedly|unexpected eof|crash",
        "connection_lost",
        "run again; if it stays, look at the server's log",
        Retry.CONNECT,
    ),
)

# SQLSTATE -> (code, hint, retry)
_STATES: dict[str, tuple[str, str, Retry]] = {
    "55P03": ("lock_timeout", "another session holds the table: end it, or raise `lock_timeout`", Retry.STEP),
    "40P01": ("deadlock", "another session locks the same tables in another order", Retry.STEP),
    "40001": ("serialization", "another transaction changed the same rows", Retry.STEP),
    "57014": (
        "statement_timeout",
        "raise `statement_timeout` for this target, or split the revision",
        Retry.NEVER,
    ),
    "25006": (
        "read_only",
        "the database is read-only: a replica, or a full disk; look at the project, and at what the revision has SET",
        Retry.NEVER,
    ),
    "42501": ("no_privilege", "grant it to the role of this target, or let the owner of the object do it", Retry.NEVER),
    "26000": ("transaction_pooler", "this is a transaction-mode pooler: use its session port (5432)", Retry.NEVER),
    "42P05": ("transaction_pooler", "this is a transaction-mode pooler: use its session port (5432)", Retry.NEVER),
    "53100": ("disk_full", "free space on the server", Retry.NEVER),
    "53200": ("out_of_memory", "free memory on the server", Retry.NEVER),
    "25001": (
        "needs_autocommit",
        "put the statement into `with op.get_context().autocommit_block():` in a revision of its own",
        Retry.NEVER,
    ),
    "42P07": (
        "exists_already",
        "somebody made it outside the migrations: compare, then drop it, or `adopt` the revision",
        Retry.NEVER,
    ),
    "42710": (
        "exists_already",
        "somebody made it outside the migrations: compare, then drop it, or `adopt` the revision",
        Retry.NEVER,
    ),
}
# SQLSTATE -> (code, hint), where it is why the server ended the connection
_LOST = {
    "25P03": (
        "idle_in_transaction",
        "the step did nothing on the server for too long: raise `idle_in_transaction_timeout`, or split the revision",
    ),
}
# characters of a server's words that are looked at: each pattern would take a second for 10 MB of them. More than
# `one_line` looks at, which sees then that it was cut
_LONGEST = 20_000
_SET_FIRST = "write `SET TRANSACTION ...` out in the revision's own file, as the first statement of its function"
_DEFAULT_HINT = "correct the revision and run again"


def connect_fault(error: BaseException) -> Fault:
    """An error while connecting or in the first query of a connection."""
    words = _words(error)
    text = one_line(words)
    for pattern, code, hint, retry in _CONNECT:
        # not in what is shown: a password such as `password` is masked there
        if re.search(pattern, words, re.IGNORECASE):
            return Fault(Problem(code, text, hint, sqlstate=sqlstate(error)), retry)
    state = sqlstate(error)
    if state and state in _STATES:
        return run_fault(error)
    return Fault(
        Problem(
            "connect_failed", text, "correct the entry of this target, or look at the server's log", sqlstate=state
        ),
        Retry.NEVER,
    )


class ConnectError(TargetError):
    """A connection could not be had; `retry` says whether it may be tried again."""

    def __init__(self, error: BaseException) -> None:
        fault = connect_fault(error)
        self.retry = fault.retry
        super().__init__(fault.problem)


def run_fault(error: BaseException, *, lost: bool = False) -> Fault:
    """An error of a statement; `lost` where the connection is gone, whatever class and SQLSTATE the driver gives."""
    state = sqlstate(error)
    text = one_line(_words(error))
    if lost:
        code, hint = _LOST.get(state or "", ("connection_lost", "run again; if it stays, look at the server's log"))
        return Fault(Problem(code, text, hint, sqlstate=state), Retry.LOOK)
    code, hint, retry = _STATES.get(state or "", ("statement_failed", _DEFAULT_HINT, Retry.NEVER))
    if state == "57014" and "user request" in _words(error):
        code, hint = "cancelled", "somebody cancelled the statement"
    if state == "25001" and "before any query" in _words(error):
        code, hint = "statement_failed", _SET_FIRST
    return Fault(Problem(code, text, hint, sqlstate=state), retry)


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five characters, where the error or what it wraps has them."""
    for e in (error, getattr(error, "orig", None), error.__cause__):
        state = getattr(e, "sqlstate", None)
        if isinstance(state, str):
            return state
    return None


def is_lost(connection: psycopg.Connection) -> bool:
    """Whether this connection cannot be used any more."""
    return connection.closed or connection.broken


def _words(error: BaseException) -> str:
    """The server's own words: no SQL echo, no file and line. Not to be shown as they are."""
    original = getattr(error, "orig", None) or error
    diag = getattr(original, "diag", None)
    parts = [getattr(diag, "message_primary", None), getattr(diag, "message_detail", None)] if diag else []
    told = "; ".join(p for p in parts if p) or _without_advice(str(original)) or type(original).__name__
    return told[:_LONGEST]


def _without_advice(words: str) -> str:
    """libpq puts questions and guesses below what happened, indented; a hint of ours stands there."""
    return "\n".join(line for line in words.splitlines() if not line.startswith("\t"))
