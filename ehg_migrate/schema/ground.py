"""What stands in a target below its revisions and decides what they become: read there, laid on a scratch database.

A revision that grants to `anon`, calls `auth.uid()` or makes a table under default privileges has another outcome where
those are others. So a reference stands on the ground of the target that it is for; what the ground is, is not judged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.database.statements import query
from ehg_migrate.model import NO_PLATFORM, Target
from ehg_migrate.schema import brought
from ehg_migrate.schema.scope import MIGRATOR, OFTEN_OURS, SUPABASE_ROLES

_GROUND = resources.files(__package__).joinpath("ground.sql").read_text(encoding="utf-8")
_HOME = "public"
_NEW, _NEW_IN = "MAINTAIN", 170000  # a target may have what a scratch server does not know: it is no fact
# what a text in a revision becomes, and whether it is taken at all; the values where nobody has set any
_USUAL = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "check_function_bodies": "on",
    "quote_all_identifiers": "off",  # in a path that a function takes along
}
_SOMEBODY = "ehg_migrate_owner"  # of a scratch database that whoever migrates shall not own
_PUBLIC_CLOSED = 15  # the first major in which not everybody may create in schema public
ROLES = ("anon", "authenticated", "service_role")
TYPES = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}


@dataclass(frozen=True, slots=True)
class Ground:
    """Equal for two targets exactly if the same revisions become the same there."""

    major: int  # of PostgreSQL
    search_path: str  # of a new session of the migrating role, whose own schema is named, if there is one
    roles: tuple[str, ...]  # of PostgREST's roles those that are there
    platform: tuple[str, ...]  # parts of `platform.sql`: what it has of a Supabase project
    public: tuple[str, ...]  # `USAGE anon`: privileges on the schema where revisions are at home
    defaults: tuple[str, ...]  # default privileges of the migrating role, as JSON
    prelude: str = ""  # the project's own SQL, run last
    home: str = _HOME  # the schema where what revisions make lands
    owned: bool = True  # by the migrating role: the database
    reading: tuple[str, ...] = tuple(_USUAL.values())  # `'2026-01-01'` in a revision is what they say
    keepers: tuple[str, ...] = ()  # of the platform's own roles those that are there
    first: tuple[str, ...] | None = field(default=None, compare=False)  # `defaults` before any revision, if known

    @classmethod
    def of(cls, row: Mapping[str, Any], prelude: str, platform: str) -> Ground:
        """From the row that `ground_query` gives; `platform` is that of the target, `below` says which one it is.

        Raises ValueError for what no PostgreSQL says: it would be laid while other targets wait for theirs.
        """
        roles, there, public, defaults = (tuple(row[n]) for n in ("roles", "platform", "public", "defaults"))
        reading, keepers = tuple(map(str, row["reading"])), tuple(row["keepers"])
        asked = {*roles} <= {*ROLES} and {*keepers} <= {*SUPABASE_ROLES} and {*there} <= {*brought.parts()}
        if not asked or len(reading) != len(_USUAL):
            raise ValueError("roles, schemas or settings that were not asked for")
        for privilege in public:
            _word(privilege.split(" ", 1)[0])
        for default in defaults:
            _read_default(default)
        if platform == NO_PLATFORM:  # what revisions rely on and do not make is in the prelude
            there = ()
        ground = cls(int(row["major"]), str(row["search_path"]), roles, there, public, defaults, prelude)
        owned, first = bool(row["owns"]), _first(row["kept"], row["role"])
        keepers = keepers if "auth" in there else ()  # roles of these names may be anybody's
        return replace(ground, owned=owned, first=first, reading=reading, keepers=keepers)

    def below(self, target: Target) -> Ground:
        """The same below the revisions of this target, which may be one schema."""
        if not target.schema:
            return self
        first = None if self.first is None else _within(self.first, target.schema)
        return replace(self, home=target.schema, defaults=_within(self.defaults, target.schema), first=first)

    @property
    def path(self) -> tuple[str, ...]:
        """The schemas of `search_path`."""
        return tuple(part.strip().strip('"') for part in self.search_path.split(","))

    @property
    def at_first(self) -> Ground:
        """As it was before any revision: on what they leave they must not stand again, where they have changed it."""
        return self if self.first is None else replace(self, defaults=self.first)

    @classmethod
    def usual(cls, platform: str, major: int, prelude: str) -> Ground:
        """That of a new database, where no target is asked."""
        if platform != NO_PLATFORM:
            return cls.supabase(major, prelude)
        public = ("USAGE PUBLIC",) if major >= _PUBLIC_CLOSED else ("CREATE PUBLIC", "USAGE PUBLIC")
        return cls(major, '"$user", public', (), (), public, (), prelude)

    @classmethod
    def supabase(cls, major: int, prelude: str) -> Ground:
        """That of a Supabase project, where no target is asked."""
        public = tuple(f"USAGE {role}" for role in ("PUBLIC", *ROLES))
        parts = tuple(sorted(brought.parts()))
        ground = cls(major, '"$user", public, extensions', ROLES, parts, public, (), prelude)
        return replace(ground, keepers=SUPABASE_ROLES)

    @property
    def digest(self) -> str:
        """For the names of references; of the stand-ins too, which a newer version of the tool may have changed."""
        lists = (self.roles, self.platform, self.public, self.defaults, self.keepers)
        text = json.dumps([self.major, self.search_path, self.home, lists, self.owned, self.reading])
        return hashlib.sha256("\0".join((text, self.prelude, brought.text())).encode()).hexdigest()


def _within(defaults: tuple[str, ...], schema: str) -> tuple[str, ...]:
    """Those that hold for what is made in this schema."""
    return tuple(d for d in defaults if _read_default(d)[0] in ("", schema))


def _first(kept: str | None, role: str) -> tuple[str, ...] | None:
    """What `layout.sql` wrote down, if this role was it that made the layout, before any revision."""
    try:
        noted = json.loads(kept or "null")
        found = tuple(map(str, noted["default privileges"])) if noted["role"] == role else None
        for default in found or ():
            _read_default(default)
    except (ValueError, TypeError, KeyError, RecursionError):  # nothing, or somebody's own comment
        return None
    return found


def default_of(schema: str, kind: str, privilege: str, role: str) -> str:
    """A default privilege that may not be passed on, as `default_privileges` writes one."""
    return json.dumps([schema, kind, privilege, role, False])


def _read_default(text: str) -> tuple[str, str, str, str, bool]:
    """Schema, kind, privilege, role and whether it may be granted on, as `default_privileges` writes them.

    Raises ValueError for any other text.
    """
    try:
        schema, kind, privilege, who, grantable = json.loads(text)
    except (TypeError, RecursionError) as e:
        raise ValueError("no default privilege") from e
    if not all(isinstance(word, str) for word in (schema, kind, privilege, who)) or kind not in TYPES:
        raise ValueError("no default privilege")
    if privilege:
        _word(privilege)
    return schema, kind, privilege, who, bool(grantable)


def ground_query(target: Target) -> sql.Composed:
    """The question whose one row `Ground.of` takes; `own` in it are schemas of OFTEN_OURS that the role owns."""
    home, alone = sql.Literal(target.schema or _HOME), sql.SQL("true" if target.schema else "false")
    often_ours = sql.SQL(", ").join(map(sql.Literal, sorted(OFTEN_OURS)))
    return sql.SQL(_GROUND).format(
        home=home,
        alone=alone,
        keepers=sql.SQL(", ").join(map(sql.Literal, SUPABASE_ROLES)),
        often_ours=often_ours,
        brought=brought.pairs(),
        default_privileges=query("default_privileges"),
        meta=sql.Literal(target.meta_schema),
    )


def lay(connection: psycopg.Connection, ground: Ground, keeper: str = "") -> None:
    """Makes a fresh database stand on this ground. Raises psycopg.Error, most likely from the project's prelude.

    What is the platform's belongs to `keeper` then, a superuser, and where there is none to who lays it.
    """
    _lay_platform(connection, ground, keeper)
    home = sql.Identifier(ground.home)
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {0}; REVOKE ALL ON SCHEMA {0} FROM PUBLIC").format(home))
    for privilege in ground.public:
        what, who = privilege.split(" ", 1)
        connection.execute(sql.SQL("GRANT {} ON SCHEMA {} TO {}").format(_word(what), home, _grantee(who)))
    defaults = [_read_default(default) for default in ground.defaults]
    # an entry for everywhere stands in the place of what PostgreSQL gives to PUBLIC by itself; all of it, so before any
    for kind in dict.fromkeys(kind for schema, kind, *_ in defaults if not schema):
        revoke = sql.SQL("ALTER DEFAULT PRIVILEGES REVOKE ALL ON {} FROM PUBLIC")
        connection.execute(revoke.format(sql.SQL(TYPES[kind])))
    for default in defaults:
        _lay_default(connection, *default)
    if ground.prelude:
        connection.execute(ground.prelude.encode())


def _lay_platform(connection: psycopg.Connection, ground: Ground, keeper: str) -> None:
    for role in ground.roles:
        _ensure_role(connection, role)
    for role in ground.keepers:
        with suppress(psycopg.errors.InsufficientPrivilege):  # a server of Supabase's own lets nobody make one of these
            _ensure_role(connection, role)
    if keeper:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(keeper)))
    for part in ground.platform:
        brought.bring(connection, part)
    if "auth" in ground.platform and brought.FORMER not in ground.platform:
        brought.bring_former(connection)
    if keeper:
        connection.execute("RESET ROLE")


def at_home(connection: psycopg.Connection, ground: Ground) -> None:
    """Gives the database the settings that a copy of a database does not take along."""
    database = sql.Identifier(connection.info.dbname)
    path = sql.SQL(", ").join(map(sql.Literal, ground.path if ground.home == _HOME else (ground.home, "extensions")))
    connection.execute(sql.SQL("ALTER DATABASE {} SET search_path TO {}").format(database, path))
    for name, value in zip(_USUAL, ground.reading, strict=True):
        setting = sql.SQL("ALTER DATABASE {} SET {} TO {}").format(database, sql.Identifier(name), sql.Literal(value))
        connection.execute(setting)
    if not ground.owned:
        _ensure_role(connection, _SOMEBODY)
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(_SOMEBODY)))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(_SOMEBODY)))


def _lay_default(
    connection: psycopg.Connection, schema: str, kind: str, privilege: str, who: str, grantable: bool
) -> None:
    if schema and connection.execute("SELECT to_regnamespace(quote_ident(%s))", (schema,)).fetchone() == (None,):
        return  # a schema that a revision makes: so its default privileges are made by revisions too, or are drift
    place = sql.SQL(" IN SCHEMA {}").format(sql.Identifier(schema)) if schema else sql.SQL("")
    if privilege == _NEW and connection.info.server_version < _NEW_IN:
        privilege = ""
    if not privilege:  # nobody gets anything; in a schema the entry is there all the same, and a fact
        if schema:
            own = sql.SQL("ALTER DEFAULT PRIVILEGES{} GRANT ALL ON {} TO CURRENT_USER")
            connection.execute(own.format(place, sql.SQL(TYPES[kind])))
        return
    if who != "PUBLIC":
        _ensure_role(connection, who)
    connection.execute(
        sql.SQL("ALTER DEFAULT PRIVILEGES{} GRANT {} ON {} TO {}{}").format(
            place,
            _word(privilege),
            sql.SQL(TYPES[kind]),
            _grantee(who),
            sql.SQL(" WITH GRANT OPTION" if grantable else ""),
        )
    )


def _ensure_role(connection: psycopg.Connection, role: str) -> None:
    if connection.execute("SELECT to_regrole(quote_ident(%s))", (role,)).fetchone() == (None,):
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN NOINHERIT").format(sql.Identifier(role)))


def _grantee(role: str) -> sql.Composable:
    words = {"PUBLIC": sql.SQL("PUBLIC"), MIGRATOR: sql.SQL("CURRENT_USER")}
    return words.get(role) or sql.Identifier(role)


def _word(word: str) -> sql.SQL:
    """A keyword that the server named."""
    if not re.fullmatch("[A-Z]+", word):
        raise ValueError(f"`{word}` is no privilege")
    return sql.SQL(word)
