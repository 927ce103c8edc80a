"""What was done: results, runs, and the entries of a target's own journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ehg_migrate.errors import Problem
from ehg_migrate.model.plan import Direction, Verb

GATES = frozenset({"stale_plan", "rollback_inexact", "not_confirmed", "protected", "lint"})
"""Codes of problems that are a rule's refusal and not a failure: exit code 4 where nothing worse happened."""

UNDOES = "undoes "
"""What the `detail` of a step begins with that a rollback has done; the run that it takes back follows."""


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
    saved_plan: str = ""  # the SHA-256 of the file with the plan that it did; empty where it made its own

    @property
    def completed_by(self) -> str:
        """What does what is missing of it, as a hint says it."""
        if self.verb in (Verb.CREATE, Verb.SYNC, Verb.SEED):
            return f"`ehg-migrate schema {self.verb}` said again"
        if self.saved_plan:
            return "`ehg-migrate upgrade --plan FILE` with the file of its plan"
        return f"`ehg-migrate resume {self.id}`"


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
    target: str = ""  # the name that it had then

    @property
    def undoes(self) -> str | None:
        """The run that the one of this entry takes back, where that is a rollback and the entry is of a step it did."""
        return self.detail.removeprefix(UNDOES) if self.event == "done" and self.detail.startswith(UNDOES) else None
