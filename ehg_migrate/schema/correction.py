"""One side of a comparison made like the other: by which statements, and whether a clone became equal by them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import psycopg

from ehg_migrate.database.answers import dict_rows
from ehg_migrate.database.asking import Connection, ask_all
from ehg_migrate.database.connections import Notice
from ehg_migrate.database.faults import look_fault, run_fault
from ehg_migrate.errors import LocalServerError, Problem, TargetError, of_target, some
from ehg_migrate.local.programs import MAJOR
from ehg_migrate.model import Target
from ehg_migrate.schema.catalog import read_catalog, read_catalog_async
from ehg_migrate.schema.clone import apart, build, without_common_options
from ehg_migrate.schema.comparing import Passwords
from ehg_migrate.schema.corrections import Statement
from ehg_migrate.schema.difference import Change, Difference, differences
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.grantors import Given, kept, read_given
from ehg_migrate.schema.ground import Ground, ground_query
from ehg_migrate.schema.owners import changed_hands, made_anew, owners_of
from ehg_migrate.schema.proof import Correction, Left, correct
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.scratch import Scratch, ScratchServers
from ehg_migrate.schema.search import named, roles_of


@dataclass(frozen=True, slots=True)
class Corrective:
    """Statements that bring `left` to what `right` is.

    They are for one transaction, after `SET LOCAL check_function_bodies = off`. `proven` if a clone of `left` was read
    as equal to `right` after them; else `remaining` is what still differed there, or `problem` why there is no clone.
    """

    left: str
    right: str
    differences: int  # objects that differ before
    proven: bool = False
    statements: tuple[Statement, ...] = ()
    remaining: tuple[Left, ...] = ()
    withheld: tuple[Statement, ...] = ()  # destructive ones that would have been needed and were not asked for
    problem: Problem | None = None
    scratch_version: str = ""  # of the PostgreSQL that held the clone


@dataclass(frozen=True, slots=True)
class Origin:
    """What a clone is made from: all of a target, what stands below its revisions, and how both were read."""

    catalog: Catalog
    scope: Scope
    ground: Ground | None  # None for a snapshot, of which nothing but its facts is known
    given: tuple[Given, ...] = ()  # what others than the owners have given

    @property
    def major(self) -> int:
        """The version of PostgreSQL that the clone should have."""
        if self.ground:
            return self.ground.major
        found = re.match(r"\d+", self.catalog.server_version)  # `18.4`, `19beta1`; a file may say anything
        return int(found[0]) if found else MAJOR


@dataclass(frozen=True, slots=True)
class Pair:
    """Two catalogues, both read in one scope but for the name of a schema: `scope` is that of the first."""

    left: str
    one: Catalog
    right: str
    other: Catalog
    scope: Scope


def read_origin(target: Target, passwords: Passwords, scope: Scope, prelude: str) -> Origin:
    """All of a target, on a connection of its own. Raises TargetError."""

    async def ask(connection: Connection, target: Target) -> Origin:
        try:
            async with connection.cursor(row_factory=dict_rows) as cursor:
                await cursor.execute(ground_query(target), prepare=False)
                row = await cursor.fetchone()
            assert row is not None
            ground = Ground.of(row, prelude, target.platform).below(target)
            catalog = await read_catalog_async(connection, scope, target.limits.look)
            return Origin(catalog, scope, ground, await read_given(connection))
        except psycopg.Error as e:
            raise TargetError(look_fault(e)) from e

    answer = ask_all([target], passwords, 1, ask)[target.name]
    if isinstance(answer, Problem):
        raise TargetError(of_target(answer, target.name))
    assert isinstance(answer, Origin)
    return answer


def make_alike(
    servers: ScratchServers, origin: Origin, pair: Pair, notice: Notice, *, destructive: bool = False
) -> Corrective:
    """The statements, tried and proven on a clone of `origin`. Raises nothing: what hinders it is in the answer."""
    before = differences(pair.one, pair.other)
    found = Corrective(pair.left, pair.right, len(before))
    if not before:
        return replace(found, proven=True)
    if origin.ground and origin.ground.defaults and not origin.ground.owned:
        return replace(found, problem=unproven(f"whoever migrates `{pair.left}` {_STRANGER}", _OWNER))
    try:
        api_roles = bool(origin.ground and origin.ground.roles)
        scratch = servers.get(origin.major, api_roles=api_roles)
        found = replace(found, scratch_version=scratch.version)
        notice(f"proving the statements on a clone of `{pair.left}` on a scratch PostgreSQL {scratch.version}")
        done = _on_clone(scratch, origin, pair, found, destructive)
    except LocalServerError as e:
        return replace(found, problem=unproven(e.problems[0].message, e.problems[0].hint))
    except psycopg.Error as e:
        return replace(found, problem=unproven(run_fault(e).problem.message, "try again"))
    return replace(found, problem=done) if isinstance(done, Problem) else done


def _on_clone(
    scratch: Scratch, origin: Origin, pair: Pair, found: Corrective, destructive: bool
) -> Corrective | Problem:
    one, other = without_common_options(pair.one, pair.other)
    database = build(scratch, origin.ground, origin.catalog, origin.scope)
    try:
        missing = apart(scratch, database, one, pair.scope)
        if missing:
            names = [f"{d.kind} {d.identity}" for d in missing]
            hint = (
                _VERSIONS if all(d.kind == "extension" and d.change is Change.CHANGED for d in missing) else _NO_CLONE
            )
            return unproven(f"a clone of `{pair.left}` differs from it in {some(names, _MOST)}", hint)
        scratch.confine(database, roles_of(other))
        with scratch.connect(database) as connection:
            cloned = read_catalog(connection, origin.scope)
            strangers = changed_hands(owners_of(origin.catalog), owners_of(cloned))
            done = correct(connection, other, pair.scope, destructive=destructive)
        told = _told(found, done, strangers, pair.scope)
        others = tuple(
            Left(*k) for k in kept(done.statements, origin.given, differences(pair.one, pair.other), pair.scope)
        )
        return replace(told, proven=told.proven and not others, remaining=(*told.remaining, *others))
    finally:
        scratch.drop(database)


_NOT_ITS_OWN = "made anew it is its maker's, and the scratch server's role cannot say whose it was"
_STRANGER = "does not own the database and has default privileges, which would not hold on a clone"
_OWNER = "give the target the owner of its database as `user`"
_NO_CLONE = "name a scratch server of the same version, with the same extensions, in `EHG_SCRATCH_URL`"
_VERSIONS = "say `--ignore-versions`, or name a scratch server with the same versions of these in `EHG_SCRATCH_URL`"
_MOST = 3  # objects that a message names


def _told(found: Corrective, done: Correction, strangers: tuple[Difference, ...], scope: Scope) -> Corrective:
    remaining = (*done.left, *(Left(d, _NOT_ITS_OWN) for d in made_anew(strangers, done.statements)))
    return replace(
        found,
        proven=not remaining,
        statements=done.statements,  # in the form in which they were proven
        remaining=remaining,
        withheld=with_names(done.withheld, scope),
    )


def with_names(statements: Iterable[Statement], scope: Scope) -> tuple[Statement, ...]:
    """As they are run: with the name of the one schema that `scope` is about."""
    return tuple(replace(s, sql=named(s.sql, scope)) for s in statements)


def unproven(message: str, hint: str) -> Problem:
    """There are no statements, since nothing could be tried."""
    return Problem("unproven", f"no statement can be proven: {message}", hint)
