"""What a project stands on: its files checked as a whole, its targets reached, its ledger and local server opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from ehg_migrate.errors import ConfigurationError, LedgerError, Problem, RevisionsError, UsageError, quoted
from ehg_migrate.files import is_there
from ehg_migrate.fleet import Fleet
from ehg_migrate.fleet.kept import read_fleet
from ehg_migrate.fleet.secrets import register_variables, resolve_text
from ehg_migrate.fleet.secrets import resolve_all as resolve_secrets
from ehg_migrate.model import (
    Address,
    JournalEntry,
    State,
    StateKind,
    Target,
)
from ehg_migrate.project.releases import read_releases
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.history import History, read_history
from ehg_migrate.revisions.lint import Findings, lint
from ehg_migrate.revisions.specs import Releases
from ehg_migrate.settings import Settings, read_settings

if TYPE_CHECKING:
    from ehg_migrate.ledger import Ledger, Seen
    from ehg_migrate.local import LocalServer


T = TypeVar("T")


def nobody(text: str) -> None:
    """Hears nothing of what takes its time."""


Selectors = Sequence[str]
"""`acme`, `eu-*`, `tag:prod`, `env:staging`, `!name`; none for the whole fleet."""


def several(words: Iterable[str]) -> tuple[str, ...]:
    """Who writes `to="s1"` means one word, although a text is a sequence of letters; see `selectors.items` too."""
    return (words,) if isinstance(words, str) else tuple(words)


class ProjectBase:
    """A project folder, loaded; what the verbs share."""

    def __init__(self, settings: Settings, fleet: Fleet, history: History, releases: Releases, *, local: bool) -> None:
        self.settings = settings
        self.fleet = fleet
        self.revisions = history
        self.releases = releases
        self.unread: Problem | None = None  # why it is not known what the ledger remembers, where that was asked for
        self._local = local
        # endpoints (host, port) that the last look saw in session mode; for the next run, since they may change
        self._proven: set[tuple[str, int]] = set()
        self._server: LocalServer | None = None
        self._in_use = ExitStack()

    @classmethod
    def load(cls, root: Path | str = ".", *, local: bool = False) -> Self:
        """Reads alembic.ini, targets/ and versions/ of the project in `root`. Connects nowhere, resolves no secret."""
        settings = read_settings(_found(root))
        try:
            fleet = read_fleet(settings)
            register_variables(fleet.targets, settings.ledger_secret)
            project = cls(settings, fleet, read_history(settings, keep=True), read_releases(settings), local=local)
        finally:
            _give_back(settings.root)
        errors = project.findings.errors
        if errors:
            raise RevisionsError(errors)
        return project

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server = None
        try:
            self._in_use.close()
        finally:
            _give_back(self.settings.root)

    @cached_property
    def findings(self) -> Findings:
        """What is wrong with versions/. `load` has raised for the errors; the warnings are for whoever shows them."""
        scopes = [t.branches for t in self.fleet.targets]
        names = frozenset(t.name for t in self.fleet.targets)
        levels = [rule for rule, _ in self.settings.lint_levels]
        return lint(self.revisions, scopes, names, self.settings.lint_ignore, levels, self.settings.odd)

    def targets(self, selectors: Selectors = ()) -> tuple[Target, ...]:
        """The selected targets, in the order of the files."""
        return self.fleet.select(selectors)

    def ledger(self) -> Ledger:
        """The record of runs, open; the caller closes it.

        Raises LedgerError, and ConfigurationError for a URL that is wrong whatever the server does.
        """
        from ehg_migrate.ledger import open_ledger

        if self._local:
            return open_ledger(f"sqlite:///{self.settings.ledger_file(local=True)}")
        try:
            identities = {t.name: t.identity for t in self.fleet.targets}
            return open_ledger(self.settings.ledger_url, password=self._ledger_password(), identities=identities)
        except LedgerError as e:
            if e.problems[0].code != "ledger_url":
                raise
            raise ConfigurationError(replace(e.problems[0], where="alembic.ini: [ehg_migrate] ledger")) from e

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

    def _ledger_password(self) -> str | None:
        return resolve_text(
            self.settings.ledger_secret, "alembic.ini: [ehg_migrate] ledger_password", self.settings.root
        )

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
        from ehg_migrate.schema.local_ground import local_ground

        server = self.embedded()
        local = tuple(localize(t, server) for t in targets)
        for platform in dict.fromkeys(t.platform for t in local):
            names = [t.address.dbname for t in local if t.platform == platform]
            server.ensure_databases(names, local_ground(platform, self.settings.prelude))
        for database in dict.fromkeys(t.address.dbname for t in local if t.schema):
            server.ensure_schemas(database, (t.schema for t in local if t.address.dbname == database))
        return local, {}

    def _one(self, name: str) -> Target:
        found = self.fleet.select((name,))
        if len(found) != 1:
            names = ", ".join(t.name for t in found)
            raise UsageError(Problem("one_target", f"`{name}` is {len(found)} targets: {names}", "name exactly one"))
        return found[0]

    def _one_with(self, name: str, branch: str) -> Target:
        """The target, if it has the branch; one of its own it may get now. Raises UsageError."""
        target = self._one(name)
        if branch not in (*target.branches, target.name):
            hint = f"one of {quoted(dict.fromkeys((*target.branches, target.name)))}"
            raise UsageError(Problem("which_branch", f"{target.name} has no branch `{branch}`", hint))
        return target

    def _graph(self, target: Target) -> Graph:
        return self.revisions.graph(target.branches)

    def _same_rows(self, target: str, one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        graph = self._graph(self.fleet.by_name[target])
        if any(h not in graph for h in (*one, *other)):
            return set(one) == set(other)
        return graph.canonical(one) == graph.canonical(other)

    def _states(self, selectors: Selectors, *, soon: bool = False) -> tuple[State, ...]:
        """`soon`: they are to be upgraded at once, so what workers are made from starts while targets still answer.

        Where revisions are new since the last command there will be work: then it starts before they are asked.
        """
        targets, passwords = self._reach(selectors)
        if soon and self.revisions.novel:
            _start_workers()

        from ehg_migrate.database.probe import probe  # while they start
        from ehg_migrate.rollout.states import read_states

        if not soon:
            states = read_states(
                targets, passwords, self.revisions, self.releases, self._at_once, probe, self.fleet.by_name
            )
            return self._with_lost(states)
        from ehg_migrate.rollout.foresight import Foresight

        foresight = Foresight(self.revisions, self.releases, _start_workers)
        states = read_states(
            targets, passwords, self.revisions, self.releases, self._at_once, foresight.probe, self.fleet.by_name
        )
        self._proven = foresight.proven
        return self._with_lost(states)

    def _with_lost(self, states: tuple[State, ...]) -> tuple[State, ...]:
        """The same, with a note where nothing is held and the ledger knows better: all would be done once more."""
        empty = [s.target for s in states if s.kind is StateKind.PENDING and not s.heads]
        last = self._last_results(empty) if empty and not self._local else {}
        if not last:
            return states
        from ehg_migrate.rollout.reconcile import with_lost

        return with_lost(states, last, self._same_rows)

    def _journals(
        self, selectors: Selectors, limit: int | None = None
    ) -> dict[str, tuple[JournalEntry, ...] | Problem]:
        from ehg_migrate.database.probe import journals

        targets, passwords = self._reach(selectors)
        return journals(targets, passwords, self._at_once, limit)

    def _last_results(self, targets: Sequence[str]) -> Mapping[str, Seen]:
        return self._recorded(lambda ledger: ledger.last_results(targets), {})

    def _astray(self, targets: Sequence[str]) -> Mapping[str, str]:
        """Those whose schema the ledger last saw to differ, with the run that saw it."""
        return self._recorded(lambda ledger: ledger.astray(targets), {})

    def _recorded(self, ask: Callable[[Ledger], T], nothing: T) -> T:
        """What the ledger says; `nothing` where there is none yet, or it fails, which `unread` says then."""
        path = self.settings.ledger_file(local=self._local)
        try:
            if path is not None and not is_there(path):
                return nothing  # looking must not make one
            with self.ledger() as ledger:
                return ask(ledger)
        except LedgerError as e:
            self.unread = _unread(e.problems[0].message)
        except OSError as e:  # it stands in a folder that another user has closed
            self.unread = _unread(str(e))
        return nothing


def _found(root: Path | str) -> Path:
    """The folder without links. Raises ConfigurationError: it was removed under the command, or leads to itself."""
    try:
        return Path(root).resolve()
    except FileNotFoundError as e:  # a deployment has put another in its place
        hint = "`cd` into it anew, or name the project with `--project` and a path from the root"
        raise ConfigurationError(Problem("no_project", "the folder in which this is run is gone", hint)) from e
    except (OSError, RuntimeError) as e:
        why = e.strerror if isinstance(e, OSError) else "its links lead to each other"
        hint = "name another with `--project DIR`"
        raise ConfigurationError(Problem("no_project", f"the folder `{root}` cannot be found: {why}", hint)) from e


def _unread(why: str) -> Problem:
    return Problem(
        "ledger_unread",
        f"what the ledger last saw of these targets is not known: {why}",
        "where a schema differed then, nothing says so now; `ehg-migrate drift` looks at the targets themselves",
    )


def _give_back(root: Path) -> None:
    """What root keeps in another user's project becomes that user's."""
    if os.geteuid() != 0:
        return
    with suppress(FileNotFoundError):  # the folder was taken away under the command, which has said what it had to say
        if root.stat().st_uid != 0:
            from ehg_migrate.project.ownership import give_back  # seldom

            give_back(root)


def _start_workers() -> None:
    from ehg_migrate.rollout.forkserver import start_early

    start_early()
