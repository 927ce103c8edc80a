"""The verbs that look: what targets are, what was done to them, who is at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ehg_migrate.errors import LedgerError, Problem, TargetError, UsageError, of_target
from ehg_migrate.model import (
    JournalEntry,
    Run,
    State,
    StateKind,
)
from ehg_migrate.project.base import ProjectBase, Selectors
from ehg_migrate.redaction import one_line

if TYPE_CHECKING:
    from ehg_migrate.database.doctor import Finding
    from ehg_migrate.database.locks import Held

_DOUBTS = ("unaccounted", "never_run", "half_done")
_WELL = (StateKind.UP_TO_DATE, StateKind.PENDING, StateKind.NOT_ADOPTED)  # of the last one doctor warns by itself


class ReadingProject(ProjectBase):
    """A project that can be asked."""

    def status(self, selectors: Selectors = ()) -> tuple[State, ...]:
        """What each selected target is now, from the target itself: one connection and one query each.

        A note says where the ledger last saw it elsewhere; a ledger that is not there or cannot be read has no say. One
        says of a target that it is held.
        """
        from ehg_migrate.rollout.reconcile import with_ledger

        states = self._with_holds(self._states(selectors))
        last = self._last_results([s.target for s in states])
        doubtful = [target for target, seen in last.items() if not seen.status.good]
        astray = self._astray(doubtful) if doubtful else {}  # the last run may have failed before anybody looked
        return with_ledger(states, last, self._same_rows, astray) if last else states

    def _with_holds(self, states: tuple[State, ...]) -> tuple[State, ...]:
        targets = [self.fleet.by_name[s.target] for s in states]
        if self._local or not any(t.hold for t in targets):
            return states
        from ehg_migrate.fleet.holding import held, today

        reasons = {t.name: held(t, today()) for t in targets}
        return tuple(replace(s, notes=(*s.notes, why)) if (why := reasons[s.target]) else s for s in states)

    def history(self, target: str, limit: int | None = None) -> tuple[JournalEntry, ...]:
        """Everything that was done to one target, oldest first, from its own journal; the newest `limit` of it.

        Raises TargetError.
        """
        name = self._one(target).name
        entries = self._journals((name,), limit)[name]
        if isinstance(entries, Problem):
            raise TargetError(of_target(entries, name))
        return entries

    def runs(self, limit: int = 20, target: str | None = None) -> tuple[Run, ...]:
        """The newest runs, newest first, from the ledger."""
        with self.ledger() as ledger:
            return ledger.runs(limit, target)

    def missing_shards(self, runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
        """By rollout of these runs the parts of it that no run has begun, from the ledger."""
        from ehg_migrate.fleet.selectors import missing_shards

        rollouts = {r.rollout for r in runs if r.rollout}
        if not rollouts:
            return {}
        with self.ledger() as ledger:
            selections = ledger.selections(rollouts)
        return {name: missing for name, found in sorted(selections.items()) if (missing := missing_shards(found))}

    def outlived_runs(self, days: int) -> tuple[str, ...]:
        """The runs of more than `days` ago that the ledger can do without, the oldest first: see `Ledger.outlived`."""
        with self.ledger() as ledger:
            return ledger.outlived(_ago(days))

    def forget_runs(self, days: int) -> int:
        """Takes them out of the ledger; how many they were. What was done to a target stays in its own journal."""
        with self.ledger() as ledger:
            return ledger.forget(_ago(days))

    def show(self, run: str) -> Run:
        """One run with its results; the beginning of an id is enough."""
        try:
            with self.ledger() as ledger:
                return ledger.run(run)
        except UsageError as e:
            if not self._local and e.problems[0].code == "no_run" and self._is_local(run):
                raise UsageError(replace(e.problems[0], hint="it is a run of `--local`: say that again")) from e
            raise

    def _is_local(self, run: str) -> bool:
        """Whether the other ledger has it: hints that were printed under `--local` name the run, and not that."""
        from ehg_migrate.ledger import open_ledger

        file = self.settings.ledger_file(local=True)
        try:
            return file is not None and file.exists() and open_ledger(f"sqlite:///{file}").holds(run)
        except (LedgerError, OSError):
            return False

    def doctor(self, selectors: Selectors = ()) -> tuple[Finding, ...]:
        """Each selected target examined from its name to long transactions. Reads only, leaves nothing behind.

        One that is well by itself is held against the revisions, too: what `status` refuses is not called well, and of
        rows that are lost or a step that was cut there is a warning.
        """
        from ehg_migrate.database.doctor import examine_all

        targets, passwords = self._reach(selectors)
        found = examine_all(targets, passwords, self.settings.parallel)
        well = [t.name for t in targets if all(f.level != "error" for f in found[t.name])]
        states = {s.target: s for s in self._states(well)} if well else {}
        return tuple(_judged(f, states.get(t.name)) for t in targets for f in found[t.name])

    def lock(self, target: str) -> Held:
        """Who holds the lock of one target, if anybody."""
        return self.locks((self._one(target).name,))[0]

    def locks(self, selectors: Selectors = ()) -> tuple[Held, ...]:
        """Who holds the lock of each selected target, if anybody. Reads only."""
        from ehg_migrate.database.locks import held

        targets, passwords = self._reach(selectors)
        return held(targets, passwords, self._at_once)


def _ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _judged(finding: Finding, state: State | None) -> Finding:
    """The same finding; of the version table, what is wrong with the rows in it."""
    if state is None or finding.check != "version_table":
        return finding
    from ehg_migrate.database.doctor import Level

    if state.kind not in _WELL:
        level, bad = Level.ERROR, state.trouble
    elif state.kind is StateKind.NOT_ADOPTED and finding.level is Level.OK:  # by what only the revisions tell
        level, bad = Level.WARNING, state.trouble
    elif (noted := [n for n in state.notes if n.code in _DOUBTS]) and finding.level is Level.OK:
        level, bad = Level.WARNING, noted[0]
    else:
        return finding
    return replace(finding, level=level, message=one_line(bad.message), hint=one_line(bad.hint))
