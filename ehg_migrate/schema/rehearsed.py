"""What a rehearsal has found of steps, and of which tables as they were called before the first of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ehg_migrate.errors import Problem
from ehg_migrate.model import Step
from ehg_migrate.revisions.rules import RULES, Weight
from ehg_migrate.schema.difference import Difference
from ehg_migrate.schema.effects import Effect
from ehg_migrate.schema.probes import Probe, Probed


@dataclass(frozen=True, slots=True)
class RehearsedStep:
    """What one step did on a scratch database, and what its way back did."""

    step: Step
    seconds: float = 0.0
    seconds_back: float = 0.0
    in_transaction: bool = True  # whether all it did, forward, stayed in one transaction
    reversible: bool = True  # False where there is no `downgrade()`, on purpose
    problem: Problem | None = None
    phase: str = ""  # where the problem is: `forward`, `back` or `again`
    not_restored: tuple[Difference, ...] = ()  # left the schema before the step, right what `downgrade()` made of it
    not_repeated: tuple[Difference, ...] = ()  # left what the step made at first, right what it made after its way back
    effects: tuple[Effect, ...] = ()  # what it did that somebody should look at; no fault of the rehearsal
    probes: tuple[Probe, ...] = ()  # what it demands of rows
    made: tuple[str, ...] = ()  # tables that were not there before it
    renamed: tuple[tuple[str, str], ...] = ()  # tables that were, under another name: (before, after)

    @property
    def good(self) -> bool:
        """Whether it can be run, taken back and run again."""
        return not (self.problem or self.not_restored or self.not_repeated)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Targets that hold the same and would get the same steps, and how those went; `problem` if none could be run."""

    targets: tuple[str, ...]
    heads: tuple[str, ...]
    goal: tuple[str, ...]
    steps: tuple[RehearsedStep, ...] = ()
    not_tried: tuple[str, ...] = ()  # revisions behind one that failed
    problem: Problem | None = None
    server_version: str = ""  # of the scratch server
    major: int = 0  # of the targets' PostgreSQL
    drift: tuple[Difference, ...] = ()  # of targets rehearsed as they are: left what their revisions produce
    unlike: tuple[Difference, ...] = ()  # left what the start lacked to be as they are, since nothing could make it
    probed: tuple[Probed, ...] = ()  # rows of the targets that would break steps; no fault of the rehearsal

    @property
    def good(self) -> bool:
        """Whether every step can be run, taken back and run again."""
        return self.problem is None and not self.not_tried and all(s.good for s in self.steps)


def elsewhere(version: str, major: int) -> str:
    """Words for what was tried on a server of `version`, where the targets are of another major; none where not."""
    other = version and major and version.partition(".")[0] != str(major)
    return f", on PostgreSQL {version}, and theirs is {major}" if other else ""


def on_former_tables(steps: Iterable[RehearsedStep]) -> Iterator[RehearsedStep]:
    """The same with the tables of effects as they were called at the start, and without those that were not there.

    What is only bad for tables that hold much is left out for the latter: they do not, yet.
    """
    made: set[str] = set()
    first: dict[str, str] = {}  # name -> what it was at the start
    for step in steps:
        yield replace(step, effects=tuple(e for one in step.effects for e in _as_before(one, made, first)))
        made.update(step.made)
        for before, after in step.renamed:
            if before in made:
                made = {*made, after} - {before}
            else:
                first[after] = first.pop(before, before)


def _as_before(effect: Effect, made: set[str], first: Mapping[str, str]) -> Iterator[Effect]:
    """None where too few tables are left: it wants one, or several. Except for what is lost, which is told anyway."""
    tables = tuple(first.get(t, t) for t in effect.tables if t not in made)
    if RULES[effect.rule].weight is Weight.ROWS or len(tables) >= min(len(effect.tables), 2):
        yield replace(effect, tables=tables)
