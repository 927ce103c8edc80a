"""Which targets may stand in one database: schemas that are not each other's, and nothing beside a whole database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ehg_migrate.fleet.build import Built
from ehg_migrate.fleet.problems import Report
from ehg_migrate.model import Target


def refuse_neighbours(built: Sequence[Built], report: Report) -> None:
    """Reports each target that cannot stand beside one before it."""
    # the first that is so in its database, and its place: thousands of schemas of one are not held against each other
    first: dict[tuple[object, ...], tuple[int, Target]] = {}
    for place, one in enumerate(built):
        met = dict(first[key] for key in _meets(one) if key in first)
        # the same name twice was reported as that
        for other in (met[at] for at in sorted(met) if met[at].name != one.target.name):
            if _refused(one.target, other, report):
                break
        for key in _is(one):
            first.setdefault(key, (place, one.target))


def _is(one: Built) -> Iterator[tuple[object, ...]]:
    t = one.target
    yield one.identity, "schema", t.schema
    yield one.identity, "part" if t.schema else "whole"
    yield one.identity, "versions", t.version_table_schema, t.version_table


def _meets(one: Built) -> Iterator[tuple[object, ...]]:
    """What another must not be beside it."""
    place, kind, versions = _is(one)
    yield from (place, (one.identity, "whole" if kind[1] == "part" else "part"), versions)


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
