"""What a target keeps of the work on it, as text: its journal, and who holds its lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.errors import together
from ehg_migrate.model import JournalEntry
from ehg_migrate.report.text import FEW, counted, names, problem_lines, some, table, when

if TYPE_CHECKING:
    from ehg_migrate.database.locks import Held


def locks_lines(held: Iterable[Held]) -> Iterator[str]:
    """Who holds what, since when, doing what. Of many that are free only the summary tells: one that is not would not
    be seen among them.
    """
    held = list(held)
    many = sum(not (h.pids or h.problem) for h in held) > FEW
    alike = together((h.problem, h.target) for h in held if h.problem)
    for h in held:
        if h.problem:
            if targets := alike.pop(h.problem, ()):
                yield from problem_lines(h.problem, f"{some(targets)}: ", targets)
        elif not h.pids:
            if not many:
                yield f"{h.target}: free"
        else:
            since = f" since {when(h.since)}" if h.since else ""
            yield f"{h.target}: {_holder(h)}{since}, {backends(h.pids)} {h.state}".rstrip()
            if h.doing:
                yield f"  {h.doing}"


def _holder(h: Held) -> str:
    """What is known of it: who and which process only where it has written that down."""
    if not h.run:
        return f"`{h.application}`"
    by = f" of {h.actor}" if h.actor else ""
    process = f" (process {h.process})" if h.process else ""
    return f"run {h.run}{by} on {h.host}{process}"


def locks_summary(held: Iterable[Held]) -> str:
    """The last line: `1 held (a), 1 free (b), 1 not known (c)`."""
    return counted(("not known" if h.problem else "held" if h.pids else "free", h.target) for h in held)


def backends(pids: Sequence[int]) -> str:
    """`backend 7`, `backends 7, 8`."""
    return f"{'backend' if len(pids) == 1 else 'backends'} {', '.join(map(str, pids))}"


def history_lines(entries: Iterable[JournalEntry], target: str) -> list[str]:
    """A target's journal, oldest first; with the names of that time, if there are others than the `target`'s."""
    entries = list(entries)
    rows = [
        (
            when(e.started_at),
            e.run,
            e.event,
            e.direction,
            e.revision,
            e.branch,
            f"{e.seconds:.2f}",
            f"{e.actor}@{e.host}",
            e.git_commit[:12],
            names(e.heads_after),
            e.target,
        )
        for e in entries
    ]
    head = ("WHEN", "RUN", "EVENT", "DIR", "REVISION", "BRANCH", "SECONDS", "WHO", "COMMIT", "HEADS AFTER", "TARGET")
    if any(e.target != target for e in entries):
        return table(head, rows)
    return table(head[:-1], [row[:-1] for row in rows])
