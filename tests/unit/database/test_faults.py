"""Errors are known by the server's own words, whatever has to be masked in what is shown of them."""

from __future__ import annotations

import psycopg
import pytest

from ehg_migrate import redaction
from ehg_migrate.database.faults import Retry, connect_fault

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
