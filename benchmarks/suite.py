"""A whole run of the suite: scales, rounds, peers interleaved; a peer that fails or is absent stays in sight."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.cases import Bench, Failed, Samples, Scale
from benchmarks.peers.base import Absent, Peer


@dataclass
class Row:
    """What one peer did at one scale: timed samples by case, watched ones by case, or why there are none."""

    peer: Peer
    timed: Samples = field(default_factory=dict)
    watched: Samples = field(default_factory=dict)
    problem: str = ""


@dataclass
class Table:
    """One scale: what was measured, in how many rounds, how long that took (seconds) and on what machine."""

    scale: Scale
    rows: list[Row]
    rounds: int = 1
    took: float = 0.0
    machine: str = ""


def installed(peers: Iterable[Peer]) -> dict[str, str]:
    """Installs them all; why not, by name, for those that cannot be had."""
    absent = {}
    for peer in peers:
        try:
            peer.install()
        except Absent as e:
            absent[peer.name] = f"absent: {e}"
    return absent


def run_scale(
    bench: Bench,
    peers: Sequence[Peer],
    absent: dict[str, str],
    scale: Scale,
    rounds: int,
    watch: Callable[[str], bool] = lambda _: True,
) -> Table:
    """Each round runs every peer once, beginning with another one each time; then those to be watched are, once.

    A slow peer is in the first round only. One that fails is told of, and the others go on.
    """
    begun = time.monotonic()
    rows = [Row(peer, problem=absent.get(peer.name, "")) for peer in peers]
    for n in range(rounds):
        turn = n % len(rows)
        for row in (*rows[turn:], *rows[:turn]):
            if n == 0 or not row.peer.slow:
                _add(bench, row, row.timed, scale, watch=False, label=f"round {n + 1} of {rounds}")
    for row in (row for row in rows if watch(row.peer.name)):
        _add(bench, row, row.watched, scale, watch=True, label="round trips and memory")
    return Table(scale, rows, rounds, time.monotonic() - begun, bench.scene.machine)


def _add(bench: Bench, row: Row, to: Samples, scale: Scale, *, watch: bool, label: str) -> None:
    if row.problem:
        return
    print(f"{describe(scale)}: {row.peer.name}, {label}", file=sys.stderr, flush=True)
    begun = time.monotonic()
    try:
        for case, samples in bench.run(row.peer, scale, watch=watch).items():
            to.setdefault(case, []).extend(samples)
    except Exception as e:  # noqa: BLE001 - a peer may fail in ways of its own, and must not take the others along
        row.problem = f"failed: {e}" if isinstance(e, Failed | Absent) else f"failed: {type(e).__name__}: {e}"
    print(f"  {row.problem or 'done'}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def describe(scale: Scale) -> str:
    """A scale in words."""
    delay = f", {scale.delay * 1000:g} ms a round trip" if scale.delay else ""
    return f"{scale.targets:,} targets, {scale.history:,} shared revisions{delay}, {scale.parallel} at a time"
