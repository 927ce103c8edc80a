"""After a run: the schema of each target that it concerns, held against what its revisions produce."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ehg_migrate.database.probe import Reading
from ehg_migrate.errors import Problem, some, together
from ehg_migrate.model import Result, State, StateKind, Status
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.running import Verified
from ehg_migrate.schema.drift import MOVED, UNMADE, Drift, Fleet, Looking, Verdict, find_drift
from ehg_migrate.schema.reference import References
from ehg_migrate.schema.rehearsed import elsewhere
from ehg_migrate.schema.scratch import ScratchServers

_NAMED = 5  # objects that a message names before the rest is counted
_MEND = (
    "`ehg-migrate drift -t TARGET` shows each clause: put back what was changed by hand, or keep it in a revision "
    "(`ehg-migrate revision --from-drift TARGET --branch TARGET -m WHY`); then `ehg-migrate upgrade -t TARGET --verify "
    "always` looks again"
)
_STATES = 8  # different states that are worth a replay each when nobody has asked for it


def verify(
    fleet: Fleet, results: Sequence[Result], looking: Looking, scratch: ScratchServers, references: References,
    *, strict: bool,
) -> Verified:  # fmt: skip
    """Looks at the targets of these results, which are those of `fleet`. Never raises for a single one.

    `strict`: a target whose schema cannot be judged is not good either. Else too many different states are left alone.
    """
    states = len({_held(fleet.graph(t), r.heads_after) for t, r in zip(fleet.targets, results, strict=True)})
    if states > _STATES and not strict:
        return Verified(notes=(_too_many(len(results), states),))
    start = time.monotonic()
    readings = looking.probe(fleet.targets, fleet.passwords, fleet.at_once)
    found = find_drift(fleet, [_state(r, readings[r.target]) for r in results], looking.found, references, scratch)
    by_target = {r.target: r for r in results}
    judged = (_judged(by_target[d.target], d, strict=strict) for d in found)
    return Verified(tuple(r for r in judged if r), tuple(_notes(found, time.monotonic() - start)))


def _held(graph: Graph, heads: Sequence[str]) -> frozenset[str]:
    """The files of these heads: one state for all who hold them, whatever else their branches have for each."""
    return frozenset(graph[h].path if h in graph else h for h in heads)


def _state(result: Result, reading: Reading | Problem) -> State:
    if isinstance(reading, Problem):
        return State(result.target, StateKind.UNREACHABLE, result.heads_after, problem=reading)
    if set(reading.heads) != set(result.heads_after):
        return State(result.target, StateKind.UNKNOWN, reading.heads, problem=MOVED)
    return State(result.target, StateKind.UP_TO_DATE, reading.heads, server_version=reading.server_version)


def _judged(result: Result, drift: Drift, *, strict: bool) -> Result | None:
    """The result as it is after the look; None where the look came to nothing, and nobody has asked for more."""
    if drift.verdict is Verdict.MATCHES:
        return result
    if drift.verdict is Verdict.DRIFTED:
        return replace(result, status=Status.SCHEMA_DIFFERS, problem=_differs(drift))
    return replace(result, status=Status.INDETERMINATE, problem=drift.problem) if strict else None


def _differs(drift: Drift) -> Problem:
    objects = [str(d) for d in drift.differences]
    unmade = next((f"{note.message}; {note.hint}" for note in drift.notes if note.code == UNMADE), "")
    return Problem(
        "schema_differs",
        f"every step is done, and the schema is not what the revisions produce: {some(objects, _NAMED)}",
        unmade or _MEND,
    )


def _major(drift: Drift) -> int:
    found = re.match(r"\d+", drift.server_version)
    return int(found[0]) if found else 0


def _too_many(targets: int, states: int) -> Problem:
    return Problem(
        "not_verified",
        f"not verified: {targets} targets are in {states} different states, each to be built on a scratch database",
        "`ehg-migrate drift` holds them against their revisions; with `--verify always` the next run looks at all that "
        "it changes, and not at these again",
    )


def _notes(found: Sequence[Drift], seconds: float) -> Iterator[Problem]:
    """How many schemas were looked at and what it cost, and which could not be judged."""
    judged = [d for d in found if not d.problem]
    if judged:
        plural = "the schema of 1 target was" if len(judged) == 1 else f"the schemas of {len(judged)} targets were"
        others = dict.fromkeys(elsewhere(d.reference_version, _major(d)) for d in judged)
        yield Problem("verified", f"{plural} held against the revisions in {seconds:.2f} s{''.join(others)}")
    for problem, targets in together((d.problem, d.target) for d in found if d.problem).items():
        named = some(targets, _NAMED)
        yield replace(problem, code="not_verified", message=f"not verified: {named}: {problem.message}")
