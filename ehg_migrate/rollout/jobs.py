"""What travels between the runner and its workers: a Job there, Events and one Result back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ehg_migrate.errors import Problem
from ehg_migrate.model import Origin, Plan, Result, Step, Target
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.settings import Settings


@dataclass(frozen=True, slots=True)
class Learned:
    """What one worker has found out and others may use (sharing.py)."""

    proven: bool = False  # the endpoint is in session mode
    statements: tuple[tuple[str, bytes], ...] = ()  # a step's checksum, and what it sends, pickled


NOTHING_LEARNED = Learned()


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a worker needs for one target. Goes through a pipe, never through argv or the environment."""

    settings: Settings
    target: Target
    password: str | None
    plan: Plan
    run: str
    origin: Origin
    output: str  # the file that takes what revisions print
    known: Mapping[str, tuple[str, str]]  # revision -> (branch, checksum), for the journal
    files: tuple[str, ...] = ()  # of revisions, relative to the project: those that must be loaded, in order
    beforehand: tuple[str, ...] | None = None  # such files whose imports may be done for several workers at once
    beside: Mapping[str, str] = field(default_factory=dict)  # files that its steps take in: path -> checksum
    look: Problem | None = None  # why the worker before died: find out what it left, and do nothing
    clean: bool = False  # its revisions leave nothing behind in their process, which may then serve another target
    again: bool = False  # a worker was lost that may have begun: go on from wherever it came to
    remote: bool = False  # on another machine than its runner's, who may have given it to somebody else meanwhile
    completed_by: str = ""  # what does what is missing of its run, for hints; nothing where nobody asks for that
    trace: str = ""  # the file that takes what its one step did to the server; for rehearsals
    learned: Learned = NOTHING_LEARNED  # before, or by other workers of the run

    @property
    def unsure(self) -> bool:
        """Whether another worker may have begun something here."""
        return self.again or self.look is not None

    @property
    def deadline(self) -> float:
        """Seconds that the worker has for everything, connecting included; 0 for no limit."""
        limits = self.target.limits
        return limits.queue + limits.look if self.look and limits.look else limits.deadline

    def __repr__(self) -> str:
        return f"Job({self.target.name!r}, {self.plan.verb!s}, run={self.run!r})"  # never the password


def files_to_load(steps: Iterable[Step], graph: Graph) -> tuple[str, ...]:
    """In Alembic's order: those of the steps, and whatever may do something for them when it is loaded."""
    ids = {s.revision for s in steps}
    return tuple(r.path for r in graph.revisions if r.id in ids or not r.is_silent)


def files_that_import(settings: Settings, graph: Graph) -> tuple[str, ...] | None:
    """Those of them that may import more than every worker has anyway: none where only the project's models do.

    None where nothing does.
    """
    files = tuple(r.path for r in graph.revisions if not r.is_silent)
    return files if files or settings.metadata else None


def known_revisions(plan: Plan, graph: Graph) -> dict[str, tuple[str, str]]:
    """What the journal may come to say: the steps, and the rows that another row implies. Not the whole history."""
    ids = {s.revision for s in plan.steps} | {h for h in plan.heads if h in graph}
    return {i: (graph[i].branch, graph[i].checksum) for i in ids}


class EventKind(StrEnum):
    """What a worker tells while it works."""

    STARTED = "started"
    NOTICE = "notice"
    STEP_STARTED = "step_started"
    STEP_DONE = "step_done"
    LEARNED = "learned"  # for the pool alone
    FINISHED = "finished"


class Event(NamedTuple):
    """Something that happened on one target, for whoever watches; losing one loses nothing."""

    target: str
    kind: EventKind
    text: str = ""
    step: int = 0  # 1 for the first
    steps: int = 0
    result: Result | None = None
    free: bool = False  # with the result: the worker waits for another job
    learned: Learned | None = None  # with LEARNED, and with the result


Watch = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """The Watch of what nobody watches."""
