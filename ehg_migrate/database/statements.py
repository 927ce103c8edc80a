"""The named statements of `queries.sql` and `layout.sql`, with a target's own identifiers quoted into them."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from psycopg import sql

from ehg_migrate.model import META_SCHEMA, VERSION_TABLE, Target


@cache
def _queries() -> dict[str, str]:
    text = _read("queries.sql")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: _without_comments(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()


def query(name: str, target: Target | None = None, channel: str = "") -> sql.Composed:
    """The statement of this name, for this target. Parameters stay `%(name)s`."""
    return sql.SQL(_queries()[name]).format(**_identifiers(target, channel))


def layout(target: Target) -> sql.Composed:
    """Everything that the tool keeps in a target, as one text of several statements without parameters."""
    return sql.SQL(_read("layout.sql")).format(**_identifiers(target, ""), meta_literal=sql.Literal(target.meta_schema))


def version_name(target: Target) -> str:
    """The version table as `to_regclass` takes it."""
    return sql.Identifier(target.version_table_schema, target.version_table).as_string(None)


def foreign_name(target: Target | None) -> str:
    """Where another Alembic would keep its version table here, as `to_regclass` takes it."""
    return sql.Identifier((target.schema if target else "") or "public", VERSION_TABLE).as_string(None)


def _identifiers(target: Target | None, channel: str) -> dict[str, sql.Composable]:
    version = (target.version_table_schema, target.version_table) if target else (META_SCHEMA, "alembic_version")
    return {
        "meta": sql.Identifier(target.meta_schema if target else META_SCHEMA),
        "version": sql.Identifier(*version),
        "foreign": sql.Identifier((target.schema if target else "") or "public", VERSION_TABLE),
        "own": sql.Identifier((target.schema if target else "") or "public"),
        "foreign_literal": sql.Literal(foreign_name(target)),
        "channel": sql.Identifier(channel or "none"),
    }
