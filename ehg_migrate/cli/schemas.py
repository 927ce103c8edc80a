"""The commands of a schema manager: `schema status`, `create`, `seed`, `sync`, `compare`; and the JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ehg_migrate.cli import console, exits, options
from ehg_migrate.cli.comparing import compare
from ehg_migrate.cli.confirm import confirm, confirm_protected
from ehg_migrate.cli.running import gate_options, verifying, watched
from ehg_migrate.errors import GateError, Problem, TargetError, some
from ehg_migrate.fleet.protection import protected
from ehg_migrate.model import SHARED, Direction, Status
from ehg_migrate.report import text
from ehg_migrate.revisions.rules import LOSING

if TYPE_CHECKING:
    from ehg_migrate.model import FleetPlan, Run
    from ehg_migrate.project import Project
    from ehg_migrate.schema.correction import Corrective


@click.group(invoke_without_command=True)
@click.pass_context
def schema(context: click.Context) -> None:
    """Schemas of one database as targets. Without a command: print the JSON Schema of targets/*.yaml."""
    if context.invoked_subcommand is None:
        _print_json_schema()


@schema.command("json")
def json_schema() -> None:
    """Print the JSON Schema of targets/*.yaml, for editors."""
    _print_json_schema()


def _print_json_schema() -> None:
    import json

    from ehg_migrate.fleet import json_schema

    console.own([json.dumps(json_schema(), indent=2)])


@schema.command(short_help="How each schema stands: heads, size, whom it equals.")
@options.targets
@options.as_json
@options.project_options
def status(selectors: tuple[str, ...], as_json: bool, **where: Any) -> int:
    """How each schema stands: there or not, its heads, its size, whom it equals, whether it is protected."""
    from ehg_migrate.report.schemas import standing_lines

    with options.opened(**where) as project:
        found = project.standings(selectors)
        if as_json:
            console.json("schema_status", found)
        else:
            console.data(standing_lines(found))
        return 1 if any(s.problem or not s.state.kind.plannable for s in found) else 0


@dataclass
class _Work:
    """What one command does to one schema, step by step; a step that fails is the last."""

    project: Project
    target: str
    how: dict[str, Any]
    confirmed: tuple[str, ...]
    runs: list[Run] = field(default_factory=list)
    corrective: Corrective | None = None
    stopped: int = 0  # the exit code of what ended it beside its runs

    @property
    def good(self) -> bool:
        return self.stopped == 0 and all(exits.of_run(run) == 0 for run in self.runs)

    @property
    def done(self) -> bool:
        """Whether all steps are: a schema that is not what they make is what the statements after them are for."""
        return self.stopped == 0 and all(exits.of_run(run) == 0 or _only_differs(run) for run in self.runs)

    def plan(self, plan: FleetPlan) -> None:
        """Runs it, if there is anything to do and nothing has failed."""
        if self.good and (plan.blocked or any(p.steps for p in plan.plans)):
            gate = {name: self.how[name] for name in ("verify", "lint", "allow")}
            self.ran(watched(self.project, plan, **gate, confirmed=self.confirmed))

    def ran(self, run: Run) -> None:
        """A run has ended; workers have told their own results."""
        if not any(r.steps for r in run.results):
            console.note(line for r in run.results for line in text.result_lines(r))
        console.note(text.notes_lines(run.notes))
        self.runs.append(run)

    def reported(self, kind: str, source: str = "") -> int:
        """The last words, and the exit code."""
        from ehg_migrate.schema.managing import Managed

        if self.how["as_json"]:
            console.json(kind, Managed(self.target, source, tuple(self.runs), self.corrective))
        else:
            console.data(f"{run.verb.value}: {text.run_summary(run)}" for run in self.runs)
        # a schema that was not what its revisions make is no failure where the statements after them have made it right
        amended = bool(self.runs) and exits.of_run(self.runs[-1]) == 0
        left = [run for run in self.runs if not (amended and _only_differs(run))]
        return next((code for run in left if (code := exits.of_run(run))), self.stopped)


def _only_differs(run: Run) -> bool:
    return all(r.status.good or r.status is Status.SCHEMA_DIFFERS for r in run.results)


def _changing(command: options.F) -> options.F:
    for option in (options.yes, options.as_json, options.project_options):
        command = option(command)
    return command


_seed = click.Path(exists=True, dir_okay=False, path_type=Path)


@schema.command(short_help="Create the schema of TARGET, up to its heads.")
@click.argument("target")
@click.option("--from", "source", metavar="TARGET", help="Make it like this target; `shared`: only that branch.")
@click.option("--seed", type=_seed, metavar="FILE", help="Then run this SQL file in it.")
@click.option("--allow-destructive", is_flag=True, help="With --from: also what would lose rows.")
@gate_options
@verifying
@_changing
def create(target: str, source: str | None, seed: Path | None, allow_destructive: bool, yes: bool, **how: Any) -> int:
    """Create the schema of TARGET and bring it to its heads, or to what another target is."""
    from ehg_migrate.project.schemas import read_seed

    with options.opened(**options.where(how)) as project:
        if seed:
            read_seed(seed)
        other = project.schema_target(source).name if source and source != SHARED else None
        plan = project.plan_creation(target, (f"{SHARED}@head",) if source == SHARED else ())
        name = plan.selector
        console.note(f"create schema `{project.fleet.by_name[name].schema}` for {name}")
        console.note(f"like {other}" if other else text.plan_lines(plan))
        console.note(f"then run `{seed}` in it" if seed else ())
        work = _begun(project, name, yes, how)
        work.ran(project.create_schema(name, work.confirmed, console.note))
        if work.good:  # planned anew, from what it holds now
            work.plan(project.plan_sync(other, name) if other else project.plan((name,), plan.wish))
        if other and work.done:
            _make_alike(work, other, yes, allow_destructive)
        if seed and work.good:
            work.ran(project.seed(name, seed, work.confirmed, console.note))
        return work.reported("schema_create", source or "")


@schema.command(short_help="Run a SQL FILE in the schema of TARGET.")
@click.argument("target")
@click.argument("file", type=_seed)
@_changing
def seed(target: str, file: Path, yes: bool, **how: Any) -> int:
    """Run a SQL FILE in the schema of TARGET, in one transaction that leaves other schemas alone."""
    from ehg_migrate.project.schemas import read_seed

    with options.opened(**options.where(how)) as project:
        read_seed(file)
        name = project.schema_target(target).name
        console.note(f"run `{file}` in {name}")
        work = _begun(project, name, yes, how)
        work.ran(project.seed(name, file, work.confirmed, console.note))
        return work.reported("schema_seed")


@schema.command(short_help="Bring the schema of TARGET to what SOURCE is.")
@click.argument("source")
@click.argument("target")
@click.option("--allow-destructive", is_flag=True, help="Also what would lose rows; it is shown first.")
@gate_options
@verifying
@_changing
def sync(source: str, target: str, allow_destructive: bool, yes: bool, **how: Any) -> int:
    """Bring the schema of TARGET to what SOURCE is: by revisions, and by proven SQL for the rest."""
    with options.opened(**options.where(how)) as project:
        plan = project.plan_sync(source, target)
        back = [str(s) for p in plan.plans for s in p.steps if s.direction is Direction.DOWN]
        if back and not allow_destructive:
            console.note(text.plan_lines(plan))
            raise GateError(_destructive(plan.selector, back))
        allow = (*how["allow"], *(LOSING if allow_destructive else ()))
        plan = project.judged(plan, how["lint"], allow, console.note)
        console.note(text.plan_lines(plan))
        steps = [s for p in plan.plans for s in p.steps]
        lossy = bool(back) or any(f.rule in LOSING and f.allowed for f in plan.findings)
        work = _begun(project, plan.selector, yes or not steps, how, lossy=lossy)
        work.plan(plan)
        if work.done:
            _make_alike(work, source, yes, allow_destructive)
        return work.reported("schema_sync", source)


def _begun(project: Project, target: str, yes: bool, how: dict[str, Any], *, lossy: bool = False) -> _Work:
    """Asks; for a protected target a person, by its name. Raises GateError, UsageError."""
    names = project.protected_names((target,))
    confirmed = confirm_protected(names)
    if confirmed != names:
        raise GateError(protected(project.fleet.by_name[target]))
    if not confirmed:
        confirm(yes, *_question(target, lossy=lossy))
    return _Work(project, target, how, confirmed)


def _question(target: str, *, lossy: bool) -> tuple[str, str]:
    return (target, f"type the target's name, `{target}`, to go on") if lossy else ("yes", "type `yes` to go on")


def _make_alike(work: _Work, source: str, yes: bool, destructive: bool) -> None:
    """Shows the statements for what differs still, asks, and runs them. What stops it is told, after what was done."""
    try:
        _amend(work, source, yes, destructive)
    except (GateError, TargetError) as e:
        for problem in e.problems if isinstance(e, GateError) else (e.problem,):
            console.problem(problem)
        work.stopped = e.exit_code if isinstance(e, GateError) else 1


def _amend(work: _Work, source: str, yes: bool, destructive: bool) -> None:
    from ehg_migrate.report.correction import correction_lines

    amends = work.project.amends(source, work.target, destructive=destructive, notice=console.note)
    work.corrective = found = amends.corrective
    if not found.differences:
        console.note(f"{work.target} is what {source} is")
        return
    console.note(correction_lines(found))
    if found.withheld:
        raise GateError(_destructive(work.target, [s.sql for s in found.withheld]))
    if not found.proven:
        raise TargetError(found.problem or _unproven(found))
    confirm(yes, *_question(work.target, lossy=any(s.destructive for s in found.statements)))
    work.ran(made := work.project.make_amends(amends, work.confirmed, console.note))
    if exits.of_run(made) == 0:
        console.note(f"{work.target} is what {source} is; what came as SQL is in no revision, so `drift` may name it")


def _destructive(target: str, what: list[str]) -> Problem:
    return Problem(
        "destructive",
        f"bringing {target} there would lose rows, or what cannot be made anew: {some(what, 3, '; ')}",
        "look at it, then say `--allow-destructive`",
    )


def _unproven(found: Corrective) -> Problem:
    names = ", ".join(f"{left.difference.kind} {left.difference.identity}" for left in found.remaining[:3])
    return Problem(
        "unproven",
        f"no SQL was found that makes `{found.left}` like `{found.right}`: {names} would still differ",
        "mend that by hand, or in a revision; nothing was changed by SQL",
    )


schema.add_command(compare)
