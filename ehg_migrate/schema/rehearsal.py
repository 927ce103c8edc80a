"""Steps tried out on a scratch database before they run anywhere: forward, back and again, held against facts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import psycopg
from psycopg import sql

from ehg_migrate.database.connections import Notice
from ehg_migrate.database.trace import Trace, loads
from ehg_migrate.errors import LocalServerError, Problem, some
from ehg_migrate.model import Direction, Result, Status, Step, Target, Verb
from ehg_migrate.revisions.rules import EFFECT_RULE
from ehg_migrate.rollout.jobs import files_that_import
from ehg_migrate.rollout.offshoot import Offshoots
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.schema.as_is import bring
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.difference import Difference, differences
from ehg_migrate.schema.effects import effects
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.probes import probes
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.reference import (
    References,
    Work,
    broken,
    no_reference,
    run_on_scratch,
    scratch_folder,
)
from ehg_migrate.schema.rehearsed import Rehearsal, RehearsedStep, on_former_tables
from ehg_migrate.schema.scope import with_names
from ehg_migrate.schema.scratch import Scratch, ScratchServers
from ehg_migrate.schema.scratch_hints import hint_on_scratch
from ehg_migrate.schema.strain import strains
from ehg_migrate.settings import Settings

TELLS_EVERY = 30.0  # seconds: each run of a step loads its file anew, and all that it imports
_NAMED = 5  # targets that a line names
# an object is there, or is not: what somebody has changed on the targets may be why
_OF_OBJECTS = {"42P06", "42P07", "42701", "42710", "42723", "42P01", "42703", "42704", "42883", "3F000"}
_DRIFT = (
    "is it for what was changed by hand, as said above? it fails so on the target then; mend that there first, which "
    "`ehg-migrate compare TARGET heads: --sql` shows how to"
)


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be rehearsed: steps from a state, for these targets."""

    targets: tuple[str, ...]
    start: Recipe
    steps: tuple[Step, ...]
    there: Catalog | None = None  # what the targets are, where that is not what their revisions produce
    drift: tuple[Difference, ...] = ()

    @property
    def told(self) -> str:
        """A line for whoever waits."""
        steps = "1 step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        return f"rehearsing {steps} for {some(self.targets, _NAMED)}"

    @property
    def keys(self) -> tuple[str, ...]:
        """One for the state after each step: equal where a step goes the same way."""
        whole = replace(self.start, steps=(*self.start.steps, *self.steps))
        drifted = f" as {self.there.fingerprint}" if self.there else ""
        return tuple(f"{key}{drifted}" for key in whole.chain[len(self.start.steps) + 1 :])

    @property
    def key(self) -> str:
        """Of the state after the last step."""
        return self.keys[-1]


def grouped(cases: Iterable[Case]) -> list[Case]:
    """The same cases, those as one that go the same way from the same state: who lags behind has more steps to go."""
    groups: dict[tuple[str, str], Case] = {}
    for case in cases:
        way = case.start.chain[-1], case.key
        former = groups.get(way)
        groups[way] = replace(former, targets=(*former.targets, *case.targets)) if former else case
    return list(groups.values())


def furthest_first(cases: Iterable[Case]) -> list[Case]:
    """The same cases: who lags furthest behind comes by the states of others, whose steps are known then."""
    return sorted(cases, key=lambda case: len(case.steps), reverse=True)


def ways(cases: Iterable[Case]) -> int:
    """How many of them have to be rehearsed, so that the steps of all are known."""
    seen: set[str] = set()
    count = 0
    for case in furthest_first(cases):
        count += not seen.issuperset(case.keys)
        seen.update(case.keys)
    return count


class Rehearsing:
    """Rehearses cases one after the other; what two have in common from the start is done once.

    Without `back` steps are not taken back.
    """

    def __init__(
        self, settings: Settings, servers: ScratchServers, references: References, notice: Notice, *, back: bool = True
    ) -> None:
        self.back = back
        self._notice = notice
        self._settings = settings
        self._servers = servers
        self._references = references
        self._known: dict[str, RehearsedStep] = {}
        self._offshoots = Offshoots()
        self._imports: tuple[str, ...] | None = None  # files of the case whose imports are done once for all its runs
        self._ignored = {r.removeprefix(EFFECT_RULE) for r in settings.lint_ignore if r.startswith(EFFECT_RULE)}

    def run(self, case: Case) -> Rehearsal:
        """One case. Raises nothing for it."""
        goal = case.steps[-1].heads_after
        ground = case.start.ground
        plain = Rehearsal(case.targets, case.start.heads, goal, drift=case.drift, major=ground.major)
        self._imports = files_that_import(self._settings, case.start.graph)
        if self.back or len(case.steps) > 1:
            self._offshoots.want(self._imports)
        try:
            scratch = self._servers.get(ground.major, api_roles=bool(ground.roles))
            return self._on(scratch, case, replace(plain, server_version=scratch.version))
        except LocalServerError as e:
            return replace(plain, problem=no_reference(e.problems[0].message, e.problems[0].hint))
        except psycopg.Error as e:
            return replace(plain, problem=no_reference(f"the scratch server fails: {e}", "try again"))
        finally:
            self._offshoots.end()

    def _on(self, scratch: Scratch, case: Case, plain: Rehearsal) -> Rehearsal:
        if case.there is None and self._known.keys() >= set(case.keys):  # by a case that came by this state
            return replace(plain, steps=tuple(on_former_tables(self._known[key] for key in case.keys)))
        ((_, database, _),) = self._references.states(scratch, [case.start], for_others=case.there is not None)
        if isinstance(database, Problem):
            return replace(plain, problem=database)
        if case.there:
            plain = replace(plain, unlike=bring(scratch, database, case.start, case.there))
        known = self._repeated(scratch, case, database)
        if isinstance(known, Problem):
            return replace(plain, problem=known)
        steps = tuple(on_former_tables(self._steps(scratch, case, database, known)))
        self._leave(scratch, case, database, whole=len(steps) == len(case.steps) and all(s.good for s in steps))
        return replace(plain, steps=steps, not_tried=tuple(s.revision for s in case.steps[len(steps) :]))

    def _leave(self, scratch: Scratch, case: Case, database: str, *, whole: bool) -> None:
        """Keeps a database that is what a replay of the goal would be: whoever wants that need not make it."""
        start, goal = case.start, case.steps[-1].heads_after
        replay = replace(start, heads=goal, steps=start.graph.steps((), goal)) if whole else start
        if whole and replay.chain[-1] == case.key:
            scratch.keep(database, case.key)
        else:
            scratch.drop(database)

    def _repeated(self, scratch: Scratch, case: Case, database: str) -> tuple[RehearsedStep, ...] | Problem:
        """What is known of its first steps from another case; they are done here too, unless the last of them fails."""
        known = tuple(self._known[key] for key in takewhile(self._known.__contains__, case.keys))
        if known and known[-1].phase != "forward":
            steps = case.steps[: len(known)]
            work = Work(case.start, database, steps, beforehand=self._imports)
            (result,) = run_on_scratch(self._settings, scratch, [work], Stop(), self._offshoots)
            if result.status is not Status.SUCCEEDED:  # as where a revision makes a role, which is there now
                return broken(result, steps, scratch.version)
        return known

    def _steps(
        self, scratch: Scratch, case: Case, database: str, known: Sequence[RehearsedStep]
    ) -> Iterator[RehearsedStep]:
        yield from known
        if known and known[-1].phase == "forward":
            return
        before = _read(scratch, database, case.start)
        told = time.monotonic()
        rest = zip(case.steps[len(known) :], case.keys[len(known) :], strict=True)
        for number, (step, key) in enumerate(rest, len(known)):
            if number > len(known) and time.monotonic() - told >= TELLS_EVERY:
                self._notice(f"rehearsed {number} of {len(case.steps)} steps")
                told = time.monotonic()
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
        forward, trace = self._watched(scratch, case, database, step)
        if forward.status is not Status.SUCCEEDED:
            return RehearsedStep(step, problem=_failed(forward, step, drifted=bool(case.drift)), phase="forward"), None
        with scratch.connect(database) as connection:
            after = _catalog(connection, case.start)
            in_transaction = _stayed_in_transaction(connection, case.start.target, step)
            demands = probes(connection, step.revision, before, after)
        platform = bool(case.start.ground.platform)
        facts = effects(before, after, self._ignored, trace, platform=platform)
        strain = strains(trace, self._ignored, changes_schema=bool(differences(before, after)))
        renamed = tuple((c.former, c.name) for c in trace.changes if (c.how, c.kind) == ("renamed", "table"))
        done = RehearsedStep(
            step,
            _seconds(forward),
            in_transaction=in_transaction,
            effects=(*strain, *facts),
            probes=demands,
            made=tuple(sorted(set(_made(before, after)) - {name for _, name in renamed})),
            renamed=renamed,
        )
        if not case.start.graph[step.revision].has_downgrade:
            return replace(done, reversible=False), after
        if not self.back:
            return done, after
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

    def _watched(self, scratch: Scratch, case: Case, database: str, step: Step) -> tuple[Result, Trace]:
        with scratch_folder() as folder:
            file = folder / "trace.json"
            result = self._run(scratch, case, database, step, str(file))
            return result, loads(file.read_text(encoding="utf-8") if file.exists() else "")

    def _run(self, scratch: Scratch, case: Case, database: str, step: Step, trace: str = "") -> Result:
        verb = Verb.UPGRADE if step.direction is Direction.UP else Verb.DOWNGRADE
        work = Work(case.start, database, (step,), verb, trace, self._imports)
        (result,) = run_on_scratch(self._settings, scratch, [work], Stop(), self._offshoots)
        return result


def _read(scratch: Scratch, database: str, start: Recipe) -> Catalog:
    with scratch.connect(database) as connection:
        return _catalog(connection, start)


def _catalog(connection: psycopg.Connection, start: Recipe) -> Catalog:
    # by their names: sizes and rows of these tables are asked of targets, and a trace has no other
    return read_catalog(connection, with_names(start.scope))


def _stayed_in_transaction(connection: psycopg.Connection, target: Target, step: Step) -> bool:
    journal = sql.Identifier(target.meta_schema, "migration_journal")
    question = sql.SQL("SELECT FROM {} WHERE event = 'started' AND revision = %s").format(journal)
    return connection.execute(question, (step.revision,)).fetchone() is None


def _made(before: Catalog, after: Catalog) -> tuple[str, ...]:
    return tuple(name for kind, name in after.by_name if kind == "table" and (kind, name) not in before.by_name)


def _reversed(step: Step) -> Step:
    return replace(step, direction=Direction.DOWN, heads_before=step.heads_after, heads_after=step.heads_before)


def _seconds(result: Result) -> float:
    return sum(s.seconds for s in result.steps)


def _failed(result: Result, step: Step, *, drifted: bool = False) -> Problem:
    problem = result.problem or Problem("cancelled", "it was stopped")
    hint = _DRIFT if drifted and problem.sqlstate in _OF_OBJECTS else hint_on_scratch(problem, problem.hint)
    return replace(problem, where=problem.where or step.path, hint=hint)
