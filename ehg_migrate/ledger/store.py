"""The Ledger: what is asked of the record of runs, in a handful of statements that hold for both databases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NoReturn, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    cast,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from ehg_migrate import json_form
from ehg_migrate.errors import LedgerError, Problem, UsageError
from ehg_migrate.ledger import liveness
from ehg_migrate.ledger.backend import Backend
from ehg_migrate.ledger.rows import clean, read_result, read_run, result_row, run_row
from ehg_migrate.ledger.schema import results, runs
from ehg_migrate.model import Result, Run, RunStatus

_CANDIDATES = 5  # named in the message when a prefix fits several runs
_RESULT = "result_"  # what a result's columns are called where a run's stand beside them


class Ledger:
    """The central record of runs; made by `open_ledger`.

    Every method is one transaction on a connection of its own: safe from several threads and processes, nothing is
    held in between. What is stored is redacted. All raise LedgerError when the database fails; a caller that is
    working on targets goes on without the ledger then, because the truth about a target is the target.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

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
        """Lets go of what the engine holds."""
        self._backend.engine.dispose()

    # --- writing

    def start(self, run: Run) -> None:
        """Records that `run` has begun in the process that its origin names; its results are not looked at.

        Raises LedgerError if the id is there already.
        """
        origin = run.origin
        row = run_row(run) | {
            "heartbeat_at": self._backend.clock(),
            "process_started": liveness.identity(origin.host, origin.pid),
        }
        with self._backend.transaction(write=True) as connection:
            if connection.execute(select(runs.c.id).where(runs.c.id == row["id"])).first():
                raise LedgerError(
                    Problem("ledger_run", f"run `{run.id}` is in the ledger already", "use a new id for each run")
                )
            connection.execute(insert(runs).values(row))

    def record(self, run_id: str, result: Result) -> None:
        """Adds what happened to one target. A second result of it in the same run is kept beside the first and counts.

        Raises LedgerError if the run was never started here.
        """
        row = result_row(run_id, result)
        same = (results.c.run_id == run_id) & (results.c.target == row["target"])
        with self._backend.transaction(write=True) as connection:
            _lock(connection, run_id)  # so the next attempt's number is nobody else's
            attempt = connection.execute(select(func.coalesce(func.max(results.c.attempt), 0)).where(same)).scalar_one()
            connection.execute(
                insert(results).values(row | {"attempt": attempt + 1, "recorded_at": self._backend.clock()})
            )

    def heartbeat(self, run_id: str) -> None:
        """Says that the run is alive, to those who cannot see its process; more often than every 60 s.

        Raises LedgerError if the run was never started here.
        """
        with self._backend.transaction(write=True) as connection:
            beat = update(runs).where(runs.c.id == run_id).values(heartbeat_at=self._backend.clock())
            if not connection.execute(beat).rowcount:
                _no_run(run_id)

    def finish(self, run_id: str, status: RunStatus, notes: Iterable[Problem] = ()) -> None:
        """Closes the run with its status; `notes` are added to those it has.

        Raises LedgerError if the run was never started here.
        """
        with self._backend.transaction(write=True) as connection:
            former = _lock(connection, run_id)
            added = clean(json_form.dump(tuple(notes)))
            closed = {"status": status.value, "finished_at": datetime.now(UTC), "notes": [*former, *added]}
            connection.execute(update(runs).where(runs.c.id == run_id).values(closed))

    # --- reading

    def run(self, run_id_or_prefix: str) -> Run:
        """The run with this id, or the only one whose id begins so, with its results.

        Raises UsageError if there is none or if several begin so (naming them).
        """
        with self._backend.transaction(write=False) as connection:
            row = self._find(connection, run_id_or_prefix)
            return read_run(row, _latest_results(connection, [row["id"]], output=True).get(row["id"], ()))

    def runs(self, limit: int = 20, target: str | None = None) -> tuple[Run, ...]:
        """The newest runs first, with their results but not what those printed; only those with `target`, if given.

        Raises UsageError for a limit below 1.
        """
        if limit < 1:
            raise UsageError(Problem("limit", f"the limit {limit} shows no run", "give a number of 1 or more"))
        chosen = self._select_runs().order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
        if target is not None:
            chosen = chosen.where(self._touches(target))
        with self._backend.transaction(write=False) as connection:
            rows = connection.execute(chosen).mappings().all()
            found = _latest_results(connection, [row["id"] for row in rows], output=False)
        return tuple(read_run(row, found.get(row["id"], ())) for row in rows)

    def last_results(self, targets: Iterable[str]) -> dict[str, tuple[Run, Result]]:
        """The newest result of each target, with its run (without that run's other results), in one query.

        A target that was never in a run is not in the answer.
        """
        names = list(targets)
        if not names:
            return {}
        order = (results.c.recorded_at.desc(), results.c.run_id.desc(), results.c.attempt.desc())
        rank = func.row_number().over(partition_by=results.c.target, order_by=order).label("rank")
        # the keys alone are ranked: with their outputs 100,000 rows take seconds instead of a tenth of one
        keys = (results.c.run_id, results.c.target, results.c.attempt)
        ranked = select(*keys, rank).where(results.c.target.in_(names)).subquery()
        same = and_(*(key == ranked.c[key.name] for key in keys), ranked.c.rank == 1)
        columns = [column.label(f"{_RESULT}{column.name}") for column in results.c]
        query = (
            self._select_runs().add_columns(*columns).join(results, results.c.run_id == runs.c.id).join(ranked, same)
        )
        with self._backend.transaction(write=False) as connection:
            rows = connection.execute(query).mappings().all()
        return {row[f"{_RESULT}target"]: (read_run(row), read_result(row, _RESULT)) for row in rows}

    def _select_runs(self) -> Select[Any]:
        return select(runs, self._backend.clock().label("now"))

    def _find(self, connection: Connection, prefix: str) -> RowMapping:
        # not LIKE: SQLite's ignores case, and ids may hold its wildcards
        begins_so = func.substr(runs.c.id, 1, len(prefix)) == prefix
        newest_first = self._select_runs().where(begins_so).order_by(runs.c.started_at.desc(), runs.c.id.desc())
        rows = connection.execute(newest_first.limit(_CANDIDATES + 1)).mappings().all() if prefix else []
        exact = connection.execute(self._select_runs().where(runs.c.id == prefix)).mappings().first()
        if exact is not None:
            return exact
        if len(rows) == 1:
            return rows[0]
        raise UsageError(_not_one_run(prefix, [row["id"] for row in rows]))

    def _touches(self, target: str) -> ColumnElement[bool]:
        """The run was to do something to `target`, whether or not it came to it."""
        if self._backend.is_postgres:
            named: ColumnElement[bool] = cast(runs.c.targets, JSONB).contains([target])
        else:
            named = literal(target).in_(select(func.json_each(runs.c.targets).table_valued("value").c.value))
        return or_(named, exists().where(results.c.run_id == runs.c.id, results.c.target == target))


def _lock(connection: Connection, run_id: str) -> list[Any]:
    """Keeps other writers of this run out until the transaction ends; gives its notes. LedgerError if unknown."""
    notes: list[Any] | None = connection.execute(
        select(runs.c.notes).where(runs.c.id == run_id).with_for_update()
    ).scalar_one_or_none()
    if notes is None:
        _no_run(run_id)
    return notes


def _no_run(run_id: str) -> NoReturn:
    raise LedgerError(
        Problem(
            "ledger_run",
            f"run `{run_id}` is not in the ledger, because its start could not be recorded",
            "look at the targets themselves: `ehg-migrate status` and `ehg-migrate history TARGET`",
        )
    )


def _not_one_run(prefix: str, candidates: list[str]) -> Problem:
    if not candidates:
        return Problem("no_run", f"the ledger has no run `{prefix}`", "see `ehg-migrate runs` for those it has")
    named = ", ".join(f"`{c}`" for c in candidates[:_CANDIDATES])
    more = " and more" if len(candidates) > _CANDIDATES else ""
    return Problem("ambiguous_run", f"several runs begin with `{prefix}`: {named}{more}", "give more of the id")


def _latest_results(connection: Connection, run_ids: list[str], *, output: bool) -> dict[str, tuple[Result, ...]]:
    """The results that count, those of each target's last attempt, by run; without `output` they have an empty one."""
    rank = func.row_number().over(partition_by=(results.c.run_id, results.c.target), order_by=results.c.attempt.desc())
    columns = [literal("").label("output") if c.name == "output" and not output else c for c in results.c]
    ranked = select(*columns, rank.label("rank")).where(results.c.run_id.in_(run_ids)).subquery()
    found: dict[str, tuple[Result, ...]] = {}
    for row in connection.execute(select(ranked).where(ranked.c.rank == 1)).mappings():
        found[row["run_id"]] = (*found.get(row["run_id"], ()), read_result(row))
    return found
