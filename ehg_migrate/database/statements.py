"""The named statements of three files, and those of `layout.sql`, with a target's own identifiers quoted into them."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

from psycopg import sql

from ehg_migrate.model import META_SCHEMA, VERSION_TABLE, Target, meta_schema

_FILES = ("queries.sql", "neighbours.sql", "doctor.sql")


def named_parts(text: str) -> dict[str, str]:
    """The parts of a file of SQL, each below its line `-- name: NAME`; what stands above the first is left out."""
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@cache
def _queries() -> dict[str, str]:
    return {name: _without_comments(body) for name, body in named_parts("".join(map(_read, _FILES))).items()}


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()


class _Place(NamedTuple):
    """What of a target the statements name; equal for most targets of a fleet."""

    schema: str = ""
    version: tuple[str, str] = (META_SCHEMA, VERSION_TABLE)


def _place(target: Target) -> _Place:
    return _Place(target.schema, (target.version_table_schema, target.version_table))


def query(name: str, target: Target | None = None, channel: str = "", *, anyone: bool = False) -> sql.SQL:
    """The statement of this name, for this target. Parameters stay `%(name)s`.

    For `anyone` it reads the entries of all names that the journal knows, not only those of the target.
    """
    return _composed(name, _place(target) if target else _Place(), channel, anyone)


def joined(names: str, target: Target, *, anyone: bool = False) -> sql.SQL:
    """One statement of several parts, named in order with spaces between."""
    return _joined(names, _place(target), anyone)


@lru_cache(maxsize=256)  # targets that are one schema have names of their own in each
def _joined(names: str, place: _Place, anyone: bool) -> sql.SQL:
    return sql.SQL("".join(_composed(name, place, "", anyone).as_string() for name in names.split()))


@lru_cache(maxsize=256)  # channels come and go
def _composed(name: str, place: _Place, channel: str, anyone: bool) -> sql.SQL:
    """As one text: it is asked for and put together at every step."""
    composed = sql.SQL(_queries()[name]).format(**_identifiers(place, channel, anyone))
    return sql.SQL(composed.as_string())


def layout(target: Target) -> sql.Composed:
    """Everything that the tool keeps in a target, as one text of several statements without parameters."""
    return sql.SQL(_read("layout.sql")).format(
        **_identifiers(_place(target)),
        version_key=sql.Identifier(_key_name(target.version_table)),
        meta_literal=sql.Literal(target.meta_schema),
        default_privileges=query("default_privileges"),
    )


def _key_name(table: str) -> str:
    """The name that Alembic gives to the version table's key, within PostgreSQL's 63 bytes."""
    return table.encode()[:59].decode(errors="ignore") + "_pkc"


def version_name(target: Target) -> str:
    """The version table as `to_regclass` takes it."""
    return sql.Identifier(target.version_table_schema, target.version_table).as_string(None)


def foreign_name(target: Target) -> str:
    """The table that stock Alembic would use, likewise."""
    return _foreign(target.schema).as_string(None)


def _foreign(schema: str) -> sql.Identifier:
    return sql.Identifier(schema or "public", VERSION_TABLE)


def _elsewhere(place: _Place) -> sql.Composable:
    """Where the target is one schema, stock Alembic would use none but that."""
    own = [place.schema] if place.schema else []
    usual, called_as_ours = (
        sql.Literal(sql.Identifier(*own, name).as_string(None)) for name in (VERSION_TABLE, place.version[1])
    )
    foreign = sql.Literal(_foreign(place.schema).as_string(None))
    return _ELSEWHERE.format(called_as_ours=called_as_ours, usual=usual, foreign_literal=foreign)


# Its own name (else that of the newest entry), and those it had before: who has a new name goes on from the heads that
# were there, so the entries of both speak of the same revisions. Those of another project with a version table of its
# own do not. Nearly always there is one name, and that is seen by a look at each end of the index.
_CALLED = sql.SQL("""((SELECT CASE
           WHEN EXISTS (SELECT FROM {meta}.migration_journal WHERE target_name < %(target)s)
                OR EXISTS (SELECT FROM {meta}.migration_journal WHERE target_name > %(target)s)
           THEN (WITH RECURSIVE said AS (
                     SELECT DISTINCT target_name, unnest(heads_before || heads_after || revision) AS word
                       FROM {meta}.migration_journal
                 ), ours (target_name) AS (
                     SELECT coalesce(
                            (SELECT target_name FROM {meta}.migration_journal WHERE target_name = %(target)s LIMIT 1),
                            (SELECT target_name FROM {meta}.migration_journal ORDER BY seq DESC LIMIT 1))
                     UNION
                     SELECT other.target_name FROM ours JOIN said USING (target_name)
                       JOIN said AS other ON other.word = said.word AND said.word <> ''
                 ) SELECT array_agg(target_name) FROM ours)
           ELSE ARRAY[%(target)s] END)::text[])""")

# Revisions connect names, so where the last entry of each revision has one name, that name's are what all names' are.
_LATEST = sql.SQL("""(SELECT DISTINCT ON (revision) target_name, revision, checksum, direction, event
           FROM {meta}.migration_journal
          WHERE {whose}event IN ('done', 'started', 'stamped', 'adopted')
          ORDER BY revision, seq DESC)""")

# A table of that name which has no such column is nobody's record of revisions.
_HAS_FOREIGN = sql.SQL("""EXISTS (SELECT FROM pg_attribute
                WHERE attrelid = to_regclass({foreign_literal}) AND attname = 'version_num' AND NOT attisdropped)""")

# Stock Alembic makes its table in the first schema of the role's search_path, which may be another than `public`; and
# calls it what the entry calls ours.
_ELSEWHERE = sql.SQL("""(SELECT format('%%I.%%I', nspname, relname)
          FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE c.oid IN (to_regclass({called_as_ours}), to_regclass({usual}))
           AND c.oid IS DISTINCT FROM to_regclass({foreign_literal}) AND c.oid IS DISTINCT FROM to_regclass(%(version)s)
           AND EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = c.oid AND attname = 'version_num' AND NOT attisdropped)
         ORDER BY c.oid IS DISTINCT FROM to_regclass({called_as_ours}) LIMIT 1)""")


# Where other tools write down what is applied (schema, table, column): stock Alembic in any schema, under its own name
# or the one that ours has, and Supabase's CLI. Schemas of ours are not looked into but where the record may be this
# target's: they are other targets', or empty.
_RECORDS = sql.SQL("""ARRAY(SELECT ARRAY[n.nspname, c.relname, a.attname]::text[]
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {places}
           AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
         ORDER BY n.nspname, c.relname LIMIT 20)""")
_OF_DATABASE = sql.SQL("""((c.relname IN ('alembic_version', {called_as_ours}) AND a.attname = 'version_num'
                 AND (left(n.nspname, 11) <> 'ehg_migrate' OR n.nspname = 'ehg_migrate_' || current_schema()))
                OR (n.nspname, c.relname, a.attname) = ('supabase_migrations', 'schema_migrations', 'version'))""")
# That of all of the database, where its revisions made things in this schema; that of a schema which is not there any
# more, since it may be called otherwise now. Where the schema is empty no record is about it.
_OF_SCHEMA = sql.SQL("""c.relname = 'alembic_version' AND a.attname = 'version_num'
           AND EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace({own_literal}))
           AND (n.nspname = 'ehg_migrate' AND current_schema() = {schema}
                OR n.nspname ~ '^ehg_migrate_[a-z0-9_]{{1,40}}$' AND n.nspname !~ '_[0-9a-f]{{12}}$'
                   AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = substr(n.nspname, 13)))""")


def _records(place: _Place) -> sql.Composable:
    if not place.schema:
        return _RECORDS.format(places=_OF_DATABASE.format(called_as_ours=sql.Literal(place.version[1])))
    own = sql.Literal(sql.Identifier(place.schema).as_string(None))
    return _RECORDS.format(places=_OF_SCHEMA.format(own_literal=own, schema=sql.Literal(place.schema)))


# Whether row-level security chooses for our role what it sees; then nothing seen does not mean that nothing is there.
_GUARDED = sql.SQL("(row_security_active({version_literal}) OR row_security_active({journal_literal}))")


# More than any history has: a journal of so many bytes is not read at all.
_OVERSIZED = sql.SQL("(SELECT coalesce(sum(octet_length(j::text)), 0) > 100000000 FROM {meta}.migration_journal AS j)")


def _identifiers(place: _Place, channel: str = "", anyone: bool = False) -> dict[str, sql.Composable]:
    meta = sql.Identifier(meta_schema(place.schema))
    called = _CALLED.format(meta=meta)
    whose = sql.SQL("") if anyone else sql.SQL("target_name = ANY{} AND ").format(called)
    foreign = sql.Literal(_foreign(place.schema).as_string(None))
    version = sql.Literal(sql.Identifier(*place.version).as_string(None))
    journal = sql.Literal(sql.Identifier(meta_schema(place.schema), "migration_journal").as_string(None))
    return {
        "meta": meta,
        "called": called,
        "latest": _LATEST.format(meta=meta, whose=whose),
        "version": sql.Identifier(*place.version),
        "foreign": _foreign(place.schema),
        "own": sql.Identifier(place.schema or "public"),
        "foreign_literal": foreign,
        "version_literal": version,
        "journal_literal": journal,
        "guarded": _GUARDED.format(version_literal=version, journal_literal=journal),
        "oversized": _OVERSIZED.format(meta=meta),
        "has_foreign": _HAS_FOREIGN.format(foreign_literal=foreign),
        "elsewhere": _elsewhere(place),
        "records": _records(place),
        "channel": sql.Identifier(channel or "none"),
    }
