"""`Project`: the verbs that do what a plan says, and those that write files of the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ehg_migrate.errors import Problem, TargetError, UsageError, of_target, quoted
from ehg_migrate.model import SHARED, FleetPlan, Run, Verb
from ehg_migrate.project.base import Selectors, nobody, several
from ehg_migrate.project.proving import Manner
from ehg_migrate.project.releases import write_release
from ehg_migrate.project.schemas import SchemasProject
from ehg_migrate.revisions.specs import resolve_all
from ehg_migrate.settings import LINT, VERIFY

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.database.locks import Held
    from ehg_migrate.rollout.executor import Execute
    from ehg_migrate.rollout.runner import Reach
    from ehg_migrate.rollout.running import How
    from ehg_migrate.schema.carrying import Carried


class Project(SchemasProject):
    """A project folder, checked as a whole when it is loaded.

    Use it as a context manager: with `local=True` it starts the embedded PostgreSQL, which stops when it is left.
    Methods raise UsageError for arguments that make no sense, ConfigurationError and RevisionsError for files that are
    wrong. Trouble with a target is never an exception but a State or Result of that target; a verb about exactly one
    target (`history`, `break_lock`) raises TargetError.
    """

    def break_lock(self, seen: Held) -> Held:
        """Ends the sessions that `lock` has shown. The server rolls their open step back; their run does not return.

        Raises TargetError: unreachable, nobody there or another by now, not allowed, or they would not end.
        """
        from ehg_migrate.database.locks import break_lock
        from ehg_migrate.database.origin import find_origin

        targets, passwords = self._reach((seen.target,))
        origin = find_origin(self.settings.root)
        try:
            return break_lock(targets[0], passwords.get(seen.target), seen, f"{origin.actor}@{origin.host}")
        except TargetError as e:
            raise TargetError(of_target(e.problem, seen.target)) from e

    def upgrade(
        self, selectors: Selectors = (), to: Sequence[str] = (), *, waves: bool = True, **how: Unpack[Manner]
    ) -> Run:
        """Plans and runs; see `plan` and `run`."""
        return self.run(self.plan(selectors, to, soon=True, waves=waves), **how)

    def downgrade(self, target: str, to: Sequence[str], **how: Unpack[Manner]) -> Run:
        """Plans and runs; see `plan_downgrade` and `run`."""
        return self.run(self.plan_downgrade(target, to), **how)

    def rollback(self, run: str, selectors: Selectors = (), **how: Unpack[Manner]) -> Run:
        """Plans and runs; see `plan_rollback` and `run`."""
        return self.run(self.plan_rollback(run, selectors), **how)

    def adopt(self, target: str, heads: Sequence[str] = (), **how: Unpack[Manner]) -> Run:
        """Plans and runs; see `plan_adoption` and `run`."""
        return self.run(self.plan_adoption(target, heads), **how)

    def run(self, plan: FleetPlan, **how: Unpack[Manner]) -> Run:
        """Does what the plan says, some targets at a time, and records it. Each plan is valid only from its heads.

        An upgrade is `judged` first, where that has not been done.

        The Run has a Result for every target of the plan. A protected target that is not `confirmed` is refused, and
        the others go on. Trouble with the ledger is a note of the Run.
        """
        from ehg_migrate.rollout.executor import LOCAL, check_workers, executor
        from ehg_migrate.rollout.planning import lacking, without_protected
        from ehg_migrate.rollout.running import carry_out

        _refuse(how)
        place = how.get("executor", LOCAL)
        if self._local and place != LOCAL:
            raise UsageError(Problem("local_executor", "`--local` has its servers here", "leave out `--executor`"))
        if place == LOCAL and any(p.steps for p in plan.plans):
            check_workers()
        if self.protected(plan):
            plan = without_protected(plan, self.fleet.by_name, several(how.get("confirmed", ())))
        # where something was never run the rows say nothing
        plan = replace(plan, unseen=tuple(dict.fromkeys((*plan.unseen, *lacking(plan)))))
        plan = self.judged(plan, how.get("lint"), how.get("allow", ()), how.get("notice") or nobody)
        astray = self._astray([p.target for p in plan.plans]) if plan.verb is not Verb.ADOPT else {}
        if self.unread:
            plan = replace(plan, notes=(*plan.notes, self.unread))
        parallel = how.get("parallel") or self.settings.parallel
        reach = self._reach_of(plan, astray, parallel)
        with executor(place, parallel) as execute:
            return carry_out(self.settings, plan, reach, self._manner(how, execute, reach, astray))

    def _reach_of(self, plan: FleetPlan, astray: Mapping[str, str], parallel: int) -> Reach:
        """How to get at the targets that a plan changes or looks at."""
        from ehg_migrate.rollout.runner import Reach

        busy = [p.target for p in plan.plans if p.steps or plan.verb is Verb.ADOPT]
        looked_at = tuple(dict.fromkeys((*busy, *astray, *plan.unseen)))
        targets, passwords = self._reach(looked_at) if looked_at else ((), {})
        # which is first matters only where some must wait
        last = self._last_results(busy) if len(busy) > parallel else {}
        took = {name: seen.seconds for name, seen in last.items()}
        by_name = {t.name: t for t in targets}
        proven, self._proven = self._proven, set()
        return Reach(by_name, passwords, self._graph, took, self._taken_in(plan), proven)

    def _manner(self, how: Manner, execute: Execute, reach: Reach, astray: Mapping[str, str]) -> How:
        """All that was not said as the settings have it."""
        from ehg_migrate.rollout.jobs import unwatched
        from ehg_migrate.rollout.running import How
        from ehg_migrate.rollout.stop import Stop

        stop = how["stop"] = how.get("stop") or Stop()
        verify = self._verifier(reach, how)
        watch, notice = how.get("watch") or unwatched, how.get("notice") or nobody
        most = how.get("max_failures")
        most = self.settings.max_failures if most is None else most
        return How(execute, watch, stop, self.ledger, verify, how.get("rollout", ""), astray, most, notice)

    def new_revision(
        self, message: str, branch: str = SHARED, depends_on: Sequence[str] = (), autogenerate: str | None = None
    ) -> Path:
        """Writes a revision at the head of a branch; a new branch gets its folder and label. Raises UsageError."""
        from ehg_migrate.environment.authoring import new_revision

        everything = self.revisions.graph(tuple(self.revisions.branches))
        ids = resolve_all(everything, several(depends_on), self.releases)
        if autogenerate:
            self._one_with(autogenerate, branch)
        self._refuse_lacking(branch, ids)
        local = self.local_address(autogenerate) if autogenerate and self._local else None
        return new_revision(self.settings, self.revisions, branch, message, ids, autogenerate, local)

    def _refuse_lacking(self, branch: str, depends_on: Sequence[str]) -> None:
        """Raises UsageError for what a target with this branch has not: no command would go on with such a file."""
        for needed in depends_on:
            homes = {b for b, revisions in self.revisions.branches.items() if any(r.id == needed for r in revisions)}
            for target in self.fleet.targets:
                if branch in (*target.branches, target.name) and not homes.intersection(target.branches):
                    message = f"`{needed}` is of {quoted(sorted(homes))}, which `{target.name}` with `{branch}` has not"
                    hint = "depend only toward a group and `shared`; write the revision in the more special branch"
                    raise UsageError(Problem("dependency_direction", message, hint))

    def new_revision_from_drift(
        self,
        target: str,
        branch: str,
        message: str,
        depends_on: Sequence[str] = (),
        *,
        destructive: bool = False,
        notice: Notice = nobody,
    ) -> tuple[Path, Carried]:
        """Writes a revision that makes of what the target's revisions produce what the target is; and says how well.

        Proven on a scratch database at the target's heads: after `upgrade()` it equals the target, after `downgrade()`
        what it was. What is not proven, or would be destructive, stands in the file as a comment. Raises UsageError,
        and TargetError where the target is not known, has pending steps, or has nothing that can be carried.
        """
        from ehg_migrate.schema.carrying import write_carried

        carried, needed = self._carried(target, branch, destructive, notice)
        path = self.new_revision(message, branch, tuple(dict.fromkeys((*several(depends_on), *needed))))
        write_carried(path, target, carried)
        return path, carried

    def release(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Gives the present heads of all branches a name, in versions/releases.yaml. Raises ConfigurationError."""
        from ehg_migrate.environment.authoring import branch_heads

        heads = dict(branch_heads(self.revisions))
        write_release(self.settings, name, heads)
        return heads


def _refuse(how: Manner) -> None:
    """Raises UsageError for what only a program can ask for: a command's options and alembic.ini are checked."""
    for name, number in (("parallel", how.get("parallel")), ("max_failures", how.get("max_failures"))):
        if number is not None and number < 0:
            raise UsageError(Problem("bad_manner", f"`{name}` is {number}", "give a number that is not negative"))
    for name, word, words in (("verify", how.get("verify"), VERIFY), ("lint", how.get("lint"), LINT)):
        if word is not None and word not in words:
            raise UsageError(Problem("bad_manner", f"`{name}` is {word!r}", f"give one of {', '.join(words)}"))
