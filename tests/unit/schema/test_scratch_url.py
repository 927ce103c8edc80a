"""What a URL of EHG_SCRATCH_URL says of TLS, and what becomes of one whose host is none."""

from __future__ import annotations

import traceback

import pytest

from ehg_migrate.errors import LocalServerError
from ehg_migrate.schema.scratch import Scratch
from ehg_migrate.schema.scratch_url import given


@pytest.mark.parametrize(
    ("rest", "sslmode"),
    [
        ("db.example.com/postgres", "require"),
        ("db.localhost/postgres", "require"),
        ("db.example.com/postgres?sslrootcert=/x.pem", "verify-full"),
        ("db.example.com/postgres?sslmode=disable", "disable"),  # by the URL's own word: a container beside a job
        ("127.0.0.1/postgres", "prefer"),
        ("localhost/postgres", "prefer"),
        ("/postgres?host=/run/pg", "prefer"),
        ("/postgres?host=/run/pg,db.example.com", "require"),
    ],
)
def test_tls(rest: str, sslmode: str) -> None:
    """As for a ledger: nobody who stands between may have it taken away."""
    address, password = given(f"postgresql://me:word@{rest}")
    assert (address.sslmode, password) == (sslmode, "word")


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 64}.example.com"])
def test_what_is_no_name_of_a_host(host: str) -> None:
    """It cannot be asked for, which the driver says with an exception that is none of its own."""
    address, password = given(f"postgresql://me@{host}/postgres")
    with pytest.raises(LocalServerError) as caught:
        Scratch(address, password).connect("postgres")
    assert caught.value.problems[0].code == "scratch"


@pytest.mark.parametrize("password", ["1/s3cr3t-in-it", "x@s3cr3t-in-it", "x@1/s3cr3t-in-it", "s3cr3t-in-it@/x"])
def test_a_password_that_is_not_written_as_in_a_url(password: str) -> None:
    """A piece of it would be a host or a database, and be named in all that is said of the server."""
    with pytest.raises(LocalServerError) as caught:
        given(f"postgresql://me:{password}@db.example.com/postgres")
    assert caught.value.problems[0].code == "scratch_url"
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
    assert given("postgresql://me:a%40%2F?#b@db.example.com/d%40e")[1] == "a@/?#b"
