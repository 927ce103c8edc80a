"""Steps that were tried out on scratch databases, and what their SQL was found to be, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.report.differences import difference_lines
from ehg_migrate.report.text import names, number, problem_lines, some, table
from ehg_migrate.schema.rehearsed import elsewhere

if TYPE_CHECKING:
    from ehg_migrate.schema.difference import Difference
    from ehg_migrate.schema.rehearsed import Rehearsal, RehearsedStep
    from ehg_migrate.schema.squawk import SqlReport

_NAMED = 5  # objects
_WIDEST = 140  # characters of a statement that are shown
_PHASES = {"forward": "fails", "back": "its downgrade fails", "again": "applied again after its downgrade, it fails"}


def rehearsal_lines(found: Sequence[Rehearsal]) -> Iterator[str]:
    """Each rehearsal with a line for each of its steps and what is wrong with it; then the sum."""
    for rehearsal in found:
        yield from _one(rehearsal)
        yield ""
    bad = [t for r in found if not r.good for t in r.targets]
    steps = sum(len(r.steps) for r in found)
    if not found:
        yield "nothing is pending, so there is nothing to rehearse"
    else:
        for_good = sum(not s.reversible for r in found for s in r.steps)
        end = f"not good for {some(bad)}" if bad else "all go forward, back and forward again"
        end += f", but for {number(for_good, 'step')} without a way back" if for_good and not bad else ""
        yield f"{number(steps, 'step')} rehearsed in {number(len(found), 'case')}: {end}"


def _one(rehearsal: Rehearsal) -> Iterator[str]:
    version = rehearsal.server_version
    where = elsewhere(version, rehearsal.major) or (f" on PostgreSQL {version}" if version else "")
    yield f"{some(rehearsal.targets)}: from {names(rehearsal.heads)} to {names(rehearsal.goal)}{where}"
    if rehearsal.problem:
        yield from problem_lines(rehearsal.problem, "  ", rehearsal.targets)
    yield from _start(rehearsal)
    if rehearsal.steps:
        rows = [_row(s) for s in rehearsal.steps]
        yield from (f"  {line}" for line in table(("REVISION", "BRANCH", "SECONDS", "BACK", "VERDICT"), rows))
    for step in rehearsal.steps:
        yield from _findings(step, rehearsal.targets)
    for answer in rehearsal.probed:
        level = "rows" if answer.found else "unknown"
        yield f"  {answer.target}: {answer.revision}: [{level}] {answer.rule} {answer.identity}: {answer.message}"
        yield f"    {answer.sql[:_WIDEST]}"
    if rehearsal.not_tried:
        yield f"  not tried: {names(rehearsal.not_tried)}"


def _start(rehearsal: Rehearsal) -> Iterator[str]:
    """How far the start was from what the revisions produce, and from what the targets are."""
    if rehearsal.drift:
        yield f"  as it is: {_objects(rehearsal.drift)} from what its revisions produce"
    if rehearsal.unlike:
        yield f"  not quite as it is: no statement was found for {_objects(rehearsal.unlike)}"


def _objects(found: Sequence[Difference]) -> str:
    objects = some([f"{d.kind} {d.identity}" for d in found], _NAMED)
    return f"{number(len(found), 'difference')} ({objects})"


def _row(step: RehearsedStep) -> tuple[str, ...]:
    verdict = "good" if step.good else _PHASES.get(step.phase, "is not taken back exactly")
    remarks = [] if step.in_transaction else ["leaves its transaction"]
    remarks += [] if step.reversible else ["has no way back"]
    back = f"{step.seconds_back:.2f}" if step.seconds_back else "-"
    words = ", ".join((verdict, *remarks))
    return step.step.revision, step.step.branch, f"{step.seconds:.2f}", back, words


def _findings(step: RehearsedStep, targets: Sequence[str]) -> Iterator[str]:
    if step.problem:
        yield f"  {step.step.revision}: {_PHASES[step.phase]}"
        yield from problem_lines(step.problem, "    ", targets)
    if step.not_restored:
        yield f"  {step.step.revision}: its downgrade does not restore ({step.step.path})"
        yield from difference_lines(step.not_restored, "    ")
    for effect in step.effects:
        yield f"  {step.step.revision}: [{effect.rule}] {effect.identity}: {effect.message}"
        yield f"    hint: {effect.hint}"
    if step.not_repeated:
        yield f"  {step.step.revision}: applied again after its downgrade, it makes something else"
        yield from difference_lines(step.not_repeated, "    ")


def sql_lines(found: SqlReport) -> Iterator[str]:
    """Each finding under the file of its revision, then whose steps are not known, then the sum."""
    path = ""
    for f in found.findings:
        if f.step.path != path:
            path = f.step.path
            yield f"{path} ({f.step.revision})"
        yield f"  {f.level} [{f.rule}] {f.message}"
        if f.statement:
            yield f"    {f.statement[:_WIDEST]}"
        if f.hint:
            yield f"    hint: {f.hint}"
    for state in found.blocked:
        yield from problem_lines(state.problem, f"{state.target}: ", [state.target]) if state.problem else ()
    yield number(len(found.findings), "finding")
