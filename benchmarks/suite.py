"""A whole run of the suite: scales, rounds, peers interleaved; a peer that fails or is absent stays in sight."""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
    """One scale."""

    scale: Scale
    rows: list[Row]


def installed(peers: Sequence[Peer]) -> dict[str, str]:
    """Installs them all; why not, by name, for those that cannot be had."""
    absent = {}
    for peer in peers:
        try:
            peer.install()
        except Absent as e:
            absent[peer.name] = f"absent: {e}"
    return absent


def run_scale(bench: Bench, peers: Sequence[Peer], absent: dict[str, str], scale: Scale, rounds: int) -> Table:
    """Each round runs every peer once, beginning with another one each time; then each is watched once."""
    rows = [Row(peer, problem=absent.get(peer.name, "")) for peer in peers]
    for n in range(rounds):
        turn = n % len(rows)
        for row in (*rows[turn:], *rows[:turn]):
            _add(bench, row, row.timed, scale, watch=False, label=f"round {n + 1} of {rounds}")
    for row in rows:
        _add(bench, row, row.watched, scale, watch=True, label="round trips and memory")
    return Table(scale, rows)


def _add(bench: Bench, row: Row, to: Samples, scale: Scale, *, watch: bool, label: str) -> None:
    if row.problem:
        return
    print(f"{describe(scale)}: {row.peer.name}, {label}", file=sys.stderr, flush=True)
    try:
        for case, samples in bench.run(row.peer, scale, watch=watch).items():
            to.setdefault(case, []).extend(samples)
    except (Failed, Absent) as e:
        row.problem = f"failed: {e}"


def describe(scale: Scale) -> str:
    """A scale in words."""
    delay = f", {scale.delay * 1000:g} ms a round trip" if scale.delay else ""
    return f"{scale.targets} targets, {scale.history} shared revisions{delay}, {scale.parallel} at a time"
