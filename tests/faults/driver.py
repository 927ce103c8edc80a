"""One case from its seed: a history, a verb, a fault and its moment; the run, the checks, the healing, the checks."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ehg_migrate.database.claim import ANOTHER_DATABASE
from ehg_migrate.errors import EhgMigrateError
from ehg_migrate.model import Result, Run, RunStatus, Status
from tests.faults import invariants, waves
from tests.faults.approval import only_approved
from tests.faults.bench import Bench, Place
from tests.faults.evidence import Witness
from tests.faults.fault import RUNNER, Fault
from tests.faults.healing import Former, healed
from tests.faults.histories import make_history
from tests.faults.kinds import Entry, choose
from tests.faults.scene import Outcome, Scene
from tests.faults.seeds import CASES_OF_A_HISTORY
from tests.faults.task import Task, prepare
from tests.faults.truth import Truth

_ENTERED_BY_ONE = "Q RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; BEGIN"  # with all that it asks first
_IN_POSTGRES = 0.2  # of the ledgers that nothing is wrong with
_SETTINGS = ("EHG_FAULT_PLAIN", "EHG_FAULT_WAVES", "EHG_FAULT_SAVED")  # that make a seed's case another one


@dataclass
class Report:
    """What came of one case."""

    seed: int
    kind: str = ""
    entry: str = ""  # of `FAULTS`
    verb: str = ""
    fired: bool = False
    single: int = 0  # how many targets were entered by one connection
    forms: list[str] = field(default_factory=list)  # of the run: `waves`, `verified`, `saved`, ...
    statuses: list[str] = field(default_factory=list)
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    kept: str = ""  # the folder with what may explain them
    story: list[str] = field(default_factory=list)  # what the proxy saw and the run said; for a failing case

    @property
    def command(self) -> str:
        """What does this case again."""
        given = "".join(f"{name}={os.environ[name]} " for name in _SETTINGS if name in os.environ)
        settings = f"EHG_FAULT_CASES=1 EHG_FAULT_SEED={self.seed} EHG_FAULT_KIND={self.entry}"
        return f"{given}{settings} .venv/bin/pytest -q tests/faults"


@dataclass
class Case:
    """The parts of a case while it is done."""

    scene: Scene
    fault: Fault
    task: Task
    report: Report
    began: float = 0.0  # when it, and who works beside it, was about to start, by the clock
    longest: float = 0.0  # seconds from the run's start to its end


def run_case(bench: Bench, seed: int, kind: str = "") -> Report:
    """One case, of this kind if one is named. Never raises for what the tool does wrong: that is in the report."""
    start = time.monotonic()
    rng = random.Random(f"case {seed}")
    entry = choose(rng, kind)
    report = Report(seed, entry=entry.name)
    history = make_history(seed // CASES_OF_A_HISTORY)
    with Scene(bench, bench.place(entry.place), history, seed, _ledger_place(bench, entry, seed)) as scene:
        task = prepare(scene, entry, rng)
        case = Case(scene, entry.make(scene, rng), task, report)
        report.kind, report.verb, report.forms = case.fault.kind, task.verb, [*task.forms(scene)]
        with Witness(scene) as witness:
            for violation in _do(case):
                if not report.violations:
                    witness.look("found")
                report.violations.append(violation)
        report.fired = case.fault.fired
        report.single = sum(_ENTERED_BY_ONE in line for line in scene.place.proxy.log)
        if report.violations:
            log = [line for proxy in scene.proxies for line in _around_faults(proxy.log)]
            report.story = [" ".join(task.arguments), f"waves: {scene.waves}", *log, *report.story]
            report.kept = str(witness.keep(report.violations, report.story))
    report.seconds = time.monotonic() - start
    return report


def _ledger_place(bench: Bench, entry: Entry, seed: int) -> Place | None:
    kind = entry.ledger
    if kind == "any":
        kind = "ledger" if random.Random(f"{seed} ledger").random() < _IN_POSTGRES else "file"
    return None if kind == "file" else bench.place(kind)


def _around_faults(log: list[str]) -> list[str]:
    """What the proxy saw some lines before a fault, or a standstill of its own, and after it."""
    struck = [i for i, line in enumerate(log) if ": fault: " in line or "stood still" in line]
    return [line for i, line in enumerate(log) if any(-40 <= i - at <= 40 for at in struck)]


# --- the run and the checks after it


def _do(case: Case) -> Iterator[str]:
    scene, fault = case.scene, case.fault
    case.began = time.time()
    fault.before()
    for proxy in scene.proxies:
        proxy.rules = fault.rules  # each names its database
    began = time.monotonic()
    try:
        scene.process = scene.start(case.task.arguments)
        outcome = scene.finish(scene.process)
        case.longest = time.monotonic() - began
        others = [(name, scene.finish(process, name)) for process, name in fault.others]
    except TimeoutError as e:
        yield str(e)
        return
    case.report.story += [f"exit {outcome.code}", outcome.err]
    for proxy in scene.proxies:
        proxy.rest()
    yield from scene.errors
    yield from (f"outlives the run: {p}" for p in scene.orphans(5.0))
    if not fault.hides:
        yield from invariants.left_behind(scene.place.admin, scene.databases)
    for proxy in scene.proxies:
        proxy.rules = []
    if fault.heal_first:
        fault.heal()
    truths = {t: scene.truth(t) for t in scene.databases}
    for target, truth in truths.items():
        if not (fault.hides and fault.hurts(scene, target)):
            yield from (f"{target}: {v}" for v in invariants.consistent(scene.history, target, truth))
    yield from _said(case, outcome, truths)
    yield from _formal(case, outcome.run, truths)
    yield from (v for _, other in others if other.run for v in _recorded(scene, other.run))
    yield from invariants.no_secret(_texts(case, outcome, others))
    sure = {r.target for r in outcome.run.results if r.status is not Status.INDETERMINATE} if outcome.run else set()
    settled = {t: truth for t, truth in truths.items() if t in sure and not fault.others}
    former = Former(case.task.arguments, outcome.run, case.task.approval, _outsiders(case))
    yield from healed(scene, fault, former, settled, case.report.story)


def _outsiders(case: Case) -> frozenset[str]:
    """The targets on which somebody else works, by other rules."""
    return frozenset({case.fault.target}) if case.fault.others else frozenset()


def _formal(case: Case, run: Run | None, truths: Mapping[str, Truth]) -> Iterator[str]:
    """What holds of an upgrade in waves, and of one by an approved plan."""
    scene, outsiders = case.scene, _outsiders(case)
    if case.task.approval:
        yield from only_approved(case.task.approval, run, truths, outsiders)
    if case.task.verb != "upgrade":
        return
    alone = {t: d for t, d in scene.databases.items() if t not in outsiders}
    entered = waves.entered(scene.place.proxy, alone, RUNNER, case.began)
    others = bool(case.fault.others)  # one of both may have done what the other did not look at, or wait behind
    known = [replace(w, soak=0.0) for w in scene.waves] if others else scene.waves
    good = {
        t: truth.rows == scene.history.heads(t) and (t != scene.astray or others)
        for t, truth in truths.items()
        if t not in outsiders
    }
    yield from waves.in_order(known, entered, truths, good)


def _said(case: Case, outcome: Outcome, truths: dict[str, Truth]) -> Iterator[str]:
    """What the run said, held against the truth."""
    fault, run = case.fault, outcome.run
    if run is None:
        void = bool(case.task.approval and case.task.approval.void) and outcome.code == 2
        if not void and not (fault.silent and fault.fired):
            yield f"no result, exit {outcome.code}: {outcome.err[-600:]}"
        return
    case.report.statuses = [r.status.value for r in run.results]
    yield from invariants.exit_code(run, outcome.code)
    for result in run.results:
        for violation in _of_one(case, result, run, truths[result.target]):
            yield f"{result.target} ({result.status}): {violation}"
    yield from _noted(case, run)


def _noted(case: Case, run: Run) -> Iterator[str]:
    """The ledger has the whole run, or the run says what it lacks; and how the rest of a saved plan is done."""
    fault, scene = case.fault, case.scene
    other = {"died_run", "saved_plan", *(("verified", "not_verified") if scene.verified else ())}
    codes = [n.code for n in run.notes if n.code not in other]
    left = bool(case.task.approval) and run.status is not RunStatus.SUCCEEDED
    if left != any(n.code == "saved_plan" for n in run.notes):
        yield f"by a saved plan and not done is {left}, and its notes are {[n.code for n in run.notes]}"
    if not fault.ledger:
        yield from (f"a note without a reason: {code}" for code in codes)
    elif fault.fired and not fault.spares and not codes:
        yield "the ledger was hurt, and the run has no note of it"
    yield from (f"a note of something else than the ledger: {c}" for c in codes if not c.startswith("ledger"))
    if not codes:
        yield from _recorded(scene, run)
    elif fault.spares:
        yield from _named(scene, run)


def _named(scene: Scene, run: Run) -> Iterator[str]:
    """What the ledger lacks, now that it can be read again, stands in the run's notes."""
    said = " ".join(n.message for n in run.notes if n.code == "ledger_incomplete")
    try:
        kept = {r.target for r in scene.project.show(run.id).results}
    except EhgMigrateError:
        kept = set()
    for result in run.results:
        if result.target not in kept and f"`{result.target}`" not in said:
            yield f"the ledger lacks the result of {result.target}, and the run's notes do not say so: {run.notes}"


def _excused(case: Case, result: Result, run: Run) -> bool:
    """Whether there is a reason for what the run says of a target that is not good."""
    fault, scene = case.fault, case.scene
    if fault.fired and fault.hurts(scene, result.target) and result.status in fault.excused:
        return True
    match result.status:
        case Status.NOT_ATTEMPTED:
            hurt = [t for w in scene.waves if w.soak for t in w.targets if fault.fired and fault.hurts(scene, t)]
            back = waves.held_back_by(scene.waves, run) | waves.held_back(scene.waves, hurt)
            return case.task.verb == "upgrade" and result.target in back
        case Status.SCHEMA_DIFFERS:
            return result.target == scene.astray
        case Status.REFUSED:
            return bool(case.task.approval and result.target in case.task.approval.stale)
    return False


def _of_one(case: Case, result: Result, run: Run, truth: Truth) -> Iterator[str]:
    fault, history = case.fault, case.scene.history
    if not result.status.good and not _excused(case, result, run):
        why = result.problem.message if result.problem else "no reason"
        yield f"not excused by {fault.kind}: {why}"
    if (
        result.status.good
        and result.steps
        and result.target == case.scene.astray
        and run.status is not RunStatus.INTERRUPTED
    ):
        yield "good, and its schema is not what its revisions make"
    if fault.away and result.problem and result.problem.code == ANOTHER_DATABASE:
        yield from invariants.left_alone(result, run.id, case.scene.truth_of(fault.away), truth)
        return
    if not fault.others:
        yield from invariants.true_result(history, result, run.id, truth)
    yield from invariants.true_times(result, run.id, truth, case.longest)
    unseen = case.scene.verified and not result.not_done  # the look behind its last step was hurt
    if not (fault.hides or fault.blinds or fault.others or unseen):
        yield from invariants.needless_doubt(history, result, run.id, truth)


def _recorded(scene: Scene, run: Run) -> Iterator[str]:
    """The ledger tells of the run what the run told."""
    try:
        kept = scene.project.show(run.id)
    except EhgMigrateError as e:
        yield f"the ledger does not know the run: {e}"
        return
    if kept.status is not run.status:
        yield f"the ledger says {kept.status}, the run said {run.status}"
    told = {r.target: (r.status, r.heads_after) for r in run.results}
    if {r.target: (r.status, r.heads_after) for r in kept.results} != told:
        yield f"the ledger has other results: {kept.results}"


def _texts(case: Case, outcome: Outcome, others: list[tuple[str, Outcome]]) -> dict[str, str]:
    texts = {"stdout": outcome.out, "stderr": outcome.err, "the ledger": case.scene.ledger_text()}
    for name, other in others:
        texts |= {f"{name} stdout": other.out, f"{name} stderr": other.err}
    return texts
