"""Which targets may stand in one database: schemas that are not each other's, and nothing beside a whole database."""

from __future__ import annotations

from collections.abc import Sequence

from ehg_migrate.fleet.build import Built
from ehg_migrate.fleet.problems import Report
from ehg_migrate.model import Target


def refuse_neighbours(built: Sequence[Built], report: Report) -> None:
    """Reports each target that cannot stand beside one before it."""
    before: dict[tuple[str | int, ...], list[Built]] = {}
    for one in built:
        others = before.setdefault(one.identity, [])
        # the same name twice was reported as that
        for other in (o for o in others if o.target.name != one.target.name):
            if _refused(one.target, other.target, report):
                break
        others.append(one)


def _refused(one: Target, other: Target, report: Report) -> bool:
    """Whether there was something to report; the first thing only."""
    found = _same_place(one, other) or _whole(one, other) or _same_version_table(one, other)
    if found:
        code, message, hint = found
        report.add(code, message, f"{hint}; the other stands at `{other.source}`", one.source)
    return found is not None


def _same_place(one: Target, other: Target) -> tuple[str, str, str] | None:
    if one.schema != other.schema:
        return None
    a = one.address
    schema = f", schema `{one.schema}`" if one.schema else ""
    what = "schema" if one.schema else "database"
    return (
        "same_database",
        f"`{one.name}` and `{other.name}` are the same {what}: {a.host}, port {a.port}, database `{a.dbname}`{schema}",
        "remove one of the two",
    )


def _whole(one: Target, other: Target) -> tuple[str, str, str] | None:
    """All of a database is the schemas of others too: its revisions could change them, and their drift be its own."""
    if one.schema and other.schema:
        return None
    part, whole = (one, other) if one.schema else (other, one)
    return (
        "whole_and_schema",
        f"`{part.name}` is schema `{part.schema}` of the database that `{whole.name}` is as a whole",
        f"give `{whole.name}` its own `schema`, which may be `public`",
    )


def _same_version_table(one: Target, other: Target) -> tuple[str, str, str] | None:
    mine = (one.version_table_schema, one.version_table)
    if mine != (other.version_table_schema, other.version_table):
        return None
    return (
        "same_version_table",
        f"`{one.name}` and `{other.name}` are schemas of one database with one version table, `{'.'.join(mine)}`",
        "leave `version_table_schema` out: each schema has its own then",
    )
