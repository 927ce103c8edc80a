"""A rollback's plan held against what the ledger says that the run did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ehg_migrate.errors import Problem, quoted
from ehg_migrate.model import JournalEntry, Plan, Result
from ehg_migrate.revisions.graph import Graph
from ehg_migrate.revisions.rollback import inexact


def as_recorded(graph: Graph, plan: Plan, did: Result, journal: Sequence[JournalEntry]) -> Plan:
    """A rollback's plan, if the target's journal and the ledger agree on what the run `did`; else TargetError."""
    if any(e.run == plan.undoes and e.event != "failed" for e in journal):
        return _as_in_ledger(graph, plan, did)
    return _without_trace(graph, plan, did, journal)


def _without_trace(graph: Graph, plan: Plan, did: Result, journal: Sequence[JournalEntry]) -> Plan:
    """A rollback's plan where by the ledger the run `did` something, and the target's journal has nothing of that.

    It was restored to an earlier time, perhaps, or is another database now. Raises TargetError where it does not hold
    what it held before the run, or has no journal at all: rows that are not there are no proof of anything.
    """
    run = str(plan.undoes)
    if not (journal and _is_before(graph, plan.heads, did)):
        raise inexact(
            run,
            f"by the ledger it brought the target from {quoted(did.heads_before)} to {quoted(did.heads_after)}; the "
            f"target's journal has no trace of that, and the target holds {quoted(plan.heads)}",
            "it was restored to another time, or its entry names another database now: look with "
            "`ehg-migrate history TARGET` and `ehg-migrate drift -t TARGET`",
        )
    note = Problem(
        "no_trace",
        f"the target's journal has no trace of run `{run}`, which by the ledger brought it to "
        f"{quoted(did.heads_after)}; it holds what it held before that",
        "it was restored to that time: `ehg-migrate history TARGET` shows what was done until then",
    )
    return replace(plan, notes=(*plan.notes, note))


def _as_in_ledger(graph: Graph, plan: Plan, did: Result) -> Plan:
    """A rollback's plan where both the journal and the ledger know what the run `did`, if it leads to where that began.

    Raises TargetError where it does not: entries of the journal are gone, or are those of another target's database.
    """
    if _is_before(graph, plan.goal, did):
        return plan
    from ehg_migrate.revisions.descending import options_to  # seldom

    options = options_to(graph, plan.heads, did.heads_before, {s.revision for s in did.steps}) or "--to REV"
    raise inexact(
        str(plan.undoes),
        f"by the ledger it found {quoted(did.heads_before)} on the target, by the target's journal {quoted(plan.goal)}",
        "entries of the journal are gone, or it came here with another target's database: look with `ehg-migrate "
        f"history TARGET`; `ehg-migrate downgrade TARGET {options}` shows what it would do",
    )


def _is_before(graph: Graph, heads: tuple[str, ...], did: Result) -> bool:
    """Whether these are the heads that by the ledger the target held before the run."""
    before = did.heads_before
    known = all(h in graph for h in (*before, *heads))
    return set(heads) == set(before) or (known and graph.canonical(heads) == graph.canonical(before))
