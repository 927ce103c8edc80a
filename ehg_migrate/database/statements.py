"""The named statements of `queries.sql` and `layout.sql`, with a target's own identifiers quoted into them."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources

from psycopg import sql

from ehg_migrate.model import META_SCHEMA, Target


@cache
def _queries() -> dict[str, str]:
    text = _read("queries.sql")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: _without_comments(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()


def query(name: str, target: Target | None = None, channel: str = "") -> sql.SQL:
    """The statement of this name, for this target. Parameters stay `%(name)s`."""
    version = (target.version_table_schema, target.version_table) if target else (META_SCHEMA, "alembic_version")
    return _composed(name, version, channel)


@lru_cache(maxsize=256)  # channels come and go
def _composed(name: str, version: tuple[str, str], channel: str) -> sql.SQL:
    """As one text: it is asked for and put together at every step."""
    composed = sql.SQL(_queries()[name]).format(**_identifiers(version, channel))
    return sql.SQL(composed.as_string())


def layout(target: Target) -> sql.Composed:
    """Everything that the tool keeps in a target, as one text of several statements without parameters."""
    return sql.SQL(_read("layout.sql")).format(
        **_identifiers((target.version_table_schema, target.version_table), ""), meta_literal=sql.Literal(META_SCHEMA)
    )


def version_name(target: Target) -> str:
    """The version table as `to_regclass` takes it."""
    return sql.Identifier(target.version_table_schema, target.version_table).as_string(None)


def _identifiers(version: tuple[str, str], channel: str) -> dict[str, sql.Composable]:
    return {
        "meta": sql.Identifier(META_SCHEMA),
        "version": sql.Identifier(*version),
        "channel": sql.Identifier(channel or "none"),
    }
