"""The façade: one project, one method a verb. The CLI and Python users call the same object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ehg_migrate.errors import ConfigurationError, Problem, RevisionsError, TargetError, UsageError
from ehg_migrate.fleet import Fleet, load_fleet
from ehg_migrate.fleet.secrets import resolve_all, resolve_text
from ehg_migrate.model import (
    FleetPlan,
    JournalEntry,
    Plan,
    Result,
    Run,
    RunStatus,
    Skipped,
    State,
    StateKind,
    Status,
    Target,
    Verb,
)
from ehg_migrate.revisions.history import History, read_history
from ehg_migrate.revisions.lint import Findings, lint
from ehg_migrate.revisions.planner import plan_downgrade, plan_rollback, plan_upgrade
from ehg_migrate.revisions.releases import read_releases
from ehg_migrate.revisions.specs import Releases
from ehg_migrate.settings import Settings, read_settings

if TYPE_CHECKING:
    from ehg_migrate.ledger import Ledger
    from ehg_migrate.local import LocalServer
    from ehg_migrate.rollout.jobs import Watch
    from ehg_migrate.rollout.pool import Stop

Selectors = Sequence[str]
"""`acme`, `eu-*`, `tag:prod`, `env:staging`, `!name`; none for the whole fleet."""


class Project(AbstractContextManager["Project"]):
    """A project folder, checked as a whole when it is loaded.

    Use it as a context manager: with `local=True` it starts the embedded PostgreSQL, which stops when it is left.
    Methods raise UsageError for arguments that make no sense, ConfigurationError and RevisionsError for files that are
    wrong. Trouble with a target is never an exception but a State or Result of that target.
    """

    def __init__(self, settings: Settings, fleet: Fleet, history: History, releases: Releases, *, local: bool) -> None:
        self.settings = settings
        self.fleet = fleet
        self.revisions = history
        self.releases = releases
        self._local = local
        self._server: LocalServer | None = None

    @classmethod
    def load(cls, root: Path | str = ".", *, local: bool = False) -> Self:
        """Reads alembic.ini, targets/ and versions/ of the project in `root`. Opens no connection, reads no secret."""
        settings = read_settings(Path(root).resolve())
        project = cls(settings, load_fleet(settings.root), read_history(settings), read_releases(settings), local=local)
        errors = project.findings.errors
        if errors:
            raise RevisionsError(errors)
        return project

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @cached_property
    def findings(self) -> Findings:
        """What is wrong with versions/. `load` has raised for the errors; the warnings are for whoever shows them."""
        scopes = [t.branches for t in self.fleet.targets]
        names = frozenset(t.name for t in self.fleet.targets)
        return lint(self.revisions, scopes, names, self.settings.lint_ignore)

    # --- reading

    def targets(self, selectors: Selectors = ()) -> tuple[Target, ...]:
        """The selected targets, in the order of the files."""
        return self.fleet.select(selectors)

    def status(self, selectors: Selectors = ()) -> tuple[State, ...]:
        """What each selected target is now, from the target itself: one connection and one query each."""
        from ehg_migrate.rollout.states import read_states

        targets, passwords = self._reach(selectors)
        return read_states(targets, passwords, self.revisions, self.releases, self._at_once)

    def history(self, target: str) -> tuple[JournalEntry, ...]:
        """Everything that was done to one target, oldest first, from its own journal. Raises TargetError."""
        found = self._journals((target,))
        entries = found[self.fleet.select((target,))[0].name]
        if isinstance(entries, Problem):
            raise TargetError(entries)
        return entries

    def runs(self, limit: int = 20, target: str | None = None) -> tuple[Run, ...]:
        """The newest runs, newest first, from the ledger."""
        with self.ledger() as ledger:
            return ledger.runs(limit, target)

    def show(self, run: str) -> Run:
        """One run with its results; the beginning of an id is enough."""
        with self.ledger() as ledger:
            return ledger.run(run)

    def ledger(self) -> Ledger:
        """The record of runs, open; the caller closes it. Raises LedgerError."""
        from ehg_migrate.ledger import open_ledger

        if self._local:
            return open_ledger(f"sqlite:///{self.settings.root / '.ehg' / 'local-ledger.sqlite'}")
        return open_ledger(self.settings.ledger_url, password=self._ledger_password())

    def _ledger_password(self) -> str | None:
        return resolve_text(
            self.settings.ledger_secret, "alembic.ini: [ehg_migrate] ledger_password", self.settings.root
        )

    # --- planning

    def plan(self, selectors: Selectors = (), to: Sequence[str] = ()) -> FleetPlan:
        """What `upgrade` would do: to each target's own goal, or to what `to` names."""

        def make(target: Target, state: State) -> Plan:
            graph = self.revisions.graph(target.branches)
            return plan_upgrade(graph, target.name, state.heads, to or target.upgrade_to, self.releases)

        return self._plan(Verb.UPGRADE, selectors, make, lenient=bool(to))

    def plan_downgrade(self, target: str, to: Sequence[str]) -> FleetPlan:
        """What `downgrade` would do to one target: everything above each named revision taken back."""

        def make(target: Target, state: State) -> Plan:
            graph = self.revisions.graph(target.branches)
            return plan_downgrade(graph, target.name, state.heads, to, self.releases)

        if len(self.targets((target,))) != 1:
            raise UsageError(Problem("one_target", f"`{target}` is not one target", "name exactly one"))
        return self._plan(Verb.DOWNGRADE, (target,), make)

    def plan_rollback(self, run: str, selectors: Selectors = ()) -> FleetPlan:
        """What takes `run` back on the selected targets, by the targets' own journals. Raises UsageError.

        The ledger only helps to complete the beginning of an id; a run that it has lost can still be taken back.
        """
        run, touched = self._find_run(run)
        if touched and not selectors:
            selectors = touched
        journals = self._journals(selectors)

        def make(target: Target, state: State) -> Plan:
            entries = journals[target.name]
            if isinstance(entries, Problem):
                raise TargetError(entries)
            graph = self.revisions.graph(target.branches)
            return plan_rollback(graph, target.name, state.heads, run, entries)

        fleet_plan = self._plan(Verb.ROLLBACK, selectors, make)
        if not any(e.run == run for entries in journals.values() if not isinstance(entries, Problem) for e in entries):
            reached = not any(isinstance(entries, Problem) for entries in journals.values())
            if reached:
                raise UsageError(
                    Problem("unknown_run", f"no selected target has a trace of run `{run}`", "`runs` lists the runs")
                )
        return replace(fleet_plan, undoes=run)

    # --- doing

    def upgrade(self, selectors: Selectors = (), to: Sequence[str] = (), **how: object) -> Run:
        """Plans and runs; see `plan` and `run`."""
        return self.run(self.plan(selectors, to), **how)  # type: ignore[arg-type]  # the keywords of `run`

    def downgrade(self, target: str, to: Sequence[str], **how: object) -> Run:
        """Plans and runs; see `plan_downgrade` and `run`."""
        return self.run(self.plan_downgrade(target, to), **how)  # type: ignore[arg-type]  # the keywords of `run`

    def rollback(self, run: str, selectors: Selectors = (), **how: object) -> Run:
        """Plans and runs; see `plan_rollback` and `run`."""
        return self.run(self.plan_rollback(run, selectors), **how)  # type: ignore[arg-type]  # the keywords of `run`

    def run(
        self,
        plan: FleetPlan,
        *,
        parallel: int | None = None,
        watch: Watch | None = None,
        stop: Stop | None = None,
    ) -> Run:
        """Does what the plan says, `parallel` targets at a time, and records it. Each plan is valid only from its heads.

        `watch` hears Events while it runs; `stop` ends it early. The Run has a Result for every selected target.
        """
        from ehg_migrate.rollout.book import Book
        from ehg_migrate.rollout.origin import find_origin, new_run_id
        from ehg_migrate.rollout.pool import Stop
        from ehg_migrate.rollout.runner import Work, run_plans

        names = (*(p.target for p in plan.plans), *(s.target for s in plan.blocked), *(s.target for s in plan.skipped))
        stop = stop or Stop()
        run = Run(
            id=new_run_id(),
            verb=plan.verb,
            selector=plan.selector,
            origin=find_origin(self.settings.root),
            started_at=datetime.now(UTC),
            targets=names,
            undoes=plan.undoes,
        )
        targets, passwords = self._reach(names)
        work = Work(run.id, run.origin, plan.plans, {t.name: t for t in targets}, passwords, self._known)
        results: list[Result] = []
        with Book(self.ledger, run) as book:
            for result in (
                *_unplanned(plan),
                *run_plans(self.settings, work, parallel or self.settings.parallel, watch or _nobody, stop),
            ):
                results.append(result)
                book.record(result)
            status = _run_status(results, stopped=bool(stop.asked))
            book.finish(status)
        order = {name: i for i, name in enumerate(names)}
        results.sort(key=lambda r: order[r.target])
        return replace(
            run, status=status, finished_at=datetime.now(UTC), results=tuple(results), notes=tuple(book.notes)
        )

    # --- inner parts

    @property
    def _at_once(self) -> int:
        """Connections that probes may hold together: as many as that many workers would."""
        return 2 * self.settings.parallel

    def _reach(self, selectors: Selectors) -> tuple[tuple[Target, ...], Mapping[str, str | None]]:
        """The selected targets as they are connected to, and their passwords. Raises before any connection."""
        targets = self.fleet.select(selectors)
        if not self._local:
            return targets, resolve_all(targets, self.settings.root)
        from ehg_migrate.local import localize

        server = self._embedded()
        server.ensure_databases([t.name for t in targets])
        return tuple(localize(t, server) for t in targets), {}

    def _embedded(self) -> LocalServer:
        if self._server is None:
            from ehg_migrate.local import LocalServer

            self._server = LocalServer(self.settings.root / ".ehg" / "local")
            self._server.start()
        return self._server

    def _journals(self, selectors: Selectors) -> dict[str, tuple[JournalEntry, ...] | Problem]:
        from ehg_migrate.database.probe import journals

        targets, passwords = self._reach(selectors)
        return journals(targets, passwords, self._at_once)

    def _plan(
        self,
        verb: Verb,
        selectors: Selectors,
        make: Callable[[Target, State], Plan],
        *,
        lenient: bool = False,
    ) -> FleetPlan:
        """A plan for every state that allows one. `lenient`: a target that lacks the named branch is left out."""
        plans: list[Plan] = []
        blocked: list[State] = []
        skipped: list[Skipped] = []
        for state in self.status(selectors):
            if not state.kind.plannable:
                blocked.append(state)
                continue
            try:
                plan = make(self.fleet.by_name[state.target], state)
                plans.append(replace(plan, notes=(*plan.notes, *(n for n in state.notes if n not in plan.notes))))
            except TargetError as e:
                blocked.append(replace(state, kind=StateKind.REFUSED, problem=e.problem))
            except UsageError as e:
                if not lenient:
                    raise
                skipped.append(Skipped(state.target, e.problems[0]))
        if skipped and not plans and not blocked:
            raise UsageError([s.reason for s in skipped[:1]])
        return FleetPlan(verb, ",".join(selectors) or "all", tuple(plans), tuple(blocked), tuple(skipped))

    def _find_run(self, run: str) -> tuple[str, tuple[str, ...]]:
        """The whole id and the targets of a run, by the ledger; what it does not know is taken as it is written."""
        try:
            found = self.show(run)
        except (UsageError, ConfigurationError):
            return run, ()
        return found.id, tuple(t for t in found.targets if t in self.fleet.by_name)

    def _known(self, target: Target) -> dict[str, tuple[str, str]]:
        return {r.id: (r.branch, r.checksum) for r in self.revisions.graph(target.branches).revisions}


def _nobody(event: object) -> None:
    """Watches nothing."""


def _unplanned(plan: FleetPlan) -> Iterator[Result]:
    """Results of the targets that the run does not touch."""
    for state in plan.blocked:
        status = Status.FAILED if state.kind is StateKind.UNREACHABLE else Status.REFUSED
        yield Result(state.target, status, state.heads, state.heads, problem=state.problem, notes=state.notes)
    for skipped in plan.skipped:
        yield Result(skipped.target, Status.SKIPPED, notes=(skipped.reason,))


def _run_status(results: Sequence[Result], *, stopped: bool) -> RunStatus:
    if stopped:
        return RunStatus.INTERRUPTED
    return RunStatus.SUCCEEDED if all(r.status.good for r in results) else RunStatus.FAILED
