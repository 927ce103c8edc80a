"""Exit codes: 0 done, 1 a target failed, 2 could not start, 3 differences, 4 blocked by a gate, 130 interrupted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ehg_migrate.model import GATES, Finding, Result, Run, RunStatus, State, StateKind, Status

if TYPE_CHECKING:
    from ehg_migrate.schema.drift import Drift

DIFFERENCES = 3


def of_run(run: Run) -> int:
    """Precedence 130 > 1 > 4 > 0."""
    if run.status is RunStatus.INTERRUPTED:
        return 130
    bad = [r for r in run.results if not r.status.good]
    if not bad:
        return 0
    return 4 if all(map(_is_gated, bad)) else 1


def _is_gated(result: Result) -> bool:
    """Whether a rule said no, and nothing else. Not where something had begun by then, and nobody knows what."""
    unsure = result.status is Status.INDETERMINATE
    return result.problem is not None and result.problem.code in GATES and not unsure


def of_states(states: tuple[State, ...], *, exit_code: bool) -> int:
    """1 where a target could not be read or is not as it should be; with `exit_code`, 3 where something is pending."""
    if any(not s.kind.plannable for s in states):
        return 1
    return DIFFERENCES if exit_code and any(s.kind is StateKind.PENDING for s in states) else 0


def of_drift(found: tuple[Drift, ...], *, exit_code: bool) -> int:
    """1 where a target could not be read or a reference not be made; with `exit_code`, 3 where a target has drifted."""
    if any(d.problem for d in found):
        return 1
    return DIFFERENCES if exit_code and any(d.differences for d in found) else 0


def of_findings(found: Iterable[Finding], *, exit_code: bool) -> int:
    """With `exit_code`, 3 where a finding is more than a note and not allowed."""
    return DIFFERENCES if exit_code and any(f.level != "note" and not f.allowed for f in found) else 0
