"""What the steps of plans do, found out by rehearsals: each distinct case once, and none that is known already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ehg_migrate.database.connections import Notice
from ehg_migrate.errors import Problem
from ehg_migrate.revisions.rules import RULES, Weight
from ehg_migrate.schema.corrections.words import rest
from ehg_migrate.schema.difference import Change, Difference
from ehg_migrate.schema.effects import Effect, effect
from ehg_migrate.schema.judging import Seen
from ehg_migrate.schema.lint_shelf import Kept, Known
from ehg_migrate.schema.rehearsal import Case, Rehearsing, furthest_first, grouped, ways
from ehg_migrate.schema.rehearsed import Rehearsal, RehearsedStep, elsewhere

MANY = 100
"""Steps. Each takes a fifth of a second or more, so a new target would wait for minutes; others had them one by one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of the steps of a case; `problem` says why not of all."""

    targets: tuple[str, ...]
    steps: tuple[Seen, ...]
    problem: Problem | None = None
    elsewhere: str = ""  # on which PostgreSQL, where that of the targets is another


def outcome(rehearsal: Rehearsal) -> Outcome:
    """What a rehearsal says of its steps, and of their ways back if it went them.

    Not what is lost of tables that no target has: those that these steps have made.
    """
    steps = tuple(
        Seen(s.step, tuple(e for e in (*s.effects, *_way_back(s)) if e.tables or not _weighed(e)))
        for s in rehearsal.steps
    )
    failed = next((s.problem for s in rehearsal.steps if s.phase == "forward"), None)
    return Outcome(
        rehearsal.targets,
        steps,
        rehearsal.problem or failed,
        elsewhere(rehearsal.server_version, rehearsal.major),
    )


def _weighed(effect: Effect) -> bool:
    return RULES[effect.rule].weight is not Weight.NOTHING


def _way_back(done: RehearsedStep) -> Iterator[Effect]:
    name = f"revision {done.step.revision}"
    if not done.reversible:
        yield effect("no_downgrade", name)
    if done.not_restored:
        yield effect("not_restored", f"{name} ({', '.join(str(d) for d in done.not_restored[:3])})")
    for d in done.not_restored:
        if _loses(d, done.not_restored):
            yield effect("downgrade_loses", f"{d.kind} {d.identity}")


_VIEWS = ("view", "materialized view")


def _loses(difference: Difference, among: Sequence[Difference]) -> bool:
    """A table, or a column of one, that was there before the step and is not after its way back.

    A view whose columns are others differs itself, and what it shows is in its tables.
    """
    told = {(d.kind, d.identity) for d in among if d.change is Change.MISSING or d.kind in _VIEWS}
    if difference.change is not Change.MISSING:
        return False
    wholes = {(kind, rest(difference.identity)) for kind in ("table", *_VIEWS)}
    return difference.kind == "table" or (difference.kind == "column" and told.isdisjoint(wholes))


def outcomes(
    cases: Sequence[Case],
    digests: dict[str, str],
    rehearsing: Rehearsing,
    known: Known,
    notice: Notice,
    *,
    most: int | None,
) -> Iterator[Outcome]:
    """One for each distinct case. More than `most` that are not known are left alone, and say so; with `most`, so is a
    long history on nothing.

    `digests` are those of the plans, by target. Rehearses where it must; raises nothing for a case.
    """
    missing = []
    for case in grouped(cases):
        found = known.find(digests[case.targets[0]], case.steps, case.key, back=rehearsing.back)
        if found is not None:
            known.met(digests[case.targets[0]], case.key, case.targets)
            yield Outcome(case.targets, found.steps, elsewhere=found.elsewhere)
        elif most is not None and not case.start.heads and len(case.steps) > MANY:
            yield Outcome(case.targets, (), _whole_history(len(case.steps)))
        else:
            missing.append(case)
    states = 0 if most is None else ways(missing)
    for case in furthest_first(missing):
        if most is not None and states > most:
            yield Outcome(case.targets, (), too_many(states))
            continue
        notice(case.told)
        done = outcome(rehearsing.run(case))
        if done.problem is None:
            kept = Kept(done.steps, done.elsewhere)
            known.keep(digests[case.targets[0]], case.key, case.targets, kept, back=rehearsing.back)
        yield done


def too_many(cases: int) -> Problem:
    """Why they are left alone where nobody has asked for more."""
    return Problem(
        "not_linted",
        f"there are {cases} different states with pending steps, each to be rehearsed on a scratch database",
        "`ehg-migrate lint --effect` rehearses them; so does `--lint always`",
    )


def _whole_history(steps: int) -> Problem:
    """Why the steps of a target that holds nothing are left alone where nobody has asked for more."""
    return Problem(
        "not_linted",
        f"all {steps} steps are new to a target that holds nothing yet, and each would be rehearsed by itself",
        "`ehg-migrate lint --effect` rehearses them; so does `--lint always`",
    )
