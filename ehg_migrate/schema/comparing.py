"""Two sides held against each other, and a fleet grouped: who is read in which scope, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import psycopg

from ehg_migrate.database.asking import Connection, ask_all
from ehg_migrate.database.faults import look_fault
from ehg_migrate.errors import Problem, TargetError, UsageError, of_target
from ehg_migrate.files import is_there
from ehg_migrate.model import Target
from ehg_migrate.revisions.specs import RELEASE
from ehg_migrate.schema.catalog import read_catalog_async, read_fingerprint_async
from ehg_migrate.schema.clusters import Cluster, clusters, grouped
from ehg_migrate.schema.difference import Difference, differences, notes
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.scope import ALIAS, Scope, within
from ehg_migrate.schema.snapshot import MANIFEST, Snapshot

_HEADS = "heads:"
T = TypeVar("T")
Passwords = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison, as it was written: a target, one schema of a target, a snapshot, or given heads."""

    text: str
    target: str = ""
    schema: str = ""
    file: Path | None = None
    heads: tuple[str, ...] | None = None  # as they were named; () for those that the other side holds


def side(text: str) -> Side:
    """`acme`, `acme/staging`, `acme.json`, `./acme` (a folder has a slash), `heads:REV,REV`, `release:NAME`.

    Opens nothing. Raises UsageError for what can be none of these.
    """
    if text.startswith(RELEASE):
        return Side(text, heads=(text,))
    if text.startswith(_HEADS):
        return Side(text, heads=tuple(filter(None, map(str.strip, text.removeprefix(_HEADS).split(",")))))
    if text.endswith(".json"):
        return Side(text, file=Path(text))
    if "/" in text and _holds_snapshot(Path(text)):
        return Side(text, file=Path(text) / MANIFEST)
    if text.startswith((".", "/")):  # the name of no target does
        hint = "look at its path; `ehg-migrate snapshot TARGET -o DIR` writes one"
        raise UsageError(Problem("snapshot", f"there is no snapshot in a folder `{text}`", hint))
    if not text:
        hint = "name a target, a snapshot or `heads:REV`; an unset variable may stand behind it"
        raise UsageError(Problem("empty_selector", "a name is empty", hint))
    target, slash, schema = text.partition("/")
    if slash and not schema:
        hint = "write `target/schema`, only `target`, or a folder that `ehg-migrate snapshot TARGET -o DIR` has written"
        raise UsageError(Problem("no_schema", f"`{text}` names no schema", hint))
    return Side(text, target, schema)


def _holds_snapshot(folder: Path) -> bool:
    try:
        return is_there(folder / MANIFEST) and (folder / MANIFEST).is_file()
    except OSError as e:
        message = f"whether `{folder}` is a snapshot cannot be seen: {e.strerror}"
        raise UsageError(Problem("snapshot", message, "let this user read what is in the folder")) from e


@dataclass(frozen=True, slots=True)
class Comparison:
    """What separates two sides. `notes` are columns in another order, which make no difference; nor does `former`."""

    left: str
    right: str
    differences: tuple[Difference, ...]
    notes: tuple[Difference, ...]
    left_version: str  # of the server
    right_version: str
    former: tuple[Difference, ...] = ()  # what was made under other default privileges than hold now, with their grants


def compared(left: str, one: Catalog, right: str, other: Catalog) -> Comparison:
    """Two catalogues of one scope, and their names."""
    found = differences(one, other)
    return Comparison(left, right, found, notes(one, other), one.server_version, other.server_version)


def without_heads(sides: Iterable[Side]) -> None:
    """Raises UsageError for a side that is no database, and has none beside it on whose ground it could be made."""
    for one in sides:
        if one.heads is not None:
            message = f"`{one.text}` can be made only for a target, on what stands there below its revisions"
            raise _no_scope(message, "name a whole target as the other side")


def scopes_of(sides: Sequence[Side], snapshots: Mapping[str, Snapshot], base: Scope) -> dict[Side, Scope]:
    """In which scope each side is read, `base` being that of whole targets; `snapshots` are by the side's text.

    A snapshot was read in its own, so the other side is read in the same. Raises UsageError where there is none.
    """
    named = {s: snapshots[s.text].scope if s.text in snapshots else within(s.schema, base) for s in sides}
    if len({scope.alias for scope in named.values()}) > 1:
        texts = " and ".join(f"`{s.text}`" for s in sides)
        raise _no_scope(f"one of {texts} is a schema and the other a whole target", "name a schema of each")
    kept = {_nameless(s.scope) for s in snapshots.values()}
    if len(kept) > 1:
        raise _no_scope("the snapshots were taken in different scopes", "take both anew with the same options")
    common = next(iter(kept), _nameless(next(iter(named.values()))))
    return {s: replace(common, only=scope.only) for s, scope in named.items()}


def read_sides(
    sides: Mapping[Side, Scope], targets: Iterable[Target], passwords: Passwords, at_once: int
) -> dict[Side, Catalog]:
    """The catalogues of sides that are targets or schemas of targets. Raises TargetError for the first that has none.

    One connection a target, whatever number of its schemas is read.
    """

    async def ask(connection: Connection, target: Target) -> dict[Side, Catalog]:
        mine = {s: scope for s, scope in sides.items() if s.target == target.name}
        return {s: await _read(connection, scope, target) for s, scope in mine.items()}

    found: dict[Side, Catalog] = {}
    for name, answer in ask_all(targets, passwords, at_once, ask).items():
        if isinstance(answer, Problem):
            raise TargetError(of_target(answer, name))
        assert isinstance(answer, dict)
        found |= answer
    for one, catalog in found.items():
        if one.schema and ("schema", ALIAS) not in catalog.by_name:
            raise TargetError(_no_such_schema(one))
    return found


@dataclass(frozen=True, slots=True)
class Grouping:
    """A fleet by what its schemas are, the largest group first, and the targets that could not be read."""

    clusters: tuple[Cluster, ...]
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """A target whose schema is not known, and why."""

    target: str
    problem: Problem


def find_clusters(
    targets: Sequence[Target], passwords: Passwords, at_once: int, scope: Callable[[Target], Scope]
) -> Grouping:
    """A fingerprint of each target, and the catalogue of one target in each group where there is more than one."""

    async def ask_fingerprint(connection: Connection, target: Target) -> str:
        return await _translated(read_fingerprint_async(connection, scope(target), target.limits.look))

    async def ask_catalog(connection: Connection, target: Target) -> Catalog:
        return await _read(connection, scope(target), target)

    answers = ask_all(targets, passwords, at_once, ask_fingerprint)
    groups = grouped({name: answer for name, answer in answers.items() if isinstance(answer, str)})
    speakers = {names[0] for names in groups.values()} if len(groups) > 1 else set()
    told = ask_all([t for t in targets if t.name in speakers], passwords, at_once, ask_catalog)
    problems = {n: a for n, a in {**answers, **told}.items() if isinstance(a, Problem)}
    by_name = {n: a for n, a in told.items() if isinstance(a, Catalog)}
    catalogs = {f: by_name[names[0]] for f, names in groups.items() if names[0] in by_name}
    return Grouping(clusters(groups, catalogs), tuple(Unread(n, p) for n, p in problems.items()))


async def _read(connection: Connection, scope: Scope, target: Target) -> Catalog:
    return await _translated(read_catalog_async(connection, scope, target.limits.look))


async def _translated(reading: Awaitable[T]) -> T:
    """A server's error in reading is one of this target, with its code: somebody alters a table, a limit is reached."""
    try:
        return await reading
    except psycopg.Error as e:
        raise TargetError(look_fault(e)) from e


def _nameless(scope: Scope) -> Scope:
    return replace(scope, only=(ALIAS,)) if scope.alias else scope


def _no_scope(message: str, hint: str) -> UsageError:
    return UsageError(Problem("other_scope", message, hint))


def _no_such_schema(one: Side) -> Problem:
    return Problem(
        "no_such_schema", f"{one.target}: there is no schema `{one.schema}`", "look at its name, and its case"
    )
