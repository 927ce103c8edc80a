"""The Ledger: what is asked of the record of runs, in a handful of statements that hold for both databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import Any, NoReturn, Self

from ehg_migrate import json_form
from ehg_migrate.errors import LedgerError, Problem, UsageError
from ehg_migrate.ledger import liveness
from ehg_migrate.ledger.backend import Backend, Row, Transaction
from ehg_migrate.ledger.rows import (
    Seen,
    clean,
    is_dead,
    read_result,
    read_run,
    read_seen,
    result_row,
    run_row,
    storable,
)
from ehg_migrate.model import Result, Run, RunStatus, Status

_AT_ONCE = 500  # runs that one transaction deletes
_CANDIDATES = 5  # named in the message when a prefix fits several runs


class UnknownRun(LedgerError):
    """A run that the ledger does not have, or has no more: it was set back, as by a backup that was restored."""


class Ledger:
    """The central record of runs; made by `open_ledger`.

    Every method is one transaction on a connection of its own: safe from several threads and processes, nothing is
    held in between. What is stored is redacted. All raise LedgerError when the database fails; a caller that is
    working on targets goes on without the ledger then, because the truth about a target is the target.
    """

    def __init__(self, backend: Backend, identities: Mapping[str, str] = MappingProxyType({})) -> None:
        """`identities` tell by a target's name which database it is: what was said of that under other names is its."""
        self._backend = backend
        self._identities = identities

    @property
    def place(self) -> str:
        """Where it is, for messages: a file, or host, port and database."""
        return self._backend.place

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held between two operations, so there is nothing to let go of."""

    # --- writing

    def start(self, run: Run) -> None:
        """Records that `run` has begun in the process that its origin names; its results are not looked at.

        Raises LedgerError if the id is there already.
        """
        with self._backend.transaction(write=True) as transaction:
            _start(transaction, run)

    def enter(self, run: Run) -> None:
        """Records a run that is over, with its results, at once. Raises LedgerError if the id is there already."""
        with self._backend.transaction(write=True) as transaction:
            _start(transaction, run)
            self._record(transaction, run.id, run.results)

    def record(self, run_id: str, *results: Result) -> None:
        """Adds what happened to targets, which says that the run is alive, too. A second result of one in the same run
        is kept beside the first and counts.

        Raises UnknownRun if the run was never started here; then none is added.
        """
        with self._backend.transaction(write=True) as transaction:
            _lock(transaction, run_id)  # so the next attempt's number is nobody else's
            self._record(transaction, run_id, results)
            transaction.execute("beat", id=run_id)

    def heartbeat(self, run_id: str) -> str | None:
        """Says that the run is alive, to those who cannot see its process; more often than every 60 s.

        The answer is the run that takes this one back, or completes it, where this one is not done: it was silent for
        so long that it was taken for dead. Raises UnknownRun if the run was never started here.
        """
        with self._backend.transaction(write=True) as transaction:
            _lock(transaction, run_id)
            transaction.execute("beat", id=run_id)
            found = transaction.execute("taken_over", id=run_id)
        return str(found[0]["id"]) if found else None

    def finish(self, run_id: str, status: RunStatus, notes: Iterable[Problem] = ()) -> dict[str, Status]:
        """Closes the run with its status; `notes` are added to those it has. Gives what it has been told of targets.

        Raises UnknownRun if the run was never started here.
        """
        with self._backend.transaction(write=True) as transaction:
            former = _lock(transaction, run_id)
            added = clean(json_form.dump(tuple(notes)))
            closed = {"status": status.value, "finished_at": datetime.now(UTC), "notes": [*former, *added]}
            transaction.execute("finish", id=run_id, **closed)
            return {row["target"]: Status(row["status"]) for row in transaction.execute("told", id=run_id)}

    def forget(self, before: datetime) -> int:
        """Deletes the runs that `outlived` names, with their results; how many they were.

        Some at a time, so that nobody who writes meanwhile waits for all of it.
        """
        old = self.outlived(before)
        for first in range(0, len(old), _AT_ONCE):
            ids = list(old[first : first + _AT_ONCE])
            with self._backend.transaction(write=True) as transaction:
                transaction.execute("forget_results", ids=ids)
                transaction.execute("forget_runs", ids=ids)
        return len(old)

    # --- reading

    def outlived(self, before: datetime) -> tuple[str, ...]:
        """The runs last heard of before this moment that nothing stands on any more, the oldest first.

        What `last_results` and `astray` say is the same without them.
        """
        with self._backend.transaction(write=False, long=True) as transaction:
            return tuple(row["id"] for row in transaction.execute("outlived", before=before))

    def holds(self, run_id: str) -> bool:
        """Whether a run with this id was started here."""
        with self._backend.transaction(write=False) as transaction:
            return bool(transaction.execute("runs_by_id", ids=[run_id]))

    def run(self, run_id_or_prefix: str) -> Run:
        """The run with this id, or the only one whose id begins so, with its results.

        Raises UsageError if there is none or if several begin so (naming them).
        """
        with self._backend.transaction(write=False) as transaction:
            row = _find(transaction, run_id_or_prefix)
            return read_run(row, _results(transaction, [row["id"]], output=True).get(row["id"], ()))

    def runs(self, limit: int = 20, target: str | None = None) -> tuple[Run, ...]:
        """The newest runs first, with their results but not what those printed; only those with `target`, if given.

        Raises UsageError for a limit below 1.
        """
        if limit < 1:
            raise UsageError(Problem("limit", f"the limit {limit} shows no run", "give a number of 1 or more"))
        with self._backend.transaction(write=False) as transaction:
            rows = transaction.execute("runs", limit=limit, target=target and storable(target))
            found = _results(transaction, [row["id"] for row in rows], output=False)
        return tuple(read_run(row, found.get(row["id"], ())) for row in rows)

    def completions(self, run_id: str) -> tuple[str, ...]:
        """The runs that went on with this one, or with one of those, the oldest first."""
        with self._backend.transaction(write=False) as transaction:
            return tuple(row["id"] for row in transaction.execute("completions", id=run_id))

    def selections(self, rollouts: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """By rollout what its runs were to work on, however long ago that was, in no order."""
        found: dict[str, tuple[str, ...]] = {}
        with self._backend.transaction(write=False) as transaction:
            for row in transaction.execute("selections", rollouts=list(rollouts)):
                found[row["rollout"]] = (*found.get(row["rollout"], ()), row["selector"])
        return found

    def died(self, newest: int) -> tuple[Run, ...]:
        """Those of the newest runs whose process is gone, with their results but not what those printed."""
        with self._backend.transaction(write=False) as transaction:
            rows = [row for row in transaction.execute("runs", limit=newest, target=None) if is_dead(row)]
            found = _results(transaction, [row["id"] for row in rows], output=False) if rows else {}
        return tuple(read_run(row, found.get(row["id"], ())) for row in rows)

    def last_results(self, targets: Iterable[str]) -> dict[str, Seen]:
        """The ledger's last word on each target, in two queries. One that was never in a run is not in the answer.

        What a run says that could not reach a target, or left it out, is no word on it: who restores it after such a
        night, and loses what it held, is to be told. So of those the word before counts, if there is one.
        """
        names = list(targets)
        if not names:
            return {}
        with self._backend.transaction(write=False) as transaction:
            found = self._seen(transaction, "last_results", names)
            if blind := [name for name, seen in found.items() if seen.tells_nothing]:
                found |= self._seen(transaction, "last_seen", blind)
            return found

    def _seen(self, transaction: Transaction, query: str, names: Sequence[str]) -> dict[str, Seen]:
        rows = transaction.execute(query, asked=self._asked(names))
        ids = sorted({row["run_id"] for row in rows})
        # each run once: a row of it beside each of its results would grow with the square of the fleet
        runs = {row["id"]: row for row in transaction.execute("runs_by_id", ids=ids)}
        return {row["target"]: read_seen(row, runs[row["run_id"]]) for row in rows if row["run_id"] in runs}

    def astray(self, targets: Iterable[str]) -> dict[str, str]:
        """Targets whose schema was last seen to differ, and the run that saw it: no good word on them came later."""
        with self._backend.transaction(write=False) as transaction:
            rows = transaction.execute("astray", asked=self._asked(targets))
        return {row["target"]: row["run_id"] for row in reversed(rows)}

    def _asked(self, targets: Iterable[str]) -> list[str]:
        return [f"{self._identities.get(name, ''):16}{name}" for name in targets]

    def _record(self, transaction: Transaction, run_id: str, results: Iterable[Result]) -> None:
        rows = [result_row(run_id, result) for result in results]
        identities = [self._identities.get(row["target"], "") for row in rows]
        moment = _after_all(transaction, [row["target"] for row in rows], identities)
        for row, identity in zip(rows, identities, strict=True):
            transaction.execute("record", **row, identity=identity, recorded_at=moment)


def _start(transaction: Transaction, run: Run) -> None:
    row = run_row(run)
    row["process_started"] = liveness.identity(run.origin.host, run.origin.pid)
    if transaction.execute("lock_run", id=row["id"]):
        raise LedgerError(
            Problem("ledger_run", f"run `{run.id}` is in the ledger already", "use a new id for each run")
        )
    transaction.execute("start", **row)


def _find(transaction: Transaction, beginning: str) -> Row:
    wanted = storable(beginning)
    exact = transaction.execute("runs_by_id", ids=[wanted])
    if exact:
        return exact[0]
    limit = _CANDIDATES + 1
    rows = transaction.execute("runs_by_beginning", beginning=wanted, limit=limit) if wanted else []
    if len(rows) == 1:
        return rows[0]
    raise UsageError(_not_one_run(beginning, [row["id"] for row in rows]))


def _after_all(transaction: Transaction, targets: list[str], identities: list[str]) -> datetime:
    """Now, or just after these targets' newest result where a clock was set back: the order is that of writing."""
    (row,) = transaction.execute("newest_record", targets=targets, identities=identities)
    now: datetime = row["now"]
    newest: datetime | None = row["recorded_at"]
    return max(now, newest + timedelta(microseconds=1)) if newest else now


def _lock(transaction: Transaction, run_id: str) -> list[Any]:
    """Keeps other writers of this run out until the transaction ends; gives its notes. UnknownRun if unknown."""
    rows = transaction.execute("lock_run", id=run_id)
    if not rows:
        _no_run(run_id)
    notes: list[Any] = rows[0]["notes"]
    return notes


def _results(transaction: Transaction, ids: list[str], *, output: bool) -> dict[str, tuple[Result, ...]]:
    """The results that count, those of each target's last attempt, by run; without `output` they have an empty one."""
    found: dict[str, list[Result]] = {}
    for row in transaction.execute("results", ids=ids, output=output):
        found.setdefault(row["run_id"], []).append(read_result(row))
    return {run_id: tuple(results) for run_id, results in found.items()}


def _no_run(run_id: str) -> NoReturn:
    raise UnknownRun(
        Problem(
            "ledger_run",
            f"run `{run_id}` is not in the ledger, because its start could not be recorded",
            "look at the targets themselves: `ehg-migrate status` and `ehg-migrate history TARGET`",
        )
    )


def _not_one_run(prefix: str, candidates: list[str]) -> Problem:
    if not candidates:
        hint = "see `ehg-migrate runs` for those it has; one that it has lost is in `ehg-migrate history TARGET`"
        return Problem("no_run", f"the ledger has no run `{prefix}`", hint)
    named = ", ".join(f"`{c}`" for c in candidates[:_CANDIDATES])
    more = " and more" if len(candidates) > _CANDIDATES else ""
    return Problem("ambiguous_run", f"several runs begin with `{prefix}`: {named}{more}", "give more of the id")
