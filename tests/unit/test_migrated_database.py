"""The addresses that a test gets of its database, as drivers read them."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.dialects.postgresql import asyncpg, psycopg

from ehg_migrate.model import Address
from ehg_migrate.testing.database import MigratedDatabase

OF_ASYNCPG = {"host", "port", "user", "password", "database"}
"""The keywords of `asyncpg.connect` that say where; it takes no `sslmode`."""
PLACES = (
    (Address("/tmp/a b/run", 5432, "postgres", "ehg_scratch_1_1", "disable"), None),
    (Address("127.0.0.1", 6000, "me", "ehg_scratch_1_1", "prefer"), "p@ss/w:rd"),
)


@pytest.mark.parametrize(("address", "password"), PLACES, ids=["socket", "TCP"])
def test_the_url_of_another_driver(address: Address, password: str | None) -> None:
    """Only the driver's name is another: no other driver knows libpq's words, so none is there without need."""
    url = MigratedDatabase(("shared",), (), address, password).url.set(drivername="postgresql+asyncpg")
    _, given = asyncpg.dialect().create_connect_args(url)
    assert set(given) - {"prepared_statement_cache_size"} <= OF_ASYNCPG
    assert (given["host"], given["port"], given["user"]) == (address.host, address.port, address.user)
    assert (given["database"], given.get("password")) == (address.dbname, password)


@pytest.mark.parametrize("manner", ["disable", "require", "verify-full"])
def test_the_url_says_how_where_that_is_no_matter_of_course(manner: str) -> None:
    """TLS is asked for, or not wanted, as in `conninfo`."""
    address = Address("db.example", 5432, "me", "ehg_scratch_1_1", manner, "roots.pem")
    database = MigratedDatabase(("shared",), (), address, "secret")
    _, given = psycopg.dialect().create_connect_args(database.url)
    meant = conninfo_to_dict(database.conninfo)
    assert {**given, "port": str(given["port"])} == meant
    assert (meant["sslmode"], meant["sslrootcert"]) == (manner, "roots.pem")
