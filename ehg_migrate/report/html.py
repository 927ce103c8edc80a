"""A run, or what a fleet is, as a page for people: what is not good comes first, all details are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from ehg_migrate.errors import Problem
from ehg_migrate.model import Result, Run, State
from ehg_migrate.redaction import safe
from ehg_migrate.report.text import counted, names, number, problem_lines, run_summary, selection, when

_Lists = tuple[tuple[str, Sequence[str]], ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """A target: a line of the table, and what stands below it."""

    target: str
    good: bool
    word: str
    cells: tuple[str, ...]
    problem: str
    notes: tuple[str, ...]
    lists: _Lists  # folded: a name, and lines


def run_page(run: Run) -> str:
    """What happened to each target of a run."""
    rows = [_result(r) for r in run.results]
    return _page(
        title=f"ehg-migrate {run.verb.value} {run.id}",
        outcome=run.status.value,
        good=all(r.good for r in rows) and len(rows) == len(run.targets),
        facts=[*_facts(run)],
        notes=[_said(note) for note in run.notes],
        head=("target", "status", "heads before", "heads after", "steps", "seconds"),
        rows=rows,
        summary=run_summary(run),
    )


def fleet_page(states: Sequence[State], looked_at: datetime) -> str:
    """What each target was when it was looked at."""
    rows = [_state(s) for s in states]
    return _page(
        title="ehg-migrate status",
        outcome=counted((s.kind.value, s.target) for s in states),
        good=all(r.good for r in rows),
        facts=[("looked at", when(looked_at)), ("targets", str(len(states)))],
        notes=[],
        head=("target", "state", "heads", "pending", "PostgreSQL"),
        rows=rows,
        summary="As the targets themselves said.",
    )


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "selection", selection(run)
    if run.wish:
        yield "to", ", ".join(run.wish)
    for name, other in (("takes back run", run.undoes), ("completes run", run.resumes), ("rollout", run.rollout)):
        if other:
            yield name, other
    if run.saved_plan:
        yield "saved plan", f"SHA-256 {run.saved_plan}"
    yield "by", f"{run.origin.actor} on {run.origin.host}"
    yield "commit", run.origin.git_commit or "unknown"
    yield "started", when(run.started_at)
    if run.finished_at:
        yield "ended", when(run.finished_at)


def _result(result: Result) -> _Row:
    steps = [f"{s.direction.value:<4}  {s.revision}  ({s.branch})  {s.seconds:.2f} s" for s in result.steps]
    lists = (
        (f"{number(len(steps), 'step')} done", steps),
        (f"{number(len(result.not_done), 'step')} not done", result.not_done),
        ("what its revisions printed (the end)", result.output.strip().splitlines()),
    )
    return _Row(
        result.target,
        result.status.good,
        result.status.value,
        (names(result.heads_before), names(result.heads_after), str(len(steps)), f"{result.seconds:.2f}"),
        _said(result.problem, result.target) if result.problem else "",
        tuple(_said(note, result.target) for note in result.notes),
        tuple((name, lines) for name, lines in lists if lines),
    )


def _state(state: State) -> _Row:
    pending = str(len(state.pending)) if state.kind.plannable else "?"
    return _Row(
        state.target,
        state.kind.plannable,
        state.kind.value,
        (names(state.heads), pending, state.server_version),
        _said(state.problem, state.target) if state.problem else "",
        tuple(_said(note, state.target) for note in state.notes),
        (("pending", state.pending),) if state.pending else (),
    )


def _said(problem: Problem, *target: str) -> str:
    return "\n".join(problem_lines(problem, of=target))


def _page(*, rows: list[_Row], **parts: object) -> str:
    ordered = sorted(rows, key=lambda row: row.good)  # stable: else in the order of the fleet
    return _template().render(rows=ordered, **parts)


@cache
def _template() -> Template:
    """Masks and escapes each text that is put into it."""
    text = resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, finalize=_masked, undefined=StrictUndefined, keep_trailing_newline=True)
    return page.from_string(text)


def _masked(value: object) -> object:
    return safe(value) if isinstance(value, str) else value
