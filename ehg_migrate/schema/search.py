"""The search for statements that lead from one catalogue to another: rounds of trial on a scratch database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.redaction import one_line
from ehg_migrate.schema.catalog import read_catalog
from ehg_migrate.schema.corrections import Between, Statement, Step, Way, steps
from ehg_migrate.schema.corrections.common import SELF
from ehg_migrate.schema.corrections.dependants import Known, as_the_server_names, dependants
from ehg_migrate.schema.corrections.words import OWNER, dollars, literal
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.owners import read_owners, returning
from ehg_migrate.schema.scope import ALIAS, MIGRATOR, Scope

_MOST_ROUNDS = 12
_CHEAP = ("view", "policy", "trigger", "rule")
"""What costs nothing to make anew; an index or a constraint must read its table."""
Form = Callable[[str, Scope], str]
"""How a statement about `$schema` is written out."""

PREAMBLE = "SET LOCAL check_function_bodies = off"
"""Stands before the statements: a function may call what is made after it."""


def execute(connection: psycopg.Connection[Any], statement: Statement, scope: Scope, form: Form | None = None) -> None:
    """Runs one statement, with the schema's own name where the catalogue has none, or in another form."""
    connection.execute((form or named)(statement.sql, scope).encode())


_BEFORE_NAME = re.compile(rf"{re.escape(ALIAS)}\.")
_ALONE = re.compile(rf"(?<= SCHEMA ){re.escape(ALIAS)}(?= |$)")
_PATH = re.compile(r"^    SET search_path TO .*$", re.MULTILINE)
"""Where a statement names the schema. Elsewhere `$schema` is somebody's text: JSON Schema calls a key so."""
_WRITTEN = f"{ALIAS}$."
"""How `catalog.sql` writes a `$schema.` that stands in somebody's text."""


def portable(text: str, scope: Scope) -> str:
    """A statement as a revision has it, for whatever schema it will run in: the first of the search_path."""
    if not scope.alias:
        return text
    bare = _called(text, "", "")
    if _called(text, "", ALIAS) == bare:
        return bare
    name = next(n for n in (ALIAS, *(f"{ALIAS}{i}$" for i in range(len(text)))) if n not in bare)
    body = f"BEGIN EXECUTE replace({dollars(_called(text, name))}, {literal(name)}, quote_ident(current_schema())); END"
    return f"DO {dollars(body)}"


def named(text: str, scope: Scope) -> str:
    """A statement, or a name, as it can be run in the scope's own schema."""
    return _called(text, _quoted(scope.only[0])) if scope.alias else text


def _called(text: str, name: str, alone: str | None = None) -> str:
    """With this name of the schema; before another name and its dot it may be none, while another stands alone."""
    alone = name if alone is None else alone
    text = _PATH.sub(lambda found: found[0].replace(ALIAS, alone), text)
    text = _ALONE.sub(lambda _: alone, text)
    return _BEFORE_NAME.sub(lambda _: f"{name}." if name else "", text).replace(_WRITTEN, f"{ALIAS}.")


def _quoted(name: str) -> str:
    """As a catalogue writes it, which quotes what must be: it stands in bodies too, which are read again."""
    from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS  # all of SQLAlchemy comes with it

    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in RESERVED_WORDS
    return name if plain else sql.Identifier(name).as_string(None)


class Search:
    """Rounds of trial; `done` is what was run, in that order. Nothing is taken back when it ends."""

    def __init__(self, connection: psycopg.Connection[Any], goal: Catalog, scope: Scope, destructive: bool) -> None:
        self.done: list[Statement] = []
        self.refused: dict[tuple[str, str], str] = {}
        self.withheld: dict[tuple[str, str], Way] = {}
        self._connection = connection
        self._goal = goal
        self._scope = scope
        self._destructive = destructive
        self.current = read_catalog(connection, scope)

    def run(self) -> None:
        """Until there is nothing left to do, or a round changed nothing. Wants a session that is prepared."""
        seen: set[str] = set()
        while self.current.fingerprint != self._goal.fingerprint and len(seen) < _MOST_ROUNDS:
            if self.current.fingerprint in seen:
                return
            seen.add(self.current.fingerprint)
            done = len(self.done)
            self._round(steps(Between(self.current, self._goal)))
            if len(self.done) == done:
                return
            self.current = read_catalog(self._connection, self._scope)

    def give_back(self, owners: Catalog) -> None:
        """What was made anew goes back to whom it belonged, as `read_owners` said before."""
        for step in returning(owners, read_owners(self._connection, self._scope)):
            self._try(step)

    def _round(self, todo: list[Step]) -> None:
        if stuck := self._passes(todo):
            between, known = Between(self.current, self._goal), as_the_server_names(self.current, self._named)
            for step in stuck:
                self._past_dependants(step, between, known)

    def _passes(self, todo: list[Step]) -> list[Step]:
        """Runs what can be run, again and again while that frees others; gives what cannot."""
        while todo:
            failed = [step for step in todo if not self._try(step)]
            if len(failed) == len(todo):
                break
            todo = failed
        return todo

    def _try(self, step: Step) -> bool:
        name = (step.kind, step.identity)
        for way in step.ways:
            if any(s.destructive for s in way) and not self._destructive:
                self.withheld.setdefault(name, way)  # the first is the gentlest
            elif self._run(way, name):
                return True
        return False

    def _run(self, way: Way, name: tuple[str, str]) -> bool:
        try:
            with self._connection.transaction():
                for statement in way:
                    execute(self._connection, statement, self._scope)
        except psycopg.Error as e:
            if self._connection.closed:
                raise
            self.refused[name] = one_line(str(e))
            return False
        self.done.extend(way)
        return True

    def _past_dependants(self, step: Step, between: Between, known: Known) -> None:
        """Takes away what is in the way and can be made anew, if the step can be run then; else nothing is changed."""
        if not between.present(step.kind, step.identity):
            return
        found = self._dependants(step, between, known)
        cheap = [s for s in found if s.kind in _CHEAP]
        if not (cheap and self._without(cheap, step)) and found != cheap:
            self._without(found, step)

    def _without(self, in_the_way: list[Step], step: Step) -> bool:
        done = len(self.done)
        with self._connection.transaction():
            self._passes(in_the_way)
            if self._try(step):
                return True
            del self.done[done:]
            raise psycopg.Rollback
        return False

    def _named(self, text: str) -> str:
        return named(text, self._scope)

    def _dependants(self, step: Step, between: Between, known: Known) -> list[Step]:
        try:
            with self._connection.transaction():
                return list(dependants(self._connection, step.kind, self._named(step.identity), between, known))
        except psycopg.Error:  # another step of this round has taken it away
            if self._connection.closed:
                raise
            return []


def prepare(connection: psycopg.Connection[Any], goal: Catalog) -> None:
    """Settings of the transaction, or outside of one of the session; and the roles that the goal names.

    A scratch server need not know them. They are its own, and made anew by whoever needs them.
    """
    outside = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    connection.execute((PREAMBLE.replace("LOCAL ", "") if outside else PREAMBLE).encode())
    for name in sorted(roles_of(goal)):
        if connection.execute("SELECT to_regrole(%s)", (name,)).fetchone() == (None,):
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(f"CREATE ROLE {name} NOLOGIN".encode())


_OF_ROLE = re.compile(r'of ("(?:[^"]|"")*"|[^" ]+)')
_MAPPED = re.compile(r'("(?:[^"]|"")*"|[^" ]+) on ')


def roles_of(catalog: Catalog) -> set[str]:
    """The roles that a catalogue names, as it quotes them."""
    found: set[str] = set()
    for fact in catalog.facts:
        d = fact.definition
        found.update(d.get("grants") or (), d.get("roles") or (), [d["owner"]] if "owner" in d else ())
        found.update(_in_identity(fact.kind, fact.identity))
    return found - {OWNER, MIGRATOR, SELF, "PUBLIC"}


def _in_identity(kind: str, identity: str) -> Iterable[str]:
    pattern = {"default privileges": _OF_ROLE, "user mapping": _MAPPED}.get(kind)
    match = pattern.match(identity) if pattern else None
    return [match[1]] if match else []
