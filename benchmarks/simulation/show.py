"""Predictions and recorded times for people."""

from __future__ import annotations

from benchmarks.simulation.forecast import duration
from benchmarks.simulation.model import Costs, Outcome
from benchmarks.simulation.record import Recording
from benchmarks.tables import line


def told(outcome: Outcome) -> str:
    """A prediction in three lines."""
    shares = sorted(outcome.busy.items(), key=lambda item: -item[1])
    busy = ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.01)
    return (
        f"{duration(outcome.seconds)}, the looks {duration(outcome.probed)} of it\n"
        f"{outcome.succeeded:,} succeeded, {outcome.failed:,} failed; "
        f"at most {outcome.connections} connections to a host\nin use: {busy}"
    )


def times(recording: Recording) -> str:
    """A recording as Markdown."""
    head = ("what", "the command, ms", "workers, ms", "server, ms", "round trips")
    about = f"{recording.machine}; {recording.when}, while others used {recording.others:.1f} cores. CPU time."
    rows = [line((name, *map(str, cells))) for name, *cells in _rows(recording.costs)]
    return "\n".join([about, "", line(head), line(["---"] * len(head)), *rows, ""])


def _rows(c: Costs) -> tuple[tuple[str, ...], ...]:
    look, enter, step = c.probe, c.enter, c.step
    return (
        ("the command, once", _ms(c.start), "", "", ""),
        ("its fork server, once", "", _ms(c.workers), "", ""),
        ("a target of the fleet: its entry, plan and line", _ms(c.target), "", "", ""),
        ("a look at a target", _ms(look.client), "", _ms(look.server), f"{look.trips:g}"),
        ("a target with steps: handed over, heard of", _ms(c.hand), "", "", ""),
        ("a worker: made", f"{_ms(c.fork)} (waits)", "", "", ""),
        ("its target: a connection, what it holds", "", _ms(enter.client), _ms(enter.server), f"{enter.trips:.1f}"),
        ("a step", _ms(c.hear), _ms(step.client), _ms(step.server), f"{step.trips:.1f}"),
        ("more for the first target of a host: the proof", "", "", "", f"{c.first_trips:.1f}"),
        ("a write into a ledger that is a file", f"{_ms(c.record)} (beside)", "", "", ""),
        ("a write into a ledger in PostgreSQL", "(beside)", "", "", f"{c.write_trips:.1f}"),
        ("a result of it", "(beside)", "", "", f"{c.result_trips:.1f}"),
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g}"
