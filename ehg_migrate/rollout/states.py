"""From what a probe read to what a target is: the facts held against the revisions of this checkout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache

from ehg_migrate.database.probe import Applied, Reading, applied, probe, probe_exactly
from ehg_migrate.errors import ConfigurationError, Problem, UsageError
from ehg_migrate.model import State, StateKind, Target
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.planner import overlap_note
from ehg_migrate.revisions.specs import Releases, resolve_all

Probe = Callable[[Iterable[Target], Mapping[str, str | None], int], Mapping[str, Reading | Problem]]
"""Reads many targets at once: `database.probe.probe`, or one that reads more on the same connections."""


def read_states(
    targets: Iterable[Target],
    passwords: Mapping[str, str | None],
    history: History,
    releases: Releases,
    at_once: int,
    probe: Probe = probe,
    fleet: Collection[str] = (),
) -> tuple[State, ...]:
    """The State of each target, in their order: all probed at once, with one query each where all is in order.

    `fleet` has the names of all targets that there are, for whom an address may be meant.

    Raises ConfigurationError, before any connection, where an `upgrade_to` names what a target does not have.
    """
    targets = tuple(targets)
    goals = _goals(targets, history, releases)
    readings = dict(probe(targets, passwords, at_once))
    expected = cache(lambda branches, heads: expected_checksums(history.graph(branches), heads))

    def wants_details(target: Target) -> bool:
        return _wants_details(target, readings[target.name], history.graph(target.branches), expected)

    if unclear := [t for t in targets if _is_mixed(readings[t.name]) and wants_details(t)]:
        readings |= probe_exactly(unclear, passwords, at_once)
    curious = [t for t in targets if wants_details(t)]
    details = applied(curious, passwords, at_once) if curious else {}
    return tuple(_state(t, readings[t.name], details.get(t.name), history, goals[t.name], fleet) for t in targets)


def _goals(targets: Iterable[Target], history: History, releases: Releases) -> dict[str, tuple[str, ...]]:
    """What `upgrade` brings each target to, beside what it holds."""
    resolved = cache(lambda branches, specs: resolve_all(history.graph(branches), specs, releases))
    goals: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for target in targets:
        try:
            goals[target.name] = resolved(target.branches, target.upgrade_to)
        except UsageError as e:
            problems += [replace(p, where=f"{target.source}.upgrade_to") for p in e.problems]
    if problems:
        raise ConfigurationError(problems)
    return goals


Expected = Callable[[tuple[str, ...], tuple[str, ...]], str | None]
"""For branches and heads what `expected_checksums` gives; most targets of a fleet ask for the same."""


def _is_mixed(reading: Reading | Problem) -> bool:
    return isinstance(reading, Reading) and reading.mixed


def _wants_details(target: Target, reading: Reading | Problem, graph: Graph, expected: Expected) -> bool:
    """Only where the journal's one hash is not what the files give, or a row is not ours, its rows are fetched."""
    if isinstance(reading, Problem):
        return False
    if reading.mixed and reading.unfinished:
        return True
    if not reading.heads:
        return reading.checksums is not None or reading.lacks_table
    if any(h not in graph for h in reading.heads):
        return True
    return reading.checksums is not None and reading.checksums != expected(target.branches, reading.heads)


def expected_checksums(graph: Graph, heads: tuple[str, ...]) -> str | None:
    """What the `probe` query gives for a target that holds `heads`, each applied from the file as it is now."""
    ids = graph.ids(graph.closure(heads))  # as the server sorts them: bytes of UTF-8 are in the order of characters
    if not ids:
        return None
    text = ",".join(f"{i} {graph[i].checksum}" for i in ids)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _state(
    target: Target,
    reading: Reading | Problem,
    details: Mapping[str, Applied] | Problem | None,
    history: History,
    goal: tuple[str, ...],
    fleet: Collection[str],
) -> State:
    if isinstance(reading, Problem):
        kind = StateKind.REFUSED if reading.code == "no_privilege" else StateKind.UNREACHABLE
        return State(target.name, kind, problem=reading)
    if isinstance(details, Problem):
        return State(target.name, StateKind.UNREACHABLE, reading.heads, problem=details)
    kind, problem, notes = _judge(target, reading, details or {}, history, fleet)
    heads = reading.heads or reading.foreign_heads
    pending: tuple[str, ...] = ()
    if kind is StateKind.UP_TO_DATE:
        pending = _pending(reading.heads, goal, history.graph(target.branches))
        kind = StateKind.PENDING if pending else kind
    return State(target.name, kind, heads, pending, problem, notes, reading.server_version, reading.seconds)


def _judge(
    target: Target, reading: Reading, details: Mapping[str, Applied], history: History, fleet: Collection[str]
) -> tuple[StateKind, Problem | None, tuple[Problem, ...]]:
    graph = history.graph(target.branches)
    if damage := _damage(target, reading, details, graph):
        return StateKind.REFUSED, damage, ()
    if (reading.foreign_heads or reading.elsewhere) and not reading.read_only:
        from ehg_migrate.database.records import another  # seldom

        return StateKind.NOT_ADOPTED, another(reading.foreign_heads, reading.elsewhere, target), ()
    if reading.records:
        from ehg_migrate.database.records import recorded  # seldom

        if by_another := recorded(reading.records, target, graph.known):
            return StateKind.NOT_ADOPTED, by_another, ()
    if strange := [h for h in reading.heads if h not in graph]:
        from ehg_migrate.rollout.strangers import judge  # seldom

        return *judge(target, strange, details, history, reading.written_as, fleet), ()
    if reading.read_only:
        which = "`ehg-migrate doctor -t TARGET` tells which"
        hint = f"a replica, a project with a full disk, or a setting of the role or the database: {which}"
        return StateKind.REFUSED, Problem("read_only", "the database takes no writes", hint), ()
    kind, trouble, notes = _judge_known(target, reading, details, graph)
    if reading.written_as not in ("", target.name) and reading.written_as in fleet:
        from ehg_migrate.rollout.reasons import WRITTEN_AS_ANOTHER  # seldom

        notes = (WRITTEN_AS_ANOTHER, *notes)
    return kind, trouble, notes


def _judge_known(
    target: Target, reading: Reading, details: Mapping[str, Applied], graph: Graph
) -> tuple[StateKind, Problem | None, tuple[Problem, ...]]:
    """The same of a target that takes writes, and all of whose rows are of its branches."""
    cut = [r for u in reading.unfinished if (r := u.removeprefix("down ")) != u and r in graph]
    if cut:
        from ehg_migrate.rollout.reasons import half_taken_back  # seldom

        return StateKind.HALF_DONE, half_taken_back(graph, reading.heads, cut[0]), ()
    if no_more := _stand_for_it_no_more(graph, reading.heads, details):
        from ehg_migrate.rollout.strangers import no_more_for  # seldom

        return StateKind.AHEAD, no_more_for(no_more, reading.heads, details[no_more[-1]].run), ()
    needless = overlap_note(graph, reading.heads)
    never_run = _never_run(graph, reading.heads, details)
    if needless and never_run:  # taken out, nobody would know any more that what they stand for was run
        return StateKind.REFUSED, never_run[0], needless
    notes = (
        *needless,
        *_unaccounted(graph, reading.heads, details),
        *never_run,
        *_edited(graph, reading.heads, details),
        *_half_done(reading, graph),
    )
    return StateKind.UP_TO_DATE, None, notes


def _damage(target: Target, reading: Reading, details: Mapping[str, Applied], graph: Graph) -> Problem | None:
    """What should be there once, and is not: the schema that is the target, its version rows."""
    if not reading.has_schema:
        return _no_schema(target, reading.heads)
    if len(set(reading.heads)) < len(reading.heads):
        from ehg_migrate.rollout.reasons import doubled_rows  # seldom

        return doubled_rows(reading.heads, target)
    # others may be another project's, with a version table of its own
    applied = sorted(r for r in details if r in graph)
    if reading.heads or not applied:
        return None
    from ehg_migrate.rollout.reasons import lost_rows  # seldom

    unknown = sorted(r for r in details if r not in graph)
    return lost_rows(applied, unknown, graph.canonical(applied), target.meta_schema)


def _stand_for_it_no_more(graph: Graph, heads: tuple[str, ...], details: Mapping[str, Applied]) -> tuple[str, ...]:
    """What by the journal is applied, and these very rows stood for it when they were written: in another graph."""
    missing = graph.ids(graph.bits(r for r in details if r in graph) & ~graph.closure(heads))
    return tuple(r for r in missing if details[r].heads_after and set(details[r].heads_after) <= set(heads))


def _unaccounted(graph: Graph, heads: tuple[str, ...], details: Mapping[str, Applied]) -> list[Problem]:
    """Revisions that the journal says are applied, and no version row does."""
    held = graph.closure(heads)
    if not (missing := graph.bits(r for r in details if r in graph) & ~held):
        return []
    from ehg_migrate.rollout.reasons import unaccounted  # seldom

    stamps, after = (graph.ids(graph.maximal(bits)) for bits in (missing, held | missing))
    return [unaccounted(graph.ids(missing), stamps, after)]


def _never_run(graph: Graph, heads: tuple[str, ...], details: Mapping[str, Applied]) -> list[Problem]:
    """Revisions that were put below one that is applied: its row stands for them, and by the journal it found none.

    Of what was applied before there was a journal it found the version rows.
    """
    held = graph.closure(heads)
    missing = held & ~graph.bits(r for r in details if r in graph)
    if not missing or missing == held:  # where nothing tells of any, the journal was not even asked
        return []
    from ehg_migrate.rollout.reasons import never_run  # seldom

    notes = []
    for revision in reversed([graph.revisions[i].id for i in graph.newest_first(held & ~missing)]):
        how = details[revision]
        if all(h in graph for h in how.heads_before):
            without = graph.closure([revision]) & missing & ~graph.closure(how.heads_before)
            missing &= ~without
            notes += [never_run(graph.ids(without), graph[revision], how.run)] if without else []
    return notes


def _no_schema(target: Target, heads: tuple[str, ...]) -> Problem:
    """A schema is made by a word of its own: a misspelt name must not become one."""
    lost = f", although its record says that it holds {_names(heads)}" if heads else ""
    message = f"there is no schema `{target.schema}` in database `{target.address.dbname}`{lost}"
    return Problem("no_schema", message, "`ehg-migrate schema create TARGET` makes it")


def _edited(graph: Graph, heads: tuple[str, ...], details: Mapping[str, Applied]) -> list[Problem]:
    """Files that are not what they were when they were applied."""
    notes = []
    for revision in graph.ids(graph.closure(heads)):
        known = details.get(revision)
        if known and known.checksum and known.checksum != graph[revision].checksum:
            from ehg_migrate.rollout.edited import edited_file  # seldom

            r = graph[revision]
            notes.append(edited_file(r.id, r.path, r.checksum, known.checksum, known.run, known.git_commit))
    return notes


def _half_done(reading: Reading, graph: Graph) -> list[Problem]:
    if not reading.unfinished:
        return []
    from ehg_migrate.rollout.reasons import half_done  # seldom

    return [half_done(graph, reading.heads, *u.split(" ", 1)) for u in reading.unfinished]


def _pending(heads: tuple[str, ...], goal: tuple[str, ...], graph: Graph) -> tuple[str, ...]:
    missing = graph.closure(goal) & ~graph.closure(heads)
    return tuple(graph.revisions[i].id for i in reversed(graph.newest_first(missing)))


def _names(branches: Iterable[str]) -> str:
    return " and ".join(f"`{b}`" for b in branches)
