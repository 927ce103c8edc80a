"""What a target holds, and what will be done to it: states, steps, plans."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ehg_migrate.errors import Problem
from ehg_migrate.model.finding import Finding


class Direction(StrEnum):
    """Which of a revision's two functions a step runs."""

    UP = "up"
    DOWN = "down"

    @property
    def function(self) -> str:
        """Its name in the revision's file."""
        return "upgrade" if self is Direction.UP else "downgrade"


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


class Verb(StrEnum):
    """Who made the plan; all are run the same way."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    ROLLBACK = "rollback"
    ADOPT = "adopt"
    CREATE = "create"  # a schema, from nothing
    SYNC = "sync"  # a schema brought to what another is: by revisions, and by proven SQL for the rest
    SEED = "seed"  # rows from a SQL file


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

    @property
    def trouble(self) -> Problem:
        """Why nothing can be said or done that stands on this state."""
        what, hint = self.kind.value.replace("_", " "), "`ehg-migrate status -t TARGET` says more"
        return self.problem or Problem("unknown", f"the target is {what}", hint)


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
    journal: int = 0  # the newest entry of the target's journal that a rollback was planned by

    @property
    def revisions(self) -> tuple[str, ...]:
        """Those of its steps, in order."""
        return tuple(s.revision for s in self.steps)

    @property
    def digest(self) -> str:
        """Equal for two targets exactly if the same would be done to both."""
        text = "\n".join(f"{s.direction} {s.revision} {s.checksum}" for s in self.steps)
        return hashlib.sha256(f"{self.heads}{self.goal}\n{text}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Wave:
    """Targets that an upgrade does together, before the next wave begins."""

    name: str
    targets: tuple[str, ...]
    soak: float = 0.0  # seconds from its end to the next


@dataclass(frozen=True, slots=True)
class Entry:
    """What targets/ said of a target when a plan of it was kept."""

    target: str
    address: str  # for people
    checksum: str  # of all that decides what revisions do there
    files: Mapping[str, str] = field(default_factory=dict)  # that its steps take in beside their own: path -> sha256


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
    rollout: str = ""  # the name that this run has in common with others
    findings: tuple[Finding, ...] = ()  # what its steps are known to do that somebody should look at
    notes: tuple[Problem, ...] = ()  # of the plan as a whole; a run takes them over
    judged: bool = False  # whether its steps were looked at in a rehearsal, and those refused that must be
    waves: tuple[Wave, ...] = ()  # in which its targets are done, one after the other; none where it is all at once
    entries: tuple[Entry, ...] = ()  # of its targets, where it is kept
    saved_plan: str = ""  # the SHA-256 of the file that it is held to; empty where nobody has approved it before
    unseen: tuple[str, ...] = ()  # targets whose schema is looked at without steps: the run that it resumes has not

    @property
    def targets(self) -> tuple[str, ...]:
        """Every target that it says something of."""
        others = (*(s.target for s in self.blocked), *(s.target for s in self.skipped))
        return (*(p.target for p in self.plans), *others)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A selected target that the wish does not concern."""

    target: str
    reason: Problem
