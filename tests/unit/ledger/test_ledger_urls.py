"""PostgreSQL URLs of the ledger: what is refused before any connection, and what an unreachable server looks like."""

from __future__ import annotations

import socket
import traceback

import psycopg
import pytest

from ehg_migrate.errors import LedgerError
from ehg_migrate.ledger import open_ledger
from ehg_migrate.ledger.postgres import open_postgres

_CANARY = "s3cr3t-in-the-url"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql://me:{_CANARY}@db.invalid/ledger", "it has a password in it"),
        (f"postgresql://me@db.invalid/ledger?password={_CANARY}", "it has a password in it"),
        ("postgresql://me:@db.invalid/ledger", "it has a password in it"),
        (f"postgresql://me:1/{_CANARY}@db.invalid/ledger", "or what may be a part of one"),
        (f"postgresql://me:1?{_CANARY}@db.invalid/ledger", "or what may be a part of one"),
        (f"postgresql://me:1#{_CANARY}@db.invalid/ledger", "or what may be a part of one"),
        (f"postgresql://me:{_CANARY}@db.invalid:port/ledger", "it cannot be read"),
        (f"nonsense {_CANARY}", "it cannot be read"),
        ("", "it cannot be read"),
        ("sqlite://", "`sqlite` is neither"),
        ("sqlite:ledger.sqlite", "it cannot be read"),
        ("mysql://me@db.invalid/ledger", "`mysql` is neither `sqlite` nor `postgresql`"),
        ("postgresql://me@db.invalid", "it names no database"),
        ("postgresql://me@db.invalid/ledger?options=-c%20x", "unknown parameter `options`"),
    ],
)
def test_refused_urls(url: str, words: str) -> None:
    """A URL that cannot be meant is refused with a hint and never repeated, because it may hold a password."""
    with pytest.raises(LedgerError) as caught:
        open_ledger(url)
    told = "".join(traceback.format_exception(caught.value))
    assert caught.value.problems[0].code == "ledger_url"
    assert words in told
    assert "hint: write `postgresql://USER@HOST:PORT/DATABASE`" in told
    assert _CANARY not in told


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("db.example.com/ledger", "require"),
        ("10.0.0.1/ledger", "require"),
        ("db.example.com/ledger?sslrootcert=/x.pem", "verify-full"),
        ("db.example.com/ledger?sslmode=verify-ca&sslrootcert=/x.pem", "verify-ca"),
        ("127.0.0.1/ledger", "prefer"),
        ("[::1]/ledger", "prefer"),
        ("localhost/ledger", "prefer"),
        ("db.localhost/ledger", "require"),
        ("/ledger?host=/var/run/postgresql", "prefer"),
        ("/ledger?host=/var/run/postgresql,db.example.com", "require"),
    ],
)
def test_tls(rest: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS is demanded beyond this machine, the server is verified given a root, and `sslmode` has the last word."""
    seen: dict[str, object] = {}

    def stop(**values: object) -> None:
        seen.update(values)
        raise InterruptedError

    monkeypatch.setattr(psycopg, "connect", stop)
    backend = open_postgres(f"postgresql://me@{rest}", "word")
    with pytest.raises(InterruptedError), backend.transaction(write=False):
        pass
    assert (seen.get("sslmode"), seen["user"], seen["dbname"]) == (expected, "me", "ledger")
    assert (seen["password"], "word" in backend.place) == ("word", False)


def test_nobody_listens() -> None:
    """A server that is not there is told with its address, without the password, and with a hint."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(LedgerError) as caught:
        open_ledger(f"postgresql://me@127.0.0.1:{port}/ledger", password=_CANARY)
    assert caught.value.problems[0].code == "ledger_unreachable"
    assert f"`127.0.0.1:{port}/ledger` cannot be reached" in str(caught.value)
    assert "the targets themselves are not affected" in str(caught.value)
    assert _CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 64}.example.com"])
def test_what_is_no_name_of_a_host(host: str) -> None:
    """It cannot be asked for, which the driver says with an exception that is none of its own."""
    with pytest.raises(LedgerError) as caught:
        open_ledger(f"postgresql://me@{host}/ledger")
    assert caught.value.problems[0].code == "ledger_unreachable"
