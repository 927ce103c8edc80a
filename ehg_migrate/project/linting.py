"""The verbs that look at what steps do before they run: plans with findings, and the gate before an upgrade."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ehg_migrate.errors import EhgMigrateError, Problem, some, together
from ehg_migrate.model import Finding, FleetPlan, Plan, State, StateKind, Verb
from ehg_migrate.project.base import Selectors, nobody, several
from ehg_migrate.project.proving import ProvingProject

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.database.sizes import Sizes
    from ehg_migrate.schema.drift import Look
    from ehg_migrate.schema.judging import Seen
    from ehg_migrate.schema.linting import Outcome

_CASES = 8  # distinct ones that are worth a rehearsal each when nobody has asked for it


@dataclass(frozen=True, slots=True)
class _Sought:
    """What was found of plans, and of which targets it is not known, or not in full."""

    findings: tuple[Finding, ...]
    unknown: Mapping[str, Problem]
    elsewhere: tuple[str, ...] = ()  # on which PostgreSQL, where that of targets is another


class LintingProject(ProvingProject):
    """A project that looks before it leaps."""

    def plan_with_findings(
        self, selectors: Selectors = (), to: Sequence[str] = (), notice: Notice = nobody, *, waves: bool = True
    ) -> FleetPlan:
        """What `upgrade` would do, and what its steps do in a rehearsal, there and back; sizes are read live.

        Nothing is refused. A note of the plan says of which targets it is not known. Only reads from the targets.
        """
        to = several(to)
        waves = waves and self._has_waves(selectors)
        free, held = self._free(selectors)
        _, states, looking = self._look(free)
        plan = self._plan_upgrade(selectors, to, states, held)
        plan = self._in_waves(plan) if waves else plan
        plans = tuple(p for p in plan.plans if p.steps)
        sought = self._seek(plans, looking.found, (), notice, back=True)
        notes = tuple(_not_linted(sought.unknown))
        return replace(plan, findings=sought.findings, notes=(*plan.notes, *notes), judged=True)

    def plan_with_known(self, plan: FleetPlan) -> FleetPlan:
        """The plan with what earlier rehearsals have found of its steps; asks nobody, so sizes have no say."""
        pending = [p for p in plan.plans if p.steps]
        if not pending:
            return plan
        from ehg_migrate.project.allowing import allowances
        from ehg_migrate.schema.judging import Judge
        from ehg_migrate.schema.lint_shelf import Known

        known, judge = Known(self.settings), Judge(self.settings, allowances(self.revisions, ()))
        alike: dict[tuple[Seen, ...], list[str]] = {}
        for p in pending:
            if steps := known.last(p.digest, p.steps, p.target):
                alike.setdefault(steps, []).append(p.target)
        found = [f for steps, targets in alike.items() for f in judge.findings(steps, tuple(targets), None)]
        return replace(plan, findings=tuple(found))

    def judged(
        self,
        plan: FleetPlan,
        lint: str | None = None,
        allow: Sequence[str] = (),
        notice: Notice = nobody,
    ) -> FleetPlan:
        """The same upgrade or sync without the targets that a finding of level error stops; they are blocked, with why.

        `lint` is one of settings.LINT, `allow` holds `RULE` or `RULE@REVISION`. A plan without steps, of another verb
        or judged before comes back as it is, and costs nothing. Raises UsageError.
        """
        if allow:
            from ehg_migrate.project.allowing import checked

            allow = checked(self.revisions, several(allow))
        mode = lint or self.settings.lint
        plans = tuple(p for p in plan.plans if p.steps)
        nothing = plan.verb not in (Verb.UPGRADE, Verb.SYNC) or plan.judged or not plans
        if nothing or mode == "off" or (mode == "auto" and self._local):
            return plan
        start = time.monotonic()
        strict = mode == "always"
        sought = None if strict else self._hopeless(plans)
        if sought is None:
            sought = self._seek(plans, self._looks(plans), allow, notice, most=None if strict else _CASES)
        refused = {**(sought.unknown if strict else {}), **_refusals(plans, sought.findings)}
        notes = (*_not_linted(sought.unknown), *_told(plans, sought, time.monotonic() - start))
        return replace(
            plan,
            plans=tuple(p for p in plan.plans if p.target not in refused),
            blocked=(*plan.blocked, *(_refused(p, refused[p.target]) for p in plans if p.target in refused)),
            findings=sought.findings,
            notes=(*plan.notes, *notes),
            judged=True,
        )

    def _hopeless(self, plans: Sequence[Plan]) -> _Sought | None:
        """What comes of more plans than are rehearsed unasked, if none is known: then no target need be asked for it.

        Plans with different goals are different cases, whatever their targets stand on.
        """
        goals = {frozenset(p.goal) for p in plans}
        if len(goals) <= _CASES:
            return None
        from ehg_migrate.schema.lint_shelf import Known

        known = Known(self.settings)
        if any(known.has(digest) for digest in {p.digest for p in plans}):
            return None
        from ehg_migrate.schema.linting import too_many

        return _Sought((), dict.fromkeys([p.target for p in plans], too_many(len(goals))))

    def _looks(self, plans: Iterable[Plan]) -> Mapping[str, Look | Problem]:
        """The grounds of the targets of these plans: one connection and one message each."""
        from ehg_migrate.schema.drift import read_grounds

        targets, passwords = self._reach([p.target for p in plans])
        return read_grounds(targets, passwords, self._at_once, self.settings.prelude)

    def _seek(
        self,
        plans: Sequence[Plan],
        looks: Mapping[str, Look | Problem],
        allow: Sequence[str],
        notice: Notice,
        *,
        back: bool = False,
        most: int | None = None,
    ) -> _Sought:
        if not plans:
            return _Sought((), {})
        from ehg_migrate.project.allowing import allowances
        from ehg_migrate.schema.judging import Judge

        unknown: dict[str, Problem] = {}
        try:
            outcomes = self._outcomes(plans, looks, unknown, notice, back=back, most=most)
        except EhgMigrateError as e:  # no scratch server can be had
            outcomes, unknown = [], {p.target: e.problems[0] for p in plans}
        unknown |= {target: o.problem for o in outcomes for target in o.targets if o.problem}
        sizes = self._sizes(outcomes)
        judge = Judge(self.settings, allowances(self.revisions, allow))
        found = (f for o in outcomes for f in judge.findings(o.steps, o.targets, sizes))
        others = dict.fromkeys(o.elsewhere for o in outcomes if o.elsewhere and not o.problem)
        return _Sought(_merged(found), unknown, tuple(others))

    def _outcomes(
        self,
        plans: Sequence[Plan],
        looks: Mapping[str, Look | Problem],
        unknown: dict[str, Problem],
        notice: Notice,
        *,
        back: bool,
        most: int | None,
    ) -> list[Outcome]:
        from ehg_migrate.schema.lint_shelf import Known
        from ehg_migrate.schema.linting import outcomes
        from ehg_migrate.schema.rehearsal import Rehearsing

        with self._scratch(notice) as (scratch, references):
            cases = {p.target: self._case(p, looks, scratch) for p in plans}
            unknown.update((target, case) for target, case in cases.items() if isinstance(case, Problem))
            settings = replace(self.settings, lint_ignore=frozenset())  # what is kept must not hang on it
            rehearsing = Rehearsing(settings, scratch, references, notice, back=back)
            digests = {p.target: p.digest for p in plans}
            known = [case for case in cases.values() if not isinstance(case, Problem)]
            return list(outcomes(known, digests, rehearsing, Known(self.settings), notice, most=most))

    def _sizes(self, outcomes: Iterable[Outcome]) -> Mapping[str, Sizes | Problem]:
        """Of the tables that have a say, live, on the targets that have them; nobody else is asked."""
        from ehg_migrate.database.sizes import read_sizes
        from ehg_migrate.schema.judging import weighed_tables

        tables = {target: weighed_tables(o.steps) for o in outcomes for target in o.targets}
        names = [target for target, wanted in tables.items() if wanted]
        if not names:
            return {}
        targets, passwords = self._reach(names)
        return read_sizes(targets, passwords, self._at_once, tables)


def _merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What is found alike on the ways of several targets is one finding."""
    targets: dict[Finding, list[str]] = {}
    for f in findings:
        targets.setdefault(replace(f, targets=()), []).extend(f.targets)
    return tuple(replace(f, targets=tuple(names)) for f, names in targets.items())


def _refusals(plans: Iterable[Plan], findings: Iterable[Finding]) -> dict[str, Problem]:
    """For each target that a finding stops, what stops it."""
    found: dict[str, list[Finding]] = {p.target: [] for p in plans}
    for finding in findings:
        for target in finding.targets if finding.stops else ():
            found[target].append(finding)
    return {target: _refusal(stopping) for target, stopping in found.items() if stopping}


def _refusal(stopping: Sequence[Finding]) -> Problem:
    from ehg_migrate.revisions.rules import page_command

    told = "\n".join(f"[{f.rule}] revision `{f.revision}`: {f.message}" for f in stopping)
    flags = " ".join(dict.fromkeys(f"--allow {shlex.quote(f'{f.rule}@{f.revision}')}" for f in stopping))
    count = f"{len(stopping)} findings stop" if len(stopping) > 1 else "a finding stops"
    return Problem(
        "lint",
        f"{count} the upgrade:\n{told}",
        f"write another revision (`{page_command(stopping[0].docs)}` says what), or let it pass: {flags}",
        f"{stopping[0].path}:{stopping[0].line}" if stopping[0].line else stopping[0].path,
    )


def _refused(plan: Plan, problem: Problem) -> State:
    return State(plan.target, StateKind.REFUSED, plan.heads, plan.revisions, problem)


def _not_linted(unknown: Mapping[str, Problem]) -> Iterable[Problem]:
    for problem, targets in together((problem, target) for target, problem in unknown.items()).items():
        named = some(targets, 5)
        yield replace(problem, code="not_linted", message=f"not rehearsed: {named}: {problem.message}")


def _told(plans: Sequence[Plan], sought: _Sought, seconds: float) -> Iterable[Problem]:
    """What it cost, and which findings stop nothing although they are errors."""
    known = sum(p.target not in sought.unknown for p in plans)
    if known:
        targets = "1 target were" if known == 1 else f"{known} targets were"
        where = "".join(sought.elsewhere)
        yield Problem("linted", f"the steps of {targets} looked at in a rehearsal, in {seconds:.2f} s{where}")
    allowed = {(f.rule, f.revision, f.allowed) for f in sought.findings if f.allowed}
    for rule, revision, reason in sorted(allowed):
        yield Problem("lint_allowed", f"`{rule}` of revision `{revision}` is allowed: {reason}")
