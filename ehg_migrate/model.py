"""The nouns: what a target is, what it holds, what will be done to it and what was done. Pure values, no I/O.

The value that travels is only ever selector -> Target -> State -> Plan -> Result.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ehg_migrate.errors import Problem
from ehg_migrate.findings import Finding

META_SCHEMA = "ehg_migrate"
"""Schema of the version table, the journal and the lease; never `public`, which PostgREST serves to `anon`.

Schemas whose names begin so are this tool's: a target that is one schema of a database has one of its own.
"""

VERSION_TABLE = "alembic_version"
SUPABASE, NO_PLATFORM = PLATFORMS = ("supabase", "none")
"""Who keeps schemas of his own in a target's database: their names are in `schema.scope`."""

SHARED = "shared"
"""The branch that every target has."""


class Direction(StrEnum):
    """Which of a revision's two functions a step runs."""

    UP = "up"
    DOWN = "down"


class StateKind(StrEnum):
    """What a target is now, or why we cannot know."""

    UP_TO_DATE = "up_to_date"
    PENDING = "pending"
    AHEAD = "ahead"  # holds a revision that another branch, or a newer checkout by its journal, knows
    UNKNOWN = "unknown"  # holds a revision that nothing here knows
    HALF_DONE = "half_done"  # a downgrade was cut outside a transaction; only finishing it mends that
    NOT_ADOPTED = "not_adopted"  # has somebody else's alembic_version and none of ours
    UNREACHABLE = "unreachable"
    REFUSED = "refused"  # reached, and must not be touched (transaction pooler, read-only, no privilege)

    @property
    def plannable(self) -> bool:
        """Whether an upgrade can be planned from it."""
        return self in (StateKind.UP_TO_DATE, StateKind.PENDING)


class Status(StrEnum):
    """What a run did to a target."""

    UP_TO_DATE = "up_to_date"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SCHEMA_DIFFERS = "schema_differs"  # all steps are done, and the schema is not what they should have made
    INDETERMINATE = "indeterminate"
    REFUSED = "refused"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    NOT_ATTEMPTED = "not_attempted"

    @property
    def good(self) -> bool:
        """Whether the target is where the run wanted it."""
        return self in (Status.UP_TO_DATE, Status.SUCCEEDED, Status.SKIPPED)


GATES = frozenset({"stale_plan", "rollback_inexact", "not_confirmed", "protected", "lint"})
"""Codes of problems that are a rule's refusal and not a failure: exit code 4 where nothing worse happened."""


class Verb(StrEnum):
    """Who made the plan; all are run the same way."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    ROLLBACK = "rollback"
    ADOPT = "adopt"
    CREATE = "create"  # a schema, from nothing
    SYNC = "sync"  # a schema brought to what another is: by revisions, and by proven SQL for the rest
    SEED = "seed"  # rows from a SQL file


# --- target


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a password is, never what it is: `env:NAME`, `file:PATH`, `cmd:[...]`, `keyring:SERVICE/USER`."""

    scheme: str
    value: tuple[str, ...]  # one item, but for `cmd` the argv

    def __str__(self) -> str:
        return f"{self.scheme}:{' '.join(self.value[:1])}{' ...' if len(self.value) > 1 else ''}"


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
        return f"{self.user}@{self.host}:{self.port}/{self.dbname}"


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
    platform: str = ""  # one of PLATFORMS; empty where nothing says whose a schema `auth` is, and so it is left alone

    @property
    def meta_schema(self) -> str:
        """The schema of its journal and lease; a plain identifier, whatever the target's own schema is called."""
        return meta_schema(self.schema)

    def __str__(self) -> str:
        return f"{self.address}, schema {self.schema}" if self.schema else str(self.address)


_PLAIN = re.compile("[a-z0-9_]{1,40}")  # behind `ehg_migrate_`, within PostgreSQL's 63 bytes


def meta_schema(schema: str) -> str:
    """Where the record of a target is that is this schema of its database, or, if empty, all of it."""
    if not schema:
        return META_SCHEMA
    if _PLAIN.fullmatch(schema):
        return f"{META_SCHEMA}_{schema}"
    readable = re.sub("[^a-z0-9_]", "_", schema.lower())[:30]
    return f"{META_SCHEMA}_{readable}_{hashlib.sha256(schema.encode()).hexdigest()[:12]}"


# --- state


@dataclass(frozen=True, slots=True)
class State:
    """What one target is now. `problem` says why it is none of up_to_date and pending."""

    target: str
    kind: StateKind
    heads: tuple[str, ...] = ()  # the version table's rows, sorted
    pending: tuple[str, ...] = ()  # revisions that an upgrade would apply, in order
    problem: Problem | None = None
    notes: tuple[Problem, ...] = ()  # worth knowing, stops nothing: an edited file, overlapping rows
    server_version: str = ""
    seconds: float = 0.0


# --- plan


@dataclass(frozen=True, slots=True)
class Step:
    """One revision, up or down, on one target, with the version rows it starts from and leaves."""

    revision: str
    direction: Direction
    branch: str
    checksum: str  # sha256 of the revision's file, hexadecimal
    doc: str
    path: str  # relative to the project
    heads_before: tuple[str, ...]
    heads_after: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.direction} {self.revision} ({self.branch}) {self.doc}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """The exact steps for one target, valid only from `heads`."""

    target: str
    verb: Verb
    heads: tuple[str, ...]  # the version rows it was made for, raw
    goal: tuple[str, ...]  # the version rows after it
    steps: tuple[Step, ...]
    notes: tuple[Problem, ...] = ()
    undoes: str | None = None  # the run that a rollback takes back

    @property
    def digest(self) -> str:
        """Equal for two targets exactly if the same would be done to both."""
        text = "\n".join(f"{s.direction} {s.revision} {s.checksum}" for s in self.steps)
        return hashlib.sha256(f"{self.heads}{self.goal}\n{text}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What a run would do to a selection: a plan where one can be made, and why not elsewhere."""

    verb: Verb
    selector: str
    plans: tuple[Plan, ...]
    blocked: tuple[State, ...] = ()  # targets that cannot be planned for; the run reports them and touches them not
    skipped: tuple[Skipped, ...] = ()
    wish: tuple[str, ...] = ()  # the revisions that were named, as they were written
    undoes: str | None = None
    resumes: str | None = None  # the run whose unfinished targets these are
    findings: tuple[Finding, ...] = ()  # what its steps are known to do that somebody should look at
    notes: tuple[Problem, ...] = ()  # of the plan as a whole; a run takes them over
    judged: bool = False  # whether its steps were looked at in a rehearsal, and those refused that must be


@dataclass(frozen=True, slots=True)
class Skipped:
    """A selected target that the wish does not concern."""

    target: str
    reason: Problem


# --- result


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that was done and committed."""

    revision: str
    direction: Direction
    branch: str
    seconds: float
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """What happened to one target in one run. The heads were read after the work, on the target itself."""

    target: str
    status: Status
    heads_before: tuple[str, ...] = ()
    heads_after: tuple[str, ...] = ()
    steps: tuple[StepResult, ...] = ()
    not_done: tuple[str, ...] = ()  # revisions that were planned and are not done, in order
    problem: Problem | None = None
    notes: tuple[Problem, ...] = ()
    output: str = ""  # what the revisions printed, redacted, its end only
    seconds: float = 0.0


class RunStatus(StrEnum):
    """Where a run stands in the ledger."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    DIED = "died"  # marked running, and its process is gone


@dataclass(frozen=True, slots=True)
class Origin:
    """Who ran what from where; the same words stand in the ledger, the journal and the lock."""

    actor: str
    host: str
    pid: int
    git_commit: str
    tool_version: str


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation over a selection."""

    id: str
    verb: Verb
    selector: str
    origin: Origin
    started_at: datetime
    status: RunStatus = RunStatus.RUNNING
    finished_at: datetime | None = None
    targets: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    wish: tuple[str, ...] = ()
    undoes: str | None = None
    resumes: str | None = None
    rollout: str = ""  # the name that the runs of one rollout have in common: the shards of a pipeline
    notes: tuple[Problem, ...] = ()  # what the run itself could not do: record in the ledger, for example


# --- journal


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One row of a target's own journal."""

    seq: int
    run: str
    event: str  # done, started, failed, stamped, adopted, normalized, corrected, seeded
    revision: str
    direction: str
    branch: str
    checksum: str
    heads_before: tuple[str, ...]
    heads_after: tuple[str, ...]
    started_at: datetime
    seconds: float
    actor: str
    host: str
    git_commit: str
    tool_version: str
    detail: str = ""
