"""Steps tried out on a scratch database before they run anywhere: forward, back and again, held against facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import psycopg

from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.model import Direction, Result, Status, Step, Verb
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.lint import EFFECT_RULE
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.effects import Effect, effects
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.reference import HINTS, References, Work, no_reference, run_on_scratch
from ehg_migrate.schema.scratch import Scratch, ScratchServers
from ehg_migrate.settings import Settings


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

    @property
    def good(self) -> bool:
        """Whether every step can be run, taken back and run again."""
        return self.problem is None and not self.not_tried and all(s.good for s in self.steps)


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be rehearsed: steps from a state, for these targets."""

    targets: tuple[str, ...]
    start: Recipe
    steps: tuple[Step, ...]
    graph: Graph

    @property
    def key(self) -> str:
        """Equal for targets that one rehearsal serves."""
        return replace(self.start, steps=(*self.start.steps, *self.steps)).chain[-1]


def grouped(cases: Iterable[Case]) -> list[Case]:
    """The same cases, those with one key as one."""
    groups: dict[str, Case] = {}
    for case in cases:
        former = groups.get(case.key)
        groups[case.key] = replace(former, targets=(*former.targets, *case.targets)) if former else case
    return list(groups.values())


class Rehearsing:
    """Rehearses cases one after the other; what two have in common from the start is done once."""

    def __init__(self, settings: Settings, servers: ScratchServers, references: References) -> None:
        self._settings = settings
        self._servers = servers
        self._references = references
        self._known: dict[str, RehearsedStep] = {}
        self._ignored = {r.removeprefix(EFFECT_RULE) for r in settings.lint_ignore if r.startswith(EFFECT_RULE)}

    def run(self, case: Case) -> Rehearsal:
        """One case. Raises nothing for it."""
        goal = case.steps[-1].heads_after
        ground = case.start.ground
        plain = Rehearsal(case.targets, case.start.heads, goal)
        try:
            scratch = self._servers.get(ground.major, api_roles=bool(ground.roles))
            return self._on(scratch, case, replace(plain, server_version=scratch.version))
        except LocalServerError as e:
            return replace(plain, problem=no_reference(e.problems[0].message, e.problems[0].hint))
        except psycopg.Error as e:
            return replace(plain, problem=no_reference(f"the scratch server fails: {e}", "try again"))

    def _on(self, scratch: Scratch, case: Case, plain: Rehearsal) -> Rehearsal:
        ((_, database, _),) = self._references.states(scratch, [case.start])
        if isinstance(database, Problem):
            return replace(plain, problem=database)
        steps = tuple(self._steps(scratch, case, database))
        scratch.drop(database)
        return replace(plain, steps=steps, not_tried=tuple(s.revision for s in case.steps[len(steps) :]))

    def _steps(self, scratch: Scratch, case: Case, database: str) -> Iterator[RehearsedStep]:
        whole = replace(case.start, steps=(*case.start.steps, *case.steps))
        keys = whole.chain[len(case.start.steps) + 1 :]
        known = 0
        while known < len(keys) and keys[known] in self._known:
            yield self._known[keys[known]]
            known += 1
        if any(self._known[key].phase == "forward" for key in keys[:known]):
            return
        if known:
            skipped = Work(case.start.target, database, case.steps[:known])
            list(run_on_scratch(self._settings, scratch, [skipped], Stop()))
        before = _read(scratch, database, case.start)
        for step, key in zip(case.steps[known:], keys[known:], strict=True):
            done, after = self._step(scratch, case, database, step, before)
            self._known[key] = done
            yield done
            if after is None:
                return
            before = after

    def _step(
        self, scratch: Scratch, case: Case, database: str, step: Step, before: Catalog
    ) -> tuple[RehearsedStep, Catalog | None]:
        """The step and its way back; the database holds the step after it. No catalogue where the step failed."""
        forward = self._run(scratch, case, database, step)
        if forward.status is not Status.SUCCEEDED:
            return RehearsedStep(step, problem=_failed(forward, step), phase="forward"), None
        after = _read(scratch, database, case.start)
        in_transaction = _stayed_in_transaction(scratch, database, step)
        seen = effects(before, after, self._ignored)
        done = RehearsedStep(step, _seconds(forward), in_transaction=in_transaction, effects=seen)
        if not case.graph[step.revision].has_downgrade:
            return replace(done, reversible=False), after
        copy = scratch.clone(database)
        done = self._back_and_again(scratch, case, copy, done, (before, after))
        scratch.drop(copy)
        return done, after

    def _back_and_again(
        self, scratch: Scratch, case: Case, copy: str, done: RehearsedStep, catalogs: tuple[Catalog, Catalog]
    ) -> RehearsedStep:
        before, after = catalogs
        step = done.step
        back = self._run(scratch, case, copy, _reversed(step))
        if back.status is not Status.SUCCEEDED:
            return replace(done, problem=_failed(back, step), phase="back")
        done = replace(
            done, seconds_back=_seconds(back), not_restored=differences(before, _read(scratch, copy, case.start))
        )
        again = self._run(scratch, case, copy, step)
        if again.status is not Status.SUCCEEDED:
            return replace(done, problem=_failed(again, step), phase="again")
        return replace(done, not_repeated=differences(after, _read(scratch, copy, case.start)))

    def _run(self, scratch: Scratch, case: Case, database: str, step: Step) -> Result:
        verb = Verb.UPGRADE if step.direction is Direction.UP else Verb.DOWNGRADE
        (result,) = run_on_scratch(self._settings, scratch, [Work(case.start.target, database, (step,), verb)], Stop())
        return result


def _read(scratch: Scratch, database: str, start: Recipe) -> Catalog:
    with scratch.connect(database) as connection:
        return read_catalog(connection, start.scope)


def _stayed_in_transaction(scratch: Scratch, database: str, step: Step) -> bool:
    question = "SELECT FROM ehg_migrate.migration_journal WHERE event = 'started' AND revision = %s"
    with scratch.connect(database) as connection:
        return connection.execute(question, (step.revision,)).fetchone() is None


def _reversed(step: Step) -> Step:
    return replace(step, direction=Direction.DOWN, heads_before=step.heads_after, heads_after=step.heads_before)


def _seconds(result: Result) -> float:
    return sum(s.seconds for s in result.steps)


def _failed(result: Result, step: Step) -> Problem:
    problem = result.problem or Problem("cancelled", "it was stopped")
    return replace(problem, where=problem.where or step.path, hint=HINTS.get(problem.sqlstate, problem.hint))
