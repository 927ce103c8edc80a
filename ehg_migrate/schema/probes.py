"""What a step demands of rows, and whether those of a target bear it: small questions to targets, which only read.

A scratch database has no rows, so a rehearsal cannot tell whether a NOT NULL, a CHECK, a UNIQUE, a foreign key or
another type meets rows that break it. The step says by its facts what it demands; the target is asked for such a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.database.answers import dict_rows
from ehg_migrate.database.asking import Connection, ask_all
from ehg_migrate.database.faults import run_fault
from ehg_migrate.database.statements import named_parts
from ehg_migrate.errors import Problem
from ehg_migrate.model import Target
from ehg_migrate.schema.facts import Catalog, Fact

_SECONDS = 5  # that one question may take

Passwords = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Probe:
    """A question to a target before a step: one row back means that there are rows which the step would fail on."""

    revision: str
    rule: str  # `not_null`, `new_column`, `type`, `check`, `unique`, `foreign_key`
    identity: str  # the column, constraint or index
    sql: str


@dataclass(frozen=True, slots=True)
class Probed:
    """An answer that somebody should know: there are such rows, or it could not be found out."""

    target: str
    revision: str
    rule: str
    identity: str
    found: bool
    message: str
    sql: str = ""


def probes(connection: psycopg.Connection[Any], revision: str, before: Catalog, after: Catalog) -> tuple[Probe, ...]:
    """What a step between these catalogues demands of rows; the connection sees the later one. Raises psycopg.Error."""
    with connection.transaction(), connection.cursor(row_factory=dict_rows) as cursor:
        cursor.execute("SET LOCAL search_path = ''")
        found = [*_of_columns(cursor, before, after), *_of_others(cursor, before, after)]
    return tuple(Probe(revision, *words) for words in found)


def _of_columns(
    cursor: psycopg.Cursor[dict[str, Any]], before: Catalog, after: Catalog
) -> Iterator[tuple[str, str, str]]:
    wanted = {f.identity: rules for f in after.facts if f.kind == "column" and (rules := _column_rules(f, before))}
    for row in _rows(cursor, "column", wanted):
        for rule in wanted[row["identity"]]:
            if ("table", row["holder"]) in before.by_name:  # else there are no rows yet
                yield rule, row["identity"], row[rule]


def _column_rules(fact: Fact, before: Catalog) -> tuple[str, ...]:
    d, former = fact.definition, before.by_name.get(("column", fact.identity))
    if former is None:
        filled = any(d.get(clause) for clause in ("default", "generated", "identity"))
        return ("new_column",) if d.get("not null") is True and not filled else ()
    narrower = d.get("not null") is True and former.definition.get("not null") is not True
    return (("not_null",) if narrower else ()) + (("type",) if d.get("type") != former.definition.get("type") else ())


def _of_others(
    cursor: psycopg.Cursor[dict[str, Any]], before: Catalog, after: Catalog
) -> Iterator[tuple[str, str, str]]:
    for kind in ("constraint", "index"):
        wanted = [f.identity for f in after.facts if f.kind == kind and _demands(f, before)]
        for row in _rows(cursor, kind, wanted):
            if ("table", row["holder"]) in before.by_name:
                yield row["rule"], row["identity"], row["statement"]


def _demands(fact: Fact, before: Catalog) -> bool:
    former = before.by_name.get((fact.kind, fact.identity))
    if former is None or former.definition.get("definition") != fact.definition.get("definition"):
        return fact.definition.get("validated") is not False
    return former.definition.get("validated") is False and fact.definition.get("validated") is not False


def _rows(cursor: psycopg.Cursor[dict[str, Any]], kind: str, identities: Iterable[str]) -> list[dict[str, Any]]:
    names = list(identities)
    text = sql.SQL(_queries()[kind]).format(identities=sql.Literal(names))
    return cursor.execute(text).fetchall() if names else []


def ask_targets(
    asked: Sequence[tuple[Target, Sequence[Probe]]], passwords: Passwords, at_once: int
) -> dict[str, tuple[Probed, ...]]:
    """Asks each target its own questions, on one connection each, in read-only transactions of five seconds at most.

    No row's values come back. Raises nothing: what could not be found out is in the answer.
    """
    questions = {target.name: tuple(found) for target, found in asked if found}

    async def ask(connection: Connection, target: Target) -> tuple[Probed, ...]:
        answers = [await _answer(connection, target.name, probe) for probe in questions[target.name]]
        return tuple(a for a in answers if a)

    targets = [target for target, found in asked if found]
    told: dict[str, tuple[Probed, ...]] = {}
    for name, answer in ask_all(targets, passwords, at_once, ask).items():
        told[name] = _unasked(name, questions[name], answer) if isinstance(answer, Problem) else answer  # type: ignore[assignment]  # ask: Probed
    return told


async def _answer(connection: Connection, target: str, probe: Probe) -> Probed | None:
    """None where no row breaks the step, or what it is about is made only by the steps before it."""
    try:
        async with connection.transaction():
            await connection.execute(_SETTINGS.encode(), prepare=False)
            found = (await (await connection.execute(probe.sql.encode(), prepare=False)).fetchone()) is not None
    except psycopg.DataError:  # its text would show a value
        found = True
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName):
        return None
    except psycopg.Error as e:
        return _told(target, probe, found=False, message=f"not found out: {run_fault(e).problem.message}")
    return _told(target, probe, found=True, message=_WORDS[probe.rule]) if found else None


def _told(target: str, probe: Probe, *, found: bool, message: str) -> Probed:
    return Probed(target, probe.revision, probe.rule, probe.identity, found, message, probe.sql)


def _unasked(target: str, questions: Sequence[Probe], problem: Problem) -> tuple[Probed, ...]:
    return tuple(_told(target, q, found=False, message=f"not found out: {problem.message}") for q in questions)


_SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY;"  # by default it may be one that waits for writers
    f" SET LOCAL statement_timeout = '{_SECONDS}s'; SET LOCAL lock_timeout = '1s';"
    " SET LOCAL row_security = off; SET LOCAL search_path = ''; SET LOCAL standard_conforming_strings = on"
)
_WORDS = {
    "not_null": "there are rows without a value",
    "new_column": "there are rows, and the new column has neither a default nor room for nothing",
    "type": "there are values that the new type does not hold",
    "check": "there are rows that break it",
    "unique": "there are rows that are alike",
    "foreign_key": "there are rows without the row that they refer to",
}


@cache
def _queries() -> Mapping[str, str]:
    return named_parts(resources.files(__package__).joinpath("probes.sql").read_text(encoding="utf-8"))
