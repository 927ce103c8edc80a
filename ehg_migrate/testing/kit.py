"""What one process of pytest has open: the project, its scratch server, a template for each state that was asked for.

A template is made by running the revisions, once for all processes and runs that want the same state, and kept on the
server. Each process has a copy of its own, because others may forget the kept one; each test gets a copy of that.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.local.programs import MAJOR
from ehg_migrate.model import Result, Status, Step, Target
from ehg_migrate.project import Project
from ehg_migrate.project.base import nobody
from ehg_migrate.revisions.beside import Contents
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.schema.ground import Ground, at_home
from ehg_migrate.schema.recipe import Recipe, recipe
from ehg_migrate.schema.reference import References, Work, run_on_scratch
from ehg_migrate.schema.rehearsal import Rehearsing
from ehg_migrate.schema.scratch import ScratchServers
from ehg_migrate.schema.scratch_hints import hint_on_scratch
from ehg_migrate.testing.database import MigratedDatabase
from ehg_migrate.testing.wish import Wish, heads_of, target_of


class Kit:
    """Use as a context manager: it opens the scratch server, and drops what was made. Methods raise EhgMigrateError,
    and TargetError for revisions that fail.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        platforms = {t.platform for t in project.fleet.targets}
        self.ground = Ground.usual(min(platforms) if len(platforms) == 1 else "", MAJOR, project.settings.prelude)
        self._templates: dict[str, str | Problem] = {}  # key of a state -> a database of this process's own
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.project)
            self.servers = stack.enter_context(ScratchServers(self.project.settings.scratch_home))
            self.scratch = self.servers.get(MAJOR, api_roles=True)
            self._stack = stack.pop_all()
        self.label = self.servers.label(MAJOR, api_roles=True)
        self.references = References(self.project.settings, self.servers, nobody)
        self.rehearsing = Rehearsing(self.project.settings, self.servers, self.references, nobody)
        self._contents = Contents(self.project.settings)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    @contextmanager
    def database(self, wish: Wish) -> Iterator[MigratedDatabase]:
        """A database that holds what is wished, until the block ends."""
        target = target_of(self.project, wish)
        with self.state(self.recipe(target, heads_of(self.project, target, wish))) as database:
            yield database

    @contextmanager
    def state(self, wanted: Recipe) -> Iterator[MigratedDatabase]:
        """The same of a given state."""
        name = self.scratch.clone(self._template(wanted))
        try:
            with self.scratch.connect(name) as connection:
                at_home(connection, wanted.ground)
            address = self.scratch.address(name)
            yield MigratedDatabase(wanted.target.branches, wanted.heads, address, self.scratch.password)
        finally:
            self.scratch.drop(name)

    def everything(self, target: Target) -> Recipe:
        """The state of a target that holds all heads of its branches."""
        return self.recipe(target, self.project.revisions.graph(target.branches).heads)

    def recipe(self, target: Target, heads: Sequence[str]) -> Recipe:
        """The state of a target that holds `heads`."""
        graph = self.project.revisions.graph(target.branches)
        return recipe(target, heads, graph, self.ground, self.label, self._contents)

    def made(self, wanted: Recipe) -> str:
        """A new database in which each step of the state has just been run; the caller drops it."""
        bare = replace(wanted, heads=(), steps=())
        ((_, database, _),) = self.references.states(self.scratch, [bare])
        if isinstance(database, Problem):
            raise TargetError(database)
        if wanted.steps:
            work = Work(wanted, database, wanted.steps)
            (result,) = run_on_scratch(self.project.settings, self.scratch, [work], Stop())
            if result.status is not Status.SUCCEEDED:
                self.scratch.drop(database)
                raise TargetError(_broken(result, wanted.steps))
        return database

    def _template(self, wanted: Recipe) -> str:
        key = wanted.chain[-1]
        if key not in self._templates:
            try:
                with _turn(self.project.settings.root / ".ehg"):
                    self._templates[key] = self._found(key) or self._kept(wanted, key)
            except TargetError as e:
                self._templates[key] = e.problem
        template = self._templates[key]
        if isinstance(template, Problem):
            raise TargetError(template)
        return template

    def _found(self, key: str) -> str | None:
        kept = self.scratch.clone_kept([key])
        return kept[1] if kept else None

    def _kept(self, wanted: Recipe, key: str) -> str:
        database = self.made(wanted)
        copy = self.scratch.clone(database)
        self.scratch.keep(database, key)
        return copy


def _broken(result: Result, steps: Sequence[Step]) -> Problem:
    """The step that failed, by its name."""
    problem = result.problem or Problem("cancelled", "it was stopped")
    step = steps[min(len(result.steps), len(steps) - 1)]
    return replace(
        problem,
        message=f"revision `{step.revision}` fails: {problem.message}",
        where=problem.where or step.path,
        hint=hint_on_scratch(problem, problem.hint),
    )


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One process after the other, so that one makes what all want. Where nothing can be written each makes its own."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / "testing.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
