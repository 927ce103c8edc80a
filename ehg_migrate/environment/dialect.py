"""SQLAlchemy's dialect for a session of ours: what it would ask the server first, nine times, is known already."""

from __future__ import annotations

from typing import Any

from psycopg.types import TypeInfo
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ehg_migrate.database.claim import Facts

DRIVER = "postgresql+ehg_migrate"
"""For the URL of `create_engine`, which takes `facts` then."""


class SessionDialect(PGDialect_psycopg):
    """As the dialect it stands for, with `facts` in place of its questions at the first connection."""

    supports_statement_cache = True

    def __init__(self, facts: Facts, **more: Any) -> None:
        super().__init__(**more)  # type: ignore[no-untyped-call]
        self.facts = facts

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        major, minor = divmod(_driver(connection).info.server_version, 10_000)  # since PostgreSQL 10
        return major, minor

    def _get_default_schema_name(self, connection: Any) -> Any:
        return self.facts.default_schema

    def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
        """What the server said."""
        return self.facts.isolation_level.upper()

    def _set_backslash_escapes(self, connection: Any) -> None:
        self._backslash_escapes = _driver(connection).info.parameter_status("standard_conforming_strings") == "off"

    def _type_info_fetch(self, connection: Any, name: str) -> TypeInfo | None:
        assert name == "hstore"
        if self.facts.hstore is None:
            return None
        number, array, type_name = self.facts.hstore
        return TypeInfo(name, number, array, regtype=type_name)


def _driver(connection: Any) -> Any:
    return connection.connection.driver_connection


registry.register(DRIVER.replace("+", "."), __name__, SessionDialect.__name__)
