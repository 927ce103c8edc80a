"""The ledger held against the targets, which are the truth: where they disagree."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from ehg_migrate.errors import Problem, quoted
from ehg_migrate.ledger import Seen
from ehg_migrate.model import State, StateKind, Status

_UNREAD = (StateKind.UNREACHABLE, StateKind.REFUSED)
_DISAGREES = "ledger_disagrees"


Same = Callable[[str, tuple[str, ...], tuple[str, ...]], bool]
"""Whether two sets of version rows mean the same on a target."""


def with_ledger(
    states: tuple[State, ...], last: Mapping[str, Seen], same: Same, astray: Mapping[str, str] = MappingProxyType({})
) -> tuple[State, ...]:
    """The same states, each with a note where the ledger's last word on the target is another, or on its schema.

    `astray` names the run that saw a schema differ, where no good word on that target came later.
    """
    return tuple(
        replace(s, notes=(*s.notes, *_disagreement(s, seen, same), *_differed(s, seen, astray)))
        for s, seen in ((s, last.get(s.target)) for s in states)
    )


def with_lost(states: Iterable[State], last: Mapping[str, Seen], same: Same) -> tuple[State, ...]:
    """The same states, each with a note where it holds nothing, though the ledger's last word on it is another."""
    return tuple(
        replace(s, notes=(*s.notes, *_disagreement(s, last.get(s.target), same)))
        if s.kind is StateKind.PENDING and not s.heads
        else s
        for s in states
    )


def _differed(state: State, last: Seen | None, astray: Mapping[str, str]) -> tuple[Problem, ...]:
    """Version rows are not all: nobody goes to bed on an `up_to_date` whose schema the last look called wrong."""
    if last is None or last.running or state.kind in _UNREAD:
        return ()
    if last.status is not Status.SCHEMA_DIFFERS and state.target not in astray:
        return ()
    from ehg_migrate.rollout.astray import LOOK_AGAIN  # seldom

    message = f"run `{astray.get(state.target, last.run)}` saw that the schema is not what the revisions produce"
    return (Problem("differed_before", message, LOOK_AGAIN),)


def _disagreement(state: State, last: Seen | None, same: Same) -> tuple[Problem, ...]:
    if last is None or state.kind in _UNREAD or any(n.code == _DISAGREES for n in state.notes):
        return ()
    if last.running or last.status in (Status.INDETERMINATE, Status.SKIPPED):
        return ()
    if same(state.target, last.heads, state.heads) or not (last.status.good or last.heads):
        return ()
    if state.heads:
        since = "it was restored to an earlier time, stamped, or moved by a script of `ehg-migrate plan --sql`"
    else:  # all of it would be done again
        declared = " --heads ".join(map(shlex.quote, last.heads))
        since = (
            "it was made anew; or where it was restored without our schema, "
            f"`ehg-migrate adopt TARGET --heads {declared}` says what it holds"
        )
    return (
        Problem(
            _DISAGREES,
            f"by the ledger run `{last.run}` left {quoted(last.heads)}, and it holds {quoted(state.heads)}",
            f"`ehg-migrate history TARGET` shows what was done since; if nothing, {since}",
        ),
    )
