"""The façade: one project, one method a verb. The CLI and Python users call the same object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from ehg_migrate.errors import LedgerError, Problem, RevisionsError, TargetError, UsageError
from ehg_migrate.fleet import Fleet, load_fleet
from ehg_migrate.fleet.secrets import resolve_all as resolve_secrets
from ehg_migrate.fleet.secrets import resolve_text
from ehg_migrate.model import (
    SHARED,
    Address,
    FleetPlan,
    JournalEntry,
    Plan,
    Result,
    Run,
    State,
    StateKind,
    Target,
    Verb,
)
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.history import History, read_history
from ehg_migrate.revisions.lint import Findings, lint
from ehg_migrate.revisions.planner import plan_adoption, plan_downgrade, plan_rollback, plan_upgrade
from ehg_migrate.revisions.releases import read_releases, write_release
from ehg_migrate.revisions.specs import Releases, resolve_all
from ehg_migrate.settings import Settings, read_settings

if TYPE_CHECKING:
    from ehg_migrate.database.doctor import Finding
    from ehg_migrate.database.locks import Held
    from ehg_migrate.ledger import Ledger
    from ehg_migrate.local import LocalServer
    from ehg_migrate.rollout.jobs import Watch
    from ehg_migrate.rollout.planning import Make
    from ehg_migrate.rollout.pool import Stop


class Manner(TypedDict, total=False):
    """How a run is done: targets at a time, who hears its Events, who may stop it early."""

    parallel: int | None
    watch: Watch | None
    stop: Stop | None


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
        self._in_use = ExitStack()

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
        self._server = None
        self._in_use.close()

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
        """What each selected target is now, from the target itself: one connection and one query each.

        A note says where the ledger last saw it elsewhere; a ledger that is not there or cannot be read has no say.
        """
        from ehg_migrate.rollout.reconcile import with_ledger

        states = self._states(selectors)
        last = self._last_results([s.target for s in states])
        return with_ledger(states, last) if last else states

    def history(self, target: str) -> tuple[JournalEntry, ...]:
        """Everything that was done to one target, oldest first, from its own journal. Raises TargetError."""
        name = self._one(target).name
        entries = self._journals((name,))[name]
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

    def locks(self, selectors: Selectors = ()) -> tuple[Held, ...]:
        """Who holds the lock of each selected target, if anybody. Reads only."""
        from ehg_migrate.database.locks import held

        targets, passwords = self._reach(selectors)
        return held(targets, passwords, self._at_once)

    def break_lock(self, target: str) -> Held:
        """Ends the sessions that hold one target's lock; what they held. Their open step is rolled back by the server.

        Raises TargetError: unreachable, nobody there, not allowed, or they would not end.
        """
        from ehg_migrate.database.locks import break_lock

        targets, passwords = self._reach((self._one(target).name,))
        return break_lock(targets[0], passwords.get(targets[0].name))

    def doctor(self, selectors: Selectors = ()) -> tuple[Finding, ...]:
        """Each selected target examined from its name to long transactions. Reads only, leaves nothing behind."""
        from ehg_migrate.database.doctor import examine_all

        targets, passwords = self._reach(selectors)
        found = examine_all(targets, passwords, self.settings.parallel)
        return tuple(finding for target in targets for finding in found[target.name])

    def embedded(self) -> LocalServer:
        """The embedded PostgreSQL of this project, started; leaving the project gives it back."""
        from ehg_migrate.local import LocalServer

        if self._server is None:
            self._server = self._in_use.enter_context(LocalServer(self.settings.local_home))
        return self._server

    def local_address(self, target: str) -> Address:
        """Where the local database of one target is; it is made if it is missing."""
        targets, _ = self._reach((self._one(target).name,))
        return targets[0].address

    def ledger(self) -> Ledger:
        """The record of runs, open; the caller closes it. Raises LedgerError."""
        from ehg_migrate.ledger import open_ledger

        if self._local:
            return open_ledger(f"sqlite:///{self.settings.ledger_file(local=True)}")
        return open_ledger(self.settings.ledger_url, password=self._ledger_password())

    def _ledger_password(self) -> str | None:
        return resolve_text(
            self.settings.ledger_secret, "alembic.ini: [ehg_migrate] ledger_password", self.settings.root
        )

    # --- planning

    def plan(self, selectors: Selectors = (), to: Sequence[str] = ()) -> FleetPlan:
        """What `upgrade` would do: to each target's own goal, or to what `to` names."""

        def make(state: State) -> Plan:
            target = self.fleet.by_name[state.target]
            return plan_upgrade(self._graph(target), state.target, state.heads, to or target.upgrade_to, self.releases)

        return replace(self._plan(Verb.UPGRADE, selectors, make, lenient=bool(to)), wish=tuple(to))

    def plan_downgrade(self, target: str, to: Sequence[str]) -> FleetPlan:
        """What `downgrade` would do to one target: everything above each named revision taken back."""
        found = self._one(target)

        def make(state: State) -> Plan:
            return plan_downgrade(self._graph(found), state.target, state.heads, to, self.releases)

        return replace(self._plan(Verb.DOWNGRADE, (found.name,), make), wish=tuple(to))

    def plan_rollback(self, run: str, selectors: Selectors = ()) -> FleetPlan:
        """What takes `run` back on the selected targets, by the targets' own journals. Raises UsageError.

        The ledger completes the beginning of an id and names the targets; a run that it has lost can be taken back too.
        """
        run, touched = self._find_run(run)
        selectors = selectors or touched
        journals = self._journals(selectors)
        if all(isinstance(j, tuple) and not any(e.run == run for e in j) for j in journals.values()):
            hint = "`runs` lists the runs; `history TARGET` what was done to a target"
            raise UsageError(Problem("unknown_run", f"no selected target has a trace of run `{run}`", hint))

        def make(state: State) -> Plan:
            entries = journals[state.target]
            if isinstance(entries, Problem):
                raise TargetError(entries)
            graph = self._graph(self.fleet.by_name[state.target])
            return plan_rollback(graph, state.target, state.heads, run, entries)

        return replace(self._plan(Verb.ROLLBACK, selectors, make), undoes=run)

    def plan_adoption(self, target: str, heads: Sequence[str] = ()) -> FleetPlan:
        """What `adopt` would declare: the rows of its `public.alembic_version`, or `heads`. Nothing would be run."""
        found = self._one(target)

        def make(state: State) -> Plan:
            foreign = state.heads if state.kind is StateKind.NOT_ADOPTED else ()
            return plan_adoption(self._graph(found), state.target, foreign, heads, self.releases)

        return replace(self._plan(Verb.ADOPT, (found.name,), make), wish=tuple(heads))

    def plan_resume(self, run: str, *, failed_only: bool = False) -> FleetPlan:
        """What is missing of a run, planned anew from what its targets hold: all of it, or only what failed.

        Raises UsageError where nothing is missing or the run still works, LedgerError where the ledger cannot be read.
        """
        from ehg_migrate.rollout.reconcile import unfinished

        found = self.show(run)
        left = unfinished(found, failed_only=failed_only)
        if found.verb is Verb.ROLLBACK and found.undoes:
            plan = self.plan_rollback(found.undoes, left)
        elif found.verb is Verb.DOWNGRADE:
            plan = self.plan_downgrade(left[0], found.wish)
        elif found.verb is Verb.ADOPT:
            plan = self.plan_adoption(left[0], found.wish)
        else:
            plan = self.plan(left, found.wish)
        return replace(plan, resumes=found.id)

    def declared(self, plan: Plan) -> tuple[str, ...]:
        """The revisions that an adoption declares applied, oldest first."""
        from ehg_migrate.rollout.adopting import declared

        return declared(self._graph(self.fleet.by_name[plan.target]), plan)

    def sql(self, plan: FleetPlan) -> Iterator[str]:
        """The SQL of each distinct plan, rendered without a database, under a comment that names its targets."""
        from ehg_migrate.environment.offline import render

        groups: dict[str, list[Plan]] = {}
        for p in plan.plans:
            if p.steps:
                groups.setdefault(p.digest, []).append(p)
        for digest, plans in groups.items():
            names = ", ".join(p.target for p in plans)
            text = render(self.settings, self.fleet.by_name[plans[0].target], plans[0].steps)
            yield f"-- plan {digest} for {names}\n{text}"

    # --- doing

    def upgrade(self, selectors: Selectors = (), to: Sequence[str] = (), **how: Unpack[Manner]) -> Run:
        """Plans and runs; see `plan` and `run`."""
        return self.run(self.plan(selectors, to), **how)

    def downgrade(self, target: str, to: Sequence[str], **how: Unpack[Manner]) -> Run:
        """Plans and runs; see `plan_downgrade` and `run`."""
        return self.run(self.plan_downgrade(target, to), **how)

    def rollback(self, run: str, selectors: Selectors = (), **how: Unpack[Manner]) -> Run:
        """Plans and runs; see `plan_rollback` and `run`."""
        return self.run(self.plan_rollback(run, selectors), **how)

    def adopt(self, target: str, heads: Sequence[str] = (), **how: Unpack[Manner]) -> Run:
        """Plans and runs; see `plan_adoption` and `run`."""
        return self.run(self.plan_adoption(target, heads), **how)

    def run(self, plan: FleetPlan, **how: Unpack[Manner]) -> Run:
        """Does what the plan says, some targets at a time, and records it. Each plan is valid only from its heads.

        The Run has a Result for every target of the plan. Trouble with the ledger is a note of the Run.
        """
        from ehg_migrate.rollout.pool import Stop
        from ehg_migrate.rollout.runner import Reach
        from ehg_migrate.rollout.running import How, carry_out

        targets, passwords = self._reach([p.target for p in plan.plans]) if plan.plans else ((), {})
        reach = Reach({t.name: t for t in targets}, passwords, self._graph)
        manner = How(
            parallel=how.get("parallel") or self.settings.parallel,
            watch=how.get("watch") or _nobody,
            stop=how.get("stop") or Stop(),
            ledger=self.ledger,
        )
        return carry_out(self.settings, plan, reach, manner)

    # --- files of the project

    def new_revision(
        self, message: str, branch: str = SHARED, depends_on: Sequence[str] = (), autogenerate: str | None = None
    ) -> Path:
        """Writes a revision at the head of a branch; a new branch gets its folder and label. Raises UsageError."""
        from ehg_migrate.environment.authoring import new_revision

        everything = self.revisions.graph(tuple(self.revisions.branches))
        ids = resolve_all(everything, depends_on, self.releases)
        if autogenerate:
            self._one(autogenerate)
        return new_revision(self.settings, self.revisions, branch, message, ids, autogenerate)

    def release(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Gives the present heads of all branches a name, in versions/releases.yaml. Raises ConfigurationError."""
        from ehg_migrate.environment.authoring import branch_heads

        heads = dict(branch_heads(self.revisions))
        write_release(self.settings, name, heads)
        return heads

    # --- inner parts

    @property
    def _at_once(self) -> int:
        """Connections that probes may hold together: as many as that many workers would."""
        return 2 * self.settings.parallel

    def _reach(self, selectors: Selectors) -> tuple[tuple[Target, ...], Mapping[str, str | None]]:
        """The selected targets as they are connected to, and their passwords. Raises before any connection."""
        targets = self.fleet.select(selectors)
        if not self._local:
            return targets, resolve_secrets(targets, self.settings.root)
        from ehg_migrate.local import localize

        server = self.embedded()
        local = tuple(localize(t, server) for t in targets)
        server.ensure_databases([t.address.dbname for t in local])
        return local, {}

    def _states(self, selectors: Selectors) -> tuple[State, ...]:
        from ehg_migrate.rollout.states import read_states

        targets, passwords = self._reach(selectors)
        return read_states(targets, passwords, self.revisions, self.releases, self._at_once)

    def _last_results(self, targets: Sequence[str]) -> Mapping[str, tuple[Run, Result]]:
        path = self.settings.ledger_file(local=self._local)
        if path is not None and not path.exists():
            return {}  # looking must not make one
        try:
            with self.ledger() as ledger:
                return ledger.last_results(targets)
        except LedgerError:
            return {}

    def _journals(self, selectors: Selectors) -> dict[str, tuple[JournalEntry, ...] | Problem]:
        from ehg_migrate.database.probe import journals

        targets, passwords = self._reach(selectors)
        return journals(targets, passwords, self._at_once)

    def _plan(self, verb: Verb, selectors: Selectors, make: Make, *, lenient: bool = False) -> FleetPlan:
        from ehg_migrate.rollout.planning import fleet_plan

        return fleet_plan(verb, selectors, self._states(selectors), make, lenient=lenient)

    def _one(self, name: str) -> Target:
        found = self.fleet.select((name,))
        if len(found) != 1:
            names = ", ".join(t.name for t in found)
            raise UsageError(Problem("one_target", f"`{name}` is {len(found)} targets: {names}", "name exactly one"))
        return found[0]

    def _find_run(self, run: str) -> tuple[str, tuple[str, ...]]:
        """The whole id and the targets of a run, by the ledger; what it does not know is taken as it is written."""
        try:
            found = self.show(run)
        except LedgerError:
            return run, ()
        except UsageError as e:
            if e.problems[0].code == "ambiguous_run":
                raise
            return run, ()
        return found.id, tuple(t for t in found.targets if t in self.fleet.by_name)

    def _graph(self, target: Target) -> Graph:
        return self.revisions.graph(target.branches)


def _nobody(event: object) -> None:
    """Watches nothing."""
