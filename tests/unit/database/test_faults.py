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
    ("FATAL:  (ECIRCUITBREAKER) too many authentication failures", "auth_banned", Retry.NEVER),
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
