"""States, plans, runs and journals as lines of text. The last line of a run names targets, not only numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from ehg_migrate import errors
from ehg_migrate.errors import Problem, named_in, together
from ehg_migrate.model import FleetPlan, Plan, Result, Run, RunStatus, State, StateKind, Status, Target, Verb
from ehg_migrate.redaction import inert

FEW = 8  # targets named in a line before the rest is counted


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns padded to their widest cell, each row on one line."""
    cells = [tuple(" ".join(cell.split()) for cell in row) for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def problem_lines(problem: Problem, indent: str = "", of: Sequence[str] = ()) -> Iterator[str]:
    """What, where, and what to do next. `of` are the targets of which it is said."""
    state = f" (SQLSTATE {problem.sqlstate})" if problem.sqlstate else ""
    # a message may be a server's: no line of it may be a command to the pipeline in whose log it comes to stand
    yield from inert(f"{indent}{continued(problem.message, indent)}{state}").split("\n")
    if problem.where:
        yield f"{indent}  at {problem.where}"
    if problem.hint:
        yield f"{indent}  hint: {hint_for(problem, of)}"


def hint_for(problem: Problem, targets: Sequence[str]) -> str:
    """The hint; a command in it that wants `TARGET` has its name, where there is only one."""
    return named_in(problem.hint, targets[0]) if len(targets) == 1 else problem.hint


def continued(message: str, indent: str = "") -> str:
    """The message with its further lines indented, so that none of them looks like a line of ours."""
    return message.replace("\n", f"\n{' ' * len(indent)}    ")


def targets_lines(targets: Iterable[Target]) -> list[str]:
    """The fleet as its files say."""
    found = list(targets)
    waves = any(t.wave for t in found)  # most fleets have none
    rows = [
        (t.name, t.env, ",".join(t.branches), ",".join(t.tags), *([t.wave] if waves else ()), _place(t), t.purpose)
        for t in found
    ]
    return table(("TARGET", "ENV", "BRANCHES", "TAGS", *(["WAVE"] if waves else ()), "ADDRESS", "PURPOSE"), rows)


def _place(target: Target) -> str:
    held = f"held until {target.hold_until}" if target.hold_until else "held"
    return ", ".join((str(target), *(["protected"] if target.protected else ()), *([held] if target.hold else ())))


def status_lines(states: Sequence[State]) -> Iterator[str]:
    """A line for each target, then what is to be said about some, then the sum."""
    rows = [(s.target, s.kind.value, names(s.heads), str(len(s.pending)) if s.kind.plannable else "?") for s in states]
    yield from table(("TARGET", "STATE", "HEADS", "PENDING"), rows)
    for (problem, kind), targets in together(pair for s in states for pair in _trouble(s)).items():
        # of a state the table names the others
        yield from _told(problem, targets, some(targets) if kind else ", ".join(targets))
    yield ""
    yield counted((s.kind.value, s.target) for s in states)


def _trouble(state: State) -> Iterator[tuple[tuple[Problem, StateKind | None], str]]:
    """Why the target is in this state, if there is something to be said, and notes, which any state may have."""
    if state.problem:
        yield (state.problem, state.kind), state.target
    yield from (((note, None), state.target) for note in state.notes)


def _told(problem: Problem, targets: Sequence[str], named: str) -> Iterator[str]:
    few = len(targets) <= FEW
    yield from ("",) if few else ("", f"{named}:")
    yield from problem_lines(problem, f"{named}: " if few else "  ", targets)


def plan_lines(plan: FleetPlan) -> Iterator[str]:
    """Every distinct plan once, with the targets that share it; then who is left out and why."""
    groups: dict[tuple[str, tuple[Problem, ...]], list[Plan]] = defaultdict(list)
    idle = [p.target for p in plan.plans if not p.steps and plan.verb is not Verb.ADOPT]
    for p in plan.plans:
        if p.steps:
            groups[p.digest, p.notes].append(p)
    for (digest, notes), plans in groups.items():
        yield f"plan {digest} for {some([p.target for p in plans])}"
        yield from _steps(plans[0])
        for note in notes:
            yield from problem_lines(note, "  note: ", [p.target for p in plans])
        yield ""
    for (kind, problem), targets in together(((s.kind, s.problem), s.target) for s in plan.blocked).items():
        yield f"{some(targets)}: {kind.value.replace('_', ' ')}"
        yield from problem_lines(problem, "  ", targets) if problem else ()
        yield ""
    for message, targets in together((s.reason.message, s.target) for s in plan.skipped).items():
        yield f"{some(targets)}: skipped, {message}"
    if plan.findings:
        from ehg_migrate.report.findings import finding_lines

        yield from finding_lines(plan.findings, notes=False)
        yield ""
    if idle:
        yield f"nothing to do for {some(idle)}"
    yield from _why_idle(plan)
    for place, wave in enumerate(plan.waves, 1):
        pause = f"; {wave.soak:g} s before the next" if wave.soak and place < len(plan.waves) else ""
        yield f"wave {place}, {wave.name}: {some(wave.targets)}{pause}"
    yield plan_summary(plan)


def _why_idle(plan: FleetPlan) -> Iterator[str]:
    """Why nothing of a run is to be taken back: somebody may have restored the target since."""
    idle = (p for p in plan.plans if not p.steps)
    reasons = ((note, p.target) for p in idle for note in p.notes if note.code in ("taken_back", "no_trace"))
    for note, targets in together(reasons).items():
        yield from problem_lines(note, f"{some(targets)}: ", targets)


def _steps(plan: Plan) -> Iterator[str]:
    yield f"  from  {names(plan.heads)}"
    width = max(len(s.revision) for s in plan.steps)
    branch = max(len(s.branch) for s in plan.steps)
    for s in plan.steps:
        yield f"  {s.direction.value:<4}  {s.revision.ljust(width)}  {s.branch.ljust(branch)}  {s.doc}".rstrip()
    yield f"  to    {names(plan.goal)}"


def plan_summary(plan: FleetPlan) -> str:
    """How many targets would change, in a sentence."""
    busy = [p for p in plan.plans if p.steps]
    steps = sum(len(p.steps) for p in busy)
    others = (("skipped", plan.skipped), ("blocked", plan.blocked))  # what is to be done on these nobody has found out
    rest = "".join(f", {len(of)} {word} ({some([s.target for s in of])})" for word, of in others if of)
    if plan.verb is Verb.ADOPT:  # it declares, and has no steps
        return f"adopt: {number(len(plan.plans), 'target')}{rest}"
    work = f"{number(steps, 'step')} on {number(len(busy), 'target')}"
    return f"{plan.verb.value}: {work}, nothing to do on {len(plan.plans) - len(busy)}{rest}"


def result_lines(result: Result) -> Iterator[str]:
    """What happened to one target, and what to do about it."""
    steps = f", {number(len(result.steps), 'step')}" if result.steps else ""
    left = f", {len(result.not_done)} not done" if result.not_done else ""
    yield f"{result.target}: {result.status.value} in {result.seconds:.2f} s{steps}{left}"
    if result.problem:
        yield from problem_lines(result.problem, "  ", [result.target])
        yield f"  {_held(result)}"
        if result.output.strip():
            yield "  output of its revisions (the end):"
            yield from (f"    | {line}" for line in result.output.strip().splitlines()[-12:])
    for note in result.notes:
        yield from problem_lines(note, "  note: ", [result.target])


def _held(result: Result) -> str:
    if result.status is Status.INDETERMINATE and not result.heads_after:
        return "what it holds is not known"
    if result.heads_after:
        return f"holds {names(result.heads_after)}"
    # where it was not read, the heads of before stand for those after
    return "holds nothing" if result.heads_before or result.steps else "holds what it held"


def run_lines(run: Run) -> Iterator[str]:
    """A run: who, when, each target that is worth a word, the sum."""
    what = f" of run {run.undoes}" if run.undoes else f" to {', '.join(run.wish)}" if run.wish else ""
    again = f", completing run {run.resumes}" if run.resumes else ""
    again += f", by a saved plan (SHA-256 {run.saved_plan[:12]})" if run.saved_plan else ""
    by = f"by {run.origin.actor} on {run.origin.host}"
    yield f"run {run.id}: {run.verb.value}{what} on `{selection(run)}` {by}{again}"
    yield f"  commit {run.origin.git_commit or 'unknown'}, started {when(run.started_at)}, {run.status.value}"
    yield ""
    rows = [_result_row(r) for r in run.results]
    yield from table(("TARGET", "STATUS", "HEADS BEFORE", "HEADS AFTER", "STEPS", "SECONDS"), rows)
    yield from _worth_a_word(run.results)
    notes = run.notes
    if run.status is RunStatus.DIED:
        from ehg_migrate.rollout.reasons import died  # with all that runs steps

        notes = (*notes, died(run))
    yield from notes_lines(notes)
    yield ""
    yield run_summary(run)


def _worth_a_word(results: Sequence[Result]) -> Iterator[str]:
    """What is to be said of some beside their rows; of more alike than a line names, once, where none has an output."""
    said = [r for r in results if r.problem or r.notes]
    alike = together(((r.status, r.problem, r.notes, r.output.strip()), r.target) for r in said)
    for (status, problem, notes, output), targets in alike.items():
        if len(targets) <= FEW or output:
            continue
        yield from ("", f"{len(targets)} {status.value} alike ({some(targets)}):")
        yield from problem_lines(problem, "  ", targets) if problem else ()
        for note in notes:
            yield from problem_lines(note, "  note: ", targets)
    for r in said:
        if r.output.strip() or len(alike[r.status, r.problem, r.notes, ""]) <= FEW:
            yield from ("", *result_lines(r))


def _result_row(r: Result) -> tuple[str, ...]:
    return r.target, r.status.value, names(r.heads_before), names(r.heads_after), str(len(r.steps)), f"{r.seconds:.2f}"


def notes_lines(notes: Iterable[Problem]) -> Iterator[str]:
    """What a run could not do besides its targets."""
    for note in notes:
        yield ""
        yield from problem_lines(note, "note: ")


def alike_lines(results: Iterable[Result]) -> Iterator[str]:
    """What stands in the way of several targets alike, once more and together: each has said it for itself.

    Where no work began nobody has said anything yet, not even of a single one.
    """
    bad = (((r.status, r.problem), r.target) for r in results if r.problem and not r.status.good)
    for (status, problem), targets in together(bad).items():
        if len(targets) > 1 or status is Status.NOT_ATTEMPTED:
            yield ""
            yield f"{len(targets)} {status.value}{' alike' if len(targets) > 1 else ''} ({some(targets)}):"
            yield from problem_lines(problem, "  ", targets)


def run_summary(run: Run) -> str:
    """The last line: `run ID: 2 succeeded (a, b), 1 failed (c)`."""
    said = {r.target for r in run.results}
    unsaid = (("without a result", t) for t in run.targets if t not in said)  # it is at work, or died
    return f"run {run.id}: {counted([*((r.status.value, r.target) for r in run.results), *unsaid])}"


def runs_lines(runs: Iterable[Run], missing: Mapping[str, Sequence[str]] = MappingProxyType({})) -> list[str]:
    """The newest runs; those of one rollout stand together, at the place of its newest, and have its name.

    At the end stands what is `missing` of rollouts: nobody looks for a line that is not there.
    """
    places: dict[tuple[str, str], list[Run]] = {}
    for r in runs:
        places.setdefault((r.rollout, "" if r.rollout else r.id), []).append(r)
    ordered = [r for together in places.values() for r in together]
    rows = [
        (r.id, r.verb.value, r.status.value, when(r.started_at), r.origin.actor, selection(r), _outcome(r), r.rollout)
        for r in ordered
    ]
    head = ("RUN", "VERB", "STATUS", "STARTED", "ACTOR", "SELECTION", "TARGETS", "ROLLOUT")
    if not any(r.rollout for r in ordered):
        return table(head[:-1], [row[:-1] for row in rows])
    return [*table(head, rows), *(f"rollout {name}: no run of {some(parts)}" for name, parts in missing.items())]


def _outcome(run: Run) -> str:
    begun = [r for r in run.results if r.status is not Status.NOT_ATTEMPTED]
    bad = [r.target for r in begun if not r.status.good]
    return f"{len(begun)} of {len(run.targets)}" + (f", not good: {some(bad)}" if bad else "")


def names(heads: Sequence[str]) -> str:
    """Version rows in a cell; a row that somebody wrote by hand may have line breaks in it."""
    return ",".join(" ".join(head.split()) for head in heads) or "-"


def selection(run: Run) -> str:
    """What was selected; a run that completes another, or takes it back, names each of its targets."""
    return errors.some(run.selector.split(","), FEW, ",")


def some(targets: Sequence[str], most: int = FEW) -> str:
    """As many as a line has room for."""
    return errors.some(targets, most)


def number(count: int, thing: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def counted(pairs: Iterable[tuple[str, str]]) -> str:
    """`2 succeeded (a, b), 1 failed (c)`; of many targets the first are named."""
    groups = together(pairs)
    return ", ".join(f"{len(t)} {word} ({some(t)})" for word, t in groups.items()) or "no targets"


def when(moment: datetime) -> str:
    """UTC, to the second. A database may have given it in a zone of its own (`ALTER DATABASE ... SET timezone`)."""
    try:
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    except OverflowError:  # at the end of all years, as somebody may have written it into a journal
        return f"{moment:%Y-%m-%d %H:%M:%S%z}"
