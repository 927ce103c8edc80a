"""What revisions produce, found out by running them on a scratch database, in workers as on any target.

A state that extends one whose database was kept is a copy of that with only the rest run, and what was once made is on
the shelf: a fleet costs one replay for each distinct state.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

import psycopg

from ehg_migrate.database.connections import Notice
from ehg_migrate.database.faults import run_fault
from ehg_migrate.database.origin import find_origin, new_run_id
from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.model import Limits, Origin, Plan, Result, Status, Step, Verb
from ehg_migrate.rollout.executor import check_workers
from ehg_migrate.rollout.jobs import Job, files_to_load, known_revisions, unwatched
from ehg_migrate.rollout.offshoot import Offshoots
from ehg_migrate.rollout.outputs import no_folder, output_folder
from ehg_migrate.rollout.pool import Pool
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.ground import at_home, lay
from ehg_migrate.schema.recipe import Recipe
from ehg_migrate.schema.scratch import Scratch, ScratchServers
from ehg_migrate.schema.scratch_hints import EMPTY, NEWER, OF_VERSIONS, PRELUDE, SCRATCH_ROLE, hint_on_scratch
from ehg_migrate.schema.shelf import Reference, Shelf
from ehg_migrate.settings import Settings

_LIMITS = Limits(retries=0)
_BATCH = 8  # databases that are made before the first of them is used


@dataclass(frozen=True, slots=True)
class _Replay:
    """A database that shall stand after so many steps of a recipe."""

    recipe: Recipe
    steps: int
    database: str
    left: tuple[Step, ...]

    @property
    def key(self) -> str:
        return self.recipe.chain[self.steps]


class References:
    """Makes and finds references; `scratch` is opened only where one must be made."""

    def __init__(self, settings: Settings, scratch: ScratchServers, notice: Notice, stop: Stop | None = None) -> None:
        self._settings = settings
        self._scratch = scratch
        self._notice = notice
        self._stop = stop or Stop()
        self._shelf = Shelf(settings.root / ".ehg" / "references")
        self._failed: dict[str, Problem] = {}  # key of a chain -> why its state cannot be made

    def get(self, recipes: Iterable[Recipe]) -> dict[str, Reference | Problem]:
        """By the recipe's key its reference, or why it cannot be made. Raises nothing for a single one."""
        wanted = {r.key: r for r in recipes}
        found: dict[str, Reference | Problem] = {}
        for key in wanted:
            reference = self._shelf.find(key)
            if reference:
                found[key] = reference
        missing = [r for key, r in wanted.items() if key not in found]
        if missing:
            self._notice(f"replaying the revisions of {_states(len(missing))} on a scratch server")
        for server, group in _by_server(missing).items():
            found.update(self._make(group, *server))
        return found

    def _make(self, recipes: Sequence[Recipe], major: int, api_roles: bool) -> dict[str, Reference | Problem]:
        try:
            scratch = self._scratch.get(major, api_roles=api_roles)
            return self._made(scratch, recipes)
        except LocalServerError as e:
            problem = no_reference(e.problems[0].message, e.problems[0].hint)
            return {r.key: problem for r in recipes}

    def _made(self, scratch: Scratch, recipes: Sequence[Recipe]) -> dict[str, Reference | Problem]:
        found: dict[str, Reference | Problem] = {}
        for recipe, database, seconds in self.states(scratch, recipes):
            if isinstance(database, Problem):
                found[recipe.key] = database
                continue
            try:
                with scratch.connect(database) as connection:
                    catalog = read_catalog(connection, recipe.scope)
                found[recipe.key] = self._shelf.put(recipe.key, recipe.heads, catalog, seconds)
            except psycopg.Error as e:
                said = run_fault(e).problem
                found[recipe.key] = no_reference(f"the scratch database cannot be read: {said.message}", said.hint)
            scratch.keep(database, recipe.chain[-1])
        return found

    def states(
        self, scratch: Scratch, recipes: Sequence[Recipe], *, for_others: bool = False
    ) -> Iterator[tuple[Recipe, str | Problem, float]]:
        """For each recipe a database in its state (or why there is none) and the seconds it took, as they come.

        What several recipes have in common is made first, once. `for_others` each is made from nothing and has an owner
        of its own, so that `Scratch.confine` can confine it. Raises LocalServerError.
        """
        common = {r.chain[r.milestones[0]]: r for r in recipes if len(r.milestones) > 1 and not for_others}
        for replay, problem, _ in self._replays(scratch, [(r, r.milestones[0]) for r in common.values()]):
            if problem is None:
                scratch.keep(replay.database, replay.key)
        for replay, problem, seconds in self._replays(scratch, [(r, len(r.steps)) for r in recipes], for_others):
            yield replay.recipe, problem or replay.database, seconds

    def _replays(
        self, scratch: Scratch, wanted: Sequence[tuple[Recipe, int]], for_others: bool = False
    ) -> Iterator[tuple[_Replay, Problem | None, float]]:
        rest = iter(wanted)
        while batch := list(islice(rest, _BATCH)):
            yield from self._batch(scratch, batch, for_others)

    def _batch(
        self, scratch: Scratch, wanted: Sequence[tuple[Recipe, int]], for_others: bool
    ) -> Iterator[tuple[_Replay, Problem | None, float]]:
        replays: dict[str, _Replay] = {}
        for recipe, steps in wanted:
            start = time.monotonic()
            replay = self._known_failure(recipe, steps) or self._begin(scratch, recipe, steps, for_others)
            if isinstance(replay, Problem):
                yield _Replay(recipe, steps, "", ()), replay, 0.0
            elif not replay.left:
                yield replay, None, time.monotonic() - start
            else:
                replays[replay.database] = replay
        for result in run_on_scratch(self._settings, scratch, [_work(r) for r in replays.values()], self._stop):
            replay = replays[result.target]
            yield replay, self._remember(scratch, replay, result), result.seconds

    def _begin(self, scratch: Scratch, recipe: Recipe, steps: int, for_others: bool) -> _Replay | Problem:
        """A copy of the nearest state that was kept, or the bare ground."""
        chain = recipe.chain[: steps + 1]
        kept = None if for_others and scratch.ours else scratch.clone_kept(reversed(chain))
        fresh = scratch.fresh_for_others if for_others else scratch.fresh
        done, database = (chain.index(kept[0]), kept[1]) if kept else (0, fresh())
        try:
            with scratch.connect(database) as connection:
                if not kept:
                    lay(connection, recipe.ground)
                at_home(connection, recipe.ground)
        except psycopg.Error as e:
            said = run_fault(e).problem
            hint = SCRATCH_ROLE if e.sqlstate == "42501" and not scratch.ours else PRELUDE
            return no_reference(f"the ground cannot be laid on PostgreSQL {scratch.version}: {said.message}", hint)
        return _Replay(recipe, steps, database, recipe.steps[done:steps])

    def _known_failure(self, recipe: Recipe, steps: int) -> Problem | None:
        return next((self._failed[key] for key in recipe.chain[: steps + 1] if key in self._failed), None)

    def _remember(self, scratch: Scratch, replay: _Replay, result: Result) -> Problem | None:
        if result.status is Status.SUCCEEDED:
            return None
        problem = broken(result, replay.left, scratch.version)
        place = replay.steps - len(replay.left) + len(result.steps)
        self._failed[replay.recipe.chain[min(place + 1, replay.steps)]] = problem
        return problem


@dataclass(frozen=True, slots=True)
class Work:
    """Steps to run on a scratch database. Results name the database in the place of a target."""

    recipe: Recipe  # whose target and graph count
    database: str
    steps: tuple[Step, ...]
    verb: Verb = Verb.UPGRADE
    trace: str = ""  # the file that takes what the step, which is then its only one, did to the server
    beforehand: tuple[str, ...] | None = None  # files whose imports are done once for this and other work


def run_on_scratch(
    settings: Settings, scratch: Scratch, work: Sequence[Work], stop: Stop, offshoots: Offshoots | None = None
) -> Iterator[Result]:
    """Runs all of it, in workers as everywhere, and gives each Result as it comes. `offshoots` stay for other work.

    Raises LocalServerError, and UsageError in a process that may start no workers.
    """
    if not work:
        return
    check_workers()
    run, origin = new_run_id(), _origin(settings.root)
    with scratch_folder() as folder:
        jobs = [_job(settings, scratch, w, run, origin, folder) for w in work]
        yield from Pool(settings.parallel, unwatched, stop, offshoots).run(jobs)


def _job(settings: Settings, scratch: Scratch, work: Work, run: str, origin: Origin, folder: Path) -> Job:
    """As of a run, but never as one that statements are sent for: drift of those is found by Alembic's own way."""
    target, graph = work.recipe.target, work.recipe.graph
    plan = Plan(work.database, work.verb, work.steps[0].heads_before, work.steps[-1].heads_after, work.steps)
    return Job(
        settings=settings,
        target=replace(target, name=work.database, address=scratch.address(work.database), limits=_LIMITS),
        password=scratch.password,
        plan=plan,
        run=run,
        origin=origin,
        output=str(folder / f"{work.database}.out"),
        known=known_revisions(plan, graph),
        files=files_to_load(work.steps, graph),
        beforehand=work.beforehand,
        trace=work.trace,
    )


@cache
def _origin(root: Path) -> Origin:
    """Git is asked once, and not for each step of a rehearsal: in a large repository that takes long."""
    return find_origin(root)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what is printed and seen there. Raises LocalServerError where there can be none."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(output_folder())
        except OSError as e:
            raise LocalServerError(no_folder(e)) from e
        yield folder


def no_reference(message: str, hint: str, where: str = "", sqlstate: str | None = None) -> Problem:
    """What a state should be cannot be said."""
    return Problem("no_reference", f"what its revisions produce cannot be found out: {message}", hint, where, sqlstate)


def _work(replay: _Replay) -> Work:
    return Work(replay.recipe, replay.database, replay.left)


def broken(result: Result, steps: Sequence[Step], version: str) -> Problem:
    """Why these steps of a state, which are not all done, could not be done on a scratch server."""
    step = steps[min(len(result.steps), len(steps) - 1)]
    if result.status in (Status.CANCELLED, Status.NOT_ATTEMPTED):  # no fault of the revision
        return no_reference("the run was stopped before they were replayed", "`ehg-migrate drift` looks again")
    problem = result.problem or Problem("cancelled", "it was stopped")
    hint = hint_on_scratch(problem, NEWER if problem.sqlstate in OF_VERSIONS else EMPTY)
    message = f"revision `{step.revision}` fails on an empty PostgreSQL {version}: {problem.message}"
    return no_reference(message, hint, problem.where or step.path, problem.sqlstate)


def _by_server(recipes: Iterable[Recipe]) -> dict[tuple[int, bool], list[Recipe]]:
    groups: dict[tuple[int, bool], list[Recipe]] = {}
    for recipe in recipes:
        groups.setdefault((recipe.ground.major, bool(recipe.ground.roles)), []).append(recipe)
    return groups


def _states(count: int) -> str:
    return f"{count} state" if count == 1 else f"{count} states"
