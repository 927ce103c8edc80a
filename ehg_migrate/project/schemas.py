"""The verbs of a schema manager: how schemas stand, one made anew, seeded, or brought to what another is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ehg_migrate.errors import Problem, TargetError, UsageError, of_target, quoted
from ehg_migrate.model import FleetPlan, Plan, Result, Run, State, Status, Target, Verb
from ehg_migrate.project.base import Selectors, nobody, several
from ehg_migrate.project.correcting import CorrectingProject

if TYPE_CHECKING:
    from ehg_migrate.database.connections import Notice
    from ehg_migrate.rollout.amending import Place
    from ehg_migrate.schema.correction import Corrective, Pair
    from ehg_migrate.schema.standing import Standing


@dataclass(frozen=True, slots=True)
class Amends:
    """Statements that bring a schema to what another is, and the two catalogues that they were proven for."""

    corrective: Corrective
    pair: Pair
    heads: tuple[str, ...]  # of the schema that is changed


class SchemasProject(CorrectingProject):
    """A project some of whose targets are schemas of one database.

    What changes one refuses a protected target, unless its name is `confirmed`: typed by a person.
    """

    def standings(self, selectors: Selectors = ()) -> tuple[Standing, ...]:
        """How each selected target stands that is a schema. One connection each. Raises UsageError where none is."""
        from ehg_migrate.rollout.states import read_states
        from ehg_migrate.schema.standing import Measuring, standings

        targets, passwords = self._reach(selectors)
        schemas = tuple(t for t in targets if t.schema)
        if not schemas:
            raise UsageError(_no_schemas())
        measuring = Measuring()
        states = read_states(
            schemas, passwords, self.revisions, self.releases, self._at_once, measuring.probe, self.fleet.by_name
        )
        return standings(schemas, states, measuring)

    def create_schema(self, target: str, confirmed: Collection[str] = (), notice: Notice = nobody) -> Run:
        """Makes the schema of a target, empty. One that was dropped is made anew, its record told so.

        Trouble is in the Run: `schema_exists` where it is there and not empty. Raises UsageError.
        """
        from ehg_migrate.rollout.amending import make_schema

        chosen = self.schema_target(target)
        graph = self._graph(chosen)
        heads = self._states((chosen.name,))[0].heads
        return self._single(
            Verb.CREATE, chosen, "", confirmed, notice, heads, lambda place: make_schema(place, graph, heads)
        )

    def seed(self, target: str, file: Path, confirmed: Collection[str] = (), notice: Notice = nobody) -> Run:
        """Runs a file of SQL in the schema of a target, in one transaction, which must leave other schemas alone.

        Raises UsageError for a file that cannot be read or ends its transaction, GateError where the target is held.
        """
        from ehg_migrate.rollout.amending import Amendment, amend
        from ehg_migrate.rollout.astray import doubted_still

        chosen, text = self.schema_target(target), read_seed(file)
        self._free((chosen.name,))
        state = self._held((chosen.name,))
        made, astray = Amendment("seeded", (text,), state.heads, str(file)), self._astray((chosen.name,))
        return self._single(
            Verb.SEED, chosen, str(file), confirmed, notice, state.heads,
            lambda place: doubted_still(amend(place, made), astray),
        )  # fmt: skip

    def plan_creation(self, target: str, to: Selectors = ()) -> FleetPlan:
        """What `upgrade` will do to the schema of a target once it has been made. Raises GateError where it is held."""
        from ehg_migrate.revisions.planner import plan_upgrade

        chosen, to = self.schema_target(target), several(to)
        self._free((chosen.name,))
        plan = plan_upgrade(self._graph(chosen), chosen.name, (), tuple(to) or chosen.upgrade_to, self.releases)
        return FleetPlan(Verb.UPGRADE, chosen.name, (plan,), wish=tuple(to))

    def plan_sync(self, source: str, target: str) -> FleetPlan:
        """The revisions by which a schema comes to hold what another holds, up or down.

        `run` does it; what differs then is for `amends`. Raises UsageError, TargetError, GateError where it is held.
        """
        from ehg_migrate.revisions.syncing import plan_sync

        one, other = self.schema_target(source), self.schema_target(target)
        if one.name == other.name:
            raise UsageError(Problem("same_schema", f"`{one.name}` is itself", "name two targets"))
        self._free((other.name,))
        held = self._held((one.name,)).heads

        def make(state: State) -> Plan:
            return plan_sync(self._graph(other), other.name, state.heads, self._graph(one), held)

        return replace(self._plan(Verb.SYNC, (other.name,), make), wish=(one.name,))

    def amends(self, source: str, target: str, *, destructive: bool = False, notice: Notice = nobody) -> Amends:
        """Statements that bring the schema of `target` to what `source` is, proven on a clone. Changes nothing.

        Raises UsageError, and TargetError where one cannot be read, or where revisions separate them.
        """
        from ehg_migrate.schema.correction import Pair, make_alike

        sides = self._side(self.schema_target(target).name), self._side(self.schema_target(source).name)
        (one, scope), (other, _) = self._read(sides, {})
        heads = self._same_revisions(source, target)  # after that: what the rows say now was there then
        pair = Pair(target, one, source, other, scope)
        if one.fingerprint == other.fingerprint:
            return Amends(_alike(pair), pair, heads)
        origin = self._origin(sides, one, scope, {})
        with self._scratch(notice) as (servers, _):
            return Amends(make_alike(servers, origin, pair, notice, destructive=destructive), pair, heads)

    def _same_revisions(self, source: str, target: str) -> tuple[str, ...]:
        """What the target holds. Raises TargetError where a revision would have to be done: as SQL it is in no row."""
        plan = self.plan_sync(source, target)
        for state in plan.blocked:
            raise TargetError(of_target(state.trouble, state.target))
        (made,) = plan.plans
        if made.steps:
            raise TargetError(of_target(_moved(source, made), made.target))
        return made.heads

    def make_amends(self, amends: Amends, confirmed: Collection[str] = (), notice: Notice = nobody) -> Run:
        """Runs them in one transaction, which is kept only where the schema was and becomes what was proven.

        Raises UsageError where nothing is proven.
        """
        from ehg_migrate.rollout.amending import STALE, Amendment, amend
        from ehg_migrate.schema.catalog import read_catalog
        from ehg_migrate.schema.difference import differences
        from ehg_migrate.schema.search import PREAMBLE

        found, pair = amends.corrective, amends.pair
        if not found.proven:
            hint = "what `remaining` names must be mended by hand, or in a revision"
            raise UsageError(
                Problem("unproven", f"no SQL is proven that makes `{found.left}` like `{found.right}`", hint)
            )
        made = Amendment(
            "corrected",
            [PREAMBLE, *(s.sql for s in found.statements)],
            amends.heads,
            f"like {found.right}:\n" + "\n".join(f"{s.sql};" for s in found.statements),
            lambda c: STALE if differences(read_catalog(c, pair.scope), pair.one) else None,
            lambda c: _still_differs(found) if differences(read_catalog(c, pair.scope), pair.other) else None,
        )
        target = self.schema_target(found.left)
        return self._single(
            Verb.SYNC, target, found.right, confirmed, notice, amends.heads, lambda place: amend(place, made)
        )

    def _single(
        self, verb: Verb, target: Target, wish: str, confirmed: Collection[str], notice: Notice,
        heads: tuple[str, ...], work: Callable[[Place], Result],
    ) -> Run:  # fmt: skip
        """A run of one target, refused where that is protected and not confirmed."""
        from ehg_migrate.fleet.protection import protected
        from ehg_migrate.rollout.amending import Place
        from ehg_migrate.rollout.single import carry_out_one

        (there,), passwords = self._reach((target.name,))

        def done(run: Run) -> Result:
            if target.protected and target.name not in several(confirmed) and not self._local:
                return Result(target.name, Status.REFUSED, heads, heads, problem=protected(target))
            return work(Place(there, passwords.get(target.name), run.id, run.origin, notice))

        return carry_out_one(self.settings, verb, target.name, (wish,) if wish else (), self.ledger, done)

    def schema_target(self, name: str) -> Target:
        """One target that is a schema. Raises UsageError where it is none."""
        found = self._one(name)
        if not found.schema:
            hint = "give its entry `schema: NAME`; `ehg-migrate docs schemas` says what that means"
            raise UsageError(Problem("no_schema_target", f"`{found.name}` is all of its database", hint))
        return found

    def _held(self, names: tuple[str]) -> State:
        """What a target holds. Raises TargetError where that is not known, or must not be built on."""
        (state,) = self._states(names)
        if not state.kind.plannable:
            raise TargetError(of_target(state.trouble, state.target))
        return state


def read_seed(file: Path) -> str:
    """The SQL of a file. Raises UsageError where it cannot be read, or would end its transaction."""
    from ehg_migrate.database.leaving import leaves

    try:
        text = file.read_text(encoding="utf-8-sig")  # as editors on Windows begin it, and psql takes it
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(Problem("seed_file", f"`{file}` cannot be read: {e}", "it must be SQL in UTF-8")) from e
    if leaves(text):
        hint = "take its BEGIN and COMMIT out: all of it is one transaction"
        raise UsageError(Problem("seed_file", f"`{file}` ends its transaction", hint))
    return text


def _alike(pair: Pair) -> Corrective:
    from ehg_migrate.schema.correction import Corrective

    return Corrective(pair.left, pair.right, 0, proven=True)


def _moved(source: str, plan: Plan) -> Problem:
    """Somebody has migrated one of both since the revisions were planned."""
    message = f"it or `{source}` was moved since revisions were planned: {quoted(plan.revisions, 8)} separates them"
    hint = f"`ehg-migrate schema sync {source} TARGET` again does revisions first; what they do must not come as SQL"
    return Problem("moved", message, hint)


def _still_differs(found: Corrective) -> Problem:
    return Problem(
        "still_differs",
        f"after the statements `{found.left}` is not what `{found.right}` is, so nothing of them was kept",
        "on a clone it was: was something changed meanwhile? "
        f"`ehg-migrate schema compare {found.left} {found.right}` tells",
    )


def _no_schemas() -> Problem:
    return Problem(
        "no_schemas",
        "no selected target is a schema of a database",
        "give entries `schema: NAME`; `ehg-migrate docs schemas` says what that means",
    )
