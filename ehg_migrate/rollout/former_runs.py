"""A run of before: what it left undone, and why it cannot be completed or taken back from here, or not now."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.errors import Problem, UsageError, quoted, some
from ehg_migrate.ledger import Seen
from ehg_migrate.model import Direction, Result, Run, RunStatus, Status, Verb, Wave

if TYPE_CHECKING:
    from ehg_migrate.database.locks import Held

_FAILED = (Status.FAILED, Status.SCHEMA_DIFFERS, Status.INDETERMINATE, Status.REFUSED)
_NAMED = 8  # targets that a hint names
_UNTOUCHED = (Status.REFUSED, Status.NOT_ATTEMPTED)


def unfinished(run: Run, *, failed_only: bool, unseen: Collection[str] = ()) -> tuple[str, ...]:
    """The targets of a run that are not where it wanted them, to be planned anew.

    There may be none where some are `unseen`. Raises UsageError: nothing at all is left, the run is still at work, or
    it did a saved plan.
    """
    if run.status is RunStatus.RUNNING:
        raise UsageError(still_running(run))
    results = {r.target: r for r in run.results}
    if failed_only:
        left = tuple(r.target for r in run.results if r.status in _FAILED)
    else:
        left = tuple(t for t in run.targets if t not in results or not results[t].status.good)
    if not (left or unseen):
        what = "failed" if failed_only else "is missing"
        hint = f"`ehg-migrate show {run.id}` tells what it did"
        raise UsageError(Problem("nothing_left", f"nothing of run `{run.id}` {what}", hint))
    if run.saved_plan:
        raise UsageError(_by_its_plan(run))
    return left


def left_and_gone(run: Run, gone: Collection[str]) -> Problem:
    """What a run has left undone on targets that the files do not have is done under their present names.

    Where they are gone for good, the others must be named: nothing of the run is resumed by itself.
    """
    message = f"run `{run.id}` left {quoted(gone)} undone, which targets/ does not have"
    hint = f"use the checkout that has it; where it has another name now, `{_anew(run)}` does what is missing"
    return Problem("target_gone", message, hint + _without(run, gone))


def of_another_checkout(run: Run, known: Container[str], left: Sequence[str]) -> Problem | None:
    """Why a run is not to be completed from here: what is not `known` would not be planned, and so not be missing."""
    brought = (r for result in run.results for r in (*(s.revision for s in result.steps), *result.not_done))
    if not (absent := [r for r in dict.fromkeys(brought) if r not in known]):
        return None
    message = f"run `{run.id}` was to bring {quoted(absent, 8)}, which this checkout does not have"
    hint = (
        f"use the one that has it (git commit {run.origin.git_commit or 'unknown'}); where its file was taken out for "
        f"good, `{_anew(run, _named(left))}` brings what this one has"
    )
    return Problem("newer_checkout", message, hint)


def _named(targets: Sequence[str]) -> str:
    return ",".join(targets) if len(targets) <= _NAMED else "NAME,..."


def taken_back_since(
    run: Run, last: Mapping[str, Seen], show: Callable[[str], Run], gone: Collection[str] = ()
) -> Problem | None:
    """Why a run is not to be completed: the ledger's `last` word on some of its targets is that it was taken back.

    `show` gives a run of the ledger; what is `gone` from targets/ nobody can bring anything. Raises what `show` raises,
    but for a run that the ledger does not have.
    """
    others = {i: show(i) for i in {seen.run for seen in last.values()} - {run.id}}
    back = {i for i, other in others.items() if _is_of(run, other.undoes, show)}
    by = {t: s.run for t, s in last.items() if s.run in back or (s.run in others and _took_down(others[s.run], run, t))}
    if not by:
        return None
    ways: dict[str, dict[str, str]] = {}
    for target, other in by.items():
        vain = last[target].status in _UNTOUCHED
        ways.setdefault("was to be taken back since, in vain" if vain else "was taken back since", {})[target] = other
    told = (f"{how}, on {quoted(of, 8)} by {quoted(dict.fromkeys(of.values()))}" for how, of in ways.items())
    return _taken_back(run, "; ".join(told), by, gone)


def taken_back_by(run: Run, by: Mapping[str, str]) -> Problem:
    """Why a run is not to be completed: by their journals these targets were taken back, by the run that they name."""
    told = f"was taken back since, on {quoted(by, 8)} by {quoted(dict.fromkeys(by.values()))}"
    return _taken_back(run, told, by)


def _taken_back(run: Run, told: str, by: Collection[str], gone: Collection[str] = ()) -> Problem:
    hint = f"`{_anew(run, _named([*by]))}` does it again, where that is what you want"
    return Problem("taken_back", f"run `{run.id}` {told}", f"{hint}{_without(run, by, gone)}")


def gone_before(brought: Iterable[Result], waves: Iterable[Wave], left: Collection[str]) -> tuple[Result, ...]:
    """What was changed in waves before the last of what is left: how they do is why the others may follow."""
    names = [w.targets for w in waves]
    last = max((place for place, wave in enumerate(names) if not set(wave).isdisjoint(left)), default=0)
    before = {t for wave in names[:last] for t in wave if t not in left}
    return tuple({r.target: r for r in brought if r.target in before}.values())


def not_stayed(run: Run, moved: Sequence[tuple[Result, str]]) -> Problem:
    """Why a run is not to be completed: an earlier wave is not any more as it was left, whoever has done that."""
    names = [result.target for result, _ in moved]
    which = some([f"{result.target} {instead}" for result, instead in moved], _NAMED)
    message = f"earlier waves of run `{run.id}` did not stay as they were left: {which}"
    hint = f"`ehg-migrate history {names[0]}` shows who took it back; `{_anew(run, _named(names))}` does it again"
    return Problem("not_as_left", message, f"{hint}{_without(run, names)}; `--no-waves` does not ask")


def _without(run: Run, others: Collection[str], gone: Collection[str] = ()) -> str:
    """What does the rest of a run, where these targets of it are left alone; nothing where there is no rest."""
    good = {r.target for r in run.results if r.status.good}
    rest = [t for t in run.targets if not (t in good or t in others or t in gone)]
    which = "it" if len(others) == 1 else "them"
    return f"; without {which}: `{_anew(run, _named(rest))}`, which does the others" if rest else ""


def _took_down(other: Run, run: Run, target: str) -> bool:
    """Whether a downgrade took back something that the run had brought to the target."""
    if other.verb is not Verb.DOWNGRADE:
        return False
    up, down = (
        {s.revision for r in of.results if r.target == target for s in r.steps if s.direction is way}
        for of, way in ((run, Direction.UP), (other, Direction.DOWN))
    )
    return not up.isdisjoint(down)


def _is_of(run: Run, other: str | None, show: Callable[[str], Run]) -> bool:
    """Whether the other is this run, or one that resumed it, or that one, and so on."""
    while other and other != run.id:
        try:
            other = show(other).resumes
        except UsageError:  # the ledger has lost it
            return False
    return other is not None


def _anew(run: Run, targets: str = "NAME") -> str:
    """The command that does to these targets what the run was to do."""
    given = " --heads " if run.verb is Verb.ADOPT else " --to "
    how = {Verb.UPGRADE: f"upgrade -t {targets}", Verb.ROLLBACK: f"rollback {run.undoes} -t {targets}"}.get(
        run.verb, f"{run.verb} {targets}"
    )
    return f"ehg-migrate {how}" + "".join(f"{given}{shlex.quote(revision)}" for revision in run.wish)


def touched(run: Run, fleet: Collection[str]) -> tuple[str, ...]:
    """The targets of a run that is to be taken back, without those that are not in the `fleet` and it did nothing to.

    Raises UsageError where others have gone, or are called otherwise by now: a part must be asked for by name.
    """
    changed = {r.target for r in run.results if r.steps or r.status is Status.INDETERMINATE}
    unsaid = set(run.targets) - {r.target for r in run.results}  # it died before it could say
    names = tuple(t for t in run.targets if t in fleet or t in changed or t in unsaid)
    if gone := [t for t in names if t not in fleet]:
        raise UsageError(_gone(run.id, gone, [t for t in names if t in fleet]))
    return names


def _gone(run: str, gone: Sequence[str], rest: Sequence[str]) -> Problem:
    hint = "use the checkout that has it; or say `-t NAME` of each, where one has another name now"
    if rest:
        hint += f"; without it: `ehg-migrate rollback {run} -t {_named(rest)}`"
    return Problem("target_gone", f"run `{run}` also worked on {quoted(gone, 8)}, which targets/ does not have", hint)


def untraced(run: str, unread: Sequence[str], *, known: bool) -> Problem:
    """A run of which no journal knows, nor the ledger that it did anything; those of `unread` could not be asked."""
    if known:
        hint = f"`ehg-migrate show {run}` tells how it ended"
        return Problem("nothing_left", f"run `{run}` changed no selected target, so nothing is to be taken back", hint)
    hint = "`ehg-migrate runs` lists the runs, `ehg-migrate history TARGET` what was done to a target"
    message = f"no selected target has a trace of run `{run}`"
    if unread:
        message += f", of those that can be read: {quoted(unread, _NAMED)} cannot"
        hint += f"; if it was there: `ehg-migrate rollback {shlex.quote(run)} -t {_named(unread)}`"
    return Problem("unknown_run", message, hint)


def unseen(run: Run) -> tuple[str, ...]:
    """The targets at whose schema a run should have looked and may not have: it was stopped, died, or could not.

    Those that it changed itself; where it resumed another run, also those that the other one had changed.
    """
    cut = run.status in (RunStatus.INTERRUPTED, RunStatus.DIED)
    return tuple(
        r.target
        for r in run.results
        if r.status is Status.INDETERMINATE
        or (cut and r.status in (Status.SUCCEEDED, Status.UP_TO_DATE) and (r.steps or run.resumes))
    )


def _by_its_plan(run: Run) -> Problem:
    """What is missing of a saved plan is done by that plan: one that is made now was approved by nobody."""
    message = f"run `{run.id}` did a saved plan (SHA-256 {run.saved_plan[:12]}), and would be planned anew"
    hint = (
        "`ehg-migrate upgrade --plan FILE` with the same file does the rest of it; for what it does not fit any more, "
        "`ehg-migrate plan -o FILE` of the same targets, and that one approved"
    )
    return Problem("saved_plan", message, hint)


def still_running(run: Run) -> Problem:
    """What such a run has done is not all that it will have done."""
    where = f"process {run.origin.pid} on {run.origin.host}"
    hint = "let it end, or stop it there (Ctrl-C, or SIGTERM to that process); then again"
    of = f", which completes `{run.resumes}`," if run.resumes else ""
    return Problem("still_running", f"run `{run.id}`{of} is still at work: {where}", hint)


def seen_at_work(run: str, holders: Sequence[Held]) -> Problem:
    """The same of a run that the ledger does not have."""
    where = f"process {holders[0].process or 'unknown'} on {holders[0].host or 'an unknown host'}"
    named = quoted([h.target for h in holders], 8)
    hint = f"let it end, or stop it there; where it has died, `ehg-migrate locks break {holders[0].target}`; then again"
    return Problem("still_running", f"run `{run}` is still at work: {where}, on {named}", hint)


def left_at_work(run: Run, holders: Iterable[Held]) -> dict[str, Problem]:
    """The targets where workers that a dead run has left still hold the lock: what they do is not written yet."""
    return {
        h.target: Problem(
            "locked",
            f"run `{run.id}` has died, and a worker of it is still at work here",
            "let its step end, or end it with `ehg-migrate locks break TARGET`; then again",
        )
        for h in holders
        if h.run == run.id
    }
