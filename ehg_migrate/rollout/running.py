"""A fleet plan carried out: recorded in the ledger from before the first target until after the last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from ehg_migrate.database.origin import find_origin, new_run_id
from ehg_migrate.errors import Problem, described, some
from ehg_migrate.ledger import Ledger
from ehg_migrate.model import FleetPlan, Result, Run, RunStatus, State, StateKind, Status, Verb, Wave
from ehg_migrate.rollout.astray import Astray, doubted, in_doubt, to_be_looked_at
from ehg_migrate.rollout.book import Book
from ehg_migrate.rollout.executor import Execute
from ehg_migrate.rollout.jobs import Event, EventKind, Watch
from ehg_migrate.rollout.runner import Reach, Work, adopt_plans, run_plans
from ehg_migrate.rollout.stop import Enough, Stop
from ehg_migrate.settings import Settings

T = TypeVar("T")

_FAILURES = (Status.FAILED, Status.INDETERMINATE, Status.REFUSED)
_NAMED = 5  # targets that a reason names


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at the targets after a run has found: its word on those it could judge, and notes of the run."""

    results: tuple[Result, ...] = ()
    notes: tuple[Problem, ...] = ()


Verify = Callable[[Sequence[Result], Callable[[str], None]], Verified]
"""Looks at the targets of a run when all work on them is done; says what takes its time."""


@dataclass(frozen=True, slots=True)
class How:
    """How a run is done: by what, who watches, who may stop it, where it is recorded, who looks at what it made."""

    execute: Execute
    watch: Watch
    stop: Stop
    ledger: Callable[[], Ledger]
    verify: Verify | None = None
    rollout: str = ""  # the name that this run has in common with others
    astray: Astray = field(default_factory=dict)
    max_failures: int = 0  # after how many no other target begins; 0 for no limit
    notice: Callable[[str], None] = lambda _: None  # hears of waves


def carry_out(settings: Settings, plan: FleetPlan, reach: Reach, how: How) -> Run:
    """Does what the plan says. The Run has a Result for every target of the plan, in the plan's order."""
    names = plan.targets
    run = Run(
        id=new_run_id(),
        verb=plan.verb,
        selector=plan.selector,
        origin=find_origin(settings.root),
        started_at=datetime.now(UTC),
        targets=names,
        wish=plan.wish,
        undoes=plan.undoes,
        resumes=plan.resumes,
        rollout=how.rollout or plan.rollout,
        saved_plan=plan.saved_plan,
    )
    results: dict[str, Result] = {}
    settled = [doubted(r, how.astray) for r in _settled(plan)]
    with Book(how.ledger, run, short=len(settled) == len(names), taken_over=how.stop.ask) as book:
        book.notes.extend(plan.notes)
        how = replace(how, watch=_harmless(how.watch, book.notes), notice=_harmless(how.notice, book.notes))
        if settled:
            book.record(*settled)
        results |= {r.target: r for r in settled}
        _do_all(settings, plan, Work(run.id, run.origin, plan.plans, reach, run.completed_by), how, book, results)
        status = _status(list(results.values()), stopped=bool(how.stop.asked))
        if plan.saved_plan and status is not RunStatus.SUCCEEDED:
            from ehg_migrate.rollout.reasons import of_saved_plan  # seldom

            book.notes.append(of_saved_plan(r for r in results.values() if not r.status.good))
        book.finish(status)
    return replace(
        run,
        status=status,
        finished_at=datetime.now(UTC),
        results=tuple(results[name] for name in names),
        notes=tuple(book.notes),
    )


def _do_all(settings: Settings, plan: FleetPlan, work: Work, how: How, book: Book, results: dict[str, Result]) -> None:
    """Wave by wave: the work, and a look at what it made."""
    failed: list[str] = []
    waves = plan.waves or (Wave("", tuple(p.target for p in plan.plans)),)
    for place, wave in enumerate(waves, 1):
        members = set(wave.targets)
        here = [p for p in plan.plans if p.target in members]
        if plan.waves and not how.stop.over:
            how.notice(f"wave {place} of {len(waves)}, `{wave.name}`: {some(wave.targets, _NAMED)}")
        for done in _worked(settings, plan.verb, replace(work, plans=here), how):
            result = results[done.target] = doubted(done, how.astray)
            book.record(result)
            failed += [done.target] if done.status in _FAILURES else []
            how.stop.enough = how.stop.enough or _enough(failed, how.max_failures)
        results |= {
            r.target: r for r in _verified(how, [results[t] for t in wave.targets], plan.unseen, book, settings)
        }
        for result in filter(in_doubt, (results[t] for t in wave.targets)):  # nobody has told why
            how.watch(Event(result.target, EventKind.FINISHED, result=result))
        if following := waves[place:]:
            from ehg_migrate.rollout.waves import end_wave, not_as_left  # most fleets have none

            look = partial(not_as_left, reach=work.reach, at_once=2 * settings.parallel)
            others = {t for w in following for t in w.targets}
            for moved in end_wave(wave, others, results, plan, how.stop, how.notice, look):
                results[moved.target] = moved
                book.record(moved)
                how.watch(Event(moved.target, EventKind.FINISHED, result=moved))
            if wave.soak:  # meanwhile a pooler may be set up otherwise
                work = replace(work, reach=replace(work.reach, proven=()))


def _enough(failed: Sequence[str], most: int) -> Enough | None:
    """Why no other target shall begin; None where nothing speaks against it."""
    if not most or len(failed) < most:
        return None
    why = f"{len(failed)} failed ({some(failed, _NAMED)}), and after {most} no other target begins"
    return Enough(why, "--max-failures 0")


def _settled(plan: FleetPlan) -> list[Result]:
    """What is known of targets without any work on them."""
    return [
        *(_blocked(state) for state in plan.blocked),
        *(Result(s.target, Status.SKIPPED, notes=(s.reason,)) for s in plan.skipped),
        *(
            Result(p.target, Status.UP_TO_DATE, p.heads, p.heads, notes=p.notes)
            for p in plan.plans
            if not p.steps and plan.verb is not Verb.ADOPT
        ),
    ]


def _blocked(state: State) -> Result:
    status = Status.FAILED if state.kind is StateKind.UNREACHABLE else Status.REFUSED
    return Result(state.target, status, state.heads, state.heads, problem=state.problem, notes=state.notes)


def _worked(settings: Settings, verb: Verb, work: Work, how: How) -> Iterator[Result]:
    if verb is Verb.ADOPT:
        yield from adopt_plans(work)
    else:
        yield from run_plans(settings, work, how.execute, how.watch, how.stop)


def _verified(
    how: How, results: Sequence[Result], unseen: Collection[str], book: Book, settings: Settings
) -> tuple[Result, ...]:
    """The results that are others after the look; none where the run was stopped, since nobody wants to wait then."""
    if how.verify is None:
        return ()
    due = tuple(to_be_looked_at(results, unseen))
    if how.stop.asked:
        book.notes += [_not_looked_at(due, book.run, settings.verify)] if due else []
        return ()
    verified = how.verify(due, how.notice)
    before = {r.target: r for r in results}
    changed = tuple(r for r in verified.results if r != before[r.target])
    for result in changed:
        how.watch(Event(result.target, EventKind.FINISHED, result=result))
    if changed:
        book.record(*changed)
    book.notes.extend(verified.notes)
    return changed


def _not_looked_at(due: Sequence[Result], run: Run, by_default: str) -> Problem:
    named = some([r.target for r in due], _NAMED)
    looking = f"{run.id} --verify auto" if by_default == "never" else run.id  # as this run was told to
    hint = f"`ehg-migrate resume {looking}` looks, before it goes on to another wave; so does `ehg-migrate drift`"
    if run.verb is not Verb.UPGRADE:  # `resume` takes back what is left, and no more
        hint = "`ehg-migrate drift` looks"
    elif run.saved_plan:
        hint = "`ehg-migrate drift` looks; do that before the same plan goes on to another wave"
    return Problem("not_verified", f"not verified: {named}: the run was stopped before anybody looked", hint)


def _harmless(hear: Callable[[T], None], notes: list[Problem]) -> Callable[[T], None]:
    """The same listener, not asked again once it has failed: a terminal that has gone must not end work on targets."""
    broken: list[Exception] = []

    def tell(told: T) -> None:
        if broken:
            return
        try:
            hear(told)
        except Exception as e:  # noqa: BLE001 - it is somebody else's code, and the run goes on without it
            broken.append(e)
            notes.append(Problem("watcher_failed", f"progress was not shown: {described(e)}"))

    return tell


def _status(results: Sequence[Result], *, stopped: bool) -> RunStatus:
    if stopped:
        return RunStatus.INTERRUPTED
    return RunStatus.SUCCEEDED if all(r.status.good for r in results) else RunStatus.FAILED
