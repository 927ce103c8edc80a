"""What a target is: its address, its limits, what of a database it is, and where its record is kept."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

META_SCHEMA = "ehg_migrate"
"""Schema of the version table, the journal and the lease; never `public`, which PostgREST serves to `anon`.

Schemas whose names begin so are this tool's: a target that is one schema of a database has one of its own.
"""

VERSION_TABLE = "alembic_version"
SUPABASE, NO_PLATFORM = PLATFORMS = ("supabase", "none")
"""Who keeps schemas of his own in a target's database."""

SUPABASE_SCHEMAS = (
    "_analytics", "_realtime", "_supavisor", "auth", "cron", "etl", "extensions", "graphql", "graphql_public", "net",
    "pgbouncer", "pgmq", "pgmq_public", "pgsodium", "pgsodium_masks", "pgtle", "realtime", "repack", "storage",
    "supabase_functions", "supabase_migrations", "supabase_subscription_mgmt", "tiger", "tiger_data", "topology",
    "vault",
)  # fmt: skip
"""Schemas that the platform fills on a Supabase project. Source: supabase/postgres and its `db diff` policy."""

SHARED = "shared"
"""The branch that every target has."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a password is, never what it is: `env:NAME`, `file:PATH`, `cmd:[...]`, `keyring:SERVICE/USER`."""

    scheme: str
    value: tuple[str, ...]  # one item, but for `cmd` the argv

    def __str__(self) -> str:
        return f"{self.scheme}:{' '.join(self.value[:1])}{' ...' if len(self.value) > 1 else ''}"


def is_socket(host: str) -> bool:
    """Whether a host is the folder of a Unix socket."""
    return host.startswith("/")


def is_ip(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_local(host: str) -> bool:
    """Whether nobody can stand between us and a host: a Unix socket, `localhost`, or a loopback address.

    Not `db.localhost`, which resolvers may ask a name server for; nor several hosts, which libpq takes behind commas.
    """
    if "," in host:
        return False
    return is_socket(host) or host == "localhost" or (is_ip(host) and ipaddress.ip_address(host).is_loopback)


@dataclass(frozen=True, slots=True)
class Address:
    """How a target's database is reached, without its password."""

    host: str  # a name, an IP address, or the folder of a Unix socket
    port: int
    user: str
    dbname: str
    sslmode: str
    sslrootcert: str | None = None
    passfile: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}/{self.dbname}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one target may take (seconds), and how many its host bears; 0 for no limit."""

    connect: float = 10.0
    answer: float = 20.0  # reading a target's state, once connected
    lock: float = 5.0  # PostgreSQL's lock_timeout for the statements of a step
    statement: float = 900.0
    idle_in_transaction: float = 600.0
    queue: float = 30.0  # waiting for another runner to leave the target; 0 to not wait
    deadline: float = 3600.0  # the whole work on one target, measured on the client's side
    retries: int = 4  # of one step, after a lock timeout, a deadlock or a serialization failure
    host_parallel: int = 0  # targets at a time on its host and port
    host_rate: float = 0.0  # targets that begin in a second there

    @property
    def look(self) -> float:
        """The longest that a look at the target takes, all attempts to connect included."""
        return self.connect + self.answer if self.answer else 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """One PostgreSQL database, or one schema of it, that is migrated, as its YAML entry says after defaults."""

    name: str
    address: Address
    branches: tuple[str, ...]  # folders of versions/, in the order of application: shared, groups, its own
    password: SecretRef | None = None
    env: str = ""
    tags: tuple[str, ...] = ()
    purpose: str = ""
    limits: Limits = Limits()
    upgrade_to: tuple[str, ...] = ("heads",)
    x: Mapping[str, str] = field(default_factory=dict)  # what `context.get_x_argument()` gives to revisions
    alembic: Mapping[str, Any] = field(default_factory=dict)  # extra options of `context.configure`
    version_table_schema: str = META_SCHEMA
    version_table: str = VERSION_TABLE
    source: str = ""  # `targets/a.yaml: targets.acme`
    schema: str = ""  # the one schema that the target is; empty for all of its database
    touches: tuple[str, ...] = ()  # other schemas that its revisions may change too; only beside `schema`
    protected: bool = False  # changed only where a person at a terminal types its name
    hold: str = ""  # why upgrades leave it alone; empty where they do not
    hold_until: str = ""  # the first day (YYYY-MM-DD, UTC) on which they do not any more; empty for no such day
    wave: str = ""  # of the fleet's waves, the one that it belongs to; empty where the fleet has none
    identity: str = ""  # of its database, schema and version table, by whatever name and host: 16 hexadecimal digits
    platform: str = ""  # one of PLATFORMS; empty where nothing says whose a schema `auth` is, and so it is left alone

    @property
    def meta_schema(self) -> str:
        """The schema of its journal and lease; a plain identifier, whatever the target's own schema is called."""
        return meta_schema(self.schema)

    def __str__(self) -> str:
        return f"{self.address}, schema {self.schema}" if self.schema else str(self.address)

    @property
    def meant(self) -> tuple[Hashable, ...]:
        """Which database or schema, and all else that decides what revisions do there."""
        return (
            replace(self.address, sslrootcert=None, passfile=None),
            (self.schema, self.touches, self.protected),
            (self.version_table_schema, self.version_table),
            self.branches,
            repr(sorted(self.x.items())),
            repr(sorted(self.alembic.items())),
        )


_PLAIN = re.compile("[a-z0-9_]{1,40}")  # behind `ehg_migrate_`, within PostgreSQL's 63 bytes


def meta_schema(schema: str) -> str:
    """Where the record of a target is that is this schema of its database, or, if empty, all of it."""
    if not schema:
        return META_SCHEMA
    if _PLAIN.fullmatch(schema):
        return f"{META_SCHEMA}_{schema}"
    readable = re.sub("[^a-z0-9_]", "_", schema.lower())[:30]
    return f"{META_SCHEMA}_{readable}_{hashlib.sha256(schema.encode()).hexdigest()[:12]}"
