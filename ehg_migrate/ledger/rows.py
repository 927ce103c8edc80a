"""Runs and Results as rows of the ledger, and back: cleaned of secrets on the way in, checked on the way out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ehg_migrate import json_form
from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger import liveness
from ehg_migrate.ledger.backend import UNREAD, Row
from ehg_migrate.ledger.liveness import Process
from ehg_migrate.model import Result, Run, RunStatus, Status
from ehg_migrate.redaction import redact

T = TypeVar("T")

_RESULT_FIELDS = (
    "target",
    "status",
    "heads_before",
    "heads_after",
    "steps",
    "not_done",
    "problem",
    "notes",
    "output",
    "seconds",
)
_ORIGIN_FIELDS = ("actor", "host", "pid", "git_commit", "tool_version")
JSONS = frozenset({"wish", "targets", "notes", "heads_before", "heads_after", "steps", "not_done", "problem"})
MOMENTS = frozenset({"started_at", "finished_at", "heartbeat_at", "recorded_at", "now"})
"""The columns that SQLite keeps as text and PostgreSQL as `jsonb` and `timestamptz`."""

_RUN_FIELDS = (
    "id",
    "verb",
    "selector",
    "status",
    "targets",
    "wish",
    "undoes",
    "resumes",
    "rollout",
    "notes",
    "saved_plan",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The ledger's last word on a target: of which run, whether that is still at work, and what it left."""

    run: str
    running: bool
    status: Status
    heads: tuple[str, ...]
    seconds: float

    @property
    def tells_nothing(self) -> bool:
        """Whether it may be that nobody has read the target: then it has no heads (see the query `last_seen`)."""
        return not self.heads and self.status in UNREAD


def clean(value: Any, name: str = "") -> Any:
    """`json_form.dump`'s output as it may be stored: redacted (but for names), storable as UTF-8 in both databases."""
    if isinstance(value, str):
        return storable(value if name in json_form.NAMES else redact(value))
    if isinstance(value, dict):
        return {key: clean(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, name) for item in value]
    return value


def storable(text: str) -> str:
    """PostgreSQL refuses NUL; half a surrogate pair (an undecodable file name or argument) has no UTF-8."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def run_row(run: Run) -> dict[str, Any]:
    """The columns of a run that come from the Run itself; its results are rows of their own."""
    form = clean(json_form.dump(run))
    return {
        **{name: form[name] for name in _RUN_FIELDS},
        **{name: form["origin"][name] for name in _ORIGIN_FIELDS},
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }


def result_row(run_id: str, result: Result) -> dict[str, Any]:
    """The columns of a result that come from the Result itself."""
    form = clean(json_form.dump(result))
    return {"run_id": run_id, **{name: form[name] for name in _RESULT_FIELDS}}


def read_run(row: Row, results: tuple[Result, ...] = ()) -> Run:
    """The Run of a row with `now`, the ledger's time; `died` if it says running and its process is gone.

    Raises LedgerError for a row that this tool cannot understand.
    """
    form = {name: row[name] for name in _RUN_FIELDS}
    form["status"] = RunStatus.DIED if is_dead(row) else row["status"]
    form["origin"] = {name: row[name] for name in _ORIGIN_FIELDS}
    form["started_at"], form["finished_at"] = row["started_at"], row["finished_at"]
    run = _load(Run, form, f"run `{row['id']}`")
    return replace(run, results=_in_order(row["targets"], results))


def read_result(row: Row) -> Result:
    """The Result of a row. Raises LedgerError for a row that this tool cannot understand."""
    form = {name: row[name] for name in _RESULT_FIELDS}
    return _load(Result, form, f"the result of `{form['target']}` in run `{row['run_id']}`")


def read_seen(row: Row, run: Row) -> Seen:
    """The last word from the row of a result and that of its run. Raises LedgerError for what cannot be understood."""
    try:
        running = RunStatus(run["status"]) is RunStatus.RUNNING and not is_dead(run)
        return Seen(run["id"], running, Status(row["status"]), tuple(map(str, row["heads_after"])), row["seconds"])
    except (ValueError, TypeError, RecursionError) as e:
        raise _not_understood(f"the result of `{row['target']}` in run `{run['id']}`", e) from e


def is_dead(row: Row) -> bool:
    """Whether the run of a row with `now` says running, and its process is gone."""
    process = Process(row["host"], row["pid"], row["process_started"])
    age = row["now"] - row["heartbeat_at"]
    return bool(row["status"] == RunStatus.RUNNING and liveness.is_gone(process, age))


def _in_order(targets: list[str], results: tuple[Result, ...]) -> tuple[Result, ...]:
    """In the order in which the run names its targets, then by name."""
    places = {target: place for place, target in enumerate(targets)}
    return tuple(sorted(results, key=lambda r: (places.get(r.target, len(places)), r.target)))


def _load(type_: type[T], form: dict[str, Any], what: str) -> T:
    try:
        return json_form.load(type_, json_form.dump(form))
    except (ValueError, RecursionError) as e:
        raise _not_understood(what, e) from e


def _not_understood(what: str, error: Exception) -> LedgerError:
    return LedgerError(
        Problem(
            "ledger_row",
            f"the ledger's row of {what} cannot be understood: {error}",
            "it was perhaps written by a newer `ehg-migrate`: use that one",
        )
    )
