"""What must hold whatever was killed, cut or blocked: each check gives the violations that it found, in words."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import psycopg

from ehg_migrate.model import Result, Run, RunStatus, Status
from tests.faults.histories import History
from tests.faults.truth import Truth, expected_data, expected_objects
from tests.support.postgres import CANARY
from tests.support.programs import wait_until

_GATES = ("stale_plan", "rollback_inexact", "not_confirmed")
_UNTOUCHED = (Status.UP_TO_DATE, Status.REFUSED, Status.NOT_ATTEMPTED, Status.SKIPPED)


def consistent(history: History, target: str, truth: Truth) -> Iterator[str]:
    """Version rows, journal, trail and schema of one database tell the same, and nothing foreign stands there."""
    applied = truth.applied()
    if truth.rows != history.rows(applied):
        yield f"version rows {truth.rows}, but the journal's steps give {history.rows(applied)}"
    moved = [e for e in truth.journal if e.event in ("done", "normalized")]
    if moved and set(moved[-1].after) != set(truth.rows):
        yield f"version rows {truth.rows}, but the last journal entry left {moved[-1].after}"
    if applied != history.closure(applied):
        yield f"applied without what it needs: {sorted(history.closure(applied) - applied)}"
    yield from _chain(truth)
    done = [(e.revision, e.direction) for e in truth.journal if e.event == "done"]
    if [t[:2] for t in truth.trail] != done:
        yield f"steps that ran: {truth.trail}; steps in the journal: {done}"
    foreign = {t for _, _, t in truth.trail} | {t for _, t in truth.data} | {e.target for e in truth.journal}
    if foreign - {target}:
        yield f"steps of another target: {foreign - {target}}"
    yield from _schema(history, target, truth, applied)


def _chain(truth: Truth) -> Iterator[str]:
    rows: tuple[str, ...] = ()
    state: dict[str, str] = {}
    for e in truth.journal:
        if e.event != "done":
            continue
        if set(e.before) != set(rows):
            yield f"{e.direction} {e.revision} began at {e.before}, but the step before it left {rows}"
        if state.get(e.revision, "down") == e.direction:
            yield f"{e.revision} went {e.direction} twice"
        state[e.revision], rows = e.direction, e.after


def _schema(history: History, target: str, truth: Truth, applied: frozenset[str]) -> Iterator[str]:
    """Every object and row of the applied steps and no other; a step that is half done may have left a part."""
    half = {r for r in truth.unfinished() if not history.by_id[r].kind.atomic}
    expected, rows = expected_objects(history, target, applied), expected_data(history, target, applied)
    for name in sorted(truth.objects ^ expected):
        if not any(f"_{r}_{target}" in name for r in half):
            yield f"{'too much' if name in truth.objects else 'missing'}: {name}"
    for key in sorted(truth.data.keys() | rows.keys()):
        if truth.data[key] != rows[key] and not (key[0] in half and truth.data[key] <= history.by_id[key[0]].kind.rows):
            yield f"{truth.data[key]} rows of {key} instead of {rows[key]}"


def true_result(history: History, result: Result, run: str, truth: Truth) -> Iterator[str]:
    """What a run said of a target is what the target is."""
    done = truth.done(run)
    told = [(s.revision, s.direction.value) for s in result.steps]
    seen = bool(result.heads_after) or result.status in (Status.SUCCEEDED, Status.UP_TO_DATE)
    if seen and set(result.heads_after) != set(truth.rows) and not _unread(result):
        yield f"said heads {result.heads_after}, but it holds {truth.rows}"
    blind = result.status is Status.INDETERMINATE and not result.heads_after
    if told != (done[: len(told)] if blind else done):
        yield f"said that it did {told}, but did {done}"
    if result.status.good and result.not_done:
        yield f"{result.status} with {result.not_done} not done"
    if result.status in _UNTOUCHED and done:
        yield f"{result.status}, but it did {done}"
    half = [e.revision for e in truth.unfinished().values() if e.run == run]
    if half and result.status is not Status.INDETERMINATE:
        yield f"{result.status}, but {half} may be half done"
    if result.status in (Status.FAILED, Status.CANCELLED) and not result.problem:
        yield f"{result.status} without a reason"
    if not result.status.good and result.problem and not result.problem.hint:
        yield f"{result.problem.code} has no hint"


def left_alone(result: Result, run: str, away: Truth, now: Truth) -> Iterator[str]:
    """What the run had committed in a database that is `away` it told, and in the one in its place it did no more."""
    told = [(s.revision, s.direction.value) for s in result.steps]
    if result.status is not Status.INDETERMINATE:
        yield f"{result.status}, and it is another database"
    if told != away.done(run):
        yield f"said that it did {told}, and did {away.done(run)} in the database that was there before"
    if (done := now.done(run)) != told[: len(done)] or done == told:
        yield f"said that it is another database than that in which it did {told}, and there it did {done}"


def true_times(result: Result, run: str, truth: Truth, longest: float) -> Iterator[str]:
    """No step and no target took longer than the whole run, `longest` seconds by a clock that nobody sets."""
    told = {f"result of {result.target}": result.seconds, **{f"step {s.revision}": s.seconds for s in result.steps}}
    told |= {f"journal entry {n} ({e.event})": e.seconds for n, e in enumerate(truth.journal) if e.run == run}
    for name, seconds in told.items():
        if not 0 <= seconds <= longest:
            yield f"{name} took {seconds} s, and the run {longest:.1f} s"


def _unread(result: Result) -> bool:
    """Its heads are those of before the run, because it never got in: the steps tell the truth of it."""
    return result.status in (Status.FAILED, Status.REFUSED) and result.heads_after == result.heads_before


def needless_doubt(history: History, result: Result, run: str, truth: Truth) -> Iterator[str]:
    """`indeterminate` of a target that could be read, whose next step does everything in one transaction."""
    if result.status is not Status.INDETERMINATE or truth.unfinished():
        return
    done = {e.revision for e in truth.journal if e.event == "done" and e.run == run}
    left = [r for r in result.not_done if r not in done]
    if not left or history.by_id[left[0]].kind.atomic:
        reason = result.problem.message if result.problem else ""
        yield f"indeterminate without need, next would be {left[:1]}: {reason}"


def exit_code(run: Run, code: int) -> Iterator[str]:
    """The exit code says what the results say."""
    bad = [r for r in run.results if not r.status.good]
    unsure = any(r.status is Status.INDETERMINATE for r in bad)
    gates = not unsure and all(r.problem is not None and r.problem.code in _GATES for r in bad)
    right = 130 if run.status is RunStatus.INTERRUPTED else 0 if not bad else 4 if gates else 1
    if code != right:
        yield f"exit code {code} instead of {right}"
    if len(run.results) != len(run.targets):
        yield f"{len(run.results)} results for {len(run.targets)} targets"


def left_behind(admin: psycopg.Connection, databases: Mapping[str, str], seconds: float = 2.0) -> Iterator[str]:
    """Sessions and locks of runs that are over, `seconds` after it; `databases` by target."""
    query = (
        "SELECT datname, pid, state, left(query, 60) FROM pg_stat_activity"
        " WHERE datname = ANY(%(names)s) AND application_name LIKE 'ehg\\_migrate%%'"
        " UNION ALL SELECT d.datname, l.pid, 'lock', l.objid::text FROM pg_locks l JOIN pg_database d"
        " ON d.oid = l.database WHERE l.locktype = 'advisory' AND d.datname = ANY(%(names)s)"
    )
    names = {"names": list(databases.values())}
    found: list[tuple[object, ...]] = []

    def gone() -> bool:
        found[:] = admin.execute(query, names).fetchall()
        return not found

    try:
        wait_until(gone, "sessions of the run end", seconds)
    except BaseException:  # noqa: BLE001 - pytest's failure is no Exception, and here it is a finding
        yield f"left behind after {seconds} s: {found}"


def no_secret(texts: Mapping[str, str]) -> Iterator[str]:
    """The canary stands in no output, as it is or as JSON, URLs or its longest plain part."""
    forms = {CANARY, json.dumps(CANARY)[1:-1], quote(CANARY), quote(CANARY, safe=""), "horse@battery", "horse%40"}
    for name, text in texts.items():
        if any(form in text for form in forms):
            yield f"the password stands in {name}"


def same(history: History, target: str, dump: str, clean: str, truth: Truth) -> Iterator[str]:
    """After all is healed: the schema of a clean run, its rows, and every step once."""
    if dump != clean:
        ours, theirs = Counter(dump.splitlines()), Counter(clean.splitlines())
        yield f"the schema differs from a clean run's: {os.linesep.join([*map(str, ours - theirs), *theirs - ours])}"
    everything = frozenset(n.id for n in history.members(target))
    if truth.applied() != everything:
        yield f"not applied: {sorted(everything - truth.applied())}"
    if truth.data != expected_data(history, target, everything):
        yield f"rows {dict(truth.data)}"
