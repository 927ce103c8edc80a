"""The exit code of a run: the worst of its targets, and a rule's refusal only where nothing worse has happened."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ehg_migrate.cli import exits
from ehg_migrate.errors import Problem
from ehg_migrate.model import Origin, Result, Run, RunStatus, Status, Verb

GATE = Result("gate", Status.REFUSED, problem=Problem("stale_plan", ""))
REFUSED = Result("refused", Status.REFUSED, problem=Problem("locked", ""))
FAILED = Result("failed", Status.FAILED, problem=Problem("connect_failed", ""))
UNSURE = Result("unsure", Status.INDETERMINATE)
MOVED = Result("moved", Status.INDETERMINATE, problem=Problem("stale_plan", ""))  # found after something had begun
DIFFERS = Result("differs", Status.SCHEMA_DIFFERS, problem=Problem("schema_differs", ""))
MISSED = Result("missed", Status.NOT_ATTEMPTED, problem=Problem("not_attempted", ""))
GOOD = (Result("done", Status.SUCCEEDED), Result("left", Status.UP_TO_DATE), Result("skipped", Status.SKIPPED))


@pytest.mark.parametrize(
    ("results", "code"),
    [
        (GOOD, 0),
        ((*GOOD, GATE), 4),
        ((GATE, GATE), 4),
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
