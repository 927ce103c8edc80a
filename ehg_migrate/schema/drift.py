"""A fleet held against what its revisions produce: fingerprints everywhere, catalogues only where they differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.database.asking import Connection, ask_all
from ehg_migrate.database.faults import look_fault
from ehg_migrate.database.probe import Reading
from ehg_migrate.database.probe import read as read_state
from ehg_migrate.database.together import Together
from ehg_migrate.errors import Problem, TargetError, quoted
from ehg_migrate.model import State, Target
from ehg_migrate.revisions.beside import Contents
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.schema.catalog import message, read_catalog_async
from ehg_migrate.schema.difference import Change, Difference, differences
from ehg_migrate.schema.eras import Eras, as_made_now, both_eras, told
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.ground import Ground, ground_query
from ehg_migrate.schema.recipe import Recipe, drift_scope, recipe
from ehg_migrate.schema.reference import References
from ehg_migrate.schema.scratch import ScratchServers
from ehg_migrate.schema.shelf import Reference
from ehg_migrate.schema.tripwire import Seen, Tripwires


class Verdict(StrEnum):
    """What a target's schema is, held against its revisions."""

    MATCHES = "matches"
    DRIFTED = "drifted"
    NO_REFERENCE = "no_reference"  # what it should be cannot be found out
    UNKNOWN = "unknown"  # the target cannot be read, or holds what nothing here knows


@dataclass(frozen=True, slots=True)
class Drift:
    """One target against its reference: left in `differences` is what the revisions produce, right what is there."""

    target: str
    verdict: Verdict
    heads: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    notes: tuple[Problem, ...] = ()  # those of its state: a file that was edited since it was applied
    problem: Problem | None = None
    server_version: str = ""
    reference_version: str = ""  # of the PostgreSQL that made the reference
    seconds: float = 0.0  # that reading the target took
    unchanged: bool = False  # since the last full look, as its token says: the schema was not read again


@dataclass(frozen=True, slots=True)
class Look:
    """What one connection brought home, beside what a probe reads."""

    ground: Ground
    fingerprint: str
    seconds: float
    unchanged: bool = False  # the fingerprint is that of an earlier look
    unseen: tuple[str, ...] = ()  # schemas that were left out by their names, and are perhaps the project's own


class Looking:
    """A probe that looks at the schema on the same connection: `probe` for `read_states`, then `found` by target.

    A target that was not changed since the last look in `tripwires` is not read again, unless `full`.
    """

    def __init__(self, prelude: str, tripwires: Tripwires, *, full: bool = False) -> None:
        self.found: dict[str, Look | Problem] = {}
        self._prelude = prelude
        self._tripwires = tripwires
        self._full = full

    def probe(
        self, targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int
    ) -> dict[str, Reading | Problem]:
        """As `database.probe.probe`."""
        found = ask_all(targets, passwords, at_once, self._ask)
        self._tripwires.save()
        return found  # type: ignore[return-value]  # _ask: a Reading

    async def _ask(self, connection: Connection, target: Target) -> Reading:
        """One message where nothing was changed, or there was no look before; else one more."""
        start = time.monotonic()
        last = None if self._full else self._tripwires.last(target)
        wanted = ("token",) if last else ("token", "fingerprint")
        together = Together(connection, _question(connection, target, wanted))
        reading = await read_state(together, target)  # type: ignore[arg-type]  # it only executes
        try:
            answers = await (_rest(together.answers) if together.answers else _ask(connection, target, wanted))
            if last and last.token != answers.token:
                answers = replace(await _ask(connection, target, ("fingerprint",)), token=answers.token)
            self.found[target.name] = self._seen(target, answers, last, time.monotonic() - start)
        except psycopg.Error as e:
            self.found[target.name] = look_fault(e)
        return reading

    def _seen(self, target: Target, answers: _Answers, last: Seen | None, seconds: float) -> Look:
        unchanged = last is not None and last.token == answers.token
        fingerprint = last.fingerprint if last and unchanged else answers.fingerprint
        if not unchanged:
            self._tripwires.remember(target, answers.token, fingerprint)
        ground = Ground.of(answers.ground, self._prelude, target.platform)
        unseen = () if target.platform else tuple(answers.ground["own"])
        return Look(ground, fingerprint, seconds, unchanged, unseen)


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one message has asked; empty what it has not."""

    ground: Mapping[str, Any]
    token: str = ""
    fingerprint: str = ""


def _question(connection: Connection, target: Target, answers: Sequence[str]) -> sql.Composed:
    """The ground, then each of `token` and `fingerprint` that is wanted: the token before what it shall be true of."""
    asked = message(answers, connection, drift_scope(target), target.limits.look, behind=True)
    return sql.SQL("{};\n{}").format(ground_query(target), asked)


async def _ask(connection: Connection, target: Target, answers: Sequence[str]) -> _Answers:
    """In one message of its own. Raises psycopg.Error."""
    cursor = await connection.execute(_question(connection, target, answers), prepare=False)
    return await _rest(cursor, await cursor.fetchone())


async def _rest(cursor: psycopg.AsyncCursor[dict[str, Any]], ground: Mapping[str, Any] | None = None) -> _Answers:
    """What a cursor still has: the row of the ground where it was not read yet, then a value for each answer."""
    rows = [ground] if ground else []
    while cursor.nextset():
        if cursor.description:
            rows += await cursor.fetchall()
    first, *others = rows
    return _Answers(first, **{str(name): str(value) for row in others for name, value in row.items()})


def read_grounds(
    targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int, prelude: str
) -> dict[str, Look | Problem]:
    """What each target's revisions stand on, and no fingerprint: one connection and one message each."""

    async def ask(connection: Connection, target: Target) -> Look:
        start = time.monotonic()
        cursor = await connection.execute(ground_query(target), prepare=False)
        row = await cursor.fetchone()
        assert row is not None
        return Look(Ground.of(row, prelude, target.platform), "", time.monotonic() - start)

    return ask_all(targets, passwords, at_once, ask)  # type: ignore[return-value]  # ask gives a Look


@dataclass(frozen=True, slots=True)
class Fleet:
    """The targets that are looked at, and how they are reached."""

    targets: Sequence[Target]
    passwords: Mapping[str, str | None]
    graph: Callable[[Target], Graph]
    at_once: int
    contents: Contents


def find_drift(
    fleet: Fleet, states: Iterable[State], looks: Mapping[str, Look | Problem], references: References,
    scratch: ScratchServers,
) -> tuple[Drift, ...]:  # fmt: skip
    """A Drift for each target, in their order. Never raises for a single one."""
    by_name = {s.target: s for s in states}
    recipes = {t.name: _recipe(t, by_name[t.name], looks.get(t.name), fleet, scratch) for t in fleet.targets}
    made = references.get(r for r in recipes.values() if isinstance(r, Recipe))
    expected = {name: made[r.key] for name, r in recipes.items() if isinstance(r, Recipe)}
    suspects = [t for t in fleet.targets if differs(looks.get(t.name), expected.get(t.name))]
    catalogs = ask_all(suspects, fleet.passwords, fleet.at_once, read_there) if suspects else {}
    eras = both_eras({t.name: _standing(t, recipes[t.name], looks[t.name]) for t in suspects}, references)
    found = []
    for target in fleet.targets:
        state, made_from = by_name[target.name], recipes[target.name]
        if isinstance(made_from, Problem):
            found.append(Drift(target.name, Verdict.UNKNOWN, state.heads, problem=made_from))
        else:
            there = looks[target.name]
            assert isinstance(there, Look)
            read, there_were = catalogs.get(target.name), eras.get(target.name)
            found.append(_drift(state, there, expected[target.name], read, there_were))
    return tuple(found)


def _standing(target: Target, made: Recipe | Problem, there: Look | Problem) -> tuple[Recipe, Ground]:
    """Of a target that differs: what it should be, and the ground that its revisions stand on now."""
    assert isinstance(made, Recipe)
    assert isinstance(there, Look)
    return made, there.ground.below(target)


def _recipe(
    target: Target, state: State, there: Look | Problem | None, fleet: Fleet, scratch: ScratchServers
) -> Recipe | Problem:
    if not state.kind.plannable:
        return state.trouble
    if not isinstance(there, Look):
        return there or Problem("unknown", "the schema of the target was not read", "look again")
    label = scratch.label(there.ground.major, api_roles=bool(there.ground.roles))
    try:
        return recipe(target, state.heads, fleet.graph(target), there.ground, label, fleet.contents)
    except TargetError as e:
        return e.problem


def differs(there: Look | Problem | None, expected: Reference | Problem | None) -> bool:
    """Whether a schema that was seen is another than what its revisions produce; not where either is not known."""
    return isinstance(there, Look) and isinstance(expected, Reference) and there.fingerprint != expected.fingerprint


async def read_there(connection: Connection, target: Target) -> tuple[Catalog, tuple[str, ...]]:
    """The catalogue in which a target is held against a reference, and its heads just before. Raises TargetError."""
    try:
        reading = await read_state(connection, target)
        return await read_catalog_async(connection, drift_scope(target), target.limits.look), reading.heads
    except psycopg.Error as e:
        raise TargetError(look_fault(e)) from e


def _drift(state: State, there: Look, expected: Reference | Problem, read: object, eras: Eras | None) -> Drift:
    seen = Drift(
        state.target,
        Verdict.MATCHES,
        state.heads,
        notes=(*state.notes, *_unseen(there)),
        server_version=state.server_version,
        seconds=there.seconds,
        unchanged=there.unchanged,
    )
    if isinstance(expected, Problem):
        return replace(seen, verdict=Verdict.NO_REFERENCE, problem=expected)
    seen = replace(seen, reference_version=expected.server_version)
    if read is None:
        return seen
    if isinstance(read, Problem):
        return replace(seen, verdict=Verdict.UNKNOWN, problem=read)
    assert isinstance(read, tuple)
    catalog, heads = read
    if heads != state.heads:
        return replace(seen, verdict=Verdict.UNKNOWN, problem=MOVED)
    try:
        left = expected.catalog()
    except TargetError as e:
        return replace(seen, verdict=Verdict.NO_REFERENCE, problem=e.problem)
    if eras is not None:
        left = eras.now
        catalog, old = as_made_now(catalog, eras)
        seen = replace(seen, notes=(*seen.notes, told(old))) if old else seen
    found = differences(left, catalog)
    seen = replace(seen, notes=(*seen.notes, *_unmade(there, found)))
    return replace(seen, verdict=Verdict.DRIFTED if found else Verdict.MATCHES, differences=found)


UNSEEN = "not_looked_at"
"""The code of a note: a schema was left out because of its name."""


def _unseen(there: Look) -> Iterator[Problem]:
    if there.unseen:
        named = quoted(there.unseen)
        yield Problem(
            UNSEEN,
            f"not looked at, since a platform's schema would be called so: {named}",
            "write `platform: none` into the target's entry if it is yours, else `platform: supabase`",
        )


UNMADE = "path_not_made"
"""The code of a note: where what revisions make lands, none of them has made."""


def _unmade(there: Look, found: Iterable[Difference]) -> Iterator[Problem]:
    extra = [d.identity for d in found if d.kind == "schema" and d.change is Change.EXTRA]
    if named := [name for name in extra if name.strip('"') in there.ground.path]:
        yield Problem(
            UNMADE,
            f"no revision makes {quoted(named)}, to which the `search_path` of the role leads: on a scratch database "
            "what they make has landed elsewhere",
            f"`prelude = FILE` in alembic.ini, with `CREATE SCHEMA {named[0]}`, makes it there",
        )


MOVED = Problem("moved", "a runner changed the target while it was looked at", "look again when it has ended")
