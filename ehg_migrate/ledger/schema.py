"""The ledger's tables as SQLAlchemy Core sees them, the same for SQLite and PostgreSQL.

They are made by the files in `sql/`; a test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

POSTGRES_SCHEMA = "ehg_migrate_ledger"
"""Where the tables stand in PostgreSQL; in SQLite they stand in the file itself."""


class UtcTime(TypeDecorator[datetime]):
    """A moment: timezone-aware UTC in and out. PostgreSQL's timestamptz, in SQLite text whose order is that of time."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value.isoformat()} has no zone")
        moment = value.astimezone(UTC)
        # one width for all, so that the order of the text is that of time
        return moment if dialect.name == "postgresql" else moment.isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return moment.astimezone(UTC)


_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = MetaData()

ledger_schema = Table("ledger_schema", metadata, Column("version", Integer, nullable=False))

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("verb", Text, nullable=False),
    Column("selector", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("git_commit", Text, nullable=False),
    Column("tool_version", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("status", Text, nullable=False),
    Column("wish", _JSON, nullable=False),
    Column("undoes", Text),
    Column("resumes", Text),
    Column("targets", _JSON, nullable=False),
    Column("notes", _JSON, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("process_started", Text, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("status", Text, nullable=False),
    Column("heads_before", _JSON, nullable=False),
    Column("heads_after", _JSON, nullable=False),
    Column("steps", _JSON, nullable=False),
    Column("not_done", _JSON, nullable=False),
    Column("problem", _JSON),
    Column("notes", _JSON, nullable=False),
    Column("output", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
)
