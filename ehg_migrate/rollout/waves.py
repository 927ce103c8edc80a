"""Waves: an upgrade that takes its targets one group after the other, each only if the one before it ended well."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ehg_migrate.database.probe import Reading, probe
from ehg_migrate.errors import Problem, UsageError, quoted, some
from ehg_migrate.fleet.fleet import Fleet
from ehg_migrate.fleet.selectors import items
from ehg_migrate.model import FleetPlan, Result, Status, Wave
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.rollout.runner import Reach
from ehg_migrate.rollout.stop import Enough, Stop

_TICK = 0.2  # seconds between two looks whether to stop
_NAMED = 5  # targets that a reason names
_NO_WAVES = "--no-waves"

Look = Callable[[Sequence[Result]], Sequence[tuple[Result, str]]]
"""Of targets that a run has changed those that are not any more what it made of them: their results by now, and in
words what they are.
"""


def in_waves(waves: Sequence[Wave], names: Collection[str]) -> tuple[Wave, ...]:
    """The waves of these targets, without those that have none of them; nothing where that leaves fewer than two."""
    kept = (Wave(w.name, tuple(t for t in w.targets if t in names), w.soak) for w in waves)
    left = tuple(w for w in kept if w.targets)
    return left if len(left) > 1 else ()


def refuse_shards(fleet: Fleet, selectors: Sequence[str]) -> None:
    """Raises UsageError where the shards of a selection would have to wait for each other's waves."""
    named = [*items(selectors)]
    rest = [s for s in named if not s.startswith("shard:")]
    if len(rest) == len(named):
        return
    waves = [w.name for w in in_waves(fleet.waves, {t.name for t in fleet.select(rest)})]
    if waves:
        message = f"a shard does not wait for the waves of other shards, and here are {quoted(waves, _NAMED)}"
        hint = f"one wave after the other: `--targets wave:{waves[0]} --shard ...` first; or `--no-waves`"
        raise UsageError(Problem("shards_of_waves", message, hint))


def end_wave(
    wave: Wave,
    following: Collection[str],
    results: Mapping[str, Result],
    plan: FleetPlan,
    stop: Stop,
    notice: Callable[[str], None],
    look: Look,
) -> tuple[Result, ...]:
    """Holds the others back if a target of the wave is not where it should be; else waits for as long as it soaks.

    So it does where another run has done meanwhile what was to be done: that is as young. Who has seen by now that
    targets do not do well takes them back, perhaps from elsewhere: so those of this wave and of the ones before it are
    looked at again, where people were given time for it. What is then said of them is given back, where it is something
    else. A wish to stop holds the others back by itself: what it has cut short did not end badly.
    """
    if stop.asked:
        return ()
    in_spite = "" if plan.saved_plan else _NO_WAVES
    if bad := [results[t] for t in wave.targets if not results[t].status.good]:
        stop.enough = _held_back(wave, bad, stop.enough, in_spite)
        return ()
    busy = {p.target for p in plan.plans if p.steps}
    if busy.isdisjoint(following):
        return ()
    if wave.soak and not busy.isdisjoint(wave.targets):
        notice(f"wave `{wave.name}` is done; the next begins in {wave.soak:g} s")
        _wait(wave.soak, stop)
    waves = plan.waves[: plan.waves.index(wave) + 1]
    left = [results[t] for w in waves for t in w.targets if t in busy]
    if stop.over or not any(w.soak for w in waves) or not (lost := look(left)):
        return ()
    stop.enough = Enough(_not_stayed(waves, lost), in_spite, of_wave=True)
    return tuple(result for result, _ in lost if result not in left)


def _not_stayed(waves: Iterable[Wave], lost: Sequence[tuple[Result, str]]) -> str:
    names = [w.name for w in waves if any(result.target in w.targets for result, _ in lost)]
    which = some([f"{result.target} {instead}" for result, instead in lost], _NAMED)
    how = "wave {} did not stay as it was left" if len(names) == 1 else "waves {} did not stay as they were left"
    return f"{how.format(quoted(names, _NAMED))} ({which}), so the next did not begin"


def not_as_left(results: Sequence[Result], reach: Reach, at_once: int) -> list[tuple[Result, str]]:
    """See `Look`; `at_once` connections at a time. One that another run brought further is as good."""
    targets = [reach.targets[r.target] for r in results]
    readings = probe(targets, reach.passwords, at_once)
    pairs = (_by_now(reach.graph(t), r, readings[r.target]) for r, t in zip(results, targets, strict=True))
    return [(result, instead) for result, instead in pairs if instead]


def _by_now(graph: Graph, left: Result, reading: Reading | Problem) -> tuple[Result, str]:
    """A target's result, and what it is in place of what was left there; nothing where all of that is there.

    One that was taken back has to be done again, and first, when the run is resumed; of one that cannot be read nothing
    else is known.
    """
    if isinstance(reading, Problem):
        return left, "cannot be read"
    left_there, held = (graph.closure(h for h in heads if h in graph) for heads in (left.heads_after, reading.heads))
    if not left_there & ~held:
        return left, ""
    instead = f"holds {quoted(reading.heads, _NAMED)}"
    hint = "`ehg-migrate history TARGET` shows who took it back"
    problem = Problem(
        "not_as_left", f"before the next wave it was not any more as the run had left it: it {instead}", hint
    )
    return replace(left, status=Status.FAILED, heads_after=reading.heads, problem=problem), instead


def _held_back(wave: Wave, bad: Sequence[Result], before: Enough | None, in_spite: str) -> Enough:
    """Why the next waves do not begin. Where something held them back before, it would again."""
    if before and before.of_wave:
        return before
    which = some([f"{r.target} {r.status.value}" for r in bad], _NAMED)
    why = f"wave `{wave.name}` did not end well ({which}), so the next did not begin"
    if in_spite and before:
        in_spite = f"{before.in_spite} {in_spite}"
    return Enough(why, in_spite, of_wave=True)


def _wait(seconds: float, stop: Stop) -> None:
    """It is the time itself that is waited for; a wish to stop ends that."""
    until = time.monotonic() + seconds
    while not stop.over and (left := until - time.monotonic()) > 0:
        time.sleep(min(_TICK, left))  # there is nothing to wait on but time; a short look hears a wish to stop
