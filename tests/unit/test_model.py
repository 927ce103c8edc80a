"""What the nouns say of themselves."""

from __future__ import annotations

import pytest

from ehg_migrate.model import is_local


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("/var/run/postgresql", True),
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("10.0.0.7", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("db.localhost", False),
        ("localhost.example.com", False),
        ("localhost,db.example.com", False),
        ("/tmp,db.example.com", False),
    ],
)
def test_who_is_this_machine(host: str, local: bool) -> None:
    """To any other host a password is not sent without TLS unless somebody has said so."""
    assert is_local(host) is local
