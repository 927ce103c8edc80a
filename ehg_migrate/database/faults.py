"""Errors of the driver, the server and the poolers, translated once: what it was, what to do, and whether to try again.

The texts and the rules come from measurements on PostgreSQL, PgBouncer and the sources of Supavisor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
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


NOTHING_OF_OURS = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
"""What a question to our own tables gives where this tool has never been: so nobody of it is at work there."""

TAKES_NO_WRITES = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.DiskFull)
"""What a write gives in a database that can be read all the same. Platforms close one whose disk is nearly full."""

# Where a step fails on one target, its file is seldom wrong: others have applied it, and an edited one is another.
THERE = "made by hand, or by something that was cut: look what it is; take it out of the way, and run again"
GONE = (
    "was it taken away here by hand (`ehg-migrate drift -t TARGET` tells)? make it anew and run again; else correct "
    "the revision"
)
_ROWS = (
    "rows of this target are in the way: correct them and run again; `ehg-migrate rehearse --probe-data -t TARGET` "
    "looks for more"
)
_DEPENDS = (
    "is what depends on it made by hand (`ehg-migrate drift -t TARGET` tells)? take that away here and run again; else "
    "correct the revision"
)
# SQLSTATE -> (code, hint, retry)
_STATES: dict[str, tuple[str, str, Retry]] = {
    "55P03": (
        "lock_timeout",
        "another session holds what it wants: end that one (`SELECT pg_terminate_backend(PID)` in the same database), "
        "or raise `lock_timeout`",
        Retry.STEP,
    ),
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
    "42501": (
        "no_privilege",
        "let the owner grant it to the role of this target; where that must be the owner, say ALTER ... OWNER TO, or "
        "GRANT the owning role; then run again",
        Retry.NEVER,
    ),
    "22P05": (
        "untranslatable",
        "this database is not in UTF-8: use its own characters for who runs this (`EHG_ACTOR`), in names, and in SQL",
        Retry.NEVER,
    ),
    "26000": ("transaction_pooler", "this is a transaction-mode pooler: use its session port (5432)", Retry.NEVER),
    "42P05": ("transaction_pooler", "this is a transaction-mode pooler: use its session port (5432)", Retry.NEVER),
    "53100": ("disk_full", "free space on the server", Retry.NEVER),
    "53200": ("out_of_memory", "free memory on the server", Retry.NEVER),
    "25001": (
        "needs_autocommit",
        "put the statement into `with op.get_context().autocommit_block():` in a revision of its own",
        Retry.NEVER,
    ),
    **dict.fromkeys(
        # table or index, column, type or constraint or value of an enum, function, schema
        ("42P07", "42701", "42710", "42723", "42P06"),
        ("exists_already", THERE, Retry.NEVER),
    ),
    **dict.fromkeys(("42P01", "42703", "42704", "3F000"), ("statement_failed", GONE, Retry.NEVER)),
    **dict.fromkeys(("23502", "23503", "23505", "23514", "23P01"), ("statement_failed", _ROWS, Retry.NEVER)),
    "2BP01": ("statement_failed", _DEPENDS, Retry.NEVER),
}
TOO_SHORT = (
    "an `idle_session_timeout` or `transaction_timeout` of the role or the database ends sessions before they can put "
    "it aside: give it a longer one with ALTER ROLE, or ALTER DATABASE, ... SET"
)
# SQLSTATE -> (code, hint), where it is why the server ended the connection
_LOST = {
    "25P03": (
        "idle_in_transaction",
        "the step did nothing on the server for too long: raise `idle_in_transaction_timeout`, or split the revision",
    ),
    "57P05": ("connection_lost", TOO_SHORT),
    "25P04": (
        "statement_timeout",
        "the step took longer than a `transaction_timeout` that it has SET: take that out, or split the revision",
    ),
}
# what PgBouncer says when it ends a client by a limit of its own -> the same
_ENDED = {
    "idle transaction timeout": (
        "idle_in_transaction",
        "the step did nothing on the server for too long: raise the pooler's `idle_transaction_timeout`, or split the "
        "revision",
    ),
    "query timeout": ("statement_timeout", "raise the pooler's `query_timeout`, or split the revision"),
}
# characters of a server's words that are looked at: each pattern would take a second for 10 MB of them. More than
# `one_line` looks at, which sees then that it was cut
_LONGEST = 20_000
# code -> hint, where a schema was only looked at: the limits of the entry are not for that
_LOOKS = {
    "statement_timeout": "look again when the server has less to do; if it stays, raise `answer_timeout` of the entry "
    "for a large schema, or what the role or the database has: ALTER ROLE, or ALTER DATABASE, ... SET "
    "statement_timeout",
    "lock_timeout": "another session alters what is looked at: `ehg-migrate doctor -t TARGET` names it, or long "
    "transactions; end it, or look again when it is done",
}
_OF_STEPS = ("statement_failed", "exists_already")
_DEFAULT_HINT = "correct the revision and run again"
_ENDED_BY_ERROR = (
    "the server ended the session for it, as it does where the role or the database has `exit_on_error` on: ALTER "
    "ROLE, or ALTER DATABASE, ... RESET exit_on_error"
)
_UNREADABLE = (
    "look what somebody has made in this database: names and comments in one of SQL_ASCII may be no text (`SHOW "
    "server_encoding`), for example; rename what the message is about"
)


def connect_fault(error: BaseException) -> Fault:
    """An error while connecting or in the first query of a connection."""
    from ehg_migrate.database.refusals import REFUSALS  # a command that nobody refuses does without them

    words = _words(error)
    text = one_line(words)
    for pattern, code, hint, again in REFUSALS:
        # not in what is shown: a password such as `password` is masked there
        if re.search(pattern, words, re.IGNORECASE):
            retry = Retry.CONNECT if again else Retry.NEVER
            return Fault(Problem(code, text, hint, sqlstate=sqlstate(error)), retry)
    state = sqlstate(error)
    if isinstance(error, NOTHING_OF_OURS) and ends_session(error):
        return Fault(Problem("connect_failed", text, _ENDED_BY_ERROR, sqlstate=state), Retry.NEVER)
    if function := _raised_in(error):
        hint = f"the function `{function}` of the database raised it, perhaps as an event trigger: correct it"
        return Fault(Problem("connect_failed", text, hint, sqlstate=state), Retry.NEVER)
    if state and state in _STATES:
        fault = run_fault(error)
        if fault.problem.code not in _OF_STEPS:
            return replace(fault, problem=no_step(fault.problem))
        # no step has run: it is our own question that found nothing, or another thing
        from ehg_migrate.database.telling import NOT_AS_MADE

        return replace(fault, problem=Problem("strange_answer", text, NOT_AS_MADE, sqlstate=state))
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
        again = ("connection_lost", "run again; if it stays, look at the server's log")
        code, hint = _LOST.get(state or "") or _ENDED.get(text, again)
        return Fault(Problem(code, text, hint, sqlstate=state), Retry.LOOK)
    code, hint, retry = _STATES.get(state or "", ("statement_failed", _DEFAULT_HINT, Retry.NEVER))
    if hint == _DEFAULT_HINT and (function := _raised_in(error)):
        hint = f"the function `{function}` of the database raised it, perhaps as a trigger: correct it or the revision"
    from ehg_migrate.database.telling import CASES, NAMES_OURS, NOT_AS_MADE  # where nothing fails nobody needs them

    words = _words(error)
    if code in _OF_STEPS and NAMES_OURS.search(words):
        hint = NOT_AS_MADE
    for case in CASES:
        if case.state in ("", state) and case.words.search(words):
            code, hint = case.code or code, case.hint
    return Fault(Problem(code, text, hint, sqlstate=state), retry)


def no_step(problem: Problem) -> Problem:
    """The same where no step has run, which could have taken another role."""
    from ehg_migrate.database.telling import OTHER_ROLE

    return replace(problem, hint=_STATES[str(problem.sqlstate)][1]) if problem.hint == OTHER_ROLE else problem


def look_fault(error: BaseException) -> Problem:
    """An error of a statement that only looks at a schema: no step has run, and it has limits of its own."""
    silent = isinstance(error, psycopg.OperationalError) and not sqlstate(error)
    lost = silent or (isinstance(error, psycopg.Error) and ends_session(error))
    problem = no_step(run_fault(error, lost=lost).problem)
    usual = _UNREADABLE if problem.hint == _DEFAULT_HINT else problem.hint
    return replace(problem, hint=_LOOKS.get(problem.code, usual))


def _raised_in(error: BaseException) -> str:
    """The function of PL/pgSQL in which it was raised, if it was not a block of the revision itself."""
    diag = getattr(getattr(error, "orig", None) or error, "diag", None)
    context = (getattr(diag, "context", None) or "")[:_LONGEST]
    found = re.match(r"PL/pgSQL function (?!inline_code_block)(.+?) line \d+ at RAISE", context)
    return one_line(found[1], 200) if found else ""


def ends_session(error: psycopg.Error) -> bool:
    """Whether the server has ended the session with it."""
    return error.diag.severity_nonlocalized == "FATAL"


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
