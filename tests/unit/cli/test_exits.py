"""The exit code of a run: the worst of its targets, and a rule's refusal only where nothing worse has happened.

Of what only looks: 1 where a target could not be judged or is not as it should be, and a difference counts where asked.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ehg_migrate.cli import exits
from ehg_migrate.errors import Problem
from ehg_migrate.model import Finding, Level, Origin, Result, Run, RunStatus, State, StateKind, Status, Verb
from ehg_migrate.schema.difference import Change, Difference
from ehg_migrate.schema.drift import Drift, Verdict

GATE = Result("gate", Status.REFUSED, problem=Problem("stale_plan", ""))
REFUSED = Result("refused", Status.REFUSED, problem=Problem("locked", ""))
FAILED = Result("failed", Status.FAILED, problem=Problem("connect_failed", ""))
UNSURE = Result("unsure", Status.INDETERMINATE)
MOVED = Result("moved", Status.INDETERMINATE, problem=Problem("stale_plan", ""))  # found after something had begun
DIFFERS = Result("differs", Status.SCHEMA_DIFFERS, problem=Problem("schema_differs", ""))
MISSED = Result("missed", Status.NOT_ATTEMPTED, problem=Problem("not_attempted", ""))
RULES = ("stale_plan", "rollback_inexact", "not_confirmed", "protected", "lint")
GOOD = (Result("done", Status.SUCCEEDED), Result("left", Status.UP_TO_DATE), Result("skipped", Status.SKIPPED))


@pytest.mark.parametrize(
    ("results", "code"),
    [
        (GOOD, 0),
        ((*GOOD, GATE), 4),
        ((GATE, GATE), 4),
        *(((Result("gate", Status.REFUSED, problem=Problem(code, "")),), 4) for code in RULES),
        *(((*GOOD, bad), 1) for bad in (REFUSED, FAILED, UNSURE, MOVED, DIFFERS, MISSED)),
        *(((GATE, bad), 1) for bad in (REFUSED, FAILED, UNSURE, MOVED, DIFFERS, MISSED)),
    ],
)
def test_of_a_run(results: tuple[Result, ...], code: int) -> None:
    """Of one that was interrupted that is said whatever its targets are."""
    for status, expected in ((RunStatus.FAILED, code), (RunStatus.INTERRUPTED, 130)):
        origin = Origin("ann", "build", 1, "", "1")
        run = Run("r", Verb.UPGRADE, "all", origin, datetime.now(UTC), status, results=results)
        assert exits.of_run(run) == expected


@pytest.mark.parametrize("bad", [k for k in StateKind if k not in (StateKind.UP_TO_DATE, StateKind.PENDING)])
def test_of_states(bad: StateKind) -> None:
    """One bad target counts beside any number of good ones; a pending one does where it is asked for."""
    good, pending, worse = (State(k.value, k) for k in (StateKind.UP_TO_DATE, StateKind.PENDING, bad))
    for states, code, asked in (
        ((), 0, 0),
        ((good,), 0, 0),
        ((good, pending), 0, 3),
        ((good, worse), 1, 1),
        ((pending, worse), 1, 1),
    ):
        assert (exits.of_states(states, exit_code=False), exits.of_states(states, exit_code=True)) == (code, asked)


def test_of_drift() -> None:
    """A target that could not be judged is no target without differences."""
    same = Drift("same", Verdict.MATCHES)
    other = Drift("other", Verdict.DRIFTED, differences=(Difference("table", "public.a", Change.MISSING, ()),))
    unread = Drift("unread", Verdict.UNKNOWN, problem=Problem("connect_failed", ""))
    for found, code, asked in (
        ((same,), 0, 0),
        ((same, other), 0, 3),
        ((same, unread), 1, 1),
        ((other, unread), 1, 1),
    ):
        assert (exits.of_drift(found, exit_code=False), exits.of_drift(found, exit_code=True)) == (code, asked)


def test_of_findings() -> None:
    """Notes, and what somebody has allowed with a reason, count for nothing."""
    note, warning, error = (Finding("rule", level, "", "", "") for level in Level)
    allowed = Finding("rule", Level.ERROR, "", "", "", allowed="small table")
    for found, asked in (
        ((), 0),
        ((note, allowed), 0),
        ((note, warning), 3),
        ((allowed, error), 3),
    ):
        assert (exits.of_findings(found, exit_code=False), exits.of_findings(found, exit_code=True)) == (0, asked)
