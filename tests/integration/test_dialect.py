"""What SQLAlchemy knows of a server when it has not asked is what it knows when it has."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from psycopg.types import TypeInfo
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from ehg_migrate.database.connections import connect_once
from ehg_migrate.database.session import Session
from ehg_migrate.environment.hosting import sqlalchemy_connection
from ehg_migrate.model import Address, Origin, Target
from tests.support.postgres import Cluster

RUN = "20260101-000000-beef"


def _known(engine: Engine) -> dict[str, Any]:
    """Everything plain that the dialect has learnt or was told."""
    plain = (bool, int, str, tuple, type(None))
    return {
        k: v for k, v in vars(engine.dialect).items() if isinstance(v, plain) and k != "_on_connect_isolation_level"
    }


_SET = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {}', current_database()); END $$"
CASES = {
    "ordinary": "SELECT",
    "hstore": "CREATE EXTENSION hstore",
    "hstore_out_of_sight": "CREATE SCHEMA extras; CREATE EXTENSION hstore SCHEMA extras",
    "isolation": _SET.format("default_transaction_isolation = serializable"),
    "literals": _SET.format("standard_conforming_strings = off"),
    "schema": "CREATE SCHEMA other; " + _SET.format("search_path = nowhere, other"),
    "no_schema": _SET.format("search_path = nowhere"),
}


def _described(info: TypeInfo | None) -> tuple[object, ...]:
    return (info.name, info.oid, info.array_oid, info.regtype, info.delimiter) if info else ()


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_missing(name: str, pg: Cluster, database: Address) -> None:
    """Version, schema, isolation, string literals and hstore, whatever the database sets."""
    with pg.admin(database.dbname) as c:
        c.execute(CASES[name].encode())
    target = Target("one", database, ("shared",))
    with Session(target, pg.password, RUN, Origin("me", "here", 1, "", "")) as session:
        with closing(connect_once(target, pg.password, "asks")) as driver:
            # where the working connection of a session looks for names
            session.prepare_work()
            path = session.work.execute("SHOW search_path").fetchone()
            assert path
            driver.execute("SELECT set_config('search_path', %s, false)", path)
            stock = create_engine("postgresql+psycopg://", creator=lambda: driver, poolclass=NullPool)
            with stock.connect():
                expected = _known(stock)
                hstore = TypeInfo.fetch(driver, "hstore")
        with sqlalchemy_connection(session) as connection:
            assert _known(connection.engine) == expected
            found = session.work.adapters.types.get("hstore")
            assert _described(found) == _described(hstore)
            assert str(connection.engine.url).startswith("postgresql+psycopg://")
